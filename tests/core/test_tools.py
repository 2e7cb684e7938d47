"""The chat template renders the tools of hosts without raising, whatever their schemas hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_core.jsontext import Json, JsonObject, as_list, as_object
from harmony_core.request import ChatRequest
from toy.template import Template

CHAT_TEMPLATE = Template()
HELLO: list[Json] = [{"role": "user", "content": "Hello"}]


def nested_schema(depth: int, leaf: Json = "string") -> JsonObject:
    schema: JsonObject = {"type": leaf}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def sent_tools(*tools: Json) -> list[Json]:
    return as_list(ChatRequest(HELLO, tools=tools).payload().get("tools"))


def render(tools: list[Json]) -> str:
    """The prompt, after the tools went through JSON."""
    tools = json.loads(json.dumps(tools))
    prompt = CHAT_TEMPLATE.render(HELLO, tools, date="2026-11-22", effort="medium")
    prompt.encode()
    return prompt


def prompt_for(parameters: Json, **function: Json) -> str:
    tools = sent_tools(
        {"function": {"name": "f", **function, "parameters": parameters}}
    )
    read_strictly(as_object(as_object(as_object(tools[0])["function"])["parameters"]))
    return render(tools)


def read_strictly(schema: Any) -> None:
    """Use a schema as OpenAI's template does: add to its texts, join its lists, loop over it."""
    if isinstance(schema, bool):
        return
    assert isinstance(schema.get("type", ""), str | list)
    assert isinstance("// " + schema.get("description", ""), str)
    assert all(isinstance(name, str) for name in schema.get("required", []))
    assert isinstance("|".join(map(str, schema.get("enum", []))), str)
    if schema.get("enum") or schema.get("oneOf"):
        assert isinstance(", // default: " + schema.get("default", ""), str)
    for part in schema.get("oneOf", []):
        read_strictly(part)
    for part in schema.get("properties", {}).values():
        read_strictly(part)
    if items := schema.get("items"):
        read_strictly(items)


@pytest.mark.parametrize(
    "parameters",
    [
        {"properties": {"a": {"type": "string"}}, "required": True},
        {"properties": {"a": {"type": "string"}}, "required": "a"},
        {"properties": {"a": {"type": "string"}}, "required": [["a"], None, {"b": 1}]},
        {"properties": {"a": {"type": "object", "required": True}}},
        {"properties": {"a": {"type": "object", "properties": ["b"]}}},
        {"properties": {"a": {"description": ["x", "y"]}}},
        {"properties": {"a": {"description": 5}, "b": {"description": {"en": "x"}}}},
        {"properties": {"a": {"type": ["string", "null"]}, "b": {"type": [None, {}]}}},
        {"properties": {"a": {"type": {"x": 1}}, "b": {"type": 5}, "c": {"type": []}}},
        {"properties": {"a": {"enum": True}, "b": {"enum": 5}, "c": {"enum": "x"}}},
        {"properties": {"a": {"enum": [1, None, {"x": [1]}], "default": {"x": 1}}}},
        {"properties": {"a": {"oneOf": {"type": "string"}}, "b": {"oneOf": True}}},
        {"properties": {"a": {"oneOf": ["x", 5, {"description": [1], "default": 1}]}}},
        {"properties": {"a": {"type": "array", "items": True}}},
        {"properties": {"a": {"type": "array", "items": [{"type": "string"}]}}},
        {"properties": {"a": {"type": "array", "items": {"enum": 5}}}},
        {"properties": {"a": "string", "b": None, "c": [], "d": 5}},
        {"properties": True},
        {"type": "string", "properties": {"items": {}, "keys": {}}},
        {"properties": {"a": {"maximum": 10**400, "minimum": float("-inf")}}},
        [],
        "x",
        True,
    ],
    ids=str,
)
def test_the_template_renders_an_unexpected_schema(
    parameters: Json,
) -> None:
    assert "type f = (" in prompt_for(parameters, description=["x", 5])


def test_the_readable_parts_of_an_odd_schema_are_kept() -> None:
    prompt = prompt_for(
        {
            "properties": {
                "a": {"type": "string", "description": ["First.", "Second."]},
                "b": {"type": "integer", "description": 5, "required": True},
            },
            "required": ["a", None],
        },
        description=["Does", "it."],
    )
    assert "// Does\nit.\ntype f" in prompt
    assert "// First.\nSecond.\na: string" in prompt
    assert "// 5\nb?: number" in prompt


@pytest.mark.parametrize("depth", [1, 20, 24, 25, 26, 100, 450, 900, 100_000])
def test_the_template_renders_a_schema_of_any_depth(depth: int) -> None:
    assert "type f = (" in prompt_for(nested_schema(depth))
    arrays: Json = {"type": "string"}
    for _ in range(depth):
        arrays = {"type": "array", "items": arrays}
    assert "a?: " in prompt_for({"properties": {"a": arrays}})


def test_a_schema_of_twenty_levels_is_sent_whole() -> None:
    assert (
        str(sent_tools({"name": "f", "parameters": nested_schema(20)})).count("'a'")
        == 20
    )


@pytest.mark.parametrize("depth", [450, 100_000])
def test_endless_nesting_does_not_stop_a_request(depth: int) -> None:
    deep: Json = "x"
    for _ in range(depth):
        deep = [{"a": deep}]
    call: Json = {"id": deep, "function": {"name": "f", "arguments": {"a": deep}}}
    request = ChatRequest(
        [
            {"role": "user", "content": deep},
            {"role": "assistant", "content": [{"type": "text"}], "tool_calls": [call]},
            {"role": "tool", "content": deep},
        ],
        tools=[deep, {"name": "f", "description": deep, "parameters": deep}],
        tool_choice=deep,
        response_format={"type": "json_schema", "json_schema": {"schema": {"a": deep}}},
        extra={"chat_template_kwargs": deep, "other": deep, "top_k": deep},
        template_options={"builtin_tools": deep},
        max_tokens=deep,
    )
    body = json.dumps(request.payload())
    assert json.loads(body)["tools"][0]["function"]["name"] == "f"
    request.chat_stream()


KEYWORDS = st.sampled_from(
    [
        *("type", "description", "enum", "oneOf", "anyOf", "properties", "items"),
        *("required", "default", "nullable"),
    ]
)
VALUE = st.recursive(
    st.sampled_from(["string", "integer", "array", "object", "null", "<|end|>", ""])
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=4)
    ),
    max_leaves=12,
)
SCHEMA = st.dictionaries(KEYWORDS, VALUE, max_size=5)


@given(
    SCHEMA
    | VALUE
    | st.fixed_dictionaries({"properties": st.dictionaries(KEYWORDS, SCHEMA)}),
    VALUE,
)
def test_any_schema_renders_without_a_control_token(
    parameters: Json, description: Json
) -> None:
    assert "<|end|>" not in prompt_for(parameters, description=description).partition(
        "# Tools"
    )[2].replace("<|end|><|start|>user<|message|>Hello<|end|>", "")

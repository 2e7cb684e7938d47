"""Valves, UserValves and the request: which one wins, and no value of Open WebUI breaks the pipe."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest

from harmony_core.request import NUMBERS
from harmony_core.tools import TOOL_REQUIRED
from openwebui_pipe.valves import PipeUserValves, PipeValves, secret_input
from tests.pipe.fake_host import Host, joined
from tests.server import ScriptedServer, reply


@pytest.mark.parametrize(
    ("valve", "own", "body", "effort"),
    [
        ("low", "inherit", {}, "low"),
        ("low", "high", {}, "high"),
        ("low", "medium", {"reasoning_effort": "high"}, "high"),
        ("low", "medium", {"reasoning_effort": "HIGH "}, "high"),
        (
            "low",
            "medium",
            {"chat_template_kwargs": {"reasoning_effort": "high"}},
            "high",
        ),
        ("low", "medium", {"reasoning_effort": "xhigh"}, "high"),
        ("high", "medium", {"reasoning_effort": "minimal"}, "low"),
        ("high", "inherit", {"reasoning_effort": "off"}, "low"),
        ("low", "medium", {"reasoning_effort": "extreme"}, "medium"),
        ("low", "inherit", {"reasoning_effort": None}, "low"),
    ],
)
def test_the_chats_effort_wins_then_the_users_then_the_admins(
    host_with: Callable[..., Host],
    server: ScriptedServer,
    valve: str,
    own: str,
    body: dict[str, Any],
    effort: str,
) -> None:
    server.chat(reply("Hello"))
    host = host_with(REASONING_EFFORT=valve)
    host.chat(user_valves=host.function.UserValves(REASONING_EFFORT=own), **body)
    sent = server.requests[0].json
    assert sent["reasoning_effort"] == effort
    assert sent["chat_template_kwargs"] == {"reasoning_effort": effort}


def test_numbers_come_from_the_valves_unless_the_request_has_them(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    server.chat(reply("Hello"))
    host = host_with(MAX_TOKENS=100, TEMPERATURE=0.5)
    host.chat()
    host.chat(max_tokens=200, temperature=0, top_p=0.9, top_k=40, seed=7)
    first, second = (request.json for request in server.requests)
    assert (first["max_tokens"], first["temperature"], first["top_p"]) == (
        100,
        0.5,
        1.0,
    )
    assert (second["max_tokens"], second["temperature"], second["top_p"]) == (
        200,
        0,
        0.9,
    )
    assert (second["top_k"], second["seed"]) == (40, 7)


def test_a_line_in_the_system_prompt_wins_over_the_valves_but_not_over_the_chat(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    server.chat(reply("Hello"))
    host = host_with(REASONING_EFFORT="low")
    messages = [
        {"role": "system", "content": "Reasoning: high\nYou are kind."},
        {"role": "user", "content": "Hi"},
    ]
    own = host.function.UserValves(REASONING_EFFORT="medium")
    host.chat(messages=messages, user_valves=own)
    host.chat(messages=messages, user_valves=own, reasoning_effort="low")
    first, second = (request.json for request in server.requests)
    assert (first["reasoning_effort"], second["reasoning_effort"]) == ("high", "low")
    assert first["messages"][0]["content"] == "You are kind."


def test_parameters_that_the_server_knows_are_sent(
    host: Host, server: ScriptedServer
) -> None:
    server.chat(reply("Hello"))
    host.chat(repeat_penalty=1.1, max_tokens="2000", user={"id": 1}, mirostat=1)
    sent = server.requests[0].json
    assert (sent["repetition_penalty"], sent["max_tokens"]) == (1.1, 2000)
    assert not {"user", "mirostat", "repeat_penalty"} & sent.keys()


HOSTILE: list[dict[str, Any]] = [
    {"logit_bias": {"701": 1}},
    {"frequency_context_size": 10**12, "frequency_penalty": 1},
    {"chat_template_kwargs": {"chat_template": "{{ messages }}"}},
    {"chat_template_kwargs": {"builtin_tools": ["browser"]}},
    {"draft_model": "evil/some-repo", "adapters": "../../elsewhere"},
    {"template_options": {"chat_template": "x"}, "tools_choice": "x"},
    {"max_tokens": 10**12, "max_completion_tokens": 10**12, "temperature": 1e300},
    {"top_k": 10**9, "xtc_threshold": 1.0, "xtc_probability": 1.0},
]


@pytest.mark.parametrize("body", HOSTILE, ids=str)
def test_fields_of_a_body_that_harm_a_server_are_not_sent(
    host: Host, server: ScriptedServer, body: dict[str, Any]
) -> None:
    server.chat(reply("Hello"))
    assert joined(host.chat(**body)) == "Hello"
    sent = server.requests[0].json
    assert sent["chat_template_kwargs"] == {"reasoning_effort": "medium"}
    assert sent["model"] == "default_model"
    assert (
        not {"logit_bias", "draft_model", "adapters", "template_options"} & sent.keys()
    )
    for name, (least, most) in NUMBERS.items():
        assert least <= sent.get(name, most) <= most


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("auto", ["create_event", "ls"]),
        ("none", []),
        ("required", ["create_event", "ls"]),
        ({"type": "function", "function": {"name": "ls"}}, ["ls"]),
    ],
)
def test_a_tool_choice_decides_which_tools_are_sent(
    host: Host, server: ScriptedServer, choice: Any, names: list[str]
) -> None:
    server.chat(reply("Hello"))
    tools = [
        {"type": "function", "function": {"name": n}} for n in ("create_event", "ls")
    ]
    host.chat(tools=tools, tool_choice=choice)
    sent = server.requests[0].json
    assert [tool["function"]["name"] for tool in sent.get("tools", [])] == names
    asked = TOOL_REQUIRED in str(sent["messages"])
    assert asked == (choice not in ("auto", "none"))


@pytest.mark.parametrize(
    "own",
    [None, {}, {"REASONING_EFFORT": "low"}, types.SimpleNamespace(THINKING="hide")],
)
def test_user_valves_of_any_shape_are_read(
    host: Host, server: ScriptedServer, own: Any
) -> None:
    server.chat(reply("Hello"))
    assert joined(host.chat(user_valves=own)) == "Hello"


def test_odd_bodies_do_not_break_the_pipe(host: Host, server: ScriptedServer) -> None:
    server.chat(reply("Hello"))
    odd: dict[str, Any] = {
        "messages": None,
        "tools": {},
        "stop": 5,
        "max_tokens": "many",
        "temperature": None,
        "model": None,
    }
    assert joined(host.chat(**odd)) == "Hello"
    assert (
        joined(host.chat(__user__=None, __metadata__=None, __event_emitter__=None))
        == "Hello"
    )


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("MAX_TOKENS", "4096", 4096),
        ("MAX_TOKENS", "", 8192),
        ("MAX_TOKENS", -5, 1),
        ("MAX_TOKENS", 10**9, 131_072),
        ("TEMPERATURE", "0.3", 0.3),
        ("TEMPERATURE", 9, 2.0),
        ("TEMPERATURE", "warm", 1.0),
        ("IDLE_TIMEOUT", 0, 0.5),
        ("CONNECT_TIMEOUT", [], 5.0),
        ("THINKING", "show", "fold"),
        ("REASONING_EFFORT", "extreme", "medium"),
        ("TOOLS", None, "user-selected"),
    ],
)
def test_an_invalid_value_is_replaced_by_a_valid_one(
    name: str, value: object, kept: object
) -> None:
    assert getattr(PipeValves.model_validate({name: value}), name) == kept


def test_an_empty_default_is_stored_as_null_so_that_the_form_can_save_again() -> None:
    valves = PipeValves(API_KEY="", MODEL_FILTER="", PREFIX="MLX")
    stored = valves.model_dump()
    assert [name for name, value in stored.items() if value is None] == [
        "API_KEY",
        "CA_FILE",
        "MODEL_IDS",
    ]
    assert stored["MODEL_FILTER"] == ""  # set, and not the default
    assert PipeValves(**stored) == valves


def test_every_choice_is_an_enum() -> None:
    properties = PipeValves.model_json_schema()["properties"]
    assert properties["TOOLS"]["enum"] == ["user-selected", "all", "off"]
    assert properties["REASONING_EFFORT"]["enum"] == ["low", "medium", "high"]
    assert PipeUserValves.model_json_schema()["properties"]["THINKING"]["enum"] == [
        "inherit",
        "fold",
        "hide",
    ]
    assert all(entry["description"] for entry in properties.values())


@pytest.mark.parametrize(
    ("version", "masked"),
    [
        ("0.6.20", False),
        ("0.7.2", False),
        ("0.8.0", True),
        ("0.12.4", True),
        ("?", False),
    ],
)
def test_the_key_is_masked_only_if_the_host_can_mask_an_input(
    host_version: Callable[[str], None], version: str, masked: bool
) -> None:
    host_version(version)
    assert (secret_input() is not None) is masked


def tool(name: str) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": "x",
            "parameters": {"type": "object"},
        },
    }


BUILTIN, ASKED, OWN, CLIENT = (
    "search_notes",
    "search_web",
    "get_weather",
    "from_an_api_client",
)
KNOWN = {name: {"type": "builtin"} for name in (BUILTIN, ASKED)} | {
    OWN: {"tool_id": "weather"}
}


@pytest.mark.parametrize(
    ("policy", "sent"),
    [
        ("user-selected", [ASKED, OWN, CLIENT]),
        ("all", [BUILTIN, ASKED, OWN, CLIENT]),
        ("off", []),
    ],
)
def test_built_in_tools_that_nobody_chose_are_left_out(
    host_with: Callable[..., Host], server: ScriptedServer, policy: str, sent: list[str]
) -> None:
    server.chat(reply("Hello"))
    offered = [tool(name) for name in (BUILTIN, ASKED, OWN, CLIENT)]
    host_with(TOOLS=policy).chat(tools=offered, __tools__=KNOWN)
    tools: Any = server.requests[0].json.get("tools", [])
    assert [entry["function"]["name"] for entry in tools] == sent


def test_malformed_tools_are_not_sent(host: Host, server: ScriptedServer) -> None:
    server.chat(reply("Hello"))
    host.chat(tools=["odd", {"function": None}, tool(OWN)], __tools__=KNOWN)
    tools: Any = server.requests[0].json["tools"]
    assert [entry["function"]["name"] for entry in tools] == [OWN]

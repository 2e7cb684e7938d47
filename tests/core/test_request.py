"""ChatRequest makes a body that every version of the server takes, and always the same one."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_core.events import collect
from harmony_core.gpt_oss import EFFORTS
from harmony_core.jsontext import Json, JsonObject, as_list
from harmony_core.limits import MAX_MODELS
from harmony_core.markers import CONTROL_TOKENS
from harmony_core.request import NUMBERS as NUMBERS_SENT
from harmony_core.request import ChatRequest, Endpoint, listed_models_in
from harmony_core.tools import TOOL_REQUIRED, function_of
from tests.core.test_tools import nested_schema

HELLO: list[Json] = [{"role": "user", "content": "Hello"}]
NUMBERS = [
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "seed",
]


def payload(**options: object) -> JsonObject:
    return ChatRequest(HELLO, **options).payload()  # type: ignore[arg-type]


def tool(**function: object) -> JsonObject:
    """What is sent for one tool."""
    sent = payload(tools=[{"type": "function", "function": {"name": "f", **function}}])[
        "tools"
    ]
    assert isinstance(sent, list)
    assert isinstance(sent[0], dict)
    function_sent = sent[0]["function"]
    assert isinstance(function_sent, dict)
    return function_sent


def system_text(**options: object) -> str:
    messages = payload(**options)["messages"]
    assert isinstance(messages, list)
    assert isinstance(messages[0], dict)
    assert messages[0]["role"] == "system"
    return str(messages[0]["content"])


# Addresses.


@pytest.mark.parametrize(
    "base_url",
    [
        "http://mac:8080",
        "http://mac:8080/",
        "http://mac:8080/v1",
        "http://mac:8080/v1/",
        "  http://mac:8080//v1// \n",
        "mac:8080",
        "//mac:8080/v1",
        "http://mac:8080/v1/chat/completions",
        "http://mac:8080/v1/models/",
    ],
)
def test_a_base_url_may_be_written_in_many_ways(base_url: str) -> None:
    endpoint = Endpoint(base_url)
    assert endpoint.chat_url == "http://mac:8080/v1/chat/completions"
    assert endpoint.models_url == "http://mac:8080/v1/models"


def test_the_path_and_scheme_of_a_reverse_proxy_are_kept() -> None:
    assert (
        Endpoint("https://example.org/mlx/v1/").chat_url
        == "https://example.org/mlx/v1/chat/completions"
    )


def test_the_key_is_sent_if_there_is_one() -> None:
    assert Endpoint("mac", "secret\n").headers["Authorization"] == "Bearer secret"
    assert "Authorization" not in Endpoint("mac", "  ").headers


@pytest.mark.parametrize(
    "endpoint",
    [Endpoint("mac", "secret"), Endpoint("https://me:secret@mac:8080/v1?k=secret")],
)
def test_neither_key_nor_password_is_shown(endpoint: Endpoint) -> None:
    assert "secret" not in repr(endpoint)
    assert "mac" in repr(endpoint)


@pytest.mark.parametrize("url", ["http://me:p%40ss@mac:8080/v1", "me:p%40ss@mac:8080"])
def test_a_user_and_password_in_the_url_become_basic_auth(url: str) -> None:
    endpoint = Endpoint(url)
    assert endpoint.chat_url == "http://mac:8080/v1/chat/completions"
    pair = base64.b64encode(b"me:p@ss").decode()
    assert endpoint.headers["Authorization"] == f"Basic {pair}"


def test_a_key_wins_over_a_password_in_the_url() -> None:
    assert Endpoint("http://me:you@mac", "k").headers["Authorization"] == "Bearer k"


@pytest.mark.parametrize(
    ("endpoint", "environment", "trusted"),
    [
        (Endpoint("mac"), {}, True),
        (Endpoint("mac"), {"SSL_CERT_FILE": "s"}, "s"),
        (Endpoint("mac"), {"SSL_CERT_FILE": "s", "REQUESTS_CA_BUNDLE": "r"}, "r"),
        (Endpoint("mac"), {"SSL_CERT_FILE": "", "REQUESTS_CA_BUNDLE": ""}, True),
        (Endpoint("mac", ca_file=" c "), {"REQUESTS_CA_BUNDLE": "r"}, "c"),
        (Endpoint("mac", ca_file="c", verify=False), {"SSL_CERT_FILE": "s"}, False),
    ],
)
def test_the_setting_wins_over_the_environment(
    endpoint: Endpoint, environment: dict[str, str], trusted: str | bool
) -> None:
    assert endpoint.trusted(environment) == trusted


# The body.


def test_a_bare_request_has_defaults_that_suit_the_model() -> None:
    assert payload() == {
        "model": "default_model",
        "messages": HELLO,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 8192,
        "temperature": 1.0,
        "top_p": 1.0,
    }


def test_a_request_for_a_whole_reply_has_no_stream_options() -> None:
    body = payload(stream=False)
    assert body["stream"] is False
    assert "stream_options" not in body


def test_the_values_of_the_caller_are_sent() -> None:
    body = payload(
        model=" m ", max_tokens=5, temperature=0, top_p=0.5, top_k=3, min_p=0.1, seed=7
    )
    assert body["model"] == "m"
    assert [body[name] for name in NUMBERS if name in body] == [5, 0.0, 0.5, 3, 0.1, 7]


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [
        ("max_tokens", "100", 100),
        ("max_tokens", 100.9, 100),
        ("max_tokens", 0, 8192),
        ("max_tokens", -1, 8192),
        ("max_tokens", True, 8192),
        ("max_tokens", "many", 8192),
        ("max_tokens", [5], 8192),
        ("temperature", "0.5", 0.5),
        ("temperature", float("nan"), 1.0),
        ("temperature", "inf", 1.0),
        ("temperature", -1, 1.0),
        ("temperature", 10**400, 1.0),
        ("top_p", 1.5, 1.0),
        ("top_k", 10**9, 500),
        ("top_k", -1, None),
        ("top_k", 0, 0),
        ("min_p", 2, 1.0),
        ("repetition_penalty", False, None),
        ("seed", 2**60 + 1, 2**60 + 1),
        ("seed", 2**64, 2**63 - 1),
        ("seed", -1, None),
        ("seed", None, None),
    ],
)
def test_numbers_have_the_type_and_range_that_the_server_takes(
    name: str, given: object, sent: object
) -> None:
    for body in (payload(**{name: given}), payload(extra={name: given})):
        assert body.get(name) == sent
        assert type(body.get(name)) is type(sent)


@pytest.mark.parametrize("effort", ["low", "medium", "high", " HIGH "])
def test_the_effort_goes_where_either_kind_of_server_looks_for_it(effort: str) -> None:
    body = payload(effort=effort)
    assert body["reasoning_effort"] == effort.strip().lower()
    assert body["chat_template_kwargs"] == {"reasoning_effort": effort.strip().lower()}


@pytest.mark.parametrize(
    ("named", "effort"),
    [
        *[(name, "low") for name in ("minimal", "none", "off", "None", " OFF ")],
        *[(name, "high") for name in ("xhigh", "max", "XHigh", "MAX\n")],
    ],
)
def test_efforts_of_other_models_mean_the_nearest_of_gpt_oss(
    named: str, effort: str
) -> None:
    assert payload(effort=named) == payload(effort=effort)
    assert payload(extra={"reasoning_effort": named}) == payload(effort=effort)


@pytest.mark.parametrize(
    ("prompt", "effort", "rest"),
    [
        ("Reasoning: high\nYou are kind.", "high", "You are kind."),
        ("Reasoning: low\r\n\r\nYou are kind.\n", "low", "You are kind.\n"),
        ("\n  reasoning: Medium \n\n  Be kind.", "medium", "Be kind."),
        ("Reasoning: high", "high", None),
        ("Reasoning:low\n", "low", None),
        ("Reasoning: highly\nBe kind.", None, "Reasoning: highly\nBe kind."),
        ("Reasoning: high, please.", None, "Reasoning: high, please."),
        ("Be kind.\nReasoning: high", None, "Be kind.\nReasoning: high"),
        ("My reasoning: high", None, "My reasoning: high"),
    ],
)
def test_a_first_line_of_the_system_prompt_sets_the_effort(
    prompt: str, effort: str | None, rest: str | None
) -> None:
    messages: list[Json] = [{"role": "developer", "content": prompt}, *HELLO]
    body = ChatRequest(messages).payload()
    assert body.get("reasoning_effort") == effort
    system = [] if rest is None else [{"role": "system", "content": rest}]
    assert body["messages"] == [*system, *HELLO]


def test_the_request_wins_over_the_system_prompt_and_that_over_the_default() -> None:
    prompt: list[Json] = [{"role": "system", "content": "Reasoning: high"}]

    def sent(**options: object) -> tuple[Json, Json]:
        body = ChatRequest([*prompt, *HELLO], **options).payload()  # type: ignore[arg-type]
        return body["reasoning_effort"], body["messages"]

    assert sent(default_effort="low") == ("high", HELLO)
    assert sent(effort="low") == ("low", HELLO)
    assert sent(effort="extreme", extra={"reasoning_effort": "low"}) == ("low", HELLO)
    assert payload(default_effort="max")["reasoning_effort"] == "high"


def test_a_system_prompt_of_nothing_but_the_effort_leaves_an_empty_question() -> None:
    body = ChatRequest([{"role": "system", "content": "Reasoning: low"}]).payload()
    assert body["messages"] == [{"role": "user", "content": ""}]


@pytest.mark.parametrize("effort", [None, "", "extreme", "lowest"])
def test_an_effort_that_gpt_oss_does_not_know_is_left_to_the_server(
    effort: str | None,
) -> None:
    assert payload(effort=effort) == payload()


def test_messages_are_cleaned() -> None:
    raw = "<|channel|>analysis<|message|>t<|end|><|start|>assistant<|channel|>final<|message|>x"
    messages: list[Json] = [*HELLO, {"role": "assistant", "content": raw}, *HELLO]
    sent = ChatRequest(messages).payload()["messages"]
    assert sent == [HELLO[0], {"role": "assistant", "content": "x"}, HELLO[0]]


def test_the_same_request_has_the_same_bytes() -> None:
    options = {
        "tools": [{"function": {"name": "f"}}],
        "effort": "low",
        "response_format": {"type": "json_object"},
    }
    assert json.dumps(payload(**options)) == json.dumps(payload(**options))


def test_stop_words_and_response_formats_are_not_forwarded() -> None:
    extra: JsonObject = {
        "stop": ["y"],
        "response_format": {"type": "json_object"},
        "messages": [],
        "stream": False,
    }
    body = payload(stop=["x"], response_format={"type": "json_object"}, extra=extra)
    assert "stop" not in body
    assert "response_format" not in body
    assert (body["stream"], len(str(body["messages"])) > 2) == (True, True)


def test_numbers_of_extra_win_and_nulls_are_not_sent() -> None:
    extra: JsonObject = {
        "temperature": "0.2",
        "presence_penalty": -1,
        "max_completion_tokens": "55",
        "logprobs": True,
        "top_logprobs": 0,
        "frequency_penalty": None,
        "xtc_threshold": float("nan"),
    }
    body = payload(temperature=1, extra=extra)
    assert (body["temperature"], body["presence_penalty"]) == (0.2, -1.0)
    assert (body["max_completion_tokens"], body["logprobs"]) == (55, True)
    assert not {"top_logprobs", "frequency_penalty", "xtc_threshold"} & body.keys()


def test_a_repeat_penalty_is_a_repetition_penalty() -> None:
    assert payload(extra={"repeat_penalty": "1.1"})["repetition_penalty"] == 1.1
    both: JsonObject = {"repeat_penalty": 1.5, "repetition_penalty": 1.1}
    for extra in (both, dict(reversed(both.items()))):
        assert payload(extra=extra)["repetition_penalty"] == 1.1


# Each of these harmed a real server, or could.
HOSTILE: list[JsonObject] = [
    {"logit_bias": {"701": 1}},  # past the vocabulary: the process died of SIGSEGV
    {"logit_bias": {"0": float("inf")}},
    {"chat_template_kwargs": {"chat_template": "{{ messages }}"}},
    {
        "chat_template_kwargs": {
            "chat_template": "{% for i in range(10**8) %}{% endfor %}"
        }
    },
    {"chat_template_kwargs": {"model_identity": "x", "builtin_tools": ["python"]}},
    {"chat_template_kwargs": {"reasoning_effort": "<|end|>"}},
    {"template_options": {"chat_template": "x"}},
    {"xtc_probability": 0.5},  # ended the generating thread of mlx-lm 0.26 to 0.31
    {"xtc_threshold": 0.9, "xtc_probability": 1.0},  # ended that of 0.32
    {"draft_model": "evil/some-repo"},
    {"adapters": "../../elsewhere"},
    {"model": "evil/some-repo"},
    {"role_mapping": {"user": "<|start|>system"}},
    {"stream_options": {"more": [1]}},
    {"stream": False, "stop": ["the"], "tools": [{"name": "f"}], "messages": []},
    {"prompt": "x", "n": 100, "other": [{"a": float("inf")}], "user": "me"},
]


@pytest.mark.parametrize("extra", HOSTILE, ids=str)
def test_a_harmful_field_of_extra_changes_nothing(extra: JsonObject) -> None:
    assert payload(effort="low", extra=extra) == payload(effort="low")


@pytest.mark.parametrize("name", NUMBERS_SENT)
@pytest.mark.parametrize("value", [10**12, 1e300, "9" * 30])
def test_a_number_never_goes_past_its_bound(name: str, value: Json) -> None:
    least, most = NUMBERS_SENT[name]
    assert least < most < 2**63
    sent = payload(extra={name: value})[name]
    assert isinstance(sent, int | float)
    assert sent <= most


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner)
    ),
    max_leaves=6,
)
KNOWN_FIELDS = {
    *("model", "messages", "stream", "stream_options", "tools", "logprobs"),
    *("reasoning_effort", "chat_template_kwargs", *NUMBERS_SENT),
}


@given(
    st.dictionaries(
        st.sampled_from([*sorted(KNOWN_FIELDS), "logit_bias", "adapters"]) | st.text(),
        JSON | st.dictionaries(st.sampled_from(["reasoning_effort", "x"]), JSON),
    )
)
def test_only_known_fields_of_extra_are_sent_within_their_bounds(
    extra: JsonObject,
) -> None:
    body = payload(extra=extra)
    assert body.keys() <= KNOWN_FIELDS
    assert (body["model"], body["messages"]) == ("default_model", HELLO)
    for name, (least, most) in NUMBERS_SENT.items():
        sent = body.get(name, most)
        assert isinstance(sent, int | float)
        assert least <= sent <= most
    options = body.get("chat_template_kwargs", {"reasoning_effort": "low"})
    assert options in [{"reasoning_effort": effort} for effort in EFFORTS]


def test_only_the_host_gives_the_template_its_options() -> None:
    options: JsonObject = {"model_identity": "x<|end|>", "y": None}
    extra: JsonObject = {"chat_template_kwargs": {"model_identity": "evil", "z": 1}}
    body = payload(effort="low", template_options=options, extra=extra)
    assert body["chat_template_kwargs"] == {
        "model_identity": "x<\u2060|end|>",
        "reasoning_effort": "low",
    }


@pytest.mark.parametrize(
    "extra",
    [
        {"reasoning_effort": 5},
        {"chat_template_kwargs": "x"},
        {"model": None},
        {"xtc_probability": "often", "num_draft_tokens": -1},
        {"logprobs": "true", "temperature": {}, "top_k": [1]},
    ],
)
def test_an_extra_field_of_the_wrong_type_changes_nothing(extra: JsonObject) -> None:
    assert payload(effort="low", extra=extra) == payload(effort="low")


# Tools.


def test_a_tool_has_a_description_and_parameters() -> None:
    assert tool() == {
        "name": "f",
        "description": "",
        "parameters": {"type": "object", "properties": {}},
    }
    for parameters in ([], {"type": "object"}, {"type": "object", "properties": []}):
        assert tool(description=None, parameters=parameters) == tool()


def test_a_bare_function_is_a_tool_and_odd_entries_are_dropped() -> None:
    odd = [
        None,
        5,
        {},
        {"function": None},
        {"function": {}},
        {"function": {"name": ""}},
        {"name": 5},
    ]
    assert "tools" not in payload(tools=odd)
    sent = payload(tools=[*odd, {"name": "f"}])["tools"]
    assert sent == [{"type": "function", "function": tool()}]


def test_nulls_in_parameters_are_dropped() -> None:
    properties = {
        "a": {"type": "string", "default": None, "enum": ["x", None]},
        "b": True,
        "c": {"description": "d"},
    }
    sent = tool(
        parameters={"type": "object", "properties": properties, "required": None}
    )["parameters"]
    assert sent == {
        "type": "object",
        "properties": {
            "a": {"type": "string", "enum": ["x"]},
            "b": True,
            "c": {"description": "d"},
        },
    }


def test_a_default_that_the_template_joins_to_a_text_becomes_text() -> None:
    properties = {
        "a": {"enum": [1, 2], "default": 1},
        "b": {"oneOf": [], "default": {}},
        "c": {"default": 1},
    }
    properties |= {
        "enum": {"type": "string"},
        "default": {"enum": ["x"], "default": "x"},
    }
    sent = tool(parameters={"properties": properties})["parameters"]
    assert isinstance(sent, dict)
    kept = sent["properties"]
    assert isinstance(kept, dict)
    defaults = {
        name: spec["default"]
        for name, spec in kept.items()
        if isinstance(spec, dict) and "default" in spec
    }
    assert defaults == {"a": "1", "b": "{}", "c": 1, "default": "x"}


def test_no_control_token_gets_into_the_prompt_by_a_tool_or_a_format() -> None:
    for token in CONTROL_TOKENS:
        spec = {
            "type": "object",
            "properties": {f"p{token}": {"enum": [token], "description": token}},
        }
        function = {"name": f"f{token}", "description": token, "parameters": spec}
        wanted = {"name": token, "description": token, "schema": spec}
        body = payload(
            tools=[{"type": "function", "function": function}],
            response_format={"type": "json_schema", "json_schema": wanted},
        )
        assert token not in json.dumps(body)


def test_the_callers_tools_are_left_alone() -> None:
    given = {
        "name": "f",
        "parameters": {"properties": {"a": {"default": 1, "enum": [1]}}},
    }
    before = json.dumps(given)
    payload(tools=[given])
    assert json.dumps(given) == before


# Which tools.

TWO_TOOLS: list[Json] = [{"function": {"name": "f"}}, {"name": "g"}]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (None, ["f", "g"]),
        ("auto", ["f", "g"]),
        ("required", ["f", "g"]),
        ("none", []),
        ({"type": "function", "function": {"name": "g"}}, ["g"]),
        ({"type": "function", "name": "f"}, ["f"]),
        ({"type": "function", "function": {"name": "h"}}, ["f", "g"]),
        ({"type": "auto"}, ["f", "g"]),
        ({"function": 5}, ["f", "g"]),
        (5, ["f", "g"]),
        (["none"], ["f", "g"]),
    ],
)
def test_a_tool_choice_decides_which_tools_are_sent_and_known(
    choice: Json, names: list[str]
) -> None:
    request = ChatRequest(HELLO, tools=TWO_TOOLS, tool_choice=choice)
    sent = as_list(request.payload().get("tools"))
    assert [function_of(tool)["name"] for tool in sent] == names
    stream = request.chat_stream()
    stream.feed(completion("<|channel|>commentary to=functions.f json<|message|>{}"))
    [call] = collect(stream.close()).tool_calls
    assert call.executable == ("f" in names)


def test_a_required_call_is_asked_for_in_the_system_prompt() -> None:
    required = payload(tools=TWO_TOOLS, tool_choice="required")
    assert required["messages"] == [
        {"role": "system", "content": TOOL_REQUIRED},
        *HELLO,
    ]
    named = {"type": "function", "function": {"name": "g"}}
    assert (
        payload(tools=TWO_TOOLS, tool_choice=named)["messages"] == required["messages"]
    )
    for choice in ("auto", "none", None):
        assert payload(tools=TWO_TOOLS, tool_choice=choice)["messages"] == HELLO
    assert payload(tools=[None], tool_choice="required") == payload()


# JSON replies.


def test_a_json_object_is_asked_for_in_plain_words() -> None:
    text = system_text(response_format={"type": "json_object"})
    assert text.startswith(
        "# Response Formats\n\n## json_object\n\n// The whole answer is one JSON object"
    )
    assert text.endswith('\n{"type": "object"}')


def test_a_schema_is_asked_for_in_harmonys_form() -> None:
    wanted = {
        "name": "shopping\nlist",
        "description": "What to\nbuy.",
        "schema": {"enum": ["é", None]},
    }
    text = system_text(response_format={"type": "json_schema", "json_schema": wanted})
    assert text.startswith(
        "# Response Formats\n\n## shopping list\n\n// What to buy. The whole answer is JSON "
    )
    assert text.splitlines()[5:] == ['{"enum": ["é", null]}']


@pytest.mark.parametrize("schema", [None, "x", {}, {"schema": None}])
def test_an_invalid_schema_means_any_object(schema: Json) -> None:
    assert system_text(
        response_format={"type": "json_schema", "json_schema": schema}
    ) == system_text(response_format={"type": "json_object"})


def test_the_format_is_added_to_the_system_prompt() -> None:
    messages: list[Json] = [{"role": "system", "content": "Be kind."}, *HELLO]
    sent = ChatRequest(messages, response_format={"type": "json_object"}).payload()[
        "messages"
    ]
    assert isinstance(sent, list)
    assert str(sent[0]).count("# Response Formats") == 1
    assert "Be kind.\\n\\n# Response Formats" in str(sent[0])
    assert sent[1:] == HELLO


@pytest.mark.parametrize(
    "wanted", [None, "json_object", {}, {"type": "text"}, {"type": ["json_object"]}]
)
def test_other_response_formats_do_not_ask_for_json(wanted: Json) -> None:
    assert payload(response_format=wanted) == payload()
    assert (
        collect(
            ChatRequest(HELLO, response_format=wanted).chat_stream().close()
        ).json_valid
        is None
    )


def test_a_request_without_messages_may_ask_for_json() -> None:
    sent = ChatRequest([], response_format={"type": "json_object"}).payload()[
        "messages"
    ]
    assert isinstance(sent, list)
    assert len(sent) == 1


def test_a_schema_nested_very_deeply_is_cut() -> None:
    schema = nested_schema(2000)
    text = system_text(
        response_format={"type": "json_schema", "json_schema": {"schema": schema}}
    )
    assert 20 < text.count("properties") < 30


# The stream for the reply.


def completion(content: str) -> bytes:
    return json.dumps({"choices": [{"message": {"content": content}}]}).encode()


def test_the_stream_knows_the_tools_the_stop_words_and_the_format() -> None:
    stream = ChatRequest(
        HELLO,
        tools=[{"type": "function", "function": {"name": "Web Search"}}, None],
        stop="STOP",
        response_format={"type": "json_object"},
    ).chat_stream()
    stream.feed(
        completion(
            "<|channel|>commentary to=functions.Web Search json<|message|>{}<|call|>"
            "<|start|>assistant<|channel|>final<|message|>```json\n{}\n``` STOP x"
        )
    )
    got = collect(stream.close())
    assert [(call.name, call.executable) for call in got.tool_calls] == [
        ("Web Search", True)
    ]
    assert (got.answer, got.json_valid) == ("{}", True)


def test_numbers_that_only_extra_fields_have_get_the_type_of_the_server() -> None:
    body = payload(extra={"presence_penalty": 1, "repetition_context_size": "20"})
    assert isinstance(body["presence_penalty"], float)
    assert body["repetition_context_size"] == 20


def test_stop_may_be_null() -> None:
    stream = ChatRequest(HELLO, stop=None).chat_stream()
    stream.feed(completion("abc"))
    assert collect(stream.close()).answer == "abc"


@pytest.mark.parametrize("stop", ["b", ["b"], ("x", "b"), ["", "b"]])
def test_stop_words_come_as_one_or_several(stop: str | list[str]) -> None:
    stream = ChatRequest(HELLO, stop=stop).chat_stream()
    stream.feed(completion("abc"))
    assert collect(stream.close()).answer == "a"


# Models.


def test_the_models_are_listed_once_each_and_in_order() -> None:
    data = [{"id": "b"}, {"id": "a"}, {"id": "b"}, {"id": 5}, {"id": ""}, None, {}]
    body = json.dumps({"object": "list", "data": data})
    assert listed_models_in(body)[0] == ("b", "a")
    assert listed_models_in(body.encode())[0] == ("b", "a")


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{}", '{"data": null}', '{"data": {"id": "a"}}', b"\xff\xfe", "<html>"],
)
def test_an_unreadable_model_list_is_empty(body: str | bytes) -> None:
    assert listed_models_in(body)[0] == ()


@pytest.mark.parametrize("odd", ["\ud800", "a\x1b[31mb", "a\nb", "x" * 301])
def test_an_id_that_cannot_be_shown_or_sent_is_left_out(odd: str) -> None:
    body = json.dumps({"data": [{"id": odd}, {"id": "モデル 20b"}]})
    assert listed_models_in(body)[0] == ("モデル 20b",)


def test_a_list_that_is_cut_or_too_long_counts_as_incomplete() -> None:
    data = [{"id": str(number)} for number in range(MAX_MODELS + 1)]
    some, complete = listed_models_in(json.dumps({"data": data}))
    assert (len(some), complete) == (MAX_MODELS, False)
    assert listed_models_in(json.dumps({"data": data[:-1]}))[1]
    assert listed_models_in('{"data": [{"id": "a"}, {"i') == ((), False)


# Properties.

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


def has_odd_values(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(has_odd_values, value.values()))
    if isinstance(value, list):
        return any(map(has_odd_values, value))
    return value is None or value != value or value in (float("inf"), float("-inf"))


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys([*NUMBERS, "response_format"], VALUES)
    ),
    st.dictionaries(
        st.sampled_from([*NUMBERS, "a", "stream_options", "chat_template_kwargs"]),
        VALUES,
    ),
    st.lists(
        VALUES
        | st.fixed_dictionaries(
            {"name": VALUES, "description": VALUES, "parameters": VALUES}
        ),
        max_size=3,
    ),
)
def test_no_value_of_a_host_raises_or_becomes_a_null(
    options: dict[str, Json], extra: dict[str, Json], tools: list[Json]
) -> None:
    body = payload(**options, extra=extra, tools=tools)
    assert not has_odd_values(body)
    assert type(body["max_tokens"]) is int
    assert type(body["temperature"]) is type(body["top_p"]) is float

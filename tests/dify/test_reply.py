"""Replies as a Dify user gets them: real sockets, the real SDK's `invoke`, a scripted server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dify_plugin.entities.model.message import (
    AssistantPromptMessage,
    SystemPromptMessage,
    ToolPromptMessage,
    UserPromptMessage,
)
from dify_plugin.errors.model import (
    InvokeAuthorizationError,
    InvokeBadRequestError,
    InvokeConnectionError,
    InvokeError,
    InvokeRateLimitError,
    InvokeServerUnavailableError,
)

from tests.dify.sdk_driver import WEATHER, Talk
from tests.server import (
    DONE,
    Hang,
    Reset,
    Script,
    ScriptedServer,
    chunk,
    harmony,
    harmony_call,
    head,
    keepalive,
    page,
    reply,
    sse,
    text,
    usage,
)
from tests.support.weather import weather_call


def test_thinking_is_one_folded_block_whose_tags_are_chunks_of_their_own(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Two and two", "It is four.")))
    shown = talk.say()
    assert shown.text == "<think>\nTwo and two\n</think>\n\nIt is four."
    assert shown.pieces[0] == "<think>\n"
    assert "\n</think>\n\n" in shown.pieces
    assert shown.finish_reason == "stop"


def test_text_arrives_in_the_pieces_in_which_the_server_sent_it(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("a b", "c d")))
    assert talk.say().pieces == ["<think>\n", "a", " b", "\n</think>\n\n", "c", " d"]


def test_the_first_chunk_comes_while_the_server_still_reads_the_prompt(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat([head(), keepalive(1, 9), Reset()])
    chunks = talk.chunks()
    assert next(chunks).delta.message.content == ""


def test_content_is_always_text(server: ScriptedServer, talk: Talk) -> None:
    server.chat(reply(*weather_call()))
    shown = talk.say(tools=[WEATHER])
    assert all(isinstance(chunk.delta.message.content, str) for chunk in shown.chunks)


def test_usage_is_the_servers_and_stands_in_the_last_chunk_only(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Hm", "Yes"), completion_tokens=321))
    shown = talk.say()
    assert [chunk.delta.usage is not None for chunk in shown.chunks].count(True) == 1
    assert (
        shown.usage.prompt_tokens,
        shown.usage.completion_tokens,
        shown.usage.total_tokens,
    ) == (
        68,
        321,
        389,
    )
    assert shown.usage.latency > 0


def test_hidden_thinking_leaves_the_answer_alone(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Two and two", "It is four.")))
    assert talk.say(thinking="hide").text == "It is four."


def test_the_form_decides_where_a_request_does_not(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Two and two", "It is four.")))
    talk.credentials |= {"thinking": "hide", "effort": "high"}
    assert talk.say().text == "It is four."
    assert "<think>" in talk.say(thinking="fold").text
    assert [request.json["reasoning_effort"] for request in server.requests] == [
        "high",
        "high",
    ]


def test_reasoning_in_its_own_field_is_one_block_despite_empty_deltas(
    server: ScriptedServer, talk: Talk
) -> None:
    deltas: list[dict[str, object]] = [
        {"reasoning": "One"},
        {"content": ""},
        {"reasoning": " two"},
        {"content": None},
        {"content": "Answer"},
    ]
    server.chat(
        [
            head(),
            *(chunk(delta) for delta in deltas),
            chunk({}, "stop"),
            usage(5, 5),
            DONE,
        ]
    )
    assert talk.say().text == "<think>\nOne two\n</think>\n\nAnswer"


def test_a_closing_tag_inside_the_thinking_does_not_close_the_block(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("They wrote </think> and </details>", "Fine.")))
    shown = talk.say()
    assert shown.text.count("</think>") == 1
    assert "</details>" not in shown.text


def test_a_call_arrives_whole_in_one_chunk_after_the_block_is_closed(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*weather_call()))
    shown = talk.say(tools=[WEATHER])
    [call] = shown.calls
    assert (call.type, call.function.name) == ("function", "get_weather")
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    assert shown.text == "<think>\nI need a tool.\n</think>\n\n"
    assert shown.finish_reason == "tool_calls"
    position = next(
        i for i, chunk in enumerate(shown.chunks) if chunk.delta.message.tool_calls
    )
    assert shown.chunks[position].delta.message.content == ""
    assert not any(chunk.delta.message.content for chunk in shown.chunks[position:])


def test_several_calls_have_ids_of_their_own_also_across_replies(
    server: ScriptedServer, talk: Talk
) -> None:
    call = [
        *weather_call(),
        "<|call|>",
        "<|start|>",
        "assistant",
    ]
    twice = [*call, *weather_call("Rome")]
    server.chat(
        reply(*twice, reply_id="chatcmpl-a"), reply(*twice, reply_id="chatcmpl-b")
    )
    calls = talk.say(tools=[WEATHER]).calls + talk.say(tools=[WEATHER]).calls
    assert [json.loads(call.function.arguments)["city"] for call in calls] == [
        "Paris",
        "Rome",
    ] * 2
    assert len({call.id for call in calls}) == 4
    assert all(call.id for call in calls)


def test_a_call_of_a_tool_that_was_not_offered_is_an_error_and_is_not_passed_on(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony_call("delete_everything", "{}")))
    shown = talk.say(tools=[WEATHER])
    assert shown.calls == []
    assert isinstance(shown.error, InvokeBadRequestError)
    assert "delete_everything" in str(shown.error)


def test_a_call_that_is_lost_behind_a_preamble_is_an_error_too(
    server: ScriptedServer, talk: Talk
) -> None:
    preamble = [
        "<|channel|>",
        "comment",
        "ary",
        "<|message|>",
        "I look.",
        "<|end|>",
        "<|start|>",
    ]
    server.chat(reply(*preamble, "assistant", *harmony_call("delete_everything", "{}")))
    shown = talk.say(tools=[WEATHER])
    assert shown.pieces[0] == "I look."
    assert type(shown.error) is InvokeBadRequestError


def test_a_call_whose_arguments_are_cut_off_is_an_error(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony_call("get_weather", '{"city": Paris')))
    shown = talk.say(tools=[WEATHER])
    assert shown.calls == []
    assert "not complete JSON" in str(shown.error)


def test_arguments_that_are_not_json_are_an_error_that_says_so(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony_call("get_weather", "Paris, please")))
    shown = talk.say(tools=[WEATHER])
    assert "the arguments are not JSON: Expecting value" in str(shown.error)


@pytest.mark.parametrize(
    "behind", [" and then", "\n\nI wait for it.", " Now.<|call|>", "\n```"]
)
def test_words_behind_the_arguments_do_not_stop_a_call(
    server: ScriptedServer, talk: Talk, behind: str
) -> None:
    server.chat(reply(*harmony_call("get_weather", '{"city": "Paris"}' + behind)))
    shown = talk.say(tools=[WEATHER])
    [call] = shown.calls
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    assert shown.error is None


@pytest.mark.parametrize(
    "name",
    [
        "get_weather<|channel|>analysis",
        "functions.get_weather",
        "get_weather <|constrain|>json",
    ],
)
def test_a_call_in_its_own_field_runs_although_its_name_holds_a_header(
    server: ScriptedServer, talk: Talk, name: str
) -> None:
    function = {"name": name, "arguments": '{"city": "Paris"}'}
    call = {"index": 0, "id": "c1", "type": "function", "function": function}
    deltas = chunk({"reasoning": "Hm"}), chunk({"tool_calls": [call]})
    server.chat([head(), *deltas, chunk({}, "tool_calls"), usage(5, 5), DONE])
    shown = talk.say(tools=[WEATHER])
    assert [call.function.name for call in shown.calls] == ["get_weather"]
    assert shown.error is None


def test_tools_are_kept_from_a_model_whose_tool_calling_is_off(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Hm", "Yes")))
    talk.credentials["tool_calling"] = "false"
    talk.say(tools=[WEATHER])
    assert "tools" not in server.requests[0].json


@pytest.mark.parametrize(
    "older", [False, True], ids=["replayed <think>", "dropped by Dify"]
)
def test_thinking_stays_with_its_call_while_the_loop_is_open(
    server: ScriptedServer, talk: Talk, older: bool
) -> None:
    server.chat(
        reply(
            *weather_call("Paris", "Paris it is."),
            reply_id=f"chatcmpl-{older}",
        ),
        reply(*harmony("Sunny", "It is sunny.")),
    )
    question = UserPromptMessage(content="Weather?")
    shown = talk.say([question], tools=[WEATHER])
    said = AssistantPromptMessage(
        content="" if older else shown.text, tool_calls=shown.calls
    )
    result = ToolPromptMessage(content="18 degrees", tool_call_id=shown.calls[0].id)
    assert talk.say([question, said, result], tools=[WEATHER]).text.endswith(
        "It is sunny."
    )
    sent = server.requests[1].json["messages"]
    assert isinstance(sent, list)
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[1]["thinking"] == "Paris it is."
    assert "<think>" not in json.dumps(sent)


def test_finished_turns_go_back_without_any_thinking(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Hm", "Yes")))
    talk.say(
        [
            SystemPromptMessage(content="Be brief."),
            UserPromptMessage(content="Hi"),
            AssistantPromptMessage(
                content="<think>\none\n</think>\n\n<think>\ntwo\n</think>\n\nHello"
            ),
            UserPromptMessage(content="And?"),
        ]
    )
    sent = server.requests[0].json["messages"]
    assert sent == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "And?"},
    ]


def test_parameters_reach_the_server_under_its_names(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Hm", "Yes")))
    wishes: dict[str, Any] = {
        "temperature": 0.3,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "seed": 7,
    }
    talk.say(**wishes, max_tokens=4000, reasoning_effort="high")
    body = server.requests[0].json
    assert {name: body[name] for name in wishes} == wishes
    assert body["max_tokens"] == 4000
    assert body["chat_template_kwargs"] == {"reasoning_effort": "high"}


def test_without_parameters_the_defaults_of_gpt_oss_apply(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Hm", "Yes")))
    talk.say()
    body = server.requests[0].json
    assert (body["max_tokens"], body["temperature"], body["top_p"]) == (8192, 1.0, 1.0)
    assert (body["model"], body["reasoning_effort"]) == ("default_model", "medium")


def test_a_custom_model_is_asked_for_by_its_id(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Hm", "Yes")))
    talk.say(model="mlx-community/other")
    talk.credentials["model_id"] = "mlx-community/third"
    talk.say(model="my name for it")
    assert [request.json["model"] for request in server.requests] == [
        "mlx-community/other",
        "mlx-community/third",
    ]


def test_with_a_small_budget_the_model_thinks_briefly_and_unseen_and_still_answers(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("A title is due", "Weather in Paris")))
    shown = talk.say(max_tokens=100, reasoning_effort="high")
    body = server.requests[0].json
    assert body["reasoning_effort"] == "low"
    assert body["max_tokens"] == 612
    assert shown.text == "Weather in Paris"


def test_a_small_budget_still_limits_the_answer(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Hm", "one two three four")))
    shown = talk.say(max_tokens=2)
    assert shown.text == "one two"
    assert shown.finish_reason == "length"
    assert shown.usage.completion_tokens > 0


def test_an_answer_of_just_the_small_budget_is_complete(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Hm", "one two")))
    shown = talk.say(max_tokens=2)
    assert (shown.text, shown.finish_reason) == ("one two", "stop")


def test_stop_words_cut_the_answer_and_not_the_thinking(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("END hm", "Yes. END no")))
    shown = talk.say(stop=["END"])
    assert shown.text == "<think>\nEND hm\n</think>\n\nYes. "
    assert (shown.finish_reason, shown.error) == ("stop", None)
    assert shown.usage.completion_tokens > 0
    assert "stop" not in server.requests[0].json


def test_a_caller_that_does_not_stream_gets_everything_in_its_one_chunk(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*weather_call()))
    shown = talk.say(tools=[WEATHER], stream=False)
    assert len(shown.chunks) == 1
    assert shown.text == "<think>\nI need a tool.\n</think>\n\n"
    assert [call.function.name for call in shown.calls] == ["get_weather"]
    assert (shown.finish_reason, shown.usage.prompt_tokens) == ("tool_calls", 68)


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def test_a_json_reply_is_json_and_nothing_else(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Let me count", '```json\n{"n": 3}\n```')))
    shown = talk.say(response_format="json_object")
    assert json.loads(shown.text) == {"n": 3}
    assert shown.pieces == ['{"n": 3}']


@pytest.mark.parametrize(
    "schema",
    [SCHEMA, {"name": "llm_response", "schema": SCHEMA}],
    ids=["plain", "as Dify wraps it"],
)
def test_a_reply_that_fits_the_schema_is_passed_on(
    server: ScriptedServer, talk: Talk, schema: dict[str, object]
) -> None:
    server.chat(reply(*harmony("Let me count", '{"n": 3}')))
    shown = talk.say(response_format="json_schema", json_schema=json.dumps(schema))
    assert json.loads(shown.text) == {"n": 3}
    system = server.requests[0].json["messages"][0]  # type: ignore[index]
    assert "# Response Formats" in system["content"]
    assert '"integer"' in system["content"]


def test_a_reply_that_does_not_fit_the_schema_is_an_error_that_names_the_place(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Let me count", '{"n": "three"}')))
    shown = talk.say(response_format="json_schema", json_schema=json.dumps(SCHEMA))
    assert shown.text == ""
    assert isinstance(shown.error, InvokeServerUnavailableError)
    assert "$.n" in str(shown.error)


def test_a_reply_that_is_no_json_is_an_error_that_shows_it(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Let me count", "Three of them.")))
    shown = talk.say(response_format="json_object")
    assert shown.text == ""
    assert "not valid JSON" in str(shown.error)
    assert "“Three of them.”" in str(shown.error)
    server.chat(reply(*harmony("Let me count", "Three of them. " * 1000)))
    assert len(str(talk.say(response_format="json_object").error)) < 500


CLOSED = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "rivers": {"type": "array", "items": {"$ref": "#/$defs/river"}},
    },
    "patternProperties": {"^x-": {}},
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {
        "river": {
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "additionalProperties": False,
        }
    },
}


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ('{"city": "Paris", "mayor": "A"}', {"city": "Paris"}),
        ('{"city": "Paris", "x-a": 1, "y-a": 1}', {"city": "Paris", "x-a": 1}),
        (
            '{"city": "Paris", "rivers": [{"name": "Seine", "km": 777}], "mayor": "A"}',
            {"city": "Paris", "rivers": [{"name": "Seine"}]},
        ),
    ],
    ids=["an extra key", "patterns", "inner objects"],
)
def test_keys_that_the_schema_forbids_are_dropped(
    server: ScriptedServer, talk: Talk, answer: str, kept: dict[str, object]
) -> None:
    server.chat(reply(*harmony("Let me see", answer)))
    shown = talk.say(response_format="json_schema", json_schema=json.dumps(CLOSED))
    assert shown.error is None
    assert json.loads(shown.text) == kept


FENCE = "```"
UNTIDY = {
    "words before": ('Here is the JSON: {"n": 3}', {"n": 3}),
    "words behind": ('{"n": 3}\n\nI hope this helps {you}!', {"n": 3}),
    "Japanese around it": ('以下が JSON です。\n\n{"n": 3}\n\n以上です。', {"n": 3}),
    "words around a fence": (
        f'Sure! Here you go:\n\n{FENCE}json\n{{"n": 3}}\n{FENCE}\n\nAnything else?',
        {"n": 3},
    ),
    "a fence labelled JSON5": (f'{FENCE}JSON5\n{{"n": 3}}\n{FENCE}', {"n": 3}),
    "a fence labelled python": (f'{FENCE} python\n{{"n": 3}}\n{FENCE}', {"n": 3}),
    "a fence without a label": (f'{FENCE}\n{{"n": 3}}\n{FENCE}', {"n": 3}),
    "a fence of tildes": ('~~~json\n{"n": 3}\n~~~', {"n": 3}),
    "a fence that stays open": (f'{FENCE}json\n{{"n": 3}}', {"n": 3}),
    "twice": ('{"n": 3}{"n": 3}', {"n": 3}),
    "twice, laid out anew": ('{"n":3}\n\n{\n  "n": 3\n}', {"n": 3}),
    "raw line breaks": ('{"n": 3, "s": "x\ny\r\n\tz"}', {"n": 3, "s": "x\ny\r\n\tz"}),
    "trailing commas": ('{"n": 3, "l": [1, 2,],}', {"n": 3, "l": [1, 2]}),
    "comments": ('{"n": 3, // three\n# and\n/* no more */}', {"n": 3}),
    "single quotes": ("{'n': 3, 's': 'it\\'s'}", {"n": 3, "s": "it's"}),
    "Python's words": (
        "{'n': 3, 't': True, 'o': None}",
        {"n": 3, "t": True, "o": None},
    ),
    "keys without quotes": ("{n: 3}", {"n": 3}),
    "a bracket too few": ('{"n": 3, "o": {"p": [1', {"n": 3, "o": {"p": [1]}}),
    "a bracket too many": ('{"n": 3}}', {"n": 3}),
    "JSON in a string": (r'"{\"n\": 3}"', {"n": 3}),
}


@pytest.mark.parametrize(
    "wish",
    [
        {"response_format": "json_object"},
        {"response_format": "json_schema", "json_schema": json.dumps(SCHEMA)},
    ],
    ids=["any object", "by a schema"],
)
@pytest.mark.parametrize(("answer", "meant"), UNTIDY.values(), ids=UNTIDY)
def test_json_that_is_written_untidily_arrives_tidy(
    server: ScriptedServer,
    talk: Talk,
    answer: str,
    meant: dict[str, object],
    wish: dict[str, str],
) -> None:
    server.chat(reply(*harmony('Say {"n": 4}?', answer)))
    shown = talk.say(**wish)
    assert shown.error is None
    assert json.loads(shown.text) == meant


def test_a_list_is_taken_whole_out_of_its_sentence(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Two", 'Both of them: [{"n": 1}, {"n": 2},] Done.')))
    schema = json.dumps({"type": "array", "items": SCHEMA})
    shown = talk.say(response_format="json_schema", json_schema=schema)
    assert json.loads(shown.text) == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("name", ["json", "json_object", "json_schema"])
def test_json_in_a_call_to_a_tool_named_json_is_the_answer(
    server: ScriptedServer, talk: Talk, name: str
) -> None:
    server.chat(reply(*harmony_call(name, '{"city": "Paris",}')))
    shown = talk.say(response_format="json_schema", json_schema=json.dumps(CLOSED))
    assert shown.error is None
    assert json.loads(shown.text) == {"city": "Paris"}
    assert shown.calls == []


def test_extra_keys_beside_another_fault_are_not_dropped(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Let me see", '{"mayor": "A"}')))
    shown = talk.say(response_format="json_schema", json_schema=json.dumps(CLOSED))
    assert shown.text == ""
    assert "'city' is a required property" in str(shown.error)
    assert '“{"mayor": "A"}”' in str(shown.error)


def test_json_that_was_cut_names_max_tokens(server: ScriptedServer, talk: Talk) -> None:
    server.chat(reply(*harmony("Let me count", '{"n": [1, 2,'), finish_reason="length"))
    assert "Raise “Max tokens”" in str(talk.say(response_format="json_object").error)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("{", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('{"type": "nonsense"}', "not valid at $.type"),
        ('{"$schema": 5}', "cannot be read"),
        ('{"$schema": []}', "cannot be read"),
    ],
)
def test_an_invalid_schema_is_refused_before_anything_is_sent(
    server: ScriptedServer, talk: Talk, schema: str, words: str
) -> None:
    shown = talk.say(response_format="json_schema", json_schema=schema)
    assert type(shown.error) is InvokeBadRequestError
    assert words in str(shown.error)
    assert server.requests == []


def test_a_schema_that_points_elsewhere_is_not_fetched(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Hm", '{"n": 3}')))
    shown = talk.say(
        response_format="json_schema",
        json_schema=json.dumps({"$ref": f"{server.base_url}/schema.json"}),
    )
    assert "does not hold" in str(shown.error)
    assert server.requests_to("/schema.json") == []


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$id": "http://[", "$ref": "x"},
        {"$ref": "#/a", "a": 5},
    ],
    ids=json.dumps,
)
def test_a_schema_that_leads_nowhere_is_an_error_of_one_sentence(
    server: ScriptedServer, talk: Talk, schema: object
) -> None:
    server.chat(reply(*harmony("Hm", '{"n": 3}')))
    shown = talk.say(response_format="json_schema", json_schema=json.dumps(schema))
    assert isinstance(shown.error, InvokeServerUnavailableError)
    assert "cannot be applied" in str(shown.error)


def test_text_already_written_stays_when_the_stream_breaks_off(
    server: ScriptedServer, talk: Talk
) -> None:
    tokens = harmony("Two and two", "It is")
    server.chat([head(), *(text(token) for token in tokens)])
    shown = talk.say()
    assert shown.text == "<think>\nTwo and two\n</think>\n\nIt is"
    assert type(shown.error) is InvokeConnectionError
    assert not any(chunk.delta.finish_reason for chunk in shown.chunks)


def test_a_break_within_the_thinking_closes_the_block(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat([head(), *(text(token) for token in harmony("Two and two", "It")[:6])])
    shown = talk.say()
    assert shown.text.endswith("\n</think>\n\n")
    assert type(shown.error) is InvokeConnectionError


def test_max_tokens_that_end_within_the_thinking_are_named(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(
        reply("<|channel|>", "analysis", "<|message|>", "Hm", finish_reason="length")
    )
    shown = talk.say(max_tokens=1000)
    assert shown.text == "<think>\nHm\n</think>\n\n"
    assert shown.finish_reason == "length"
    assert type(shown.error) is InvokeBadRequestError
    assert "“Max tokens”" in str(shown.error)


def test_an_answer_cut_by_max_tokens_is_no_error(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Hm", "It is"), finish_reason="length"))
    shown = talk.say()
    assert (shown.finish_reason, shown.error) == ("length", None)


ERRORS: dict[str, tuple[Script, type[InvokeError]]] = {
    "unauthorized": (page(401, "no"), InvokeAuthorizationError),
    "rate limited": (page(429, "slow down"), InvokeRateLimitError),
    "wrong path": (
        page(404, "<html><body>nginx</body></html>", "text/html"),
        InvokeBadRequestError,
    ),
    "bad gateway": (page(502, "bad gateway"), InvokeServerUnavailableError),
    "error frame": (
        [head(), sse({"error": {"message": "boom"}})],
        InvokeServerUnavailableError,
    ),
    "web page": (
        page(200, "<html><body>Login</body></html>", "text/html"),
        InvokeBadRequestError,
    ),
    "dead generation thread": ([head(), Reset()], InvokeServerUnavailableError),
}


@pytest.mark.parametrize(("script", "kind"), ERRORS.values(), ids=ERRORS)
def test_an_error_is_one_of_difys_own_kinds_with_a_sentence(
    server: ScriptedServer, talk: Talk, script: Script, kind: type[InvokeError]
) -> None:
    server.chat(script)
    talk.credentials["api_key"] = "sk-very-secret"
    shown = talk.say()
    assert type(shown.error) is kind
    assert len(str(shown.error)) > 20
    assert "sk-very-secret" not in repr(shown.error) + str(shown.error)
    assert shown.error.__cause__ is None
    assert shown.error.__suppress_context__


def test_a_refused_connection_is_difys_connection_error(talk: Talk) -> None:
    talk.credentials["base_url"] = "http://localhost:9"
    shown = talk.say()
    assert type(shown.error) is InvokeConnectionError
    assert "host.docker.internal" in str(shown.error)


def test_settings_without_a_url_are_named(talk: Talk) -> None:
    talk.credentials["base_url"] = " "
    shown = talk.say()
    assert type(shown.error) is InvokeBadRequestError
    assert "“Server URL”" in str(shown.error)


def test_a_reader_that_leaves_ends_the_generation(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat([head(), *(text(token) for token in harmony("Hm", "It is")), Hang()])
    chunks = talk.chunks()
    assert "<think>\n" in (
        next(chunks).delta.message.content,
        next(chunks).delta.message.content,
    )
    chunks.close()
    assert server.requests[0].was_closed_by_client()

"""The plugin as the SDK runs it, against the real mlx_lm.server with the toy model: what a Dify user does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dify.plugin_process import Message, Plugin, ServerlessPlugin
from tests.dify.toy_chats import AGENT_RUNS, TRANSCRIPTS, Chat, real_server
from tests.server import ScriptedServer, harmony, models, page, reply
from tests.support.weather import WEATHER_FUNCTION

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def plugin() -> Iterator[Plugin]:
    with ServerlessPlugin(ROOT) as process:
        yield process


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with real_server() as server:
        yield server.base_url


@pytest.fixture(scope="module")
def chat(plugin: Plugin, base_url: str) -> Chat:
    return Chat(plugin, {"base_url": base_url})


def validate(
    plugin: Plugin, model: str = "gpt-oss-20b", **credentials: object
) -> Message:
    return plugin.ask(
        "validate_model_credentials",
        model_type="llm",
        model=model,
        credentials=credentials,
    )


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
def test_save_accepts_a_server_that_works(
    plugin: Plugin, base_url: str, path: str
) -> None:
    credentials = {"base_url": base_url + path}
    for answer in (
        plugin.ask("validate_provider_credentials", credentials=credentials),
        validate(plugin, **credentials),
    ):
        assert answer["data"]["result"] is True, answer  # type: ignore[index]


def refusal(answer: Message) -> str:
    assert answer["type"] == "error"
    data = answer["data"]
    assert isinstance(data, dict)
    assert data["error_type"] == "CredentialsValidateFailedError"
    text: str = data["message"]
    return text


def test_save_names_a_server_that_is_not_there_and_the_container_in_between(
    plugin: Plugin,
) -> None:
    assert "host.docker.internal" in refusal(
        validate(plugin, base_url="http://localhost:9")
    )


def test_save_names_a_wrong_path(plugin: Plugin, base_url: str) -> None:
    assert "path" in refusal(validate(plugin, base_url=f"{base_url}/nowhere"))


def test_save_names_an_unknown_model_and_the_nearest_ones(
    plugin: Plugin, server: ScriptedServer
) -> None:
    server.models(models("mlx-community/gpt-oss-20b-MXFP4-Q8"))
    text = refusal(validate(plugin, "gpt-oss-20b-mxfp4", base_url=server.base_url))
    assert "gpt-oss-20b-mxfp4" in text
    assert "mlx-community/gpt-oss-20b-MXFP4-Q8" in text
    # It would have begun a download.
    assert server.requests_to("/v1/chat/completions") == []


def test_save_names_a_server_that_is_too_old(
    plugin: Plugin, server: ScriptedServer
) -> None:
    server.chat(page(404, "Not Found"))
    assert "mlx-lm" in refusal(validate(plugin, base_url=server.base_url))


def test_save_names_a_lossy_version(plugin: Plugin, server: ScriptedServer) -> None:
    old = "0.26.3-0.28.0-macOS-arm64"
    hello, lost = (
        reply(*harmony("Hm", "Yes"), fingerprint=old, completion_tokens=count)
        for count in (8, 90)
    )
    server.chat(hello, lost)
    assert "0.26.4" in refusal(validate(plugin, base_url=server.base_url))


@pytest.mark.e2e
def test_save_refuses_the_lossy_version_itself(plugin: Plugin) -> None:
    with real_server(name="mlx-lm-0.26.3") as old:
        assert "0.26.4" in refusal(validate(plugin, base_url=old.base_url))


@pytest.mark.parametrize(
    ("field_", "value"),
    [("context_size", "many"), ("idle_timeout", "-1"), ("base_url", "")],
)
def test_save_names_a_field_that_holds_nonsense(
    plugin: Plugin, base_url: str, field_: str, value: str
) -> None:
    text = refusal(validate(plugin, **{"base_url": base_url, field_: value}))
    assert "Enter" in text


def test_the_schema_of_a_custom_model_holds_what_the_form_says(
    plugin: Plugin, base_url: str
) -> None:
    credentials = {
        "base_url": base_url,
        "display_name": "Our model",
        "context_size": "4096",
        "max_tokens_limit": "2000",
        "effort": "high",
        "tool_calling": "false",
    }
    answer = plugin.ask(
        "get_ai_model_schemas",
        model_type="llm",
        model="our/model",
        credentials=credentials,
    )
    schema = answer["data"]["model_schema"]  # type: ignore[index]
    rules = {rule["name"]: rule for rule in schema["parameter_rules"]}
    assert (schema["label"]["en_US"], schema["model"]) == ("Our model", "our/model")
    assert schema["model_properties"] == {"mode": "chat", "context_size": 4096}
    assert schema["features"] == ["agent-thought", "structured-output"]
    assert (rules["max_tokens"]["max"], rules["max_tokens"]["default"]) == (2000, 2000)
    assert rules["reasoning_effort"]["default"] == "high"


@pytest.mark.parametrize(
    "name",
    ["greeting_ja", "kyoto_ja", "characters", "literal_markers", "code", "table"],
)
def test_a_chat_shows_the_thinking_folded_and_the_answer_clean(
    chat: Chat, name: str
) -> None:
    known = TRANSCRIPTS[name]
    shown = chat.say(known.prompt)
    assert shown.error == ""
    assert shown.text == f"<think>\n{known.thinking}\n</think>\n\n{known.answer}"
    assert shown.finish_reason == "stop"
    assert shown.usage["prompt_tokens"] > 0  # type: ignore[operator]
    assert shown.usage["completion_tokens"] > len(shown.pieces) - 3  # type: ignore[operator]


def test_two_thoughts_are_one_block_with_a_blank_line_between(chat: Chat) -> None:
    known = TRANSCRIPTS["two_thoughts"]
    thinking = known.thinking.replace("Second thought", "\n\nSecond thought")
    assert (
        chat.say(known.prompt).text
        == f"<think>\n{thinking}\n</think>\n\n{known.answer}"
    )


def test_an_answer_without_thinking_has_no_block(chat: Chat) -> None:
    assert chat.say(TRANSCRIPTS["no_thinking"].prompt).pieces[0] != "<think>\n"
    assert (
        chat.say(TRANSCRIPTS["bare_text"].prompt).text
        == TRANSCRIPTS["bare_text"].answer
    )


def test_a_second_turn_works_although_dify_replays_the_thinking(chat: Chat) -> None:
    first = chat.say("Hello!")
    second = chat.say(
        "Hello!",
        {"role": "assistant", "content": first.text},
        TRANSCRIPTS["second_turn"].prompt,
    )
    assert second.answer == TRANSCRIPTS["second_turn"].answer


@pytest.mark.parametrize(
    "dropped", [False, True], ids=["thinking replayed", "thinking dropped by Dify"]
)
@pytest.mark.parametrize(("question", "end"), AGENT_RUNS.items())
def test_an_agent_runs_its_tools_and_answers(
    chat: Chat, question: str, end: str, dropped: bool
) -> None:
    rounds = chat.run_agent(TRANSCRIPTS[question].prompt, content_is_dropped=dropped)
    assert [shown.error for shown in rounds] == [""] * len(rounds)
    assert rounds[-1].answer == TRANSCRIPTS[end].answer
    calls = [call for shown in rounds for call in shown.calls]
    assert len({call["id"] for call in calls}) == len(calls) > 0
    assert [shown.finish_reason for shown in rounds] == ["tool_calls"] * (
        len(rounds) - 1
    ) + ["stop"]
    assert all(
        shown.text.count("<think>") == shown.text.count("</think>") for shown in rounds
    )


def test_two_calls_in_one_reply_are_two_chunks(chat: Chat) -> None:
    shown = chat.say(TRANSCRIPTS["two_calls"].prompt, tools=[WEATHER_FUNCTION])
    cities = [json.loads(call["function"]["arguments"])["city"] for call in shown.calls]  # type: ignore[index]
    assert cities == ["Berlin", "Madrid"]


@pytest.mark.parametrize(
    ("name", "why"),
    [("unknown_tool", "not among the tools offered"), ("broken_call", "JSON")],
)
def test_a_call_that_cannot_be_run_is_named_and_not_passed_on(
    chat: Chat, name: str, why: str
) -> None:
    shown = chat.say(TRANSCRIPTS[name].prompt, tools=[WEATHER_FUNCTION])
    assert shown.calls == []
    assert shown.error.startswith("InvokeBadRequestError: The model ")
    assert why in shown.error


def test_a_json_reply_is_json_alone(chat: Chat) -> None:
    shown = chat.say(TRANSCRIPTS["json"].prompt, response_format="json_object")
    assert json.loads(shown.text) == json.loads(TRANSCRIPTS["json"].answer)


def test_a_json_reply_is_held_to_its_schema(chat: Chat) -> None:
    prompt = TRANSCRIPTS["json"].prompt
    fits = {
        "type": "object",
        "required": ["city"],
        "properties": {"population": {"type": "integer"}},
    }
    schema = json.dumps({"name": "llm_response", "schema": fits})
    assert (
        json.loads(
            chat.say(prompt, response_format="json_schema", json_schema=schema).text
        )["city"]
        == "Paris"
    )
    schema = json.dumps({"type": "object", "required": ["mayor"]})
    assert (
        "mayor"
        in chat.say(prompt, response_format="json_schema", json_schema=schema).error
    )


def test_a_tiny_budget_is_enough_for_a_title(chat: Chat) -> None:
    shown = chat.say(TRANSCRIPTS["user_input_title"].prompt, max_tokens=100)
    assert json.loads(shown.text)["Your Output"] == "A toy chat 👋"


def test_thinking_longer_than_a_tiny_budget_still_leaves_room_for_the_answer(
    chat: Chat,
) -> None:
    known = TRANSCRIPTS["long_thinking"]
    # More than the budget, at four characters a token.
    assert len(known.thinking) > 100 * 4
    assert chat.say(known.prompt, max_tokens=100).text == known.answer


def test_a_long_answer_is_cut_by_max_tokens(chat: Chat) -> None:
    shown = chat.say(TRANSCRIPTS["long_story"].prompt, max_tokens=40)
    assert TRANSCRIPTS["long_story"].answer.startswith(shown.text)
    assert shown.text
    assert (shown.finish_reason, shown.error) == ("length", "")


def test_stop_words_end_the_answer(chat: Chat) -> None:
    shown = chat.say(TRANSCRIPTS["kyoto_ja"].prompt, stop=["伏見"])
    assert shown.answer == TRANSCRIPTS["kyoto_ja"].answer.partition("伏見")[0]


@pytest.mark.parametrize("name", ["only_thinking", "empty"])
def test_a_reply_without_an_answer_is_an_error(chat: Chat, name: str) -> None:
    shown = chat.say(TRANSCRIPTS[name].prompt)
    assert shown.error.startswith("InvokeServerUnavailableError: ")
    assert shown.text.count("<think>") == shown.text.count("</think>")


def test_a_caller_that_does_not_stream_gets_one_chunk(chat: Chat) -> None:
    known = TRANSCRIPTS["greeting"]
    shown = chat.say(known.prompt, stream=False)
    assert shown.pieces == [f"<think>\n{known.thinking}\n</think>\n\n{known.answer}"]


def test_a_custom_model_that_the_server_does_not_have_is_an_error(chat: Chat) -> None:
    assert chat.say("Hello!", model="nobody/nothing").error.startswith(
        "InvokeBadRequestError: "
    )

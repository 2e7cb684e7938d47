"""Replies larger than what Dify's daemon bears in one line (5 MiB), and servers that repeat their ids."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from dify_plugin.entities.model.message import (
    AssistantPromptMessage,
    PromptMessage,
    ToolPromptMessage,
    UserPromptMessage,
)

from tests.dify.plugin_process import PipedPlugin
from tests.dify.sdk_driver import WEATHER, Talk
from tests.server import DONE, ScriptedServer, chunk, harmony, head, reply, text
from tests.support.weather import weather_call

ROOT = Path(__file__).parents[2]
LINE_LIMIT = 5 * 1024 * 1024
LONG = "🌸花" * 800_000


@pytest.fixture(scope="module")
def plugin() -> Iterator[PipedPlugin]:
    with PipedPlugin(ROOT) as process:
        yield process


def test_a_long_delta_reaches_dify_whole_in_lines_that_are_short_enough(
    plugin: PipedPlugin, server: ScriptedServer
) -> None:
    parts = [text("<|channel|>analysis<|message|>"), text(LONG), text("<|end|>")]
    parts += [text("<|start|>assistant<|channel|>final<|message|>"), text(LONG)]
    server.chat([head(), *parts, chunk({}, "stop"), DONE])
    question: list[dict[str, object]] = [{"role": "user", "content": "Hello"}]
    messages = list(plugin.chat({"base_url": server.base_url}, question))
    assert [message["type"] for message in messages][-1] == "end"
    assert max(len(json.dumps(message)) for message in messages) < LINE_LIMIT
    content = "".join(
        message["data"]["delta"]["message"]["content"]  # type: ignore[index]
        for message in messages[:-1]
    )
    assert content == f"<think>\n{LONG}\n</think>\n\n{LONG}"


def test_long_json_arrives_whole(server: ScriptedServer, talk: Talk) -> None:
    answer = json.dumps({"text": LONG}, ensure_ascii=False)
    server.chat(reply(*harmony("Hm", answer)))
    shown = talk.say(response_format="json_object")
    assert json.loads(shown.text) == {"text": LONG}
    assert max(map(len, shown.pieces)) < LINE_LIMIT / 12


def test_a_call_that_is_too_long_for_a_line_is_an_error_and_is_not_passed_on(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*weather_call("花" * 300_000)))
    shown = talk.say(tools=[WEATHER])
    assert shown.calls == []
    assert "more arguments than Dify can take" in str(shown.error)


def test_a_caller_that_does_not_stream_is_told_where_a_reply_is_too_long(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Hm", LONG)))
    shown = talk.say(stream=False)
    assert shown.chunks == []
    assert "“Max tokens”" in str(shown.error)


def test_the_thinking_of_one_user_does_not_reach_another_on_a_server_that_repeats_ids(
    server: ScriptedServer, talk: Talk
) -> None:
    mine, other = (weather_call("Paris", f"{who} secret.") for who in ("My", "Your"))
    answer = reply(*harmony("Hm", "Sunny"))
    server.chat(reply(*mine, reply_id="x"), reply(*other, reply_id="x"), answer)
    question = UserPromptMessage(content="Weather?")
    calls = talk.say([question], tools=[WEATHER]).calls
    talk.say([question], tools=[WEATHER])
    prompt: list[PromptMessage] = [
        question,
        AssistantPromptMessage(content="", tool_calls=calls),
        ToolPromptMessage(content="18 degrees", tool_call_id=calls[0].id),
    ]
    talk.say(prompt, tools=[WEATHER])
    sent = json.dumps(server.requests[2].json)
    assert "My secret." in sent
    assert "Your secret." not in sent

"""Logprobs reach whoever asks for them, beside the answer and never in it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pipe.fake_host import Host, joined
from tests.server import (
    DONE,
    ScriptedServer,
    chunk,
    harmony,
    head,
    json_page,
    reply,
    sse,
)

PROGRAM: dict[str, Any] = {"__metadata__": {"session_id": None, "chat_id": None}}
PAGE: dict[str, Any] = {}


def record(content: str) -> bytes:
    """One token as llama.cpp streams it."""
    told = {"token": content, "logprob": -0.5, "bytes": None, "top_logprobs": []}
    choice = {"delta": {"content": content}, "logprobs": {"content": [told]}}
    return sse({"choices": [choice | {"index": 0, "finish_reason": None}]})


def stream(*tokens: str) -> list[bytes]:
    return [head(), *map(record, tokens), chunk({}, "stop"), DONE]


def tokens_in(chunks: list[dict[str, Any]]) -> list[str]:
    choices = [choice for piece in chunks for choice in piece["choices"]]
    told = [choice["logprobs"]["content"] for choice in choices if "logprobs" in choice]
    assert all(told), "an empty list says nothing"
    return [entry["token"] for entries in told for entry in entries]


@pytest.mark.parametrize("asker", [PROGRAM, PAGE], ids=["program", "page"])
def test_a_stream_tells_the_logprobs_of_the_answer_beside_it(
    host: Host, server: ScriptedServer, asker: dict[str, Any]
) -> None:
    server.chat(stream(*harmony("Easy.", "Four"), "."))
    chunks = host.chat(logprobs=True, top_logprobs=2, **asker)
    assert server.requests[0].json["stream"] is True
    assert server.requests[0].json["top_logprobs"] == 2
    assert joined(chunks) == "".join(tokens_in(chunks))
    assert "<|" not in str(chunks)


def test_tokens_whose_text_comes_last_are_told_at_the_end(
    host: Host, server: ScriptedServer
) -> None:
    server.chat([head(), record("Four <"), chunk({}, "stop"), DONE])
    chunks = host.chat(logprobs=True, **PROGRAM)
    assert tokens_in(chunks) == ["Four <"]


def test_many_tokens_that_arrive_together_still_leave_together(
    host: Host, server: ScriptedServer
) -> None:
    records = b"".join(record(f" {number}") for number in range(300))
    server.chat([head() + records + chunk({}, "stop") + DONE])
    chunks = host.chat(logprobs=True, **PROGRAM)
    assert len(tokens_in(chunks)) == 300
    assert len(chunks) < 100


@pytest.mark.parametrize("body", [{}, {"logprobs": False}, {"logprobs": 5}], ids=str)
def test_nobody_who_does_not_ask_gets_any(
    host: Host, server: ScriptedServer, body: dict[str, Any]
) -> None:
    server.chat(reply("Four", "."))
    assert tokens_in(host.chat(**body)) == []
    assert "logprobs" not in host.complete(**body)["choices"][0]
    for request in server.requests:
        assert "logprobs" not in request.json
        assert request.json["stream"] is True


def test_a_program_that_does_not_stream_gets_what_the_server_tells_of_a_whole_reply(
    host: Host, server: ScriptedServer
) -> None:
    told = [{"id": 200005, "logprob": -0.5}, {"id": 35, "logprob": 0.0}]
    message = {"role": "assistant", "content": "".join(harmony("Easy.", "Four."))}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    counts = {"prompt_tokens": 68, "completion_tokens": 9}
    choice["logprobs"] = {"content": told}
    server.chat(json_page({"choices": [choice], "usage": counts}))
    answer = host.complete(logprobs=True, **PROGRAM)
    assert server.requests[0].json["stream"] is False
    assert "stream_options" not in server.requests[0].json
    assert answer["choices"][0]["message"]["content"] == "Four."
    assert answer["choices"][0]["logprobs"] == {"content": told}
    assert answer["usage"]["completion_tokens"] == 9


def test_a_server_that_streams_all_the_same_is_understood(
    host: Host, server: ScriptedServer
) -> None:
    server.chat(stream(*harmony("Easy.", "Four"), "."))
    choice = host.complete(logprobs=True, **PROGRAM)["choices"][0]
    tokens = [told["token"] for told in choice["logprobs"]["content"]]
    assert "".join(tokens) == choice["message"]["content"]


def test_a_task_streams_whatever_else_it_asks_for(
    host: Host, server: ScriptedServer
) -> None:
    server.chat(stream(*harmony("Easy.", "A title")))
    host.complete(logprobs=True, __task__="title_generation")
    assert server.requests[0].json["stream"] is True

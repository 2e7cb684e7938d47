"""Streams for the tests of ChatStream, in pieces, and the replies that they make."""

from __future__ import annotations

import json
from collections.abc import Iterable

from harmony_core.chat import ChatStream
from harmony_core.events import Event, Finish, Reply, collect
from tests.server.replies import DONE, chunk, reply, text

THINKING = "<|channel|>analysis<|message|>Think."
RAW = f"{THINKING}<|end|><|start|>assistant<|channel|>final<|message|>Answer."


def read(pieces: Iterable[bytes], stream: ChatStream | None = None) -> list[Event]:
    """All events of a stream, after checks that hold for every stream."""
    stream = stream or ChatStream()
    events = [event for piece in pieces for event in stream.feed(piece)]
    events += stream.close()
    assert [isinstance(event, Finish) for event in events] == [False] * (
        len(events) - 1
    ) + [True]
    assert stream.finished
    assert stream.feed(text("late")) == stream.close() == []
    return events


def answer_of(*pieces: bytes, **options: object) -> Reply:
    return collect(read(pieces, ChatStream(**options)))  # type: ignore[arg-type]


def deltas(*contents: object, finish_reason: str | None = "stop") -> list[bytes]:
    """A stream of chunks with these contents."""
    return [*map(text, contents), chunk({}, finish_reason), DONE]


def reply_of(*tokens: str, **options: object) -> Reply:
    return answer_of(*reply(*tokens)[1:], **options)  # type: ignore[arg-type]


def completion(message: object, **more: object) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": message, **more}
    return json.dumps({"id": "chatcmpl-9", "model": "m", "choices": [choice]}).encode()


def call_piece(
    name: str | None = None, arguments: object = None, **fields: object
) -> dict[str, object]:
    function = {"name": name, "arguments": arguments}
    return {
        **fields,
        "function": {
            key: value for key, value in function.items() if value is not None
        },
    }


def native_calls(*pieces: object, finish_reason: str = "tool_calls") -> Reply:
    """The reply that these pieces of calls make, one per delta; the tools f and g are offered."""
    chunks = [chunk({"tool_calls": [piece]}) for piece in pieces]
    return answer_of(*chunks, chunk({}, finish_reason), DONE, tools=["f", "g"])


def summary(got: Reply) -> list[tuple[str, str, str]]:
    return [(call.id, call.name, call.arguments) for call in got.tool_calls]

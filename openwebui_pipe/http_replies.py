"""Replies to programs, which Open WebUI passes on as they are.

From a dict it would make status 200 for an error, from a generator a second finish reason.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Protocol

from harmony_core.jsontext import JsonObject, dump_json
from openwebui_pipe.background_tasks import HttpRequest


class HttpReply(Protocol):
    """Starlette's response, of which the host wants the class `StreamingResponse`."""

    status_code: int
    body: bytes


def is_anthropic(request: object) -> bool:
    """Whether the host turns the reply into one of the Messages API, errors included."""
    return isinstance(request, HttpRequest) and "/message" in str(request.url)


def response_class() -> Callable[..., HttpReply] | None:
    """Starlette's `StreamingResponse`, which every Open WebUI has."""
    try:
        module = importlib.import_module("starlette.responses")
    except ImportError:
        return None
    found: Callable[..., HttpReply] = module.StreamingResponse
    return found


def error_reply(completion: JsonObject, status: int) -> JsonObject | HttpReply:
    """A completion that failed, as an HTTP error: OpenAI's clients raise it."""
    make = response_class()
    if make is None:
        return completion
    body = dump_json(completion).encode()

    async def content() -> AsyncIterator[bytes]:
        yield body

    reply = make(content(), status_code=status, media_type="application/json")
    reply.body = body  # where the host looks for words
    return reply


def stream_reply(
    chunks: AsyncGenerator[JsonObject, None],
) -> AsyncGenerator[JsonObject, None] | HttpReply:
    """Chunks as an event stream, to which the host adds nothing."""
    make = response_class()
    if make is None:
        return chunks
    return make(event_stream(chunks), media_type="text/event-stream")


async def event_stream(
    chunks: AsyncGenerator[JsonObject, None],
) -> AsyncGenerator[str, None]:
    """The chunks as server-sent events."""
    try:
        async for chunk in chunks:
            yield f"data: {dump_json(chunk)}\n\n"
        yield "data: [DONE]\n\n"
    finally:
        await chunks.aclose()

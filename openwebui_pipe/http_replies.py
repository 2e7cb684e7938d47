"""HTTP responses to programs, which Open WebUI passes on unchanged.

It would send an error in a dict with status 200, and add a finish reason to a generator's.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Protocol

from harmony_core.jsontext import JsonObject, dump_json
from openwebui_pipe.background_tasks import HttpRequest


class HttpReply(Protocol):
    """Starlette's `StreamingResponse`, as far as the pipe uses it."""

    status_code: int
    body: bytes


def is_anthropic(request: object) -> bool:
    """Whether the request came by Anthropic's Messages API: the host converts its reply."""
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
    """A failed completion as an HTTP error, which OpenAI's clients raise."""
    make = response_class()
    if make is None:
        return completion
    body = dump_json(completion).encode()

    async def content() -> AsyncIterator[bytes]:
        yield body

    reply = make(content(), status_code=status, media_type="application/json")
    reply.body = body  # the host reads the message here
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

"""HTTP responses to programs, which Open WebUI passes on unchanged.

It would send an error in a dict with status 200, and add a finish reason to a generator's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from starlette.responses import StreamingResponse

from harmony_core.jsontext import JsonObject, dump_json
from openwebui_pipe.background_tasks import HttpRequest


def is_anthropic(request: object) -> bool:
    """Whether the request came by Anthropic's Messages API: the host converts its reply."""
    return isinstance(request, HttpRequest) and "/message" in str(request.url)


def error_reply(completion: JsonObject, status: int) -> StreamingResponse:
    """A failed completion as an HTTP error, which OpenAI's clients raise."""
    body = dump_json(completion).encode()

    async def content() -> AsyncIterator[bytes]:
        yield body

    reply = StreamingResponse(content(), status, media_type="application/json")
    reply.body = body  # the host reads the message here
    return reply


def stream_reply(chunks: AsyncGenerator[JsonObject, None]) -> StreamingResponse:
    """Chunks as an event stream, to which the host adds nothing."""
    return StreamingResponse(event_stream(chunks), media_type="text/event-stream")


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

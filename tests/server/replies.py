"""Scripts for `ScriptedServer`: replies of mlx_lm.server, and what else may answer.

A script is a list of steps. `bytes` are sent as they are, in one TCP write each; the other steps say what
they do. After the script the server closes the connection, as mlx_lm.server does.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

FINGERPRINT = "0.32.2-0.32.4-Linux-x86_64-with-glibc2.36-cpu"


@dataclass(frozen=True)
class Pause:
    """Send nothing for `seconds`."""

    seconds: float


@dataclass(frozen=True)
class Hang:
    """Keep the connection open and silent until the client closes it or the test ends."""


@dataclass(frozen=True)
class Reset:
    """End the connection with a TCP reset instead of an orderly close."""


@dataclass(frozen=True)
class Gate:
    """Wait until the test calls `open()`, which proves what arrived before the rest was sent."""

    event: threading.Event = field(default_factory=threading.Event)

    def open(self) -> None:
        self.event.set()


@dataclass(frozen=True)
class Drip:
    """Send the same bytes every `seconds` until the client closes the connection."""

    data: bytes
    seconds: float = 0.05


Step = bytes | Pause | Hang | Reset | Gate | Drip
Script = Sequence[Step]


def head(
    status: int = 200, content_type: str = "text/event-stream", **headers: str
) -> bytes:
    """A status line and headers as mlx_lm.server writes them: HTTP/1.0, no length, no chunks."""
    lines = [f"HTTP/1.0 {status} Scripted", "Server: BaseHTTP/0.6 Python/3.12.1"]
    lines.append(f"Content-type: {content_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def page(
    status: int, body: str | bytes, content_type: str = "text/plain", **headers: str
) -> Script:
    """A complete answer without streaming: an error, an HTML page, JSON."""
    raw = body.encode() if isinstance(body, str) else body
    return [head(status, content_type, Content_Length=str(len(raw)), **headers) + raw]


def json_page(value: object, status: int = 200) -> Script:
    """A complete JSON answer."""
    return page(status, json.dumps(value, ensure_ascii=False), "application/json")


def models(*ids: str) -> Script:
    """The answer of GET /v1/models."""
    data = [{"id": name, "object": "model", "created": 1} for name in ids]
    return json_page({"object": "list", "data": data})


def dripping_head() -> Script:
    """A header that grows slowly and never ends."""
    return [b"HTTP/1.1 200 OK\r\nX-Slow: ", Drip(b"x")]


def continue_drip(seconds: float = 0.05) -> Script:
    """`100 Continue` again and again; with a pause of 0, as fast as possible."""
    return [Drip(b"HTTP/1.1 100 Continue\r\n\r\n" * (1 if seconds else 1000), seconds)]


def dripping_page(status: int, start: str, content_type: str = "text/plain") -> Script:
    """An error or a list of models whose body grows slowly and never ends."""
    return [head(status, content_type), start.encode(), Drip(b" ")]


def dripping_chunk_size() -> Script:
    """A chunked body whose first line never ends."""
    chunked = head(200, "application/json", Transfer_Encoding="chunked")
    return [chunked.replace(b"HTTP/1.0", b"HTTP/1.1"), Drip(b"0")]


def endless_json() -> Script:
    """A completion without streaming that never ends, sent as fast as the client reads."""
    start = b'{"choices": [{"message": {"content": "'
    return [head(200, "application/json"), start, Drip(b"x" * 65_536, 0)]


def keepalive(done: int, total: int) -> bytes:
    """The comment that mlx_lm.server (>= 0.26.4) sends while it reads the prompt."""
    return f": keepalive {done}/{total}\n\n".encode()


def sse(value: object) -> bytes:
    """One event, in ASCII as mlx_lm.server writes it."""
    return f"data: {json.dumps(value)}\n\n".encode()


def chunk(
    delta: object,
    finish_reason: str | None = None,
    fingerprint: str = FINGERPRINT,
    reply_id: str = "chatcmpl-1",
) -> bytes:
    """One chunk of a streamed chat completion; a delta that is not an object is sent unchanged."""
    if isinstance(delta, dict):
        delta = {"role": "assistant", **delta}
    choice = {"index": 0, "finish_reason": finish_reason, "delta": delta}
    return sse(
        {
            "id": reply_id,
            "system_fingerprint": fingerprint,
            "object": "chat.completion.chunk",
            "model": "default_model",
            "created": 1,
            "choices": [choice],
        }
    )


def text(
    content: object, fingerprint: str = FINGERPRINT, reply_id: str = "chatcmpl-1"
) -> bytes:
    """A chunk that carries one token."""
    return chunk({"content": content}, None, fingerprint, reply_id)


def usage(prompt: int, completion: int, fingerprint: str = FINGERPRINT) -> bytes:
    """The usage chunk, which has no choices."""
    return sse(
        {
            "id": "chatcmpl-1",
            "system_fingerprint": fingerprint,
            "object": "chat.completion",
            "model": "default_model",
            "created": 1,
            "choices": [],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
                "prompt_tokens_details": {"cached_tokens": 0},
            },
        }
    )


DONE = b"data: [DONE]\n\n"


def reply(
    *tokens: str,
    finish_reason: str = "stop",
    completion_tokens: int | None = None,
    fingerprint: str = FINGERPRINT,
    reply_id: str = "chatcmpl-1",
) -> Script:
    """A complete streamed reply, one token per chunk.

    `completion_tokens` is the number in the usage chunk: by default the tokens and the end token.
    """
    count = len(tokens) + 1 if completion_tokens is None else completion_tokens
    return [
        head(),
        keepalive(67, 68),
        *(text(token, fingerprint, reply_id) for token in tokens),
        chunk({}, finish_reason, fingerprint, reply_id),
        usage(68, count, fingerprint),
        DONE,
    ]


def harmony(thinking: str, answer: str) -> list[str]:
    """Tokens of an ordinary Harmony reply: thinking, then the answer, word by word."""
    return [*_thinking_tokens(thinking), "final", "<|message|>", *_words(answer)]


def harmony_call(
    name: str, arguments: str, thinking: str = "I need a tool."
) -> list[str]:
    """Tokens of a reply that thinks, then calls a function; `<|call|>` itself never arrives."""
    recipient = ["comment", "ary", " to", "=", "functions", ".", name]
    body = [" <|constrain|>", "json", "<|message|>", *_words(arguments)]
    return [*_thinking_tokens(thinking), *recipient, *body]


def _thinking_tokens(thinking: str) -> list[str]:
    """The tokens of a thought, and the beginning of the next header up to its channel."""
    thought = ["<|channel|>", "analysis", "<|message|>", *_words(thinking), "<|end|>"]
    return [*thought, "<|start|>", "assistant", "<|channel|>"]


def _words(content: str) -> list[str]:
    first, *others = content.split(" ")
    return [first, *(f" {word}" for word in others)]

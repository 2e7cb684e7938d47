"""One chat request, measured: what came, in what form, and how fast."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..client import Client, ReplyStream, ServerError
from ..diagnosis import server_version
from ..events import Reply
from ..jsontext import JsonObject, as_object, load_json, objects_in
from ..markers import CONTROL_TOKENS
from ..problems import Problem
from ..request import ChatRequest
from ..sse import SseComment, SseDecoder

_FIELDS = ("reasoning", "reasoning_content", "thinking", "tool_calls")


@dataclass
class Wire:
    """The deltas of a reply as they came, with their times."""

    contents: list[str] = field(default_factory=list)
    structured: bool = False  # thinking or calls came in fields
    progress: bool = False
    first: float | None = None
    last: float | None = None
    _decoder: SseDecoder = field(default_factory=SseDecoder)

    def take(self, data: bytes) -> None:
        """Take what the server sent just now."""
        for item in self._decoder.feed(data):
            if isinstance(item, SseComment):
                self.progress = self.progress or "keepalive" in item.text
            else:
                for delta in _deltas(item):
                    self._take_delta(delta)

    def _take_delta(self, delta: JsonObject) -> None:
        content, split = delta.get("content"), any(delta.get(name) for name in _FIELDS)
        if isinstance(content, str) and content:
            self.contents.append(content)
        elif not split:
            return
        self.structured = self.structured or split
        self.last = time.monotonic()
        self.first = self.first or self.last

    @property
    def raw(self) -> str:
        """The content of all deltas."""
        return "".join(self.contents)

    @property
    def harmony(self) -> bool:
        """Whether control tokens came as text."""
        return not self.structured and any(
            token in self.raw for token in CONTROL_TOKENS
        )

    @property
    def aligned(self) -> bool:
        """Whether each control token is a delta for itself, but for blanks that were glued to it."""
        return not any(
            token in content and token != content.strip()
            for content in self.contents
            for token in CONTROL_TOKENS
        )


@dataclass(frozen=True)
class Measured:
    """What one request brought; `problem` is also set where the reply is no good as a whole."""

    wire: Wire
    reply: Reply
    problem: Problem | None
    fingerprint: str
    server_model: str
    began: float

    @property
    def version(self) -> tuple[int, int, int] | None:
        """The version of mlx-lm, None for another server."""
        return server_version(self.fingerprint)

    @property
    def prompt_tokens(self) -> int:
        return self.reply.usage.prompt_tokens if self.reply.usage else 0

    @property
    def first_token_seconds(self) -> float | None:
        return None if self.wire.first is None else self.wire.first - self.began

    @property
    def tokens_per_second(self) -> float | None:
        """None where too little came to tell."""
        if self.wire.first is None or self.wire.last is None:
            return None
        seconds = self.wire.last - self.wire.first
        counted = self.reply.usage.completion_tokens if self.reply.usage else 0
        tokens = (counted or len(self.wire.contents)) - 1
        return tokens / seconds if tokens > 1 and seconds > 0 else None


def measure(client: Client, request: ChatRequest) -> Measured:
    """Send a request and read the reply to its end; raises nothing."""
    wire, began = Wire(), time.monotonic()
    stream: ReplyStream | None = None
    try:
        with client.open(request, tap=wire.take) as stream:
            for _ in stream:
                pass
        problem = stream.problem
    except ServerError as error:
        problem = error.problem
    return Measured(
        wire,
        stream.reply if stream else Reply(),
        problem,
        stream.fingerprint if stream else "",
        stream.server_model if stream else "",
        began,
    )


def _deltas(data: bytes) -> Iterator[JsonObject]:
    try:
        chunk = as_object(load_json(data))
    except ValueError:
        return
    for choice in objects_in(chunk.get("choices")):
        yield as_object(choice.get("delta") or choice.get("message"))

"""One measured chat request: the deltas that came, their form, and their speed."""

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
from ..sse import SseDecoder

_FIELDS = ("reasoning", "reasoning_content", "thinking", "tool_calls")


@dataclass
class ReceivedDeltas:
    """The deltas of a reply as they came. `first` and `last` are times of `time.monotonic`."""

    contents: list[str] = field(default_factory=list)
    structured: bool = False  # thinking or calls came in separate fields
    first: float | None = None
    last: float | None = None
    _decoder: SseDecoder = field(default_factory=SseDecoder)

    def feed(self, data: bytes) -> None:
        """Record the bytes that the server has just sent."""
        for item in self._decoder.feed(data):
            if isinstance(item, bytes):
                for delta in _deltas_in(item):
                    self._record(delta)

    def _record(self, delta: JsonObject) -> None:
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
        """The text of all deltas."""
        return "".join(self.contents)

    @property
    def harmony(self) -> bool:
        """Whether control tokens came as text."""
        return not self.structured and any(
            token in self.raw for token in CONTROL_TOKENS
        )

    @property
    def aligned(self) -> bool:
        """Whether each control token came as a separate delta, apart from blanks glued to it."""
        return not any(
            token in content and token != content.strip()
            for content in self.contents
            for token in CONTROL_TOKENS
        )


@dataclass(frozen=True)
class Measured:
    """The result of one request. `problem` is also set if a complete reply is unusable."""

    deltas: ReceivedDeltas
    reply: Reply
    problem: Problem | None
    fingerprint: str
    server_model: str
    began: float

    @property
    def version(self) -> tuple[int, int, int] | None:
        """The version of mlx-lm; None for another server."""
        return server_version(self.fingerprint)

    @property
    def prompt_tokens(self) -> int:
        """The server's count; 0 if it sent none."""
        return self.reply.usage.prompt_tokens if self.reply.usage else 0

    @property
    def first_token_seconds(self) -> float | None:
        """The seconds from the request to the first delta; None if none came."""
        return None if self.deltas.first is None else self.deltas.first - self.began

    @property
    def tokens_per_second(self) -> float | None:
        """The rate after the first token; None if too few tokens came."""
        if self.deltas.first is None or self.deltas.last is None:
            return None
        seconds = self.deltas.last - self.deltas.first
        counted = self.reply.usage.completion_tokens if self.reply.usage else 0
        tokens = (counted or len(self.deltas.contents)) - 1
        return tokens / seconds if tokens > 1 and seconds > 0 else None


def measure(client: Client, request: ChatRequest) -> Measured:
    """Send a request and read the reply to its end. A ServerError becomes `problem`."""
    deltas, began = ReceivedDeltas(), time.monotonic()
    stream: ReplyStream | None = None
    try:
        with client.open(request, tap=deltas.feed) as stream:
            for _ in stream:
                pass
        problem = stream.problem
    except ServerError as error:
        problem = error.problem
    return Measured(
        deltas,
        stream.reply if stream else Reply(),
        problem,
        stream.fingerprint if stream else "",
        stream.server_model if stream else "",
        began,
    )


def _deltas_in(data: bytes) -> Iterator[JsonObject]:
    try:
        chunk = as_object(load_json(data))
    except ValueError:
        return
    for choice in objects_in(chunk.get("choices")):
        yield as_object(choice.get("delta") or choice.get("message"))

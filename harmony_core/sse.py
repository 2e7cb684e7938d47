"""Server-sent events: bytes in, cut anywhere; data and progress out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from .events import Progress

MAX_SSE_EVENT: Final = 16 * 1024 * 1024
"""Bytes of one line and of one event's data: a hostile server must not fill the memory."""

MAX_EVENT_LINES: Final = 1024
"""Lines of one event's data. It bounds the work that a single blank line can cause."""

SseField: TypeAlias = bytes | Progress
"""The lines of one event's data, not decoded; or progress (`: keepalive 1/2` of mlx_lm.server)."""

_PROGRESS: Final = re.compile(rb":\s*keepalive (\d{1,12})/(\d{1,12})\s*")
_SHORTEST_PROGRESS: Final = len(
    ":keepalive 1/2"
)  # a flood of shorter comments costs little


class SseDecoder:
    """Decode an event stream from bytes cut anywhere; never raises.

    A line ends with LF, CR LF or CR alone. Comments other than progress only show that
    this is a stream. Unlike a browser, this skips the names of events, and `close` yields
    the event whose blank line never came. A field `error: …` (older llama.cpp) is data,
    and so is a line of bare JSON (Ollama's errors). An event of more than
    `MAX_EVENT_LINES` lines comes in several parts.
    """

    def __init__(self) -> None:
        self.is_stream = False  # whether data or a comment came
        self.too_long = False  # a line or an event was too long: nothing follows
        self._line = bytearray()  # the unfinished line
        self._data: list[bytes] = []  # this event's lines of data
        self._size = 0  # their bytes
        self._behind_cr = False  # an LF that comes now belongs to the CR before it

    @property
    def between_events(self) -> bool:
        """Whether what comes next begins an event."""
        return not (self._line or self._data or self._behind_cr or self.too_long)

    def feed(self, data: bytes) -> Iterator[SseField]:
        """Take some bytes and yield what they complete. Read it to its end, or feed no more."""
        if self.too_long:
            return
        if b"\r" in data or self._behind_cr:
            data = self._with_line_feeds(data)
        *lines, last = data.split(b"\n")
        if lines and self._line:
            lines[0] = bytes(self._line) + lines[0]
            self._line.clear()
        yield from self._fields(lines)
        self._hold(last)

    def close(self) -> Iterator[SseField]:
        """Yield what the end completes: an open line or event."""
        if not self.too_long:
            yield from self._fields([bytes(self._line), b""])

    def _with_line_feeds(self, data: bytes) -> bytes:
        if self._behind_cr and data:
            data = data.removeprefix(b"\n")
            self._behind_cr = False
        if data.endswith(b"\r"):
            self._behind_cr = True
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _hold(self, data: bytes) -> None:
        self._line += data
        if len(self._line) > MAX_SSE_EVENT:
            self.too_long = True
            self._line.clear()

    def _fields(self, lines: Iterable[bytes]) -> Iterator[SseField]:
        for line in lines:
            if not line:
                if self._data:
                    yield self._event()
            elif len(line) + self._size > MAX_SSE_EVENT:
                self.too_long = True
                break
            elif line[:1] == b":":
                self.is_stream = True
                long = len(line) >= _SHORTEST_PROGRESS
                if long and (progress := _PROGRESS.fullmatch(line)):
                    yield Progress(int(progress[1]), int(progress[2]))
            else:
                field = line[6:] if line[:6] == b"data: " else _data_of(line)
                if field is not None:
                    self._data.append(field)
                    self._size += len(field) + 1
                    if len(self._data) == MAX_EVENT_LINES:
                        yield self._event()

    def _event(self) -> bytes:
        event = b"\n".join(self._data)
        self._data.clear()
        self._size = 0
        self.is_stream = True
        return event


def _data_of(line: bytes) -> bytes | None:
    name, _, value = line.partition(b":")
    if name[:1] == b"{":
        return line if value else None
    return value.removeprefix(b" ") if name in (b"data", b"error") else None

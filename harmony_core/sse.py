"""Server-sent events: bytes in, cut anywhere; data and comments out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

MAX_SSE_EVENT: Final = 16 * 1024 * 1024
"""Bytes of one line and of one event's data: a hostile server must not fill the memory."""

MAX_EVENT_LINES: Final = 1024
"""Lines of one event's data. It bounds the work that a single blank line can cause."""


SseField: TypeAlias = bytes | str
"""The data of one event, its lines joined by line breaks and not decoded; or a comment.

A comment is a line that begins with a colon. Servers keep the connection alive with it.
"""


class SseDecoder:
    """Decode an event stream from bytes cut anywhere; never raises.

    A line ends with LF, CR LF or CR alone. Unlike a browser, this skips the names of
    events, and `close` returns the event whose blank line never came. A field `error: …`
    (older llama.cpp) is data, and so is a line of bare JSON (Ollama's errors). An event
    of more than `MAX_EVENT_LINES` lines comes in several parts.
    """

    def __init__(self) -> None:
        self.too_long = False  # a line or an event was too long: nothing follows
        self._line = bytearray()  # the unfinished line
        self._data: list[bytes] = []  # this event's lines of data
        self._size = 0  # their bytes
        self._behind_cr = False  # an LF that comes now belongs to the CR before it

    @property
    def between_events(self) -> bool:
        """Whether what comes next begins an event."""
        return not (self._line or self._data or self._behind_cr or self.too_long)

    def feed(self, data: bytes) -> list[SseField]:
        """Take some bytes and return what they complete."""
        if self.too_long:
            return []
        if b"\r" in data or self._behind_cr:
            data = self._with_line_feeds(data)
        if b"\n" not in data:
            self._hold(data)
            return []
        if self._line:
            data = bytes(self._line) + data
            self._line.clear()
        *events, rest = data.split(b"\n\n")
        fields: list[SseField] = []
        lines: list[bytes] = []  # of events of several lines, read together
        for event in events:
            if not (event or self._data):
                continue
            usual = b"\n" not in event
            if lines and usual:
                fields += self._fields(lines)
                lines = []
            plain = usual and not (self._data or self.too_long)
            if plain and len(event) < MAX_SSE_EVENT:
                field = event[6:] if event[:6] == b"data: " else _field_of(event)
                if field is not None:
                    fields.append(field)
            else:
                lines += (*event.split(b"\n"), b"")
        *more, last = rest.split(b"\n")
        fields += self._fields([*lines, *more])
        self._hold(last)
        return fields

    def close(self) -> list[SseField]:
        """Return what the end completes: an open line or event."""
        return list(self._fields([bytes(self._line), b""]))

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
            self.too_long |= len(line) + self._size > MAX_SSE_EVENT
            if self.too_long:
                return
            field = _field_of(line)
            if isinstance(field, str):
                yield field
            elif field is not None:
                self._data.append(field)
                self._size += len(field) + 1
            if self._data and (not line or len(self._data) == MAX_EVENT_LINES):
                yield b"\n".join(self._data)
                self._data.clear()
                self._size = 0


def _field_of(line: bytes) -> SseField | None:
    """What one line says: data, a comment, or nothing."""
    if line.startswith(b":"):
        comment = line[1:].removeprefix(b" ")
        return comment.decode("utf-8", "replace") if comment else None
    name, _, value = line.partition(b":")
    if name.startswith(b"{"):
        return line if value else None
    return value.removeprefix(b" ") if name in (b"data", b"error") else None

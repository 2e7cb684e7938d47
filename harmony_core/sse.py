"""Server-sent events: bytes in, cut anywhere; data and comments out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

MAX_SSE_EVENT: Final = 16 * 1024 * 1024
"""Bytes of one line and of one event's data: a hostile server must not fill the memory."""


@dataclass(frozen=True, slots=True)
class SseData:
    """One event: its `data:` lines joined by line breaks."""

    text: str


@dataclass(frozen=True, slots=True)
class SseComment:
    """A line that begins with a colon, which servers send to keep the connection alive."""

    text: str


SseField = SseData | SseComment


class SseDecoder:
    """Decode an event stream from bytes cut anywhere; never raises.

    Lines are found among the bytes and decoded whole, so a character cut in two needs no
    care. Unlike in a browser, `close` gives the event whose blank line never came, the
    names of events are skipped, and a field `error: …` (older llama.cpp) is data. A line
    past `MAX_SSE_EVENT` bytes loses its end; an event past it is given as it stands.
    """

    def __init__(self) -> None:
        self._line = bytearray()  # the line that is not complete yet
        self._data = bytearray()  # this event's data, a line break behind each line

    def feed(self, data: bytes) -> list[SseField]:
        """Take some bytes and return what they complete."""
        one_line = data.endswith(b"\n\n") and data.find(b"\n") == len(data) - 2
        if one_line and data.startswith(b"data: ") and not (self._line or self._data):
            return [SseData(_text(data[6:-2].removesuffix(b"\r")))]  # as nearly always
        *lines, rest = data.split(b"\n")
        fields: list[SseField] = []
        if lines:
            lines[0] = bytes(self._line) + lines[0]
            self._line.clear()
            fields = list(self._fields(lines))
        self._line += rest[: MAX_SSE_EVENT - len(self._line)]
        return fields

    def close(self) -> list[SseField]:
        """Return what the end completes: a line or an event that is still open."""
        return list(self._fields([bytes(self._line), b""]))

    def _fields(self, lines: Iterable[bytes]) -> Iterator[SseField]:
        for line in lines:
            line = line.removesuffix(b"\r")
            name, _, value = line.partition(b":")
            if name in (b"data", b"error"):
                self._data += value.removeprefix(b" ") + b"\n"
            elif value and not name:
                yield SseComment(_text(value.removeprefix(b" ")))
            if self._data and (not line or len(self._data) > MAX_SSE_EVENT):
                yield SseData(_text(self._data[:-1]))
                self._data.clear()


def _text(data: bytes | bytearray) -> str:
    return data.decode("utf-8", "replace")

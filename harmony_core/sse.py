"""Server-sent events: bytes in, cut anywhere; data and comments out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_SSE_EVENT: Final = 16 * 1024 * 1024
"""Bytes of one line and of the data lines of one event: a hostile server must not fill the memory."""

_BOM: Final = b"\xef\xbb\xbf"
_CR: Final = 13  # "\r" as a number: searched for far faster than b"\r"


@dataclass(frozen=True, slots=True)
class SseData:
    """One event: its `data:` lines joined by line breaks."""

    text: str


@dataclass(frozen=True, slots=True)
class SseError:
    """The data of an event that its server named `error`; other names mean nothing in a chat."""

    text: str


@dataclass(frozen=True, slots=True)
class SseComment:
    """A line that begins with a colon, which servers send to keep the connection alive."""

    text: str


SseField = SseData | SseError | SseComment


class SseDecoder:
    """Decode an event stream as the WHATWG specification has it, from bytes cut anywhere; never raises.

    Lines are found among the bytes and decoded whole, so a character cut in two needs no care: in UTF-8
    no line break is part of another character. Unlike in a browser, `close` gives the event whose blank
    line never came, and a field `error: …` (older llama.cpp) is an event named so. A line past
    `MAX_SSE_EVENT` bytes loses its end; an event past it is given as it stands.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []  # pieces of the line that is not complete yet
        self._line_size = 0
        self._after_cr = False  # a "\n" that comes next is the second half of a line break
        self._at_start = True  # where a byte order mark may stand
        self._data: list[str] = []
        self._data_size = 0
        self._is_error = False
        self._between_events = False  # nothing above is set

    def feed(self, data: bytes) -> list[SseField]:
        """Take some bytes and return what they complete."""
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if not data:
            return []
        if self._between_events and _is_whole_event(data):
            return [SseData(data[6:-2].decode("utf-8", "replace"))]
        lines = data.splitlines()
        rest = b""
        if data.endswith(b"\r"):
            self._after_cr = True
        elif not data.endswith(b"\n"):
            rest = lines.pop()
        if lines and self._line:
            lines[0] = self._held_line() + lines[0]
        fields: list[SseField] = []
        for line in lines:
            self._take_line(line, fields)
        if rest:
            self._hold(rest)
        self._between_events = not (rest or self._data or self._is_error or self._after_cr)
        return fields

    def close(self) -> list[SseField]:
        """Return what the end completes: a line without a break, an event without a blank line."""
        fields: list[SseField] = []
        self._take_line(self._held_line(), fields)
        self._dispatch(fields)
        return fields

    def _hold(self, piece: bytes) -> None:
        piece = piece[: MAX_SSE_EVENT - self._line_size]
        self._line.append(piece)
        self._line_size += len(piece)

    def _held_line(self) -> bytes:
        line = b"".join(self._line)
        self._line.clear()
        self._line_size = 0
        return line

    def _take_line(self, line: bytes, fields: list[SseField]) -> None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if line.startswith(b"data: "):  # as nearly every line does
            self._add_data(line[6:], fields)
        elif not line:
            self._dispatch(fields)
        else:
            self._take_field(line, fields)

    def _take_field(self, line: bytes, fields: list[SseField]) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not name:
            fields.append(SseComment(value.decode("utf-8", "replace")))
        elif name == b"data":
            self._add_data(value, fields)
        elif name == b"event":
            self._is_error = value == b"error"
        elif name == b"error":
            self._is_error = True
            self._add_data(value, fields)

    def _add_data(self, value: bytes, fields: list[SseField]) -> None:
        self._data.append(value.decode("utf-8", "replace"))
        self._data_size += len(value)
        if self._data_size > MAX_SSE_EVENT:
            self._dispatch(fields)

    def _dispatch(self, fields: list[SseField]) -> None:
        if self._data:
            text = "\n".join(self._data)
            fields.append(SseError(text) if self._is_error else SseData(text))
            self._data.clear()
            self._data_size = 0
        self._is_error = False


def _is_whole_event(data: bytes) -> bool:
    """Whether this is one event of one data line, as servers write it: true of nearly all that they send."""
    ends = data.find(b"\n") == len(data) - 2 and data.endswith(b"\n\n")
    return ends and data.startswith(b"data: ") and _CR not in data

"""The arguments of one tool call: collected, then settled (harmony.md, rule 6)."""

from __future__ import annotations

import re
from typing import Literal

from .jsontext import load_json

MAX_ARGUMENTS = 1 << 20
"""Characters of arguments; a longer call is dropped (twice the context of gpt-oss)."""

Closed = Literal["call", "message", "cut"]
"""What ended the call: `<|call|>`, another regular end, or the cut of the reply."""

_STRING_EDGE = re.compile(r'\\.|"', re.DOTALL)
_JSON_STARTS = ("{", "[", '"')


class Arguments:
    """Text of a call's arguments, collected in O(new text) for each piece."""

    __slots__ = ("_begins_like_json", "_in_string", "_pieces", "_size", "_unread")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._unread: list[str] = []  # pieces not yet searched for string edges
        self._size = 0
        self._in_string = False
        self._begins_like_json: bool | None = None  # None: only blanks so far

    def append(self, text: str) -> None:
        """Add text; past MAX_ARGUMENTS none is kept, as the call will be dropped."""
        self._size += len(text)
        if self._size <= MAX_ARGUMENTS:
            self._pieces.append(text)
            self._unread.append(text)
        else:
            self._pieces.clear()
            self._unread.clear()
        if self._begins_like_json is None and (start := text.lstrip()):
            self._begins_like_json = start.startswith(_JSON_STARTS)

    def in_string(self) -> bool:
        """Whether the text ends inside a JSON string; reads each character once."""
        if not self._begins_like_json or self._size > MAX_ARGUMENTS:
            return False
        for edge in _STRING_EDGE.finditer("".join(self._unread)):
            self._in_string ^= edge[0] == '"'
        self._unread.clear()
        return self._in_string

    def settle(self, closed: Closed) -> tuple[str, bool] | None:
        """Return the arguments and whether they are JSON; None if they are incomplete."""
        if self._size > MAX_ARGUMENTS:
            return None
        raw = "".join(self._pieces)
        text = raw.strip()
        if not text:
            return None if closed == "cut" else ("{}", True)
        complete = _complete_json(text)
        if complete:
            return complete, True
        if closed == "call" or (closed == "message" and not self._begins_like_json):
            return raw, False
        return None


def _complete_json(text: str) -> str:
    """Return the JSON in `text` without an array around it or a bracket behind it."""
    for candidate in (text, text.removesuffix("]").rstrip()):
        try:
            value = load_json(candidate)
        except ValueError:
            continue
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
            return candidate[1:-1].strip()
        if candidate is text or isinstance(value, dict):
            return candidate
    return ""

"""Cuts text, in any pieces, into plain text and whole control strings ("markers")."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .markers import CONTROL_TOKENS, SPECIAL_TOKENS

LONGEST_HELD = 32
"""Characters that may have to wait: no awaited word is longer."""


def any_of(words: Iterable[str]) -> str:
    """A pattern for any of these words, the longest first."""
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


def beginnings(*words: str) -> frozenset[str]:
    """The proper beginnings of words: text that could still become one of them."""
    return frozenset(word[:n] for word in words for n in range(1, len(word)))


_RESERVED = r"<\|reserved_\d{1,6}\|>"
MARKER = re.compile(f"{any_of((*CONTROL_TOKENS, *SPECIAL_TOKENS))}|{_RESERVED}")
_AT_MARKERS = re.compile(f"({MARKER.pattern})")
_WHOLE_MARKER = re.compile(rf"([\s\ufffd]*)({MARKER.pattern})")
_UNFINISHED = beginnings(*CONTROL_TOKENS, *SPECIAL_TOKENS, "<|reserved_")
_RESERVED_UNFINISHED = re.compile(r"<\|reserved_(?:\d{1,6}\|?)?")


class Lexer:
    """Cuts the input at its markers, and holds back a tail that could become one.

    It returns text and markers by turns; text comes first and last, even if it is "".
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = ""

    def delta(self, text: str) -> list[str]:
        """Take one token of the model; a marker is always a whole one (harmony.md, rule 9)."""
        whole = _WHOLE_MARKER.fullmatch(text)
        held, self.held = self.held, ""
        return [held + whole[1], whole[2], ""] if whole else [held + text]

    def text(self, text: str) -> list[str]:
        """Take text that may be cut anywhere."""
        text = self.held + text
        parts = _AT_MARKERS.split(text) if "|>" in text else [text]
        last = parts[-1]
        self.held = ""
        at = last.rfind("<", -LONGEST_HELD)  # a marker holds no other "<"
        if at >= 0 and _may_become_marker(last[at:]):
            parts[-1], self.held = last[:at], last[at:]
        return parts


def _may_become_marker(tail: str) -> bool:
    return tail in _UNFINISHED or bool(_RESERVED_UNFINISHED.fullmatch(tail))

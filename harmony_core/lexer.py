"""Text cut anywhere -> plain text and whole control strings ("markers") by turns."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .markers import CONTROL_TOKENS


def any_of(words: Iterable[str]) -> str:
    """A pattern for any of these words, the longest first."""
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


def beginnings(*words: str) -> frozenset[str]:
    """The proper beginnings of words: what could still become one of them."""
    return frozenset(word[:n] for word in words for n in range(1, len(word)))


MARKER = re.compile(any_of(CONTROL_TOKENS))
_AT_MARKERS = re.compile(f"({MARKER.pattern})")
_MARKER_DELTA = re.compile(rf"([\s\ufffd]*)({MARKER.pattern})")
_UNFINISHED = beginnings(*CONTROL_TOKENS)


class Lexer:
    """Cuts the input at its markers.

    Text and markers come out by turns: first a text, which may be "", then a marker,
    and so on. `held` is the tail of the input that could still become a marker.
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = ""

    def split_delta(self, delta: str) -> list[str]:
        """Take one token of the model: only a whole one is a marker (harmony.md, rule 9)."""
        whole = _MARKER_DELTA.fullmatch(delta)
        before, marker = whole.groups() if whole else (delta, "")
        before, self.held = self.held + before, ""
        return [before, marker, ""] if marker else [before]

    def split_text(self, text: str) -> list[str]:
        """Take text that may be cut anywhere."""
        text = self.held + text
        parts = _AT_MARKERS.split(text) if "|>" in text else [text]
        last = parts[-1]
        at = last.rfind("<")
        if at >= 0 and last[at:] in _UNFINISHED:
            parts[-1], self.held = last[:at], last[at:]
        else:
            self.held = ""
        return parts

"""The stripped spelling: the words left of headers whose markers were lost.

The rules are those of harmony.md.
"""

from __future__ import annotations

import re

from .lexer import LONGEST_HELD, any_of, beginnings

_HEADER_WORDS = ("analysis", "commentary", "final", "assistant")
FILLERS = re.compile(rf"(?:\s|{any_of(_HEADER_WORDS)})*+")
"""Blanks and the words of headers; dropped if a header or the end follows (rule 4)."""
FILLERS_SO_FAR = re.compile(
    rf"{FILLERS.pattern}(?:{any_of(beginnings(*_HEADER_WORDS))})?"
)

# How a reply begins if its first header has lost its markers.
_ANALYSIS_START = re.compile(
    r"\s*+(?:assistant\s*+|commentary)?analysis(?=[^\W\d_]|[\r\n])"
)
FINAL_START = re.compile(r"\s*+assistantfinal")
_PREAMBLE_START = re.compile(r"\s*+assistantcommentary(?=[^\W\d_])")
_ROLE_LEAD = r"\s*+(?:assistant\s*+)?+"
RECIPIENT_START = re.compile(rf"({_ROLE_LEAD}(?:(?:analysis|commentary|final) )?)to=")
_BEFORE_TO = ("analysis to=", "commentary to=", "final to=")
RECIPIENT_START_SO_FAR = re.compile(
    rf"{_ROLE_LEAD}(?:{any_of(beginnings('to=', *_BEFORE_TO))})?"
)

# Words that end a message, and begin thinking, a preamble, an answer, or a call.
TO_CALL = ("assistant to=", "to=functions")
SEPARATORS = (
    "assistantanalysis",
    "commentaryanalysis",
    "assistantcommentary",
    "assistantfinal",
    *TO_CALL,
)
SEPARATOR = re.compile(rf"(?:<\|start\|>)?({any_of(SEPARATORS)})")
"""A separator, with the `<|start|>` before it if that was kept."""

_SEPARATOR_BEGINNING = any_of(beginnings(*SEPARATORS))
_SEPARATOR_TAIL = re.compile(
    rf"(?:<\|start\|>(?:{_SEPARATOR_BEGINNING}|)|{_SEPARATOR_BEGINNING})\Z"
)


def holds_none(text: str) -> bool:
    """Whether a text certainly holds neither a separator nor the beginning of one."""
    return text[-1] not in "act>" and not ("as" in text or "co" in text or "to" in text)


def tail_at(text: str, start: int) -> int:
    """Where a tail of `text` begins that could become a separator, else its length."""
    tail = _SEPARATOR_TAIL.search(text, max(start, len(text) - LONGEST_HELD))
    return tail.start() if tail else len(text)


# After a label: a recipient, or a colon or line breaks that do not belong to the text.
LABEL_SO_FAR = re.compile(r"\s*+(?::\s*+|to?|)")
LABEL_TO = re.compile(r"(\s*+)to=")
_LABEL_END = re.compile(r"\s*+:?\s*+")


def label_at_start(text: str) -> int:
    """The length of the label that begins thinking or a preamble; 0 if there is none."""
    label = _ANALYSIS_START.match(text) or _PREAMBLE_START.match(text)
    return label.end() if label else 0


def behind_label(text: str) -> str:
    """The text after a label, without the label's colon and line breaks; a space stays."""
    end = _LABEL_END.match(text)
    blanks = end[0] if end else ""
    belongs = ":" in blanks or "\n" in blanks or "\r" in blanks
    return text[len(blanks) :] if belongs else text

"""Events as one text, for hosts without a field for reasoning.

Folded, a stretch of thinking becomes `<think>`, the text, `</think>`. Hosts split at these tags, and users
copy the text outside them. So three things must hold: one stretch of thought is one block, however many
deltas it came in; every block is closed; and nothing inside a block closes it early.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from .events import (
    PARAGRAPH,
    AnswerDelta,
    Event,
    Finish,
    FurtherThought,
    ReasoningDelta,
    ToolCall,
)

Thinking = Literal["fold", "hide", "show"]

OPENING: Final = "<think>\n"
CLOSING: Final = "\n</think>\n\n"

# Hosts turn the block into <details>, so that tag would end it as well (dify.md, Replying).
_TAG: Final = re.compile(r"<(?=/?(?:think|details))", re.IGNORECASE)
_TAG_BEGINNINGS: Final = frozenset(
    tag[:length]
    for tag in ("<think", "</think", "<details", "</details")
    for length in range(1, len(tag))
)
_LONGEST_BEGINNING: Final = max(map(len, _TAG_BEGINNINGS))
_ZERO_WIDTH_SPACE: Final = "\u200b"


class Renderer:
    """Turns a reply's events into pieces of text, as soon as each event comes.

    `fold` puts thinking between tags, and each tag is a separate piece. `hide` leaves it out. `show` puts a
    blank line between it and the answer. Answers keep their exact text. Call `close` if the events end
    without a `Finish`, for example after an error.
    """

    def __init__(self, thinking: Thinking = "fold") -> None:
        self._thinking = thinking
        self._inside = False
        self._held = ""  # the end of the thinking, while it may become a tag
        self._blank = ""  # whitespace not yet assigned to thinking or answer

    def feed(self, event: Event) -> list[str]:
        """Return the pieces of text that `event` adds."""
        match event:
            case FurtherThought(text) if self._inside:
                return self._reasoning(PARAGRAPH + text)
            case ReasoningDelta(text):
                return self._reasoning(text)
            case AnswerDelta(text):
                return self._answer(text)
            case ToolCall() | Finish():
                return self.close()
            case _:
                return []

    def close(self) -> list[str]:
        """Close a block that is still open."""
        if not self._inside:
            return []
        self._inside = False
        pieces = [self._held, CLOSING if self._thinking == "fold" else PARAGRAPH]
        self._held = self._blank = ""
        return [piece for piece in pieces if piece]

    def _reasoning(self, text: str) -> list[str]:
        if self._thinking == "hide":
            return []
        text = self._blank + text
        self._blank = ""
        if not self._inside and not text.strip():
            return []
        pieces = [] if self._inside or self._thinking == "show" else [OPENING]
        self._inside = True
        if self._thinking == "fold":
            text = self._defused(text)
        return [*pieces, text] if text else pieces

    def _answer(self, text: str) -> list[str]:
        if not self._inside:
            return [text] if text else []
        self._blank += text
        if not text.strip():
            return []  # a blank between two thoughts must not end the block
        text = self._blank
        return [*self.close(), text]

    def _defused(self, text: str) -> str:
        """Keep tags in `text` readable but unknown to a host; hold back what may become one."""
        text = self._held + text
        self._held = ""
        start = text.rfind("<", -_LONGEST_BEGINNING)
        if start >= 0 and text[start:].lower() in _TAG_BEGINNINGS:
            self._held = text[start:]
            text = text[:start]
        return _TAG.sub("<" + _ZERO_WIDTH_SPACE, text)

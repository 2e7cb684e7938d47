"""Changes tags that a model only talks about, so that the host shows them as text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from harmony_core.reply_markup import WORD_JOINER

THINKING_TAGS: Final = (
    *("<think", "</think", "<reason", "</reason", "<thought", "</thought"),
    *("<|begin_of_", "<|end_of_", "◁think", "◁/think"),
)
"""How the tags begin that Open WebUI reads as thinking in an answer."""
FOLD_TAGS: Final = (*THINKING_TAGS, "<details", "</details")
"""How the tags begin that end the fold of the thinking in Open WebUI 0.6."""


class TagBreaker:
    """Puts an invisible character into each tag, however the text is cut."""

    def __init__(self, tags: Iterable[str]) -> None:
        starts = tuple(tags)
        self._tags = re.compile("|".join(map(re.escape, starts)), re.IGNORECASE)
        self._beginnings = {tag[:n] for tag in starts for n in range(1, len(tag))}
        self._longest = max(map(len, starts)) - 1
        self._held = ""  # the end of the text, while it may become a tag

    def feed(self, text: str) -> str:
        """The text with its tags broken; an end that may become a tag is held back."""
        text = self._held + text
        self._held = ""
        start = max(text.rfind(sign, -self._longest) for sign in "<◁")
        if start >= 0 and text[start:].lower() in self._beginnings:
            text, self._held = text[:start], text[start:]
        return self._tags.sub(_broken, text)

    def close(self) -> str:
        """The end of the text that was held back."""
        held, self._held = self._held, ""
        return held


def _broken(tag: re.Match[str]) -> str:
    return tag[0][0] + WORD_JOINER + tag[0][1:]

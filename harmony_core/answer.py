"""What the caller asked of the answer alone: stop words, and JSON without anything around it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from .content import overlap, proper_starts
from .events import AnswerDelta, Event, ReasoningDelta, ToolCall
from .jsontext import load_json

# The first code block, closed or not; then all up to the last fence, for JSON with fences in its texts.
_FENCED: Final = (
    re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.DOTALL),
    re.compile(r"```[^\n`]*\n(.*)```", re.DOTALL),
)


class StopWords:
    """End the answer before the first stop word.

    Servers match stop words in the raw text, thinking included (mlx_server.md, Requests), so it is done here.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._words = tuple(word for word in words if word)
        self._starts = proper_starts(self._words)
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """Return what can be shown: all but what could be the start of a stop word."""
        text = self._held + text
        ends = [(at + len(word), at) for word in self._words if (at := text.find(word)) >= 0]
        if ends:
            self.found = True
            self._held = ""
            return text[: min(ends)[1]]
        held = overlap(text, self._starts)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> str:
        """Return what is held, because no more of this stretch of answer will come."""
        held, self._held = self._held, ""
        return held


class AnswerFilter:
    """Events on their way to a caller who asked for stop words or for JSON.

    A JSON answer comes once, at the end, without code fence, and its thinking not at all.
    `stopped` tells that a stop word came: whatever follows is nothing. `called` tells that a call which may
    be executed went by.
    """

    def __init__(self, stop: Iterable[str], json_reply: bool) -> None:
        self._stop = StopWords(stop)
        self._json: list[str] | None = [] if json_reply else None
        self.called = False

    @property
    def stopped(self) -> bool:
        return self._stop.found

    def apply(self, events: Iterable[Event]) -> list[Event]:
        """Return what of these events the caller gets now."""
        kept: list[Event] = []
        for event in events:
            if self.stopped:
                break
            if isinstance(event, AnswerDelta):
                self._show(self._stop.feed(event.text), kept)
                continue
            self.called = self.called or (isinstance(event, ToolCall) and event.executable)
            self._show(self._stop.flush(), kept)  # a stop word does not reach across thinking or a call
            if self._json is None or not isinstance(event, ReasoningDelta):
                kept.append(event)
        return kept

    def close(self) -> tuple[list[Event], bool | None]:
        """Return what was held and whether it is JSON: None if none was asked for or a call came instead."""
        kept: list[Event] = []
        self._show(self._stop.flush(), kept)
        if self._json is None:
            return kept, None
        answer, valid = _unwrapped_json("".join(self._json))
        if answer:
            kept.append(AnswerDelta(answer))
        return kept, None if self.called and not answer else valid

    def _show(self, text: str, kept: list[Event]) -> None:
        if text and self._json is not None:
            self._json.append(text)
        elif text:
            kept.append(AnswerDelta(text))


def _unwrapped_json(answer: str) -> tuple[str, bool]:
    """The JSON of an answer, freed of a code fence and what stands around it, and whether it is JSON."""
    answer = answer.strip()
    blocks = [found[1].strip() for fence in _FENCED if (found := fence.search(answer))]
    for text in (answer, *blocks):
        if _is_json(text):
            return text, True
    return answer, False


def _is_json(text: str) -> bool:
    try:
        load_json(text)
    except ValueError:
        return False
    return True

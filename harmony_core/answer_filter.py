"""What the caller asked of the answer alone: stop words, and JSON with nothing around."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from .dialects import UntilWord
from .events import AnswerDelta, Event, ReasoningDelta, has_executable_call
from .jsontext import load_json

# The first code block, closed or not; then all up to the last fence, for JSON that
# holds fences in its texts.
_FENCE: Final = r"(```|~~~)(?:[^\n`]*\n|json\b)?"
_FENCED: Final = (
    re.compile(rf"{_FENCE}(.*?)(?:\1|\Z)", re.DOTALL),
    re.compile(rf"{_FENCE}(.*)\1", re.DOTALL),
)


class AnswerFilter:
    """Events on their way to a caller who asked for stop words or for JSON.

    The answer ends before the first stop word; servers match them in the raw text,
    thinking included (mlx_server.md, Requests). A JSON answer comes once, at the end,
    without code fence, and its thinking not at all.
    """

    def __init__(self, stop: Iterable[str], json_reply: bool) -> None:
        self.json_valid: bool | None = None  # None: not asked for, or a call instead
        self.thought = False  # whether thinking was left out
        self._stop = UntilWord(stop)
        self._json: list[str] | None = [] if json_reply else None

    @property
    def stopped(self) -> bool:
        """Whether a stop word came: whatever follows is nothing."""
        return self._stop.found

    def apply(self, events: Iterable[Event]) -> list[Event]:
        """Return what of these events the caller gets now."""
        kept: list[Event] = []
        for event in events:
            if self.stopped:
                break
            if isinstance(event, AnswerDelta):
                kept += self._show(self._stop.feed(event.text))
                continue
            kept += self._show(self._stop.flush())  # no stop word reaches across a call
            if self._json is None or not isinstance(event, ReasoningDelta):
                kept.append(event)
            else:
                self.thought = True
        return kept

    def close(self, events: Iterable[Event], called: bool) -> list[Event]:
        """Return what of the last events the caller gets, and what was held.

        `called`: a call that may be executed went by, which can stand for the JSON.
        """
        kept = self.apply(events) + self._show(self._stop.flush())
        if self._json is None:
            return kept
        answer, valid = _unwrapped_json("".join(self._json))
        instead = not answer and (called or has_executable_call(kept))
        self.json_valid = None if instead else valid
        return [*kept, AnswerDelta(answer)] if answer else kept

    def _show(self, text: str) -> list[Event]:
        if self._json is None:
            return [AnswerDelta(text)] if text else []
        self._json.append(text)
        return []


def _unwrapped_json(answer: str) -> tuple[str, bool]:
    """The JSON of an answer, freed of what stands around it, and whether it is JSON."""
    answer = answer.strip()
    blocks = [found[2].strip() for fence in _FENCED if (found := fence.search(answer))]
    for text in (answer, *blocks):
        try:
            load_json(text)
        except ValueError:
            continue
        return text, True
    return answer, False

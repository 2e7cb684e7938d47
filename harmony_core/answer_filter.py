"""What callers ask of the answer: a stop word as its end, bare JSON, or logprobs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .dialects import UntilWord
from .events import (
    AnswerDelta,
    Event,
    ReasoningDelta,
    ToolCall,
    has_executable_call,
)
from .gpt_oss import CONTEXT_SIZE
from .jsontext import (
    Json,
    JsonObject,
    as_list,
    as_object,
    dump_json,
    fitting_json,
    load_json,
    objects_in,
    sent_text,
)
from .mender import mend_json

MAX_LOGPROBS: Final = 32 * 1024 * 1024
"""Characters of the logprobs of one reply, as JSON; those that come later are dropped."""

_JSON_CALLS: Final = ("json", "json_object", "json_schema")
"""The model sometimes calls one of these instead of writing the JSON it was asked for."""


class AnswerFilter:
    """Filters events for a caller who asked for stop words or for JSON.

    The answer ends before its first stop word. Servers do not do that well: they search
    the raw text, thinking included (mlx_server.md, Requests). A JSON answer comes once,
    at the end, without a code fence and without the thinking.
    """

    def __init__(self, stop: Iterable[str], json_reply: bool) -> None:
        self.json_valid: bool | None = None  # None: not asked for, or a call instead
        self.thought = False  # whether thinking was left out
        self._stop = UntilWord(stop)
        self._json: list[str] | None = [] if json_reply else None
        self._json_call = ""  # the arguments of a call to a tool named like JSON

    @property
    def stopped(self) -> bool:
        """Whether a stop word came; everything after it is dropped."""
        return self._stop.found

    def apply(self, events: Iterable[Event]) -> list[Event]:
        """Return the part of these events that the caller gets now."""
        kept: list[Event] = []
        for event in events:
            if self.stopped:
                break
            if isinstance(event, AnswerDelta):
                kept += self._show(self._stop.feed(event.text))
                continue
            kept += self._show(self._stop.flush())  # a stop word cannot span a call
            if isinstance(event, ToolCall) and not event.declared:
                self._note_json_call(event)
            if self._json is None or not isinstance(event, ReasoningDelta):
                kept.append(event)
            else:
                self.thought = True
        return kept

    def close(
        self, events: Iterable[Event], called: bool, cut: bool = False
    ) -> list[Event]:
        """Return the caller's part of the last events, and what was held.

        `called`: an executable call came before; it may stand in for the JSON.
        `cut`: the reply did not end by itself, so its JSON is not mended.
        """
        kept = self.apply(events) + self._show(self._stop.flush())
        if self._json is None:
            return kept
        answer, valid = _json_in("".join(self._json) or self._json_call, cut)
        instead = not answer and (called or has_executable_call(kept))
        self.json_valid = None if instead else valid
        return [*kept, AnswerDelta(answer)] if answer else kept

    def _note_json_call(self, call: ToolCall) -> None:
        if call.name.lower() in _JSON_CALLS:
            self._json_call = call.arguments

    def _show(self, text: str) -> list[Event]:
        if self._json is None:
            return [AnswerDelta(text)] if text else []
        self._json.append(text)
        return []


class AnswerLogprobs:
    """Collects what a server tells of the tokens that the answer is made of.

    The tokens of a record go with the answer that it brings. They wait if its text is
    held back, and are dropped if it was thinking, a call or markup.
    """

    def __init__(self) -> None:
        self.found: list[Json] = []
        self._waiting: list[Json] = []
        self._room = MAX_LOGPROBS

    def add(self, choice: JsonObject, events: Iterable[Event]) -> None:
        """Take the tokens of a choice that brought these events; of a whole reply, all."""
        delta = as_object(choice.get("delta"))
        told = None if delta.get("tool_calls") else choice.get("logprobs")
        sent = as_list(as_object(told).get("content"))
        fitting = fitting_json(sent[: CONTEXT_SIZE - len(self._waiting)])
        text = sent_text(dump_json(fitting))
        self._room -= len(text)
        if self._room >= 0:
            self._waiting += objects_in(load_json(text))
        if any(isinstance(event, AnswerDelta) for event in events):
            self.found += self._waiting
            self._waiting = []
        elif delta and (events or "|>" in str(delta.get("content"))):
            self._waiting = []


def _json_in(answer: str, cut: bool) -> tuple[str, bool]:
    """The JSON in an answer, mended unless it was cut; and whether it is valid."""
    answer = answer.strip()
    if not cut:
        mended = mend_json(answer, closed=True)
        return mended.text, not mended.reason
    try:
        load_json(answer)
    except ValueError:
        return answer, False
    return answer, True

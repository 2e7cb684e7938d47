"""How likely the tokens of an answer were, as servers tell it in `choices[0].logprobs`."""

from __future__ import annotations

from .events import AnswerDelta, Event
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
from .limits import MAX_LOGPROBS


class AnswerLogprobs:
    """Finds the tokens that an answer was made of; what a server says of each is kept.

    Those of a record go with the answer that it brings. They wait if its text is held
    back, and are dropped if it was thinking, a call or markup. A whole reply keeps all.
    """

    def __init__(self) -> None:
        self.found: list[Json] = []
        self._waiting: list[Json] = []

    def add(self, choice: JsonObject, events: list[Event]) -> None:
        """Take the tokens of a choice, which brought these events."""
        delta = as_object(choice.get("delta"))
        told = None if delta.get("tool_calls") else choice.get("logprobs")
        sent = as_list(as_object(told).get("content"))
        fitting = fitting_json(sent[: MAX_LOGPROBS - len(self._waiting)])
        self._waiting += objects_in(load_json(sent_text(dump_json(fitting))))
        if any(isinstance(event, AnswerDelta) for event in events):
            self.found += self._waiting
            self._waiting = []
        elif delta and (events or "|>" in str(delta.get("content"))):
            self._waiting = []

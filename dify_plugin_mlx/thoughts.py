"""The thinking behind tool calls, which Dify's older Agent App does not send back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

MAX_THOUGHTS: Final = 256
MAX_CHARACTERS: Final = 4 * 1024 * 1024
"""Bounds all thoughts together, and so each one."""


class ThoughtMemory:
    """The thinking behind the latest tool calls, by call id.

    Without it the model would not know why it made a call. Ids are random, so nobody can ask for the thinking
    of another conversation. Nothing is written to disk; the oldest entries are forgotten first.
    """

    def __init__(
        self, size: int = MAX_THOUGHTS, characters: int = MAX_CHARACTERS
    ) -> None:
        self._size = size
        self._characters = characters
        self._kept = 0  # characters
        self._thoughts: OrderedDict[str, str] = OrderedDict()

    def remember(self, call_id: str, thought: str) -> None:
        """Keep the thinking of a call, and forget the oldest ones if there is too much."""
        self._kept += len(thought) - len(self._thoughts.pop(call_id, ""))
        self._thoughts[call_id] = thought
        while len(self._thoughts) > self._size or self._kept > self._characters:
            _, oldest = self._thoughts.popitem(last=False)
            self._kept -= len(oldest)

    def recall(self, call_ids: Sequence[str]) -> str:
        """The thinking that led to these calls, or "" if it was forgotten."""
        known = [
            self._thoughts[call_id] for call_id in call_ids if call_id in self._thoughts
        ]
        return "\n".join(thought for thought in known if thought)


THOUGHTS: Final = ThoughtMemory()
"""For the whole process, because Dify makes a new model instance for every request."""

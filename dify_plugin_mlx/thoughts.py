"""The thinking behind tool calls, which Dify's older Agent App does not send back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

MAX_THOUGHTS: Final = 256
MAX_CHARACTERS: Final = 4 * 1024 * 1024
"""Of all thoughts together, and so of each one."""


class ThoughtMemory:
    """The thinking behind the latest tool calls, by call id.

    Without it the model would not know why it called. Each reply has its own random ids, so an id is known
    to the conversation alone that it came up in. Lives in the process alone; the oldest entries go first.
    """

    def __init__(
        self, size: int = MAX_THOUGHTS, characters: int = MAX_CHARACTERS
    ) -> None:
        self._size = size
        self._characters = characters
        self._kept = 0  # characters
        self._thoughts: OrderedDict[str, str] = OrderedDict()

    def remember(self, call_id: str, thought: str) -> None:
        """Keep the thinking of a call, and forget the oldest where that is too much."""
        self._kept += len(thought) - len(self._thoughts.pop(call_id, ""))
        self._thoughts[call_id] = thought
        while len(self._thoughts) > self._size or self._kept > self._characters:
            _, oldest = self._thoughts.popitem(last=False)
            self._kept -= len(oldest)

    def recall(self, call_ids: Sequence[str]) -> str:
        """The thinking that led to these calls; empty where it is not known any more."""
        known = [
            self._thoughts[call_id] for call_id in call_ids if call_id in self._thoughts
        ]
        return "\n".join(thought for thought in known if thought)


THOUGHTS: Final = ThoughtMemory()
"""Of this process; the model class cannot keep it, since Dify makes a new instance for every request."""

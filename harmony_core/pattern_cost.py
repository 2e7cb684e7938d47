"""How long a regular expression may take, from its text alone.

Python's engine tries one way after the other, and `^(a+)+$` has more ways through a string than anybody
can wait for. So the ways are counted before, and never tried where they are too many.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

MAX_STEPS: Final = 10**7
"""Steps that a check may take at most: a part of a second."""

_MAX_LOOPS: Final = 24  # rounds of a loop with several ways each: 2 ** 24 is too many
_TOKEN: Final = re.compile(
    r"""
    (?P<open>\((?:\?:|\?P<\w+>|(?!\?)))
    |(?P<odd>\(\?|\\[1-9])
    |(?P<close>\))
    |(?P<otherwise>\|)
    |(?P<repeat>(?:[*+?]|\{(?P<low>\d*)(?P<comma>,?)(?P<high>\d*)\})[?+]?)
    |(?P<edge>[\^$]|\\[AZbB])
    |(?P<character>\[\^?\]?(?:[^\]\\]|\\.)*\]|\\.|.)
    """,
    re.DOTALL | re.VERBOSE,
)


@dataclass(slots=True)
class _Group:
    """The ways through a group, and the characters that it takes at least."""

    finished: float = 0.0  # the ways of the alternatives before this one
    ways: float = 1.0  # of this alternative, without its last item
    last: float = 1.0  # of its last item
    size: float = 0.0
    last_size: float = 0.0

    def add(self, ways: float, size: float) -> None:
        """Add an item, which a repeat may still multiply."""
        self.ways, self.last = self.ways * self.last, ways
        self.size, self.last_size = self.size + self.last_size, size

    def repeat(self, low: int, high: int) -> None:
        """Repeat the last item."""
        loops = self.last**high if self.last == 1 or high <= _MAX_LOOPS else math.inf
        self.last = loops * max(high - low + 1, 1)
        self.last_size *= max(low, 1)

    def next_alternative(self) -> None:
        """Begin another alternative."""
        self.finished += self.ways * self.last
        self.ways = self.last = 1.0


def steps_of(pattern: str, length: int) -> float:
    """The most steps for a string of this length; infinite for what is not counted, a look-ahead say."""
    groups = [_Group()]
    for token in _TOKEN.finditer(pattern):
        kind = token.lastgroup
        if kind == "open":
            groups.append(_Group())
        elif kind == "otherwise":
            groups[-1].next_alternative()
        elif kind == "repeat" or token["repeat"]:
            low, high = _range_of(token, length)
            groups[-1].repeat(low, high)
        elif kind == "character":
            groups[-1].add(1.0, 1.0)
        elif kind == "close" and len(groups) > 1:
            inner = groups.pop()
            inner.next_alternative()
            groups[-1].add(inner.finished, inner.size + inner.last_size)
        elif kind != "edge":
            return math.inf
    whole = groups[0]
    whole.next_alternative()
    anchored = pattern.startswith("^") and "|" not in pattern
    starts = 1 if anchored else length + 1
    return starts * whole.finished * (1 + min(whole.size + whole.last_size, length))


def _range_of(token: re.Match[str], length: int) -> tuple[int, int]:
    """How often an item is repeated in a string of this length, at least and at most."""
    sign = token["repeat"][0]
    if sign == "{":
        low = int(token["low"] or 0)
        most = token["high"] if token["comma"] else token["low"]
        high = int(most) if most else length
    else:
        low, high = int(sign == "+"), 1 if sign == "?" else length
    return min(low, length), min(high, length)

"""Cut a text or a body anywhere, and compare the events independently of the cuts."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import TypeVar

from harmony_core.events import AnswerDelta, Event, FurtherThought, ReasoningDelta

Sliced = TypeVar("Sliced", str, bytes)


def random_cuts(data: Sliced, seed: int, longest: int = 9) -> Iterator[Sliced]:
    """The same characters or bytes in pieces of 1 to `longest`."""
    source = random.Random(seed)
    start = 0
    while start < len(data):
        end = start + source.randint(1, longest)
        yield data[start:end]
        start = end


def merged(events: Iterable[Event]) -> list[Event]:
    """Join adjacent deltas of a kind: the chunking decides their borders, and nothing else.

    The first piece of a further thought begins anew and stays what it is.
    """
    result: list[Event] = []
    for event in events:
        match result[-1:], event:
            case [AnswerDelta(before)], AnswerDelta(more):
                result[-1] = AnswerDelta(before + more)
            case [ReasoningDelta(before)], ReasoningDelta(more) if not _is_further(
                event
            ):
                result[-1] = type(result[-1])(before + more)
            case _:
                result.append(event)
    return result


def _is_further(event: Event) -> bool:
    return isinstance(event, FurtherThought)

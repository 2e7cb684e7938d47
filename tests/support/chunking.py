"""Cuts a text or a body at random places, and compares events regardless of the cuts."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import TypeVar

from harmony_core.events import AnswerDelta, Event, FurtherThought, ReasoningDelta

Sliced = TypeVar("Sliced", str, bytes)


def random_cuts(data: Sliced, seed: int, longest: int = 9) -> Iterator[Sliced]:
    """Cut the text or the bytes into random pieces of 1 to `longest`."""
    source = random.Random(seed)
    start = 0
    while start < len(data):
        end = start + source.randint(1, longest)
        yield data[start:end]
        start = end


def merged(events: Iterable[Event]) -> list[Event]:
    """Join adjacent deltas of the same kind, because only the chunking decides where they end.

    The first delta of a further thought is not joined to the thought before it.
    """
    result: list[Event] = []
    for event in events:
        match result[-1:], event:
            case [AnswerDelta(before)], AnswerDelta(more):
                result[-1] = AnswerDelta(before + more)
            case _, FurtherThought():
                result.append(event)
            case [ReasoningDelta(before)], ReasoningDelta(more):
                result[-1] = type(result[-1])(before + more)
            case _:
                result.append(event)
    return result

"""How long each contestant takes for the same text in each state of the parser."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.contestants import OURS, PEERS, AnyContestant
from harmony_core.cli.bench import CHUNK, REPEATS, SIZES, STATES, State

LIMIT = 4.0
"""Seconds after which a run is stopped, and reported as stopped."""
WARM_UP = 0.05
"""Seconds for which a short text is read again and again."""

_LOOK = 256  # pieces between two looks at the clock


@dataclass(frozen=True)
class Run:
    """One text, or as much of it as was read before the limit; `failure` names the error that ended it."""

    seconds: float
    read: float  # characters of the text that were read
    stopped: bool = False
    failure: str = ""

    @property
    def cost(self) -> float:
        """µs per four characters of text: the same unit for parsers of chunks and of tokens."""
        return self.seconds / (self.read / CHUNK) * 1e6


@dataclass(frozen=True)
class Row:
    """All that was measured in one state: our runs and the peers', by size."""

    state: State
    ours: tuple[Run, Run]
    peers: dict[str, tuple[Run, Run]]


def measure() -> Iterator[Row]:
    """Measure every state, one after another."""
    contestants: list[AnyContestant] = [
        OURS,
        *(peer for peer in PEERS if peer.installed),
    ]
    for state in STATES:
        short, long = (
            _measure_size(contestants, state.text(size)) for size in state.sizes
        )
        runs = {name: (short[name], long[name]) for name in short}
        yield Row(state, runs.pop(OURS.name), runs)


def _measure_size(contestants: list[AnyContestant], text: str) -> dict[str, Run]:
    """Take turns, so that a disturbance hits all; keep the best of each. A stopped run is not repeated."""
    best: dict[str, Run] = {}
    for _ in range(REPEATS):
        for contestant in contestants:
            before = best.get(contestant.name)
            if before and (
                before.stopped or before.failure or before.seconds > LIMIT / REPEATS
            ):
                continue
            run = _run(contestant, text)
            if not before or run.cost < before.cost:
                best[contestant.name] = run
    return best


def _run(contestant: AnyContestant, text: str) -> Run:
    """Read the text once, or a short one again and again: its first reading would measure cold caches."""
    gc.collect()
    runs = [_read(contestant, text)]
    while (
        len(runs) * len(text) < SIZES[0] and sum(run.seconds for run in runs) < WARM_UP
    ):
        runs.append(_read(contestant, text))
    return min(runs, key=lambda run: run.cost)


def _read(contestant: AnyContestant, text: str) -> Run:
    count, feed = contestant.prepare(text)
    started, seconds = time.process_time(), 0.0
    for at in range(0, count, _LOOK):
        try:
            feed(at, at + _LOOK)
        except Exception as error:  # noqa: BLE001 - the report names what another project raises
            return Run(seconds, len(text), failure=type(error).__name__)
        seconds = time.process_time() - started
        if seconds > LIMIT and at + _LOOK < count:
            return Run(seconds, len(text) * (at + _LOOK) / count, stopped=True)
    return Run(seconds, len(text))

"""Measures how long each contestant takes for the same text, in each state of the parser."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.contestants import OURS, PEERS, AnyContestant
from harmony_core.cli.bench import CHUNK, REPEATS, SIZES, STATES, State

LIMIT = 4.0
"""CPU seconds after which a run is stopped and reported as stopped."""
WARM_UP = 0.05
"""CPU seconds for which a short text is read repeatedly."""

_PIECES_PER_CHECK = 256  # pieces between two readings of the clock


@dataclass(frozen=True)
class Run:
    """The reading of one text, up to the limit of time; `failure` names the error that ended it."""

    seconds: float
    read: float  # characters of the text that were read
    stopped: bool = False
    failure: str = ""

    @property
    def cost(self) -> float:
        """µs per four characters of text, a unit for parsers of chunks and of tokens alike."""
        return self.seconds / (self.read / CHUNK) * 1e6


@dataclass(frozen=True)
class Row:
    """The runs in one state, ours and the peers', each for the short and the long text."""

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
    """Keep the best run of each contestant. They take turns, so that a disturbance slows all of them."""
    best: dict[str, Run] = {}
    for _ in range(REPEATS):
        for contestant in contestants:
            before = best.get(contestant.name)
            # A run that was stopped, failed or took long is not repeated.
            if before and (
                before.stopped or before.failure or before.seconds > LIMIT / REPEATS
            ):
                continue
            run = _run(contestant, text)
            if not before or run.cost < before.cost:
                best[contestant.name] = run
    return best


def _run(contestant: AnyContestant, text: str) -> Run:
    """Read the text once, or a short one repeatedly, because its first reading would measure cold caches."""
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
    for at in range(0, count, _PIECES_PER_CHECK):
        try:
            feed(at, at + _PIECES_PER_CHECK)
        except Exception as error:  # noqa: BLE001 - the report names what another project raises
            return Run(seconds, len(text), failure=type(error).__name__)
        seconds = time.process_time() - started
        if seconds > LIMIT and at + _PIECES_PER_CHECK < count:
            return Run(
                seconds, len(text) * (at + _PIECES_PER_CHECK) / count, stopped=True
            )
    return Run(seconds, len(text))

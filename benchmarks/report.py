"""Formats the figures as tables, and writes them into README.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.contestants import PEERS
from benchmarks.correctness import Score
from benchmarks.peers import tokens_of
from benchmarks.speed import LIMIT, Row, Run
from harmony_core.cli.bench import REPEATS, SIZES, STATES, STREAM_GOAL, StreamCost

README = Path(__file__).with_name("README.md")
_BEGIN, _END = (
    "<!-- figures: written by `python -m benchmarks --write` -->",
    "<!-- end of the figures -->",
)


def write(figures: str) -> None:
    """Put the figures between the two marks in README.md; raises ValueError if a mark is missing."""
    text = README.read_text("utf-8")
    begin, end = text.index(_BEGIN) + len(_BEGIN), text.index(_END)
    README.write_text(f"{text[:begin]}\n\n{figures.strip()}\n\n{text[end:]}", "utf-8")


def about() -> str:
    """Return the date, the machine and its load, which a reader needs to judge the figures."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    prose = STATES[0].text(SIZES[0])
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores, load {load} (1, 5, 15 minutes). CPU time, "
        f"the least of {REPEATS} runs taken in turn. A token is {len(prose) / len(tokens_of(prose)):.1f} "
        "characters of this prose."
    )


def speed_tables(rows: Sequence[Row]) -> str:
    """Return three tables: our costs and goals, each peer in multiples of ours, and the peers' costs."""
    labels = {peer.name: peer.label for peer in PEERS if peer.installed}
    sizes = [f"{size >> 10}K" for size in SIZES]
    ours = (_own_row(row) for row in rows)
    ratios = ([row.state.name, *(_ratio(row, name) for name in labels)] for row in rows)
    costs = (
        [row.state.name, *(_costs(row.peers[name]) for name in labels)] for row in rows
    )
    return "\n\n".join(
        (
            "### HarmonyParser, µs per chunk of 4 characters",
            _table(["state", *sizes, "growth", "goal"], ours),
            f"### Time of the others for the same {sizes[1]} characters, in multiples of ours",
            _table(["state", *labels.values()], ratios),
            f"### The others: µs per 4 characters at {sizes[0]} → at {sizes[1]} (growth)",
            _table(["state", *labels.values()], costs),
            f"`>`: stopped after {LIMIT:.0f} s of CPU time at so many characters, with the cost until there.",
        )
    )


def stream_table(costs: Iterable[StreamCost]) -> str:
    """Return the table of `ChatStream` and the bare loop."""
    rows = (
        [cost.name, f"{cost.ratio:.2f}", f"{cost.ours:.2f}", f"{cost.bare:.2f}"]
        for cost in costs
    )
    return "\n\n".join(
        (
            f"### ChatStream against line splitting and `json.loads` alone (goal: ≤ {STREAM_GOAL} ×)",
            _table(["stream", "ratio", "ChatStream, µs per record", "bare loop"], rows),
        )
    )


def score_table(scores: Iterable[Score], count: int) -> str:
    """Return the table of cases read right."""
    rows = (
        [
            score.name,
            str(score.whole),
            str(score.tokens),
            "tokens only" if score.characters is None else str(score.characters),
            str(score.showed_marker),
        ]
        for score in scores
    )
    columns = [
        "parser",
        "as whole text",
        "token by token",
        "character by character",
        "a marker shown",
    ]
    return f"### Cases read right, of {count}\n\n{_table(columns, rows)}"


def _own_row(row: Row) -> list[str]:
    short, long = row.ours
    name, sizes = row.state.name, row.state.sizes
    if sizes != SIZES:
        name += f" ({sizes[0]} and {sizes[1]} characters)"
    return [
        name,
        f"{short.cost:.2f}",
        f"{long.cost:.2f}",
        _growth(row.ours),
        f"≤ {row.state.goal}",
    ]


def _ratio(row: Row, name: str) -> str:
    peer, ours = row.peers[name][1], row.ours[1]
    if peer.failure:
        return "error"
    ratio = peer.cost / ours.cost
    return (
        f"{'> ' * peer.stopped}{ratio:.1f}"
        if ratio < 10
        else f"{'> ' * peer.stopped}{ratio:.0f}"
    )


def _costs(runs: tuple[Run, Run]) -> str:
    if runs[1].failure:
        return runs[1].failure
    short, long = (_cost(run) for run in runs)
    return f"{short} → {long} ({_growth(runs)})"


def _cost(run: Run) -> str:
    cost = f"{run.cost:.2f}" if run.cost < 10 else f"{run.cost:.0f}"
    return f"> {cost} at {run.read / 1024:.0f}K" if run.stopped else cost


def _growth(runs: tuple[Run, Run]) -> str:
    """Return the cost for the long text in multiples of that for the short one; "?" if that was stopped."""
    if runs[0].stopped:
        return "?"
    growth = runs[1].cost / runs[0].cost
    return f"{'> ' * (runs[1].stopped and growth > 1.1)}{growth:.1f} ×"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(_lines(columns, rows))


def _lines(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|---|{'---:|' * (len(columns) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"

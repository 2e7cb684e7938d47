"""`mlx-harmony bench`: what the parser and the stream reader cost on this machine.

`benchmarks/` in the repository measures the parsers of other projects with the same states and clock.
"""

from __future__ import annotations

import gc
import json
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..chat import ChatStream
from ..parser import HarmonyParser

Piece = TypeVar("Piece")

SIZES = (1 << 16, 1 << 19)
"""Characters of the short and the long text. A cost that differs between them grows with the text so far."""

CHUNK = 4
"""Characters of a chunk, about as many as a token has."""

REPEATS = 5
BLOCK_SIZE = 4096
STREAM_GOAL = 0.6
"""`ChatStream` may cost at most this many times the bare loop."""

_CALL = '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"text": "'
_PROSE = "The quick brown fox jumps over the lazy dog, and then it sleeps for a while. "
_JAPANESE = "素早い茶色の狐は怠け者の犬を飛び越え、それからしばらく眠ります。"
_HTML = "<p>The quick <b>brown</b> fox jumps, if 1 < 2.</p>\n"
_TOOLS = ("f",)


@dataclass(frozen=True, slots=True)
class State:
    """A state of the parser: `lead` brings the parser there, and `body`, repeated, keeps it there.

    `goal` is the highest cost of a chunk in µs. `sizes` differ where the state has a bound.
    """

    name: str
    lead: str
    body: str
    goal: float
    sizes: tuple[int, int] = SIZES

    def text(self, size: int) -> str:
        """Return `lead` and the repeated `body`, cut to `size` characters."""
        return (self.lead + self.body * (size // len(self.body) + 1))[:size]


STATES = (
    State("analysis", "<|channel|>analysis<|message|>", _PROSE, 0.42),
    State("final", "<|channel|>final<|message|>", _PROSE, 0.42),
    State("final, much `<`", "<|channel|>final<|message|>", _HTML, 2),
    State("preamble", "<|channel|>commentary<|message|>", _PROSE, 2),
    State("tool arguments", _CALL, _PROSE, 2),
    State(
        "headers, one after another",
        "",
        "<|channel|>commentary to=user <|constrain|>json<|message|>{}<|end|><|start|>assistant",
        2,
        (1 << 11, 1 << 13),  # MAX_MARKERS cuts a longer one
    ),
    State("a header without end", "<|channel|>", "analysis ", 2),
    State("bare text", "", _PROSE, 2),
    State(
        "between messages",
        "<|channel|>analysis<|message|>t<|end|>",
        "\n" * 100 + "<|end|>",
        2,
        (1 << 13, 1 << 15),
    ),
    State("before the first header", "", "\n", 2, (128, 512)),
    State("stripped", "analysisWe think. ", _PROSE, 2),
)


def chunks(text: str) -> list[str]:
    """Cut the text into pieces of `CHUNK` characters."""
    return [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]


def seconds(feed: Callable[[Piece], object], pieces: Iterable[Piece]) -> float:
    """Return the CPU seconds that feeding all pieces takes."""
    started = time.process_time()
    for piece in pieces:
        feed(piece)
    return time.process_time() - started


def least_time(run: Callable[[], float], repeats: int = REPEATS) -> float:
    """Return the time of the fastest run, because a disturbance only adds time."""
    gc.collect()
    return min(run() for _ in range(repeats))


def microseconds_per_chunk(state: State, size: int) -> float:
    """Return what HarmonyParser costs per chunk of a text of this size."""
    pieces = chunks(state.text(size))
    return (
        least_time(lambda: seconds(HarmonyParser(_TOOLS).feed, pieces))
        / len(pieces)
        * 1e6
    )


def sse_records(prose: str, count: int) -> list[bytes]:
    """Return a stream as mlx_lm.server sends it: a record per token, `count` of them with answer text."""
    text = (prose * (count * CHUNK // len(prose) + 1))[: count * CHUNK]
    return [
        _record(content)
        for content in ("<|channel|>", "final", "<|message|>", *chunks(text))
    ]


def _record(content: str) -> bytes:
    chunk = {
        "id": "chatcmpl-0b8f2f0e-5c0c-4c0e-9d53-6d1e5a1b2c3d",
        "system_fingerprint": "0.32.2-0.32.4-Linux-x86_64-with-glibc2.36-cpu",
        "object": "chat.completion.chunk",
        "model": "default_model",
        "created": 1780000000,
        "choices": [
            {
                "index": 0,
                "finish_reason": None,
                "delta": {"role": "assistant", "content": content},
            }
        ],
    }
    return f"data: {json.dumps(chunk)}\n\n".encode()


def blocks(records: Sequence[bytes]) -> list[bytes]:
    """Cut the same bytes into pieces of `BLOCK_SIZE`."""
    data = b"".join(records)
    return [data[at : at + BLOCK_SIZE] for at in range(0, len(data), BLOCK_SIZE)]


def bare_loop() -> Callable[[bytes], None]:
    """Return a function with the least work of any client: split a stream into lines and parse their JSON."""
    rest = b""

    def feed(data: bytes) -> None:
        nonlocal rest
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                json.loads(line[6:])

    return feed


@dataclass(frozen=True, slots=True)
class StreamCost:
    """µs per record (usually one token) of `ChatStream` and of the bare loop."""

    name: str
    ours: float
    bare: float

    @property
    def ratio(self) -> float:
        """The cost of `ChatStream` in multiples of the bare loop."""
        return self.ours / self.bare


def stream_costs(count: int = 20_000) -> list[StreamCost]:
    """Compare `ChatStream` with the bare loop, on single records and on blocks of bytes."""
    costs = []
    for language, prose in (("English", _PROSE), ("Japanese", _JAPANESE)):
        records = sse_records(prose, count)
        for cut, pieces in (
            ("one record per feed", records),
            ("blocks of 4 KiB", blocks(records)),
        ):
            ours, bare = _stream_seconds(pieces)
            costs.append(
                StreamCost(
                    f"{language}, {cut}",
                    *(run / len(records) * 1e6 for run in (ours, bare)),
                )
            )
    return costs


def _stream_seconds(pieces: Sequence[bytes]) -> tuple[float, float]:
    """Return the seconds of both. They take turns, so that a disturbance slows both."""
    gc.collect()
    runs = [
        (seconds(ChatStream(_TOOLS).feed, pieces), seconds(bare_loop(), pieces))
        for _ in range(REPEATS)
    ]
    return min(ours for ours, _ in runs), min(bare for _, bare in runs)


def run_bench() -> None:
    """Measure the parser and the stream reader, and print a table of each."""
    print(f"Python {platform.python_version()}, least of {REPEATS} runs, CPU time\n")
    print(
        f"{'HarmonyParser, µs per chunk of 4 characters':45} {'short':>7} {'long':>7} {'goal':>6}"
    )
    for state in STATES:
        short, long = (microseconds_per_chunk(state, size) for size in state.sizes)
        print(f"{state.name:45} {short:7.2f} {long:7.2f} {state.goal:6.2f}")
    print(f"\n{'ChatStream, µs per record':45} {'bare':>7} {'ours':>7} {'ratio':>6}")
    for cost in stream_costs():
        print(f"{cost.name:45} {cost.bare:7.2f} {cost.ours:7.2f} {cost.ratio:6.2f}")
    print(_footnote())


def _footnote() -> str:
    """Explain "short" and "long", and name the states with other sizes."""
    short, long = (f"{size >> 10}K" for size in SIZES)
    others = "; ".join(
        f"{state.name}: {state.sizes[0]} and {state.sizes[1]}"
        for state in STATES
        if state.sizes != SIZES
    )
    return (
        f"\nshort and long: {short} and {long} characters ({others})"
        f"\ngoal: ratio <= {STREAM_GOAL}"
    )

"""How many cases of the corpus each contestant reads right: at once, by tokens, and by characters."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import readers
from benchmarks.peers import encoding, tokens_of, version_of
from benchmarks.readers import Case, Read, Reading
from harmony_core.markers import CONTROL_TOKENS, TERMINATORS

CORPUS = Path(__file__).parent.parent / "tests" / "corpus" / "harmony.json"


@dataclass(frozen=True)
class Reader:
    """How a contestant reads a reply at once (`whole`) and piece by piece (`deltas`)."""

    name: str
    project: str
    whole: Read
    deltas: Read
    takes_text: bool = True  # False: it reads tokens, not characters


@dataclass(frozen=True)
class Score:
    """The number of cases read right in each way (None: not possible), and of cases that showed a marker."""

    name: str
    whole: int
    tokens: int
    characters: int | None
    showed_marker: int


READERS = (
    Reader("mlx-harmony", "", readers.ours, readers.ours),
    Reader(
        "oss-harmony",
        "oss-harmony",
        readers.oss_harmony_whole,
        readers.oss_harmony_tokens,
        takes_text=False,
    ),
    Reader("sglang", "sglang", readers.sglang, readers.sglang),
    Reader("vllm-mlx", "vllm-mlx", readers.vllm_mlx_whole, readers.vllm_mlx_deltas),
    Reader(
        "mlx-openai-server",
        "mlx-openai-server",
        readers.mlx_openai_server_whole,
        readers.mlx_openai_server_deltas,
    ),
)


def cases() -> list[Case]:
    """Load the corpus, which our tests use too."""
    rows: list[Case] = json.loads(CORPUS.read_text("utf-8"))
    return rows


def scores() -> list[Score]:
    """Let every installed reader read every case in every way."""
    return [
        _score(reader)
        for reader in READERS
        if not reader.project or version_of(reader.project)
    ]


def _score(reader: Reader) -> Score:
    whole = _Tally(reader.whole, lambda text: [text])
    tokens = _Tally(reader.deltas, token_texts)
    characters = _Tally(reader.deltas, list) if reader.takes_text else None
    tallies = [tally for tally in (whole, tokens, characters) if tally]
    showed = set().union(*(tally.showed_marker for tally in tallies))
    return Score(
        reader.name,
        whole.right,
        tokens.right,
        characters.right if characters else None,
        len(showed),
    )


class _Tally:
    """The results of one reader for all cases, cut in one way."""

    def __init__(self, read: Read, cut: Callable[[str], list[str]]) -> None:
        self.right = 0
        self.showed_marker: set[str] = set()
        for case in cases():
            readings = [_reading(read, cut(text), case) for text in endings(case)]
            self.right += any(
                reading is not None and is_right(reading, case) for reading in readings
            )
            if readings[0] is not None and shows_marker(readings[0], case):
                self.showed_marker.add(case["name"])


def _reading(read: Read, pieces: list[str], case: Case) -> Reading | None:
    try:
        return read(pieces, case)
    except Exception:  # noqa: BLE001 - the reply is lost, whatever another project raises
        return None


def endings(case: Case) -> list[str]:
    """Return the text as mlx_lm.server sends it, and with each end token that other servers send as text."""
    text = case["text"]
    ended = case["finish_reason"] != "stop" or text.endswith(TERMINATORS)
    return [text] if ended else [text, *(text + token for token in TERMINATORS)]


def shows_marker(reading: Reading, case: Case) -> bool:
    """Whether a reader would see a control token that is not part of the text."""
    shown, expected = (
        reading.reasoning + reading.answer,
        case["reasoning"] + case["answer"],
    )
    return any(shown.count(token) > expected.count(token) for token in CONTROL_TOKENS)


def is_right(reading: Reading, case: Case) -> bool:
    """Compare thinking and answer without blanks, and the calls that a host would execute."""
    wanted = [(call["name"], call["arguments"]) for call in case["tool_calls"]]
    return (
        _without_blanks(reading.reasoning) == _without_blanks(case["reasoning"])
        and _without_blanks(reading.answer) == _without_blanks(case["answer"])
        and _executable(reading.calls, case["tools"])
        == _executable(wanted, case["tools"])
    )


def _without_blanks(text: str) -> str:
    return "".join(text.split())


def _executable(
    calls: Sequence[tuple[str, str]], tools: Sequence[str]
) -> list[tuple[str, object]]:
    """Return the calls of offered tools with JSON arguments; an array around one object is removed."""
    found: list[tuple[str, object]] = []
    for name, arguments in calls:
        try:
            value = json.loads(arguments or "{}")
        except ValueError:
            continue
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if name in tools:
            found.append((name, value))
    return found


def token_texts(text: str) -> list[str]:
    """Cut the text into the server's deltas: a token each, but never a part of a character."""
    texts: list[str] = []
    held: list[int] = []
    for token in tokens_of(text):
        held.append(token)
        try:
            texts.append(encoding().decode_utf8(held))
        except Exception:  # noqa: BLE001 - the library has no specific error for half a character
            continue
        held = []
    return texts

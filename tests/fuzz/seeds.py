"""The inputs that `make fuzz` begins with: the rows of tests/corpus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

CORPUS = Path(__file__).parents[1] / "corpus"
CUTS = b"\x05"  # the first byte of an input: how long its pieces are
FINDINGS = CORPUS / "fuzz.json"
"""What the fuzzer has found: the target, the input in hex, and what it was."""


def seeds(target: str) -> Iterator[bytes]:
    """The seeds of a target."""
    yield from findings(target)
    match target:
        case "parser":
            yield from (CUTS + text for text in texts("harmony", "text"))
        case "chat" | "sse":
            yield from (CUTS + text for text in texts("streams", "body"))
        case "frames":
            yield from (
                body.replace(b"data: ", b"").replace(b"\n\n", b"\n")
                for body in texts("streams", "body")
            )
        case "history":
            yield from (b"UFHi\n\nPF" + text for text in texts("harmony", "text"))
        case "mender":
            yield from (CUTS + text for text in texts("mender", "input"))
        case "models":
            yield from texts("server_words", "body")


def texts(corpus: str, field: str) -> Iterator[bytes]:
    """One field of the rows of a corpus."""
    for row in json.loads((CORPUS / f"{corpus}.json").read_text("utf-8")):
        text = row[field]
        yield text.encode() if isinstance(text, str) else json.dumps(text).encode()


def findings(target: str) -> Iterator[bytes]:
    """The findings of a target."""
    for row in json.loads(FINDINGS.read_text("utf-8")):
        if row["target"] == target:
            yield bytes.fromhex(row["hex"])

"""The parsers that are measured: ours and those of other projects, each driven as its server drives it.

A contestant cuts a text into the pieces that it reads: chunks of four characters, or tokens. Each run starts
a new parser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from benchmarks import peers
from harmony_core import HarmonyParser
from harmony_core.cli.bench import chunks

Piece = TypeVar("Piece", str, int)

TOOLS = ("f",)


@dataclass(frozen=True)
class Contestant(Generic[Piece]):
    """A parser and how its server drives it; `project` is its package on PyPI, "" for ours."""

    name: str
    project: str
    pieces: Callable[[str], Sequence[Piece]]
    start: Callable[[], Callable[[Piece], object]]

    @property
    def installed(self) -> bool:
        """Whether the package is installed, so that the parser can be measured."""
        return not self.project or peers.version_of(self.project) != ""

    @property
    def label(self) -> str:
        """The name, with the version of the package."""
        return self.name.replace(
            self.project, f"{self.project} {peers.version_of(self.project)}"
        )

    def prepare(self, text: str) -> tuple[int, Callable[[int, int], None]]:
        """Start a parser; returns the number of pieces and a function that feeds a range of them."""
        pieces, feed = self.pieces(text), self.start()

        def run(begin: int, end: int) -> None:
            for piece in pieces[begin:end]:
                feed(piece)

        return len(pieces), run


AnyContestant = Contestant[str] | Contestant[int]


def ours() -> Callable[[str], object]:
    return HarmonyParser(TOOLS).feed


def oss_harmony() -> Callable[[int], object]:
    """Read the delta, the channel and the recipient after each token, as mlx-openai-server does."""
    parser = peers.oss_harmony_parser()

    def feed(token: int) -> None:
        parser.process(token)
        _ = (
            parser.last_content_delta,
            parser.current_channel,
            parser.current_recipient,
        )

    return feed


def oss_harmony_messages() -> Callable[[int], object]:
    """Read the messages after each token, which shows when a message is finished."""
    parser = peers.oss_harmony_parser()

    def feed(token: int) -> None:
        parser.process(token)
        _ = (parser.last_content_delta, parser.messages)

    return feed


def sglang() -> Callable[[str], object]:
    return peers.sglang_parser().parse


def vllm_mlx() -> Callable[[str], object]:
    """Keep the text so far, as its server does around `_extract_streaming_reasoning_delta`."""
    parser = peers.vllm_mlx_thinking()
    accumulated = ""

    def feed(delta: str) -> None:
        nonlocal accumulated
        previous = accumulated
        accumulated += delta
        parser.extract_reasoning_streaming(previous, accumulated, delta)

    return feed


def mlx_openai_server() -> Callable[[str], object]:
    return peers.mlx_openai_server_parser().parse_streaming


OURS = Contestant("mlx-harmony", "", chunks, ours)
PEERS: tuple[AnyContestant, ...] = (
    Contestant("oss-harmony", "oss-harmony", peers.tokens_of, oss_harmony),
    Contestant(
        "oss-harmony, messages read",
        "oss-harmony",
        peers.tokens_of,
        oss_harmony_messages,
    ),
    Contestant("sglang", "sglang", chunks, sglang),
    Contestant("vllm-mlx", "vllm-mlx", chunks, vllm_mlx),
    Contestant("mlx-openai-server", "mlx-openai-server", chunks, mlx_openai_server),
)

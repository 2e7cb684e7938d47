"""Who is measured: ours and the parsers of other projects, each fed as the server around it does.

A contestant turns a text into the pieces that it takes (chunks of four characters, or tokens) and gives a
fresh function that takes one piece, delivering what a server would send on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Generic, TypeVar

from benchmarks.modules import stand_alone
from harmony_core import HarmonyParser
from harmony_core.cli.bench import chunks

Piece = TypeVar("Piece", str, int)

TOOLS = ("f",)


@dataclass(frozen=True)
class Contestant(Generic[Piece]):
    """A parser as its own server drives it; `project` is the package on PyPI, empty for ours."""

    name: str
    project: str
    pieces: Callable[[str], Sequence[Piece]]
    start: Callable[[], Callable[[Piece], object]]

    @property
    def installed(self) -> bool:
        """Whether it can be measured here; not every project has a wheel for every platform."""
        return not self.project or version_of(self.project) != ""

    @property
    def label(self) -> str:
        """The name with the version of the package in it."""
        return self.name.replace(self.project, f"{self.project} {version_of(self.project)}")


def version_of(project: str) -> str:
    """The installed version, or nothing."""
    try:
        return version(project)
    except PackageNotFoundError:
        return ""


@cache
def encoding():  # noqa: ANN201 - its type is known only where the package is installed
    """The vocabulary of gpt-oss, which oss-harmony brings with it (openai-harmony wants a download)."""
    from openai_harmony import HarmonyEncodingName, load_harmony_encoding

    return load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)


def tokens_of(text: str) -> list[int]:
    """The text as tokens of gpt-oss, control tokens included."""
    return list(encoding().encode(text, allowed_special="all"))


def ours() -> Callable[[str], object]:
    return HarmonyParser(TOOLS).feed


def oss_harmony() -> Callable[[int], object]:
    """Read the delta of each token and where it belongs, as mlx-openai-server does."""
    parser = _streamable_parser()

    def feed(token: int) -> None:
        parser.process(token)
        _ = (parser.last_content_delta, parser.current_channel, parser.current_recipient)

    return feed


def oss_harmony_messages() -> Callable[[int], object]:
    """Read the messages after each token: how a finished message is noticed."""
    parser = _streamable_parser()

    def feed(token: int) -> None:
        parser.process(token)
        _ = (parser.last_content_delta, parser.messages)

    return feed


def _streamable_parser():  # noqa: ANN202 - as above
    from openai_harmony import Role, StreamableParser

    return StreamableParser(encoding(), role=Role.ASSISTANT, strict=False)


def sglang() -> Callable[[str], object]:
    return stand_alone("sglang", "sglang.srt.parser.harmony_parser").HarmonyParser().parse


def vllm_mlx() -> Callable[[str], object]:
    """Keep the text so far, as its server does (`_extract_streaming_reasoning_delta`)."""
    parser = stand_alone("vllm-mlx", "vllm_mlx.reasoning.harmony_parser").HarmonyReasoningParser()
    accumulated = ""

    def feed(delta: str) -> None:
        nonlocal accumulated
        previous = accumulated
        accumulated += delta
        parser.extract_reasoning_streaming(previous, accumulated, delta)

    return feed


def mlx_openai_server() -> Callable[[str], object]:
    return mlx_openai_server_parser().parse_streaming


def mlx_openai_server_parser():  # noqa: ANN201 - as above
    module = stand_alone("mlx-openai-server", "app.parsers.harmony")
    module.load_harmony_encoding = lambda name: encoding()  # else each parser loads it anew, for a second
    return module.HarmonyParser()


OURS = Contestant("mlx-harmony", "", chunks, ours)
PEERS: tuple[Contestant[str] | Contestant[int], ...] = (
    Contestant("oss-harmony", "oss-harmony", tokens_of, oss_harmony),
    Contestant("oss-harmony, messages read", "oss-harmony", tokens_of, oss_harmony_messages),
    Contestant("sglang", "sglang", chunks, sglang),
    Contestant("vllm-mlx", "vllm-mlx", chunks, vllm_mlx),
    Contestant("mlx-openai-server", "mlx-openai-server", chunks, mlx_openai_server),
)

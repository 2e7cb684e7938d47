"""What works with what: versions of mlx-lm, hosts and other servers, as data.

`mlx-harmony doctor` warns from this table, and the tables of the documents are made from it. What was run
stands in `TESTED_MLX_LM`; the rest was read in mlx-lm's source (docs/spec/mlx_server.md) or in its issues.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Version = tuple[int, int, int]
Works = Literal["yes", "no", "cut"]


@dataclass(frozen=True, slots=True)
class Fault:
    """A known fault of some versions, in one sentence, and where it was reported."""

    en: str
    ja: str
    reports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MlxLmRange:
    """Versions of mlx-lm that behave alike: from `first` up to the next range.

    "cut" says that replies lose what follows the first character of several tokens.
    """

    first: Version
    chat: Works
    tools: Works
    effort: bool
    progress: bool
    fault: str = ""


@dataclass(frozen=True, slots=True)
class OtherServer:
    """A server that splits the channels itself: its address and how it names gpt-oss-20b."""

    name: str
    url: str
    port: int
    model: str
    needs_model: bool


FAULTS: Final = {
    "unsupported": Fault(
        "it does not know gpt-oss (“Model type gpt_oss not supported”)",
        "gpt-oss に対応していません（Model type gpt_oss not supported）",
    ),
    "lossy": Fault(
        "unless it was patched, it loses the rest of a reply at many characters"
        " (Japanese, emoji, °)",
        "修正を加えていなければ、日本語や絵文字、° などの文字が出ると、それ以降の回答が欠けます",
    ),
    "prompt_cache": Fault(
        "it can stop answering when its prompt cache fails",
        "プロンプトキャッシュの失敗で応答しなくなることがあります",
    ),
    "generation_thread": Fault(
        "it was reported to stop generating after an error, and to end when a client"
        " leaves in the middle of a reply",
        "エラーのあと生成が止まる、応答の途中でクライアントが切断するとサーバーが終了する、"
        "という報告があります",
        (
            "https://github.com/ml-explore/mlx-lm/issues/1181",
            "https://github.com/ml-explore/mlx-lm/issues/1256",
            "https://github.com/ml-explore/mlx-lm/pull/1513",
            "https://github.com/ml-explore/mlx-lm/pull/677",
        ),
    ),
}

MLX_LM: Final = (
    MlxLmRange((0, 0, 0), "no", "no", False, False, "unsupported"),
    MlxLmRange((0, 26, 3), "cut", "cut", False, False, "lossy"),
    MlxLmRange((0, 26, 4), "yes", "yes", False, True),
    MlxLmRange((0, 29, 0), "yes", "yes", False, True, "prompt_cache"),
    MlxLmRange((0, 30, 6), "yes", "yes", True, True, "prompt_cache"),
    MlxLmRange((0, 31, 0), "yes", "yes", True, True),
    MlxLmRange((0, 31, 2), "yes", "yes", True, True, "generation_thread"),
    MlxLmRange((0, 32, 0), "yes", "yes", True, True),
)

TESTED_MLX_LM: Final = ("0.26.3", "0.26.4", "0.28.4", "0.31.3", "0.32.2")
ADVISED_MLX_LM: Final = "0.32.2"
EFFORT_SINCE: Final = "0.30.6"

TESTED_DIFY: Final = ("1.7.2", "1.13.2")
OLDEST_DIFY: Final = "1.4.0"
TESTED_OPEN_WEBUI: Final = ("0.6.20", "0.12.4")

OTHER_SERVERS: Final = (
    OtherServer("LM Studio", "http://127.0.0.1:1234", 1234, "openai/gpt-oss-20b", True),
    OtherServer("llama.cpp", "http://127.0.0.1:8080", 8080, "gpt-oss-20b", False),
    OtherServer("Ollama", "http://127.0.0.1:11434", 11434, "gpt-oss:20b", True),
    OtherServer("vLLM", "http://127.0.0.1:8000", 8000, "openai/gpt-oss-20b", True),
)


def mlx_lm_range(version: Version) -> MlxLmRange:
    """The row that a version belongs to."""
    return [row for row in MLX_LM if row.first <= version][-1]

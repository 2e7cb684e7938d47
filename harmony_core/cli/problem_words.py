"""Problems in the words of the command line, which has options where hosts have settings."""

from __future__ import annotations

from collections.abc import Mapping

from ..compatibility import FAULTS
from ..problems import Language, Problem
from .phrases import language

# The settings in the table of problems, and the options in their place. Longer names come first.
_OPTION_OF_SETTING: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "The base URL": "--base-url",
        "the base URL": "--base-url",
        "the first-byte timeout": "--timeout",
        "the idle timeout": "--timeout",
        "the reasoning effort": "--effort",
        "max_tokens": "--max-tokens",
        "switch the use of proxies off": "leave --use-proxies out",
        "Enter the API key": "Give with --api-key the key",
        "Set the file of the authority that signed it (CA file,": (
            "Name the file of the authority that signed it (--ca-file,"
        ),
        "Correct its path (CA file,": "Correct its path (--ca-file,",
    },
    "ja": {
        "ベース URL": "--base-url",
        "最初の応答までの制限時間": "--timeout の秒数",
        "無通信の制限時間": "--timeout の秒数",
        "推論の深さ（reasoning effort）": "推論の深さ（--effort）",
        "推論の強さ(reasoning effort)": "推論の深さ（--effort）",
        "最大トークン数（max_tokens）": "--max-tokens",
        "max_tokens": "--max-tokens",
        "プロキシの使用をやめて": "--use-proxies を外して",
        "（CA ファイル、": "（--ca-file、",
    },
}


def problem_text(problem: Problem) -> str:
    """Return what happened and what to do, in the language of the locale."""
    text = problem.text(language())
    for setting, option in _OPTION_OF_SETTING[language()].items():
        text = text.replace(setting, option)
    return text


def fault_text(name: str) -> str:
    """Return what is wrong with a version of mlx-lm, in the language of the locale."""
    fault = FAULTS[name]
    return fault.ja if language() == "ja" else fault.en

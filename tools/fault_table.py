"""Writes the tables of docs/reliability.md and reliability_ja.md: `python -m tools.fault_table`.

They come from tests/server/faults.py.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from harmony_core.cli.exit_codes import exit_code
from harmony_core.problems import PROBLEMS, Language
from tests.server.faults import CHECK_IS_OVER, FAULTS, LIST_FAULTS, TLS_FAULTS, Fault

ROOT: Final = Path(__file__).resolve().parents[1]
DOCUMENTS: Final[dict[Language, Path]] = {
    "en": ROOT / "docs" / "reliability.md",
    "ja": ROOT / "docs" / "reliability_ja.md",
}
BEGIN, END = (
    "<!-- faults: written by tools/fault_table.py -->",
    "<!-- end of faults -->",
)
PLAYED_IN: Final = {"core": "core", "pipe": "Open WebUI", "dify": "Dify"}
JAPANESE: Final = {
    "What the server does": "サーバーの動作（テスト名）",
    "The answer that stays": "残る回答",
    "What each host says": "各ホストの表示",
    "The command line and `Client.models`": "コマンドラインと `Client.models`",
    "Dify's form": "Dify のフォーム",
    "Exit code": "終了コード",
    "A chat": "チャット",
    "The list of models": "モデルの一覧",
    "In Open WebUI the models that are known stay. Dify asks for the list when the form is saved.": (
        "Open WebUI では、取得済みのモデルが残ります。Dify はフォームの保存時に一覧を取得します。"
    ),
    "Each row is played by one test for each host, under the row's name:": (
        "どの行も、ホストごとに 1 つのテストが行の名前で再現します。"
    ),
    "none came": "なし",
    "nothing: the answer is whole": "表示なし（回答は全文届きます）",
    "nothing: the model can be used all the same": "表示なし（モデルはそのまま使えます）",
    "the same": "同じ",
    "In Open WebUI:": "Open WebUI では:",
}


def tables(language: Language) -> str:
    """The faults of a chat, of the list of models and of https; for each what is told, and the tests."""
    chat = [
        _head(
            "What the server does",
            "The answer that stays",
            "What each host says",
            "Exit code",
            language=language,
        ),
        "|---|---|---|---|",
        *(_row(name, fault, language) for name, fault in FAULTS.items()),
    ]
    models = [
        _say(
            "In Open WebUI the models that are known stay. Dify asks for the list when the form is saved.",
            language,
        ),
        "",
        _head(
            "What the server does",
            "The command line and `Client.models`",
            "Dify's form",
            "Exit code",
            language=language,
        ),
        "|---|---|---|---|",
        *(_row_of_list(name, fault, language) for name, fault in LIST_FAULTS.items()),
    ]
    https = [
        _head(
            "What the server does",
            "What each host says",
            "Exit code",
            language=language,
        ),
        "|---|---|---|",
        *(
            f"| {name} | {_told(f, language)} | {exit_code(f.kind)} |"
            for name, f in TLS_FAULTS.items()
        ),
    ]
    parts = [
        ("A chat", "FAULTS", chat),
        ("The list of models", "LIST_FAULTS", models),
        ("https", "TLS_FAULTS", https),
    ]
    return "\n\n".join(
        "\n".join(
            [
                f"### {_say(title, language)}",
                "",
                *_tests_of(faults, language),
                "",
                *rows,
            ]
        )
        for title, faults, rows in parts
    )


def _tests_of(faults: str, language: Language) -> list[str]:
    played = [f"- {host}: `{test}`" for host, test in players(faults).items()]
    return [
        _say(
            "Each row is played by one test for each host, under the row's name:",
            language,
        ),
        "",
        *played,
    ]


def players(faults: str) -> dict[str, str]:
    """For each host the test that plays all these faults."""
    found: dict[str, str] = {}
    for folder, host in PLAYED_IN.items():
        path = Path("tests") / folder / "test_faults.py"
        pattern = rf'^@pytest\.mark\.parametrize\("name", {faults}\)\ndef (test_\w+)'
        test = re.search(pattern, (ROOT / path).read_text("utf-8"), re.MULTILINE)
        if test is None:
            sys.exit(f"{path} does not play {faults}")
        found[host] = f"{path.as_posix()}::{test[1]}"
    return found


def _say(words: str, language: Language) -> str:
    return JAPANESE.get(words, words) if language == "ja" else words


def _head(*titles: str, language: Language) -> str:
    return f"| {' | '.join(_say(title, language) for title in titles)} |"


def _row(name: str, fault: Fault, language: Language) -> str:
    kept = f"`{fault.kept}`" if fault.kept else _say("none came", language)
    if not fault.kind:
        whole = _say("nothing: the answer is whole", language)
        return f"| {name} | {kept} | {whole} | 0 |"
    return f"| {name} | {kept} | {_told(fault, language)} | {exit_code(fault.kind)} |"


def _row_of_list(name: str, fault: Fault, language: Language) -> str:
    form = fault.kind_in_form
    said = _say("nothing: the model can be used all the same", language)
    if form == fault.kind:
        said = _say("the same", language)
    elif form:
        said = _sentence_of(CHECK_IS_OVER, language)
    told = _sentence_of(fault.kind, language)
    return f"| {name} | {told} | {said} | {exit_code(fault.kind)} |"


def _told(fault: Fault, language: Language) -> str:
    told = _sentence_of(fault.kind, language)
    if fault.kind_in_pipe:
        in_pipe = _say("In Open WebUI:", language)
        told += f" {in_pipe} {_sentence_of(fault.kind_in_pipe, language)}"
    return told


def _sentence_of(kind: str, language: Language) -> str:
    """The sentences of a kind, its blanks marked: beside Japanese text asterisks would stay as they are."""
    row = PROBLEMS[kind]
    sentences = (row.ja if language == "ja" else row.en).replace("|", "\\|")
    mark = r"<i>\1</i>" if language == "ja" else r"*\1*"
    return re.sub(r"\{(\w+)\}", mark, sentences.replace("<", "&lt;"))


def written(document: str, language: Language) -> str:
    """The document with the tables of today."""
    before, _, rest = document.partition(BEGIN)
    _, _, behind = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables(language)}\n\n{END}{behind}"


def main() -> None:
    for language, path in DOCUMENTS.items():
        path.write_text(written(path.read_text("utf-8"), language), "utf-8")


if __name__ == "__main__":
    main()

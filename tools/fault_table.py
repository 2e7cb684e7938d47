"""`python -m tools.fault_table`: writes the tables of docs/reliability.md and reliability_ja.md.

Their rows are the faults of tests/server/faults.py.
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
    """Return the tables of the faults of a chat, of the list of models and of https, with their tests."""
    chat = [
        _header_row(
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
        _translated(
            "In Open WebUI the models that are known stay. Dify asks for the list when the form is saved.",
            language,
        ),
        "",
        _header_row(
            "What the server does",
            "The command line and `Client.models`",
            "Dify's form",
            "Exit code",
            language=language,
        ),
        "|---|---|---|---|",
        *(_list_row(name, fault, language) for name, fault in LIST_FAULTS.items()),
    ]
    https = [
        _header_row(
            "What the server does",
            "What each host says",
            "Exit code",
            language=language,
        ),
        "|---|---|---|",
        *(
            f"| {name} | {_reported(f, language)} | {exit_code(f.kind)} |"
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
                f"### {_translated(title, language)}",
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
        _translated(
            "Each row is played by one test for each host, under the row's name:",
            language,
        ),
        "",
        *played,
    ]


def players(faults: str) -> dict[str, str]:
    """Return, for each host, the test that plays all these faults; exits if there is none."""
    found: dict[str, str] = {}
    for folder, host in PLAYED_IN.items():
        path = Path("tests") / folder / "test_faults.py"
        pattern = rf'^@pytest\.mark\.parametrize\("name", {faults}\)\ndef (test_\w+)'
        test = re.search(pattern, (ROOT / path).read_text("utf-8"), re.MULTILINE)
        if test is None:
            sys.exit(f"{path} does not play {faults}")
        found[host] = f"{path.as_posix()}::{test[1]}"
    return found


def _translated(words: str, language: Language) -> str:
    return JAPANESE.get(words, words) if language == "ja" else words


def _header_row(*titles: str, language: Language) -> str:
    return f"| {' | '.join(_translated(title, language) for title in titles)} |"


def _row(name: str, fault: Fault, language: Language) -> str:
    kept = f"`{fault.kept}`" if fault.kept else _translated("none came", language)
    if not fault.kind:
        whole = _translated("nothing: the answer is whole", language)
        return f"| {name} | {kept} | {whole} | 0 |"
    return (
        f"| {name} | {kept} | {_reported(fault, language)} | {exit_code(fault.kind)} |"
    )


def _list_row(name: str, fault: Fault, language: Language) -> str:
    form = fault.kind_in_form
    in_form = _translated("nothing: the model can be used all the same", language)
    if form == fault.kind:
        in_form = _translated("the same", language)
    elif form:
        in_form = _sentence_of(CHECK_IS_OVER, language)
    reported = _sentence_of(fault.kind, language)
    return f"| {name} | {reported} | {in_form} | {exit_code(fault.kind)} |"


def _reported(fault: Fault, language: Language) -> str:
    reported = _sentence_of(fault.kind, language)
    if fault.kind_in_pipe:
        in_pipe = _translated("In Open WebUI:", language)
        reported += f" {in_pipe} {_sentence_of(fault.kind_in_pipe, language)}"
    return reported


def _sentence_of(kind: str, language: Language) -> str:
    """Return the sentences of a kind, with blanks in italics. Asterisks do not work beside Japanese text."""
    row = PROBLEMS[kind]
    sentences = (row.ja if language == "ja" else row.en).replace("|", "\\|")
    mark = r"<i>\1</i>" if language == "ja" else r"*\1*"
    return re.sub(r"\{(\w+)\}", mark, sentences.replace("<", "&lt;"))


def written(document: str, language: Language) -> str:
    """Return the document with the current tables."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables(language)}\n\n{END}{after}"


def main() -> None:
    for language, path in DOCUMENTS.items():
        path.write_text(written(path.read_text("utf-8"), language), "utf-8")


if __name__ == "__main__":
    main()

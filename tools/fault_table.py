"""Writes the tables of docs/reliability.md from tests/server/faults.py: `python -m tools.fault_table`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from harmony_core.cli.exit_codes import exit_code
from harmony_core.problems import PROBLEMS
from tests.server.faults import CHECK_IS_OVER, FAULTS, LIST_FAULTS, TLS_FAULTS, Fault

ROOT: Final = Path(__file__).resolve().parents[1]
DOCUMENT: Final = ROOT / "docs" / "reliability.md"
BEGIN, END = (
    "<!-- faults: written by tools/fault_table.py -->",
    "<!-- end of faults -->",
)
PLAYED_IN: Final = {"core": "core", "pipe": "Open WebUI", "dify": "Dify"}


def tables() -> str:
    """The faults of a chat, of the list of models and of https; for each what is told, and the tests."""
    chat = [
        "| What the server does | The answer that stays | What each host says | Exit code |",
        "|---|---|---|---|",
        *(_row(name, fault) for name, fault in FAULTS.items()),
    ]
    models = [
        "In Open WebUI the models that are known stay. Dify asks for the list when the form is saved.",
        "",
        "| What the server does | The command line and `Client.models` | Dify's form | Exit code |",
        "|---|---|---|---|",
        *(_row_of_list(name, fault) for name, fault in LIST_FAULTS.items()),
    ]
    https = [
        "| What the server does | What each host says | Exit code |",
        "|---|---|---|",
        *(
            f"| {name} | {_told(f)} | {exit_code(f.kind)} |"
            for name, f in TLS_FAULTS.items()
        ),
    ]
    parts = [
        ("### A chat", "FAULTS", chat),
        ("### The list of models", "LIST_FAULTS", models),
        ("### https", "TLS_FAULTS", https),
    ]
    return "\n\n".join(
        "\n".join([title, "", *_tests_of(faults), "", *rows])
        for title, faults, rows in parts
    )


def _tests_of(faults: str) -> list[str]:
    played = [f"- {host}: `{test}`" for host, test in players(faults).items()]
    return [
        "Each row is played by one test for each host, under the row's name:",
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


def _row(name: str, fault: Fault) -> str:
    kept = f"`{fault.kept}`" if fault.kept else "none came"
    if not fault.kind:
        return f"| {name} | {kept} | nothing: the answer is whole | 0 |"
    return f"| {name} | {kept} | {_told(fault)} | {exit_code(fault.kind)} |"


def _row_of_list(name: str, fault: Fault) -> str:
    form = fault.kind_in_form
    said = "nothing: the model can be used all the same"
    if form:
        said = "the same" if form == fault.kind else _sentence_of(CHECK_IS_OVER)
    return f"| {name} | {_sentence_of(fault.kind)} | {said} | {exit_code(fault.kind)} |"


def _told(fault: Fault) -> str:
    told = _sentence_of(fault.kind)
    if fault.kind_in_pipe:
        told += f" In Open WebUI: {_sentence_of(fault.kind_in_pipe)}"
    return told


def _sentence_of(kind: str) -> str:
    """The sentences of a kind, its blanks in italics."""
    told = re.sub(r"\{(\w+)\}", r"*\1*", PROBLEMS[kind].en)
    return told.replace("|", "\\|").replace("<", "&lt;")


def written(document: str) -> str:
    """The document with the tables of today."""
    before, _, rest = document.partition(BEGIN)
    _, _, behind = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{behind}"


def main() -> None:
    DOCUMENT.write_text(written(DOCUMENT.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()

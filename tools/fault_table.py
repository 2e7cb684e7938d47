"""Writes the table of docs/reliability.md from tests/server/faults.py: `python -m tools.fault_table`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from harmony_core.cli.exit_codes import exit_code
from harmony_core.problems import PROBLEMS
from tests.server.faults import FAULTS, Fault

ROOT: Final = Path(__file__).resolve().parents[1]
DOCUMENT: Final = ROOT / "docs" / "reliability.md"
BEGIN, END = (
    "<!-- faults: written by tools/fault_table.py -->",
    "<!-- end of faults -->",
)
PLAYED_IN: Final = {"core": "core", "pipe": "Open WebUI", "dify": "Dify"}
_TEST: Final = re.compile(
    r"^@pytest\.mark\.parametrize\(\"name\", FAULTS\)\ndef (test_\w+)", re.M
)


def table() -> str:
    """Each fault, what a reader keeps and is told in every host, the exit code and the tests."""
    rows = [
        "| What the server does | The answer that stays | What each host says | Exit code |",
        "|---|---|---|---|",
        *(_row(name, fault) for name, fault in FAULTS.items()),
    ]
    tests = [f"- {host}: `{test}`" for host, test in players().items()]
    played = [
        "Each row is played by one test for each host, under the row's name:",
        "",
        *tests,
    ]
    return "\n".join([*played, "", *rows])


def players() -> dict[str, str]:
    """For each host the test that plays all faults."""
    found: dict[str, str] = {}
    for folder, host in PLAYED_IN.items():
        path = Path("tests") / folder / "test_faults.py"
        test = _TEST.search((ROOT / path).read_text("utf-8"))
        if test is None:
            sys.exit(f"{path} plays no faults")
        found[host] = f"{path.as_posix()}::{test[1]}"
    return found


def _row(name: str, fault: Fault) -> str:
    kept = f"`{fault.kept}`" if fault.kept else "none came"
    if not fault.kind:
        return f"| {name} | {kept} | nothing: the answer is whole | 0 |"
    told = _sentence_of(fault.kind)
    if fault.kind_in_pipe:
        told += f" In Open WebUI: {_sentence_of(fault.kind_in_pipe)}"
    return f"| {name} | {kept} | {told} | {exit_code(fault.kind)} |"


def _sentence_of(kind: str) -> str:
    """The sentences of a kind, its blanks in italics."""
    told = re.sub(r"\{(\w+)\}", r"*\1*", PROBLEMS[kind].en)
    return told.replace("|", "\\|").replace("<", "&lt;")


def written(document: str) -> str:
    """The document with the table of today."""
    before, _, rest = document.partition(BEGIN)
    _, _, behind = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{behind}"


def main() -> None:
    DOCUMENT.write_text(written(DOCUMENT.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()

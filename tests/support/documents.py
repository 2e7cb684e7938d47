"""The pages that people read, and the code blocks in them.

A comment right before a block says how it is known to work: `<!-- tested: NAME -->`, run by the test of that
name in tests/documents, or `<!-- needs: a Mac -->`, with what this project's tests do not have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "readme").glob("*.md"),
    )
)
_BLOCK = re.compile(
    r"^(?P<mark>[^\n]*)\n(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)\n(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_MARK = re.compile(r"<!-- (tested|needs): (.+) -->")


@dataclass(frozen=True)
class Block:
    """A code block of a page; `tested` and `needs` are what its mark says, one of them, or none."""

    page: str
    language: str
    code: str
    tested: str
    needs: str


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> list[Block]:
    """The code blocks of a page, in order."""
    found = []
    for block in _BLOCK.finditer(read(page)):
        mark = _MARK.fullmatch(block["mark"])
        said = {mark[1]: mark[2]} if mark else {}
        tested, needs = said.get("tested", ""), said.get("needs", "")
        found.append(Block(page, block["language"], block["code"], tested, needs))
    return found


def blocks_run_by(name: str) -> list[Block]:
    """The blocks of all pages that a test promises to run; there is at least one."""
    found = [block for page in PAGES for block in blocks(page) if block.tested == name]
    assert found, f"no block is marked as tested: {name}"
    return found


def page_of(block: Block) -> str:
    """What a block is called in the name of a test."""
    return block.page

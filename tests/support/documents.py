"""The pages that people read, and the code blocks in them.

A comment right before a block says who runs it. `<!-- tested: NAME -->` names a test in tests/documents.
`<!-- needs: a Mac -->` names what a reader needs and the tests do not have.
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
    """A code block of a page. Its mark sets `tested` or `needs`; without a mark both are empty."""

    page: str
    language: str
    code: str
    tested: str
    needs: str


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> list[Block]:
    """Return the code blocks of a page, in order."""
    found = []
    for block in _BLOCK.finditer(read(page)):
        mark = _MARK.fullmatch(block["mark"])
        said = {mark[1]: mark[2]} if mark else {}
        tested, needs = said.get("tested", ""), said.get("needs", "")
        found.append(Block(page, block["language"], block["code"], tested, needs))
    return found


def blocks_run_by(name: str) -> list[Block]:
    """Return the blocks of all pages that the test `name` runs; fails if there are none."""
    found = [block for page in PAGES for block in blocks(page) if block.tested == name]
    assert found, f"no block is marked as tested: {name}"
    return found


def page_of(block: Block) -> str:
    """Return the id of a block in a parametrized test."""
    return block.page

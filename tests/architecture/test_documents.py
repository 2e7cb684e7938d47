"""Documents as GitHub shows them: tables keep their cells, and links and references lead somewhere."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.architecture.test_release import tracked_files

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "docs" / "spec"
PASTED_FILE = ROOT / "openwebui_pipe" / "mlx_harmony_pipe.py"
DOCUMENTS = sorted(
    chain(
        ROOT.glob("*.md"),
        *(
            (ROOT / folder).rglob("*.md")
            for folder in ("benchmarks", "docs", "readme", "tests", "toy")
        ),
    )
)
PAGES = sorted(SPEC.glob("*.md"))
MAX_LINE = 100

FENCE = re.compile(r" {0,3}(```|~~~)")
DELIMITER_ROW = re.compile(r"\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*")
RAW_PIPE = re.compile(r"(?<!\\)\|")
CODE = re.compile(r"(`+)(?!`)(?:(?!\n\n).)*?(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(
    r"\]\(<?(?P<inline>[^)\s>]+)>?(?:\s[^)]*)?\)"
    r"|^\[[^\]]+\]: *(?P<reference>\S+)"
    r"|\b(?:src|srcset|href)=\"(?P<html>[^\"]+)\"",
    re.MULTILINE,
)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//")
MENTION = re.compile(
    rf"(?:docs/spec/|(?<![\w./-]))(?P<page>{'|'.join(page.stem for page in PAGES)})\.md"
)
PLACE = re.compile(
    r"#(?P<anchor>[\w-]+)"
    r"|, \"(?P<quoted>[^\"]+)\""
    r"|, (?:its )?rules? (?P<first>\d+)(?: (?:to|and) (?P<last>\d+))?"
    r"|, (?P<title>[A-Z0-9][^,;.:)]*)"
)
COMMENT_LINE_END = re.compile(r"\s*\n[ \t]*(?:#[ \t]*)?")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def lines_outside_fences(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not in a fenced block."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        mark = FENCE.match(line)
        if mark and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
        elif not fence:
            yield number, line


def tables(text: str) -> Iterator[list[tuple[int, str]]]:
    """Each run of lines that begin with a pipe; every line has its number."""
    table: list[tuple[int, str]] = []
    for number, line in lines_outside_fences(text + "\n\n"):
        if line.startswith("|"):
            table.append((number, line))
        elif table:
            yield table
            table = []


def cells(row: str) -> int:
    """How many cells GitHub makes of a row; a pipe in a code span also separates cells."""
    row = row.strip().removeprefix("|")
    pipes = len(RAW_PIPE.findall(row))
    return pipes if row.endswith("|") and not row.endswith("\\|") else pipes + 1


def broken_rows(text: str) -> list[str]:
    """What is wrong with the tables of a document."""
    broken: list[str] = []
    for (number, head), *rows in tables(text):
        if not rows or not DELIMITER_ROW.fullmatch(rows[0][1]):
            broken.append(f"line {number}: no delimiter row below the head")
        broken += [
            f"line {number}: {cells(row)} cells, the head has {cells(head)}"
            for number, row in rows
            if cells(row) != cells(head)
        ]
    return broken


def headings(text: str) -> list[str]:
    """The titles of a document's headings, without their markup."""
    lines = (line for _, line in lines_outside_fences(text))
    found = (re.fullmatch(r"#{1,6} +(.*?)(?: +#+)?", line) for line in lines)
    return [re.sub(r"[`*]|\]\([^)]*\)|\[", "", title[1]) for title in found if title]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to a document's headings."""
    names: list[str] = []
    seen: Counter[str] = Counter()
    for title in headings(text):
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        names.append(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return {*names, *re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text)}


def links(text: str) -> Iterator[str]:
    """The targets of links and pictures inside the repository; links in code do not count."""
    prose = "\n".join(line for _, line in lines_outside_fences(text))
    for link in LINK.finditer(CODE.sub("", prose)):
        target = link["inline"] or link["reference"] or link["html"]
        if not ELSEWHERE.match(target):
            yield target


def dangling_links(document: Path) -> list[str]:
    """The links of a document that lead to no file, or to no heading of it."""
    dangling: list[str] = []
    for link in links(document.read_text("utf-8")):
        path, _, anchor = unquote(link).partition("#")
        target = document.parent / path if path else document
        is_heading = target.suffix == ".md" and target.is_file()
        if not target.exists() or (
            anchor and is_heading and anchor not in anchors(target.read_text("utf-8"))
        ):
            dangling.append(link)
    return dangling


def mentioned_places(code: str) -> Iterator[tuple[str, str]]:
    """Page and place of each reference to docs/spec; a place is a heading, a rule or an anchor."""
    text = COMMENT_LINE_END.sub(" ", code)
    for mention in MENTION.finditer(text):
        end = mention.end()
        while place := PLACE.match(text, end):
            end = place.end()
            if place["first"]:
                last = int(place["last"] or place["first"])
                for number in range(int(place["first"]), last + 1):
                    yield mention["page"], f"Rule {number}"
            elif place["anchor"]:
                yield mention["page"], f"#{place['anchor']}"
            else:
                yield mention["page"], (place["quoted"] or place["title"]).strip()


def leads_somewhere(page: str, place: str) -> bool:
    """Whether a page of docs/spec has such a heading, rule or anchor."""
    text = (SPEC / f"{page}.md").read_text("utf-8")
    if place.startswith("#"):
        return place[1:] in anchors(text)
    return any(
        title == place or title.startswith(f"{place}: ") for title in headings(text)
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_row_of_a_table_has_the_cells_of_its_head(document: Path) -> None:
    assert not broken_rows(document.read_text("utf-8"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_relative_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    assert not dangling_links(document)


def test_every_reference_to_the_spec_leads_to_a_heading() -> None:
    this = Path(__file__)
    sources = [path for path in tracked_files() if path.suffix == ".py"]
    places = [
        (name_of(path), page, place)
        for path in sources
        if path not in (PASTED_FILE, this) and path.is_file()
        for page, place in mentioned_places(path.read_text("utf-8"))
    ]
    assert len(places) > 10  # otherwise the pattern no longer finds them
    assert [each for each in places if not leads_somewhere(each[1], each[2])] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_lines_of_the_spec_fit_a_screen(page: Path) -> None:
    text = page.read_text("utf-8")
    long = [
        number
        for number, line in lines_outside_fences(text)
        if len(line) > MAX_LINE and not line.startswith(("|", "    "))
    ]
    assert not long


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_rules_of_a_page_are_numbered_without_a_gap(page: Path) -> None:
    titles = headings(page.read_text("utf-8"))
    numbers = [int(n) for n in re.findall(r"^Rule (\d+): ", "\n".join(titles), re.M)]
    assert numbers == list(range(1, len(numbers) + 1))


HEAD = "| a | b |\n|---|---|\n"


@pytest.mark.parametrize("row", ["| `<|end|>` | x |", "| one |", "| 1 | 2 | 3 |"])
def test_a_row_with_other_cells_than_its_head_is_found(row: str) -> None:
    assert broken_rows(HEAD + row)


@pytest.mark.parametrize("row", ["| one | two", "| one | two \\|", "| one | |"])
def test_a_row_need_not_end_in_a_pipe(row: str) -> None:
    assert not broken_rows(HEAD + row)


def test_a_table_without_a_delimiter_row_is_found() -> None:
    assert broken_rows("| a | b |\n| c | d |")


def test_pipes_in_a_fence_and_escaped_pipes_break_nothing() -> None:
    assert not broken_rows(f"{HEAD}| `<\\|end\\|>` | x |\n\n```\n| a |\n```\n")


def test_a_link_to_a_missing_file_or_heading_is_found(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text(
        "# One `b`: two\n[x](#one-b-two) [y](#three) [z](b.md) [w](https://example.org)\n"
        "`[code](c.md)`\n",
        "utf-8",
    )
    assert dangling_links(document) == ["#three", "b.md"]


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("(harmony.md, rule 9).", [("harmony", "Rule 9")]),
        ("(mlx_server.md,\n    # its rule 7)", [("mlx_server", "Rule 7")]),
        ("(dify.md, What lies where).", [("dify", "What lies where")]),
        (
            '(mlx_server.md, "A b", rules 1 to 2)',
            [("mlx_server", place) for place in ("A b", "Rule 1", "Rule 2")],
        ),
        ("docs/spec/harmony.md#rule-9-x", [("harmony", "#rule-9-x")]),
        ("of docs/dify.md, Install", []),
        ("harmony.md, in every chunking", []),
    ],
)
def test_a_reference_is_read_in_each_of_its_forms(
    comment: str, expected: list[tuple[str, str]]
) -> None:
    assert list(mentioned_places(comment)) == expected


@pytest.mark.parametrize("place", ["Rule 99", "No such heading", "#rule-99"])
def test_a_reference_without_a_heading_is_found(place: str) -> None:
    assert not leads_somewhere("harmony", place)

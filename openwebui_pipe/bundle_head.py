"""The top of the pasted file: what it does, where it comes from, and its contents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from openwebui_pipe.bundle_sources import BundleError, Source

RULER: Final = "# " + "=" * 86
PAGES: Final = "docs/spec"
REFERENCE: Final = re.compile(
    r"\b(?P<page>[a-z_]+\.md)\b(?:, (?:its )?rules? (?P<its>\d+))?|\brules? (?P<bare>\d+)"
)
ABOUT: Final = """\
What it does: Open WebUI sends a chat here, this file sends it on to mlx_lm.server with gpt-oss.
The reply is raw Harmony text. This file turns it into folded thinking, an answer and tool calls.
It shortens the thinking of titles and tags, and lets them wait while an answer streams.
When something fails, it says in the chat what happened and what to do next.
It talks to the servers in the setting BASE_URL and to nobody else. It installs nothing.
It writes one file, mlx_harmony_models.json in Open WebUI's data folder: the ids of the models."""


def project_url(root: Path) -> str:
    """The address of the project; only manifest.yaml has it."""
    manifest = (root / "manifest.yaml").read_text("utf-8")
    found = re.search(r"^repo: *(\S+)$", manifest, re.MULTILINE)
    if not found:
        raise BundleError("manifest.yaml has no line `repo: ADDRESS`.")
    return found[1]


def frontmatter_of(entry: Source, url: str) -> str:
    """The docstring that Open WebUI reads: the one of `pipe.py`, with the project's address."""
    return f'"""\n{entry.docstring}\nauthor_url: {url}\ngit_url: {url}\n"""'


def head(groups: Mapping[str, Iterable[Source]], pages: Iterable[str], url: str) -> str:
    """The comment at the top; every line number in its contents is still 0."""
    lines = [
        f"Generated. Edit the source files named in the section headings; see {url}",
        "",
        *ABOUT.splitlines(),
        "",
        "Contents, with line numbers:",
    ]
    for heading, sources in groups.items():
        lines += [
            f"  {heading}",
            *(contents_entry(0, path_of(source)) for source in sources),
        ]
    lines += legend(pages, url)
    return "\n".join(f"# {line}".rstrip() for line in lines)


def legend(pages: Iterable[str], url: str) -> list[str]:
    """The addresses of the pages that comments name."""
    lines = [f"  {page:<14} {url}/blob/main/{PAGES}/{page}" for page in sorted(pages)]
    return (
        ["", "Comments name rules and headings of these pages:", *lines]
        if lines
        else []
    )


def contents_entry(number: int, path: str) -> str:
    """A line of the contents; its length does not depend on the number."""
    return f"  {number:>6}  {path}"


def path_of(source: Source) -> str:
    """The file of a module, which is the name of its section."""
    return source.name.replace(".", "/") + ".py"


def number_contents(text: str) -> str:
    """Write the line of each section's ruler into the contents."""
    lines = text.splitlines()
    for number, (line, below) in enumerate(pairwise(lines), 1):
        if line == RULER:
            path = below.removeprefix("# ")
            text = text.replace(
                contents_entry(0, path), contents_entry(number, path), 1
            )
    return text


class Pages(NamedTuple):
    """The pages that a module names, and the page whose rules it names by number alone."""

    named: set[str]
    of_bare_rules: set[str]


def pages_of(source: Source, root: Path) -> Pages:
    """The pages that a module names.

    A bare "rule 9" belongs to the page named before it. A page or rule that does not
    exist is refused.
    """
    pages: list[str] = []
    of_bare_rules: set[str] = set()
    for found in REFERENCE.finditer(source.text):
        pages += [found["page"]] if found["page"] else pages[-1:]
        rule = found["its"] or found["bare"]
        if not pages or not page_has_rule(root / PAGES / pages[-1], rule):
            raise BundleError(f"{source.name}: `{found[0]}` is nowhere in {PAGES}.")
        if found["bare"]:
            of_bare_rules.add(pages[-1])
    if len(of_bare_rules) > 1:
        raise BundleError(f"{source.name}: write before each rule of which page it is.")
    return Pages(set(pages), of_bare_rules)


def page_has_rule(page: Path, number: str | None) -> bool:
    """Whether the page exists and has the rule, as a heading or as an item of a list."""
    if not page.is_file():
        return False
    rule = rf"^(?:#+ Rule )?{number}[.:] "
    return (
        not number or re.search(rule, page.read_text("utf-8"), re.MULTILINE) is not None
    )

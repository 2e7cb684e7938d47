"""Generate the one file that people paste into Open WebUI, and its JSON export.

    python -m openwebui_pipe.bundle            write both
    python -m openwebui_pipe.bundle --check    exit 1 if what is committed differs by a byte

`pipe.py` and the modules that it imports become one flat module. `bundle_order.py` gives their order. Their
imports of each other go, all other imports are merged at the top, and comments and docstrings stay. Nothing
is renamed or hidden, because an admin must be able to read what is pasted. What a flat file cannot express is
refused with a `BundleError` that names the place. The result depends only on the sources and on the version
of black.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Final

import black

from openwebui_pipe.bundle_head import (
    RULER,
    frontmatter_of,
    head,
    number_contents,
    pages_of,
    path_of,
    project_url,
)
from openwebui_pipe.bundle_order import in_reading_order
from openwebui_pipe.bundle_sources import (
    ENTRY,
    BundleError,
    Source,
    merged_imports,
    refuse_clashes,
    sources_in_import_order,
)

ROOT: Final = Path(__file__).resolve().parent.parent
TARGET: Final = ROOT / "openwebui_pipe" / "mlx_harmony_pipe.py"
EXPORT: Final = ROOT / "openwebui_pipe" / "mlx_harmony_pipe.json"
JAPANESE: Final = ROOT / "openwebui_pipe" / "labels_ja.json"
FUNCTION_ID: Final = "mlx_harmony"

MAX_LINES: Final = 7000
"""A decision: an admin should be able to read what is pasted in an afternoon."""
# Open WebUI rewrites these everywhere, in strings and comments too (openwebui.md, "Loading").
REWRITTEN: Final = ("from utils", "from apps", "from main", "from config")


def body_of(source: Source) -> str:
    """The text of a module without its docstring and its top-level imports; comments stay."""
    lines = source.text.splitlines()
    dropped: list[ast.stmt] = list(source.imports)
    if ast.get_docstring(source.tree) is not None:
        dropped.append(source.tree.body[0])
    for node in dropped:
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
            lines[number - 1] = ""
    return "\n".join(lines).strip("\n")


def section(source: Source, root: Path) -> str:
    """A module as a part of the file: its name and docstring as a comment, then its code."""
    about = "" if source.name == ENTRY else source.docstring
    lines = [RULER, f"# {path_of(source)}"]
    lines += [f"# {line}".rstrip() for line in about.splitlines()]
    for page in pages_of(source, root).of_bare_rules:
        lines += [f"# A rule that is named by its number alone is one of {page}."]
    return "\n".join(lines) + "\n\n" + body_of(source)


def bundle(root: Path = ROOT) -> str:
    """The pasteable file."""
    sources = sources_in_import_order(ENTRY, root)
    refuse_clashes(sources)
    groups = in_reading_order(sources)
    ordered = [source for group in groups.values() for source in group]
    pages = {page for source in ordered for page in pages_of(source, root).named}
    url = project_url(root)
    parts = [
        frontmatter_of(sources[-1], url),
        head(groups, pages, url),
        "\n".join(merged_imports(sources)),
        *(section(source, root) for source in ordered),
    ]
    text = black.format_str("\n\n".join(parts) + "\n", mode=black.Mode())
    text = number_contents(text)
    refuse_unfit(text)
    return text


def refuse_unfit(text: str) -> None:
    """Refuse a file that is too long to be read, or that Open WebUI would rewrite."""
    if (length := text.count("\n")) > MAX_LINES:
        raise BundleError(f"The generated file has {length} lines, over {MAX_LINES}.")
    for words in REWRITTEN:
        if words in text:
            line = text[: text.index(words)].count("\n") + 1
            raise BundleError(
                f"Open WebUI would rewrite `{words}`, line {line} of the generated file."
            )


def frontmatter(text: str) -> dict[str, str]:
    """The `key: value` lines at the top of a bundle, read as Open WebUI reads them."""
    return dict(
        re.findall(r"^([a-z_]+): *(.*?) *$", text.split('"""')[1], re.MULTILINE)
    )


def export(text: str, japanese: dict[str, str]) -> str:
    """The bundle for Open WebUI's JSON import, with names and labels in Japanese (0.11.4+)."""
    manifest = frontmatter(text)
    meta = {
        "description": manifest["description"],
        "manifest": manifest,
        "i18n": {"ja": japanese},
    }
    function = {
        "id": FUNCTION_ID,
        "name": manifest["title"],
        "type": "pipe",
        "content": text,
        "meta": meta,
    }
    return json.dumps([function], ensure_ascii=False, indent=1) + "\n"


def generated() -> dict[Path, bytes]:
    """Every generated file with its bytes."""
    text = bundle()
    japanese = json.loads(JAPANESE.read_text("utf-8"))
    return {TARGET: text.encode(), EXPORT: export(text, japanese).encode()}


def main(arguments: list[str]) -> str | None:
    """Write the files, or with `--check` compare them; returns what is wrong."""
    files = generated()
    if arguments != ["--check"]:
        for path, content in files.items():
            path.write_bytes(content)
        return None
    stale = [
        path.name
        for path, new in files.items()
        if not path.is_file() or path.read_bytes() != new
    ]
    return (
        f"Stale: {', '.join(stale)}. Run python -m openwebui_pipe.bundle and commit."
        if stale
        else None
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

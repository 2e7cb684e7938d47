"""`python -m tools.package`: this checkout as a `.difypkg`, the file that Dify installs."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harmony_core.cli.exit_codes import OK, USAGE
from harmony_core.cli.phrases import phrase

CHECKOUT: Final = Path(__file__).resolve().parents[1]
PACKED: Final = (
    "LICENSE",
    "PRIVACY.md",
    "README.md",
    "_assets/icon-dark.svg",
    "_assets/icon.svg",
    "dify_plugin_mlx/*.py",
    "dify_plugin_mlx/models/**/*.py",
    "dify_plugin_mlx/models/llm/*.yaml",
    "dify_plugin_mlx/provider/*.py",
    "dify_plugin_mlx/provider/mlx.yaml",
    "harmony_core/*.py",
    "harmony_core/py.typed",
    "main.py",
    "manifest.yaml",
    "readme/README_*.md",
    "requirements.txt",
)
"""What the plugin needs. A file that no line names is not packed."""

_NOT_PACKED: Final = (  # of the command line alone
    "harmony_core/__main__.py",
    "harmony_core/compatibility.py",
)
_HOLD_OWNER: Final = (
    "manifest.yaml",
    "README.md",
    "readme/README_ja_JP.md",
    "readme/README_zh_Hans.md",
    "dify_plugin_mlx/provider/mlx.yaml",
)
_EARLIEST_DATE: Final = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can name
_READABLE_FILE: Final = 0o100644 << 16
_RULES: Final = {
    "author": (r"(?!.*(?:dify|langgenius))[a-z0-9_-]{1,64}", "AUTHOR=my-name"),
    "repo": (
        r"https://(?:github\.com|gitlab\.com|codeberg\.org|bitbucket\.org|gitee\.com)/\S+",
        "REPO=https://github.com/my-name/mlx-harmony",
    ),
    "contact": (r"[^@\s]+@[\w-]+(?:\.[\w-]+)+", "CONTACT=me@my-domain.org"),
}
"""The marketplace's rules for the owner (docs/spec/dify.md), each with an example."""


class OwnerError(ValueError):
    """The marketplace does not take this owner in the manifest."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who publishes the package; an empty field leaves what the manifest says."""

    author: str = ""
    repo: str = ""
    contact: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the package where `--output` says; returns the exit code."""
    wish = _parser().parse_args(arguments)
    target: Path = wish.output or Path(f"mlx-harmony-{_version(CHECKOUT)}.difypkg")
    owner = Owner(wish.author, wish.repo, wish.contact)
    try:
        count = write_package(CHECKOUT, target, owner, release=wish.release)
    except OwnerError as error:
        print(error, file=sys.stderr)
        return USAGE
    except OSError as error:
        reason = f"{error.filename or target}: {error.strerror}"
        print(phrase("no_package", reason=reason), file=sys.stderr)
        return USAGE
    print(f"{target}: {count} files, {target.stat().st_size:,} bytes")
    return OK


def write_package(
    source: Path, target: Path, owner: Owner = Owner(), *, release: bool = False
) -> int:
    """Write the files that `PACKED` names and return their number.

    The same tree gives the same bytes with one zlib: sorted names, one date, one mode. Raises
    OwnerError, for a `release` also if the owner is still an example.
    """
    texts = _texts_of_owner(source, owner, release)
    names = sorted(_names(source))
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(name, _EARLIEST_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, also when written on Windows
            entry.external_attr = _READABLE_FILE
            content = texts.get(name) or (source / name).read_bytes()
            archive.writestr(entry, content, compresslevel=9)
    return len(names)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools.package", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, help="The file to write.")
    for name, (_, example) in _RULES.items():
        text = f"The manifest's {name}, for example {example.partition('=')[2]}."
        parser.add_argument(f"--{name}", default="", help=text)
    parser.add_argument(
        "--release", action="store_true", help="Refuse an owner that is an example."
    )
    return parser


def _names(source: Path) -> Iterator[str]:
    """Name the files to pack; raises FileNotFoundError if a line of the list names no file."""
    for pattern in PACKED:
        found = [path.relative_to(source) for path in source.glob(pattern)]
        if not found:
            raise FileNotFoundError(2, os.strerror(2), str(source / pattern))
        names = (path.as_posix() for path in found)
        yield from (name for name in names if name not in _NOT_PACKED)


def _texts_of_owner(source: Path, owner: Owner, release: bool) -> dict[str, bytes]:
    """The files that name the owner, with this owner instead of the checkout's."""
    manifest = (source / "manifest.yaml").read_text("utf-8")
    known = {name: _field(manifest, name) for name in _RULES}
    wanted = {name: getattr(owner, name) or known[name] for name in _RULES}
    for name, value in wanted.items():
        _check_owner(name, value, release)
    for name, value in wanted.items():
        manifest = re.sub(rf"(?m)^{name}: .*$", f"{name}: {value}", manifest)
    texts = {
        name: (source / name).read_text("utf-8").replace(known["repo"], wanted["repo"])
        for name in _HOLD_OWNER
    }
    texts["manifest.yaml"] = manifest
    return {name: text.encode() for name, text in texts.items()}


def _field(manifest: str, name: str) -> str:
    found = re.search(rf"(?m)^{name}: (.*)$", manifest)
    return found[1].strip() if found else ""


def _check_owner(name: str, value: str, release: bool) -> None:
    rule, example = _RULES[name]
    if not re.fullmatch(rule, value):
        raise OwnerError(
            f"The marketplace does not take “{value}” as {name}. Give another one: make package {example}"
        )
    if release and re.search(r"\bexample\b", value):
        raise OwnerError(
            f"The {name} “{value}” is an example. Give your own: make package RELEASE=1 {example}"
        )


def _version(source: Path) -> str:
    project = tomllib.loads((source / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


if __name__ == "__main__":
    sys.exit(main())

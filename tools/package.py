"""`python -m tools.package`: packs this checkout as a `.difypkg`, the file that Dify installs."""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from harmony_core.cli.exit_codes import OK, USAGE
from harmony_core.cli.phrases import phrase
from tools.owner import (
    MARKETPLACE_RULES,
    TEXTS,
    Owner,
    owner,
    owner_until_now,
    with_owner,
)

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
"""The files that the plugin needs. Only these are packed."""

_NOT_PACKED: Final = (  # only the command line needs these
    "harmony_core/__main__.py",
    "harmony_core/compatibility.py",
)
_EARLIEST_DATE: Final = (1980, 1, 1, 0, 0, 0)  # the first date that a zip file can hold
_READABLE_FILE: Final = 0o100644 << 16


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the package where `--output` says; returns the exit code."""
    options = _parser().parse_args(arguments)
    target: Path = options.output or Path(f"mlx-harmony-{_version(CHECKOUT)}.difypkg")
    given = {name: getattr(options, name) for name in MARKETPLACE_RULES}
    wanted = replace(owner(), **{name: text for name, text in given.items() if text})
    if reason := wanted.reason_against(release=options.release):
        print(reason, file=sys.stderr)
        return USAGE
    try:
        count = write_package(CHECKOUT, target, wanted)
    except OSError as error:
        reason = f"{error.filename or target}: {error.strerror}"
        print(phrase("no_package", reason=reason), file=sys.stderr)
        return USAGE
    print(f"{target}: {count} files, {target.stat().st_size:,} bytes")
    return OK


def write_package(source: Path, target: Path, wanted: Owner | None = None) -> int:
    """Write the files that `PACKED` names and return their number.

    `wanted` replaces the checkout's owner in them. The same tree gives the same bytes: names are sorted, and
    all files have one date and one mode. Another zlib may compress differently.
    """
    names = sorted(_names(source))
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(name, _EARLIEST_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, also when written on Windows
            entry.external_attr = _READABLE_FILE
            content = (source / name).read_bytes()
            if wanted and Path(name).suffix in TEXTS:
                text = with_owner(content.decode(), wanted, owner_until_now(source))
                content = text.encode()
            archive.writestr(entry, content, compresslevel=9)
    return len(names)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools.package", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, help="The file to write.")
    parser.add_argument("--author", help="Replaces that of tools/owner.toml.")
    parser.add_argument("--repo", dest="repository", help="Likewise.")
    parser.add_argument("--contact", help="Likewise.")
    parser.add_argument(
        "--release", action="store_true", help="Refuse an owner that is an example."
    )
    return parser


def _names(source: Path) -> Iterator[str]:
    """Yield the names of the files to pack; raises FileNotFoundError if a pattern matches no file."""
    for pattern in PACKED:
        found = [path.relative_to(source) for path in source.glob(pattern)]
        if not found:
            raise FileNotFoundError(2, os.strerror(2), str(source / pattern))
        names = (path.as_posix() for path in found)
        yield from (name for name in names if name not in _NOT_PACKED)


def _version(source: Path) -> str:
    project = tomllib.loads((source / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


if __name__ == "__main__":
    sys.exit(main())

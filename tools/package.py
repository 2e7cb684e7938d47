"""`python -m tools.package`: this checkout as a `.difypkg`, the file that Dify installs."""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pathspec

from harmony_core.cli.exit_codes import OK, USAGE
from harmony_core.cli.phrases import phrase

CHECKOUT: Final = Path(__file__).resolve().parents[1]
_EARLIEST_DATE: Final = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can name
_READABLE_FILE: Final = 0o100644 << 16


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the package where `--output` says; returns the exit code."""
    parser = argparse.ArgumentParser(prog="tools.package", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, help="The file to write.")
    target: Path = parser.parse_args(arguments).output or Path(
        f"mlx-harmony-{_version(CHECKOUT)}.difypkg"
    )
    try:
        count = write_package(CHECKOUT, target)
    except OSError as error:
        reason = f"{error.filename or target}: {error.strerror}"
        print(phrase("no_package", reason=reason), file=sys.stderr)
        return USAGE
    print(f"{target}: {count} files, {target.stat().st_size:,} bytes")
    return OK


def write_package(source: Path, target: Path) -> int:
    """Write every file of `source` that `.difyignore` leaves, and return their number.

    The target itself is left out: it may be an earlier package.

    The same tree gives the same bytes: sorted names, one date, one mode, and no compression, because its
    result depends on the version of zlib.
    """
    itself = os.path.realpath(target)
    names = sorted(
        name for name in _files(source) if os.path.realpath(source / name) != itself
    )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            entry = zipfile.ZipInfo(name, _EARLIEST_DATE)
            entry.create_system = 3  # Unix, also when written on Windows
            entry.external_attr = _READABLE_FILE
            archive.writestr(entry, (source / name).read_bytes())
    return len(names)


def _files(source: Path) -> Iterator[str]:
    """Name the files to pack; like Dify's own packager, this does not look into an ignored folder."""
    ignored = _ignored(source)
    for folder, folders, files in os.walk(source):
        inside = Path(folder).relative_to(source)
        folders[:] = [
            name
            for name in folders
            if not ignored.match_file(f"{(inside / name).as_posix()}/")
        ]
        for name in files:
            path = (inside / name).as_posix()
            if not ignored.match_file(path):
                yield path


def _ignored(source: Path) -> pathspec.GitIgnoreSpec:
    """Read `.difyignore` as Dify's packager does: as gitignore patterns, but `!` has no effect."""
    lines = (source / ".difyignore").read_text("utf-8").splitlines()
    return pathspec.GitIgnoreSpec.from_lines(
        line.strip() for line in lines if not line.startswith("!")
    )


def _version(source: Path) -> str:
    project = tomllib.loads((source / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


if __name__ == "__main__":
    sys.exit(main())

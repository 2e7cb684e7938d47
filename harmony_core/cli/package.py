"""`mlx-harmony package`: the tree as a `.difypkg`, the file that Dify installs."""

from __future__ import annotations

import os
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pathspec

from .exit_codes import OK, USAGE
from .phrases import phrase

_EARLIEST_DATE: Final = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can name
_READABLE_FILE: Final = 0o100644 << 16
_NEEDED: Final = ("manifest.yaml", ".difyignore", "pyproject.toml")


def run_package(source: Path, output: Path | None) -> int:
    """Write the package of the checkout `source`; returns the exit code."""
    missing = [name for name in _NEEDED if not (source / name).is_file()]
    version = "" if missing else _version(source)
    if not version:
        return _refuse("no_checkout", name=[*missing, "pyproject.toml"][0])
    target = output or source / f"mlx-harmony-{version}.difypkg"
    try:
        count = write_package(source, target)
    except OSError as error:
        reason = f"{error.filename or target}: {error.strerror}"
        return _refuse("no_package", reason=reason)
    print(f"{target}: {count} files, {target.stat().st_size:,} bytes")
    return OK


def _refuse(key: str, **values: object) -> int:
    print(phrase(key, **values), file=sys.stderr)
    return USAGE


def write_package(source: Path, target: Path) -> int:
    """Write every file of `source` that `.difyignore` leaves over and return their number.

    The target itself is left out: it may hold the package of the last time.

    The same tree gives the same bytes: sorted names, one date, one mode, and no compression, whose
    result would depend on the zlib at hand.
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
    """Name the files to pack; like Dify's own packager, an ignored folder is not looked into."""
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
    """Read `.difyignore` as Dify's packager does: gitignore patterns, re-includes (`!`) without effect."""
    lines = (source / ".difyignore").read_text("utf-8").splitlines()
    return pathspec.GitIgnoreSpec.from_lines(
        line.strip() for line in lines if not line.startswith("!")
    )


def _version(source: Path) -> str:
    """The version that `pyproject.toml` names; "" where it is not ours and names none."""
    try:
        project = tomllib.loads((source / "pyproject.toml").read_text("utf-8"))
        return str(project["project"]["version"])
    except (ValueError, LookupError, TypeError):
        return ""

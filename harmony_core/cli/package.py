"""`package`: runs `python -m tools.package`, which only a checkout of the repository has."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from .exit_codes import USAGE
from .phrases import phrase

_NEEDED = ("pyproject.toml", "manifest.yaml", "tools/package.py")


def run_package(folder: Path, output: Path | None) -> int:
    """Write the package of the checkout `folder`; returns the exit code."""
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if missing or _project_name(folder) != "mlx-harmony":
        return _refuse("no_checkout", name=[*missing, "pyproject.toml"][0])
    options = [] if output is None else ["--output", str(output)]
    command = [sys.executable, "-m", "tools.package", *options]
    return subprocess.run(command, cwd=folder, check=False).returncode


def _refuse(key: str, **values: object) -> int:
    print(phrase(key, **values), file=sys.stderr)
    return USAGE


def _project_name(folder: Path) -> object:
    """Return the project's name in `pyproject.toml`; None if there is none."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
        return project["project"]["name"]
    except (ValueError, LookupError, TypeError):
        return None

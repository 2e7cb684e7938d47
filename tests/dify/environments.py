"""Separate environments for what cannot live beside the SDK, made as the Makefile makes them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def uv() -> str:
    """The uv to use: $UV, the one on the PATH, or the one that the Makefile fetched."""
    found = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools/bin/uv")
    assert Path(found).is_file(), "uv is neither on the PATH nor named by UV"
    return found


def base_python() -> str:
    """The Python that this environment was made from: the daemon wants no environment's own."""
    return str(
        Path(sys.base_prefix)
        / "bin"
        / f"python{sys.version_info.major}.{sys.version_info.minor}"
    )


def variables_of_dify() -> dict[str, str]:
    """What both of Dify's programs need to make a plugin's environment: Python 3.12 and uv."""
    path = f"{Path(base_python()).parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "UV_PATH": uv()}


def environment(name: str) -> Path:
    """The Python of `.cache/NAME`, made from `requirements/NAME.txt` unless it is there and newer."""
    wanted, folder = ROOT / "requirements" / f"{name}.txt", ROOT / ".cache" / name
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not (ready.exists() and ready.stat().st_mtime >= wanted.stat().st_mtime):
        run(uv(), "venv", "--quiet", "--clear", "--python", base_python(), str(folder))
        run(
            uv(),
            "pip",
            "sync",
            "--quiet",
            "--python",
            str(python),
            "--require-hashes",
            str(wanted),
        )
        ready.touch()
    return python


def run(*command: str) -> str:
    """Run a command and return what it printed; if it fails, the error shows its last words."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (
        f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    )
    return done.stdout

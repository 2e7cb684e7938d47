"""Environments of their own for tests that need other packages than these; made once, kept in .cache/."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache"


def uv() -> str:
    """The uv to use: $UV, else the one on the PATH."""
    found = os.environ.get("UV") or shutil.which("uv")
    assert found, "uv is neither on the PATH nor named by UV"
    return found


def environment(name: str, *options: str) -> Path:
    """The Python of an environment made from `requirements/<name>.txt`; made anew when that file changes."""
    wanted = ROOT / "requirements" / f"{name}.txt"
    folder = CACHE / name
    python = folder / "bin" / "python"
    stamp = folder / "made-from"
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == digest:
        return python
    base = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")
    run(uv(), "venv", "--quiet", "--clear", "--python", base, str(folder))
    run(uv(), "pip", "install", "--quiet", "--python", str(python), *options, "-r", str(wanted))
    stamp.write_text(digest)
    return python


def run(*command: str) -> str:
    """Run a command and return what it printed; its last words are the failure's."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout

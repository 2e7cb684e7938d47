"""The command line `mlx-harmony`."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command line; the process ends with an exit code of `exits.py`."""
    from .app import app

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # An emoji must not end a chat where the locale has none.
            stream.reconfigure(errors="replace")
    app()

"""The command line `mlx-harmony`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line; the process ends with an exit code of `exits.py`."""
    from .app import app

    try:
        app()
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); keep Python from complaining while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)

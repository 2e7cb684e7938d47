"""The command line `mlx-harmony`."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the process ends with an exit code of `exits.py`."""
    from .app import app

    app()

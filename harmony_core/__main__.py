"""`python -m harmony_core` is `mlx-harmony`."""

from __future__ import annotations

from .cli import main

main()

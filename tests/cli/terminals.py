"""A program in a terminal of its own."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pexpect

PATIENCE = 30  # seconds: an upper bound for every wait


def in_terminal(*arguments: str) -> pexpect.spawn:
    """Start Python; Ctrl-C works there however the tests were started.

    A shell lets its background jobs ignore SIGINT, and their children inherit that.
    """
    return pexpect.spawn(
        sys.executable,
        list(arguments),
        cwd=str(Path(__file__).parents[2]),
        env=os.environ | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
        encoding="utf-8",
        timeout=PATIENCE,
        dimensions=(40, 100),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )

"""Starts a program in a new pseudo-terminal."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pexpect

REPLY_LIMIT = 30  # seconds: an upper bound for every wait


def in_terminal(*arguments: str) -> pexpect.spawn:
    """Start Python in a terminal, with SIGINT and SIGHUP enabled.

    A shell's background jobs ignore SIGINT, and `nohup` ignores SIGHUP. Children inherit that.
    """
    return pexpect.spawn(
        sys.executable,
        list(arguments),
        cwd=str(Path(__file__).parents[2]),
        env=os.environ | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
        encoding="utf-8",
        timeout=REPLY_LIMIT,
        dimensions=(40, 100),
        preexec_fn=_heed_signals,
    )


def _heed_signals() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)

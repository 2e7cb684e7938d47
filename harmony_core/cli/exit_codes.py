"""The exit codes, by which scripts distinguish failures."""

from __future__ import annotations

from ..problems import PROBLEMS, Stage

OK = 0
UNEXPECTED_REPLY = 1
USAGE = 2
UNREACHABLE = 3
REFUSED = 4
MODEL = 5
BROKEN_OFF = 6
INTERRUPTED_BY_USER = 130

_CODE_OF_STAGE: dict[Stage, int] = {
    "connection": UNREACHABLE,
    "authorization": REFUSED,
    "request": REFUSED,
    "model": MODEL,
    "generation": BROKEN_OFF,
    "reply": UNEXPECTED_REPLY,
}

EPILOG = (
    "Exit codes: 0 all is well · 1 the reply is not what was asked for · 2 wrong usage · "
    "3 the server cannot be reached · 4 the server refused · 5 trouble with the model or the version of "
    "mlx-lm · 6 the reply broke off · 130 stopped with Ctrl-C."
)


def exit_code(kind: str) -> int:
    """Return the exit code for a kind of problem; raises KeyError for an unknown kind."""
    return _CODE_OF_STAGE[PROBLEMS[kind].stage]

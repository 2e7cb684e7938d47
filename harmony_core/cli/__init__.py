"""The command line `mlx-harmony`."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

_LIBRARIES = {  # as they are imported; the extra `cli` of pyproject.toml installs them
    "jsonschema",
    "markdown_it",
    "prompt_toolkit",
    "referencing",
    "requests",
    "rich",
    "typer",
    "urllib3",
}


def main() -> None:
    """Run the command line; the process ends with an exit code of `exit_codes.py`."""
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # An emoji must not end a chat where the locale has none.
            stream.reconfigure(errors="replace")
    try:
        try:
            from .app import app

            app()
        finally:
            sys.stdout.flush()  # at the end of the process nobody could catch the error
    except ModuleNotFoundError as error:
        _name_the_extra(error)
    except OSError as error:
        _give_up(error)


def _replace_closed_streams() -> None:
    """A standard stream that the caller has closed is None: read nothing, write nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115 (it stays)
            setattr(sys, name, nowhere)


def _name_the_extra(error: ModuleNotFoundError) -> None:
    """End in one sentence where the package was installed without the extra `cli`."""
    from .exit_codes import USAGE
    from .phrases import phrase

    name = (error.name or "").partition(".")[0]
    if name not in _LIBRARIES:
        raise error
    print(phrase("no_library", name=name), file=sys.stderr)
    sys.exit(USAGE)


def _give_up(error: OSError) -> None:
    """End, in one sentence; in silence when it is the reader of the output who has left."""
    from .exit_codes import UNEXPECTED_REPLY
    from .phrases import phrase

    with suppress(OSError):
        if not isinstance(error, BrokenPipeError):
            print(phrase("io_failed", reason=error.strerror or error), file=sys.stderr)
    # What is still in the buffers is written at the end of the process, and must not fail again.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    sys.exit(UNEXPECTED_REPLY)

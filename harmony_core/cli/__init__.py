"""The command line `mlx-harmony`."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

_LIBRARIES = {  # import names of what the extra `cli` of pyproject.toml installs
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
            sys.stdout.flush()  # here an error can be caught; at exit it cannot
    except ModuleNotFoundError as error:
        _exit_without_library(error)
    except OSError as error:
        _exit_with_io_error(error)


def _replace_closed_streams() -> None:
    """Replace each standard stream that the caller closed, which Python sets to None."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115 (stays open)
            setattr(sys, name, nowhere)


def _exit_without_library(error: ModuleNotFoundError) -> None:
    """Exit with a sentence that names the missing library; raise the error for a module of ours."""
    from .exit_codes import USAGE
    from .phrases import phrase

    name = (error.name or "").partition(".")[0]
    if name not in _LIBRARIES:
        raise error
    print(phrase("no_library", name=name), file=sys.stderr)
    sys.exit(USAGE)


def _exit_with_io_error(error: OSError) -> None:
    """Exit with a sentence about the error, or silently if the reader closed the pipe."""
    from .exit_codes import UNEXPECTED_REPLY
    from .phrases import phrase

    with suppress(OSError):
        if not isinstance(error, BrokenPipeError):
            print(phrase("io_failed", reason=error.strerror or error), file=sys.stderr)
    # Python flushes the buffers at exit, which must not fail a second time.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    sys.exit(UNEXPECTED_REPLY)

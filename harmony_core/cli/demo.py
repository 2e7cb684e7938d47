"""`demo`: the real mlx_lm.server with the toy model; scenes of it, or the server for a host to try."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from ..client import Client, ServerError
from .demo_scenes import play
from .exit_codes import OK, UNEXPECTED_REPLY, UNREACHABLE, USAGE, exit_code
from .phrases import phrase
from .problem_words import problem_text
from .toy_server import TOY_MODEL, ToyServer, ToyServerError, free_port, toy_server

USUAL_PORT = 8585  # that of the README and of every host's form


def run_demo(server_python: str, serve: bool, host: str, port: int) -> int:
    """Show the demo, or serve the toy model until Ctrl-C; returns the exit code."""
    python = server_python or (
        sys.executable if importlib.util.find_spec("mlx_lm") else ""
    )
    trouble = "" if python else phrase("no_mlx")
    if not (TOY_MODEL / "config.json").exists():
        trouble = phrase("no_toy", path=TOY_MODEL)
    if trouble:
        print(trouble, file=sys.stderr)
        return USAGE
    _catch_signals()
    print(phrase("toy_starting"), file=sys.stderr)
    if serve and not port:
        port = free_port(USUAL_PORT)
    try:
        with toy_server(
            [python, "-m", "mlx_lm.server"], host=host, port=port
        ) as server:
            return _keep_up(server) if serve else _show(server)
    except ToyServerError as error:
        print(_why_it_ended(error), file=sys.stderr)
        return UNREACHABLE
    except ServerError as error:
        print(problem_text(error.problem), file=sys.stderr)
        return exit_code(error.problem.kind)


def _catch_signals() -> None:
    """Without this a `kill`, or closing the terminal, would leave the server behind."""
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        # What `nohup` ignores stays ignored.
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _leave)


def _leave(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # a closing terminal may send it twice
    sys.exit(UNEXPECTED_REPLY)


def _why_it_ended(error: ToyServerError) -> str:
    died, log = phrase("toy_died", reason=error), error.log.strip()
    return phrase("toy_log", log=log, died=died) if log else died


def _keep_up(server: ToyServer) -> int:
    words = phrase("serving", url=server.base_url, port=server.port, command=_command())
    with suppress(KeyboardInterrupt):
        print(words, flush=True)
        while True:
            time.sleep(3600)
    return OK


def _show(server: ToyServer) -> int:
    console = Console(highlight=False)
    kept = play(Client(server.base_url), console, _command())
    return OK if kept else UNEXPECTED_REPLY


def _command() -> str:
    """How this command can be typed here: `make demo` installs it beside the interpreter, not on the path."""
    if shutil.which("mlx-harmony"):
        return "mlx-harmony"
    script = Path(sys.executable).with_name("mlx-harmony")
    return os.path.relpath(script) if script.exists() else "python -m harmony_core"

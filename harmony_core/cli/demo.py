"""`demo`: runs the real mlx_lm.server with the toy model, and plays scenes or keeps the server running."""

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

USUAL_PORT = 8585  # the port in the README and in the hosts' forms


def run_demo(server_python: str, serve: bool, host: str, port: int) -> int:
    """Show the demo, or serve the toy model until Ctrl-C; returns the exit code."""
    python = server_python or (
        sys.executable if importlib.util.find_spec("mlx_lm") else ""
    )
    problem = "" if python else phrase("no_mlx")
    if not (TOY_MODEL / "config.json").exists():
        problem = phrase("no_toy", path=TOY_MODEL)
    if problem:
        print(problem, file=sys.stderr)
        return USAGE
    _catch_signals()
    print(phrase("toy_starting"), file=sys.stderr)
    if serve and not port:
        port = free_port(USUAL_PORT)
    try:
        with toy_server(
            [python, "-m", "mlx_lm.server"], host=host, port=port
        ) as server:
            return _serve_until_interrupted(server) if serve else _play_scenes(server)
    except ToyServerError as error:
        print(_start_failure_text(error), file=sys.stderr)
        return UNREACHABLE
    except ServerError as error:
        print(problem_text(error.problem), file=sys.stderr)
        return exit_code(error.problem.kind)


def _catch_signals() -> None:
    """Exit normally on a signal. Otherwise a `kill` or a closed terminal would leave the server running."""
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        # What `nohup` ignores stays ignored.
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _exit_on_signal)


def _exit_on_signal(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # a closing terminal may send it twice
    sys.exit(UNEXPECTED_REPLY)


def _start_failure_text(error: ToyServerError) -> str:
    died, log = phrase("toy_died", reason=error), error.log.strip()
    return phrase("toy_log", log=log, died=died) if log else died


def _serve_until_interrupted(server: ToyServer) -> int:
    words = phrase(
        "serving", url=server.base_url, port=server.port, command=_command_name()
    )
    with suppress(KeyboardInterrupt):
        print(words, flush=True)
        while True:  # a signal that comes just before a sleep is heard only after it
            time.sleep(1)
    return OK


def _play_scenes(server: ToyServer) -> int:
    console = Console(highlight=False)
    passed = play(Client(server.base_url), console, _command_name())
    return OK if passed else UNEXPECTED_REPLY


def _command_name() -> str:
    """Return how to type this command here. `make demo` installs it beside Python, not on the path."""
    if shutil.which("mlx-harmony"):
        return "mlx-harmony"
    script = Path(sys.executable).with_name("mlx-harmony")
    return os.path.relpath(script) if script.exists() else "python -m harmony_core"

"""Starts and stops the real mlx_lm.server with the toy model, for `demo` and the end-to-end tests."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..client import Client, ServerError, Timeouts
from .phrases import phrase

_HERE = Path(__file__).resolve()
_FROM_WHEEL = _HERE.with_name("toy_model")  # pyproject.toml puts it there
_FROM_CHECKOUT = _HERE.parents[2] / "toy" / "model"
TOY_MODEL = _FROM_WHEEL if _FROM_WHEEL.is_dir() else _FROM_CHECKOUT
START_LIMIT = 120.0  # seconds until the server must answer
STOP_LIMIT = 10.0  # seconds between SIGTERM and SIGKILL
_LOG_TAIL = 2000  # characters


class ToyServerError(Exception):
    """The server did not start. The text says why, and `log` holds its last output."""

    def __init__(self, reason: str, log: str = "") -> None:
        super().__init__(reason)
        self.log = log


@dataclass(frozen=True)
class ToyServer:
    """A running server: its address, its port and its log file."""

    base_url: str
    port: int
    log: Path


@contextmanager
def toy_server(
    command: Sequence[str],
    *,
    model: Path = TOY_MODEL,
    host: str = "127.0.0.1",
    port: int = 0,
    arguments: Sequence[str] = (),
) -> Iterator[ToyServer]:
    """Run a server until the `with` block ends; raises ToyServerError if it does not start.

    `command` runs mlx_lm.server, such as `[python, "-m", "mlx_lm.server"]`. Port 0 takes a free port.
    The server is offline and has an empty model cache.
    """
    port = port or free_port()
    _check_port(host, port)
    with tempfile.TemporaryDirectory(prefix="mlx-harmony-") as folder:
        hub = Path(folder) / "hub"
        hub.mkdir()
        log = Path(folder) / "server.log"
        command_line = [
            *command,
            "--model",
            str(model),
            "--host",
            host,
            "--port",
            str(port),
            *arguments,
        ]
        environment = os.environ | {
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": folder,
            "HF_HUB_CACHE": str(hub),
        }
        process = _start(command_line, environment, log)
        try:
            server = ToyServer(_base_url(host, port), port, log)
            _wait_until_ready(server, process)
            yield server
        finally:
            _stop(process)


def free_port(preferred: int = 0) -> int:
    """Return a port that nobody listens on now: `preferred` if it is free, else any."""
    try:
        with socket.create_server(("127.0.0.1", preferred)) as listener:
            port: int = listener.getsockname()[1]
    except OSError:
        return free_port()
    return port


def _check_port(host: str, port: int) -> None:
    """Raise ToyServerError if the port is taken. Otherwise another server's answers would pass for ours."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            os.fsencode(host), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        key = "port_taken" if taken else "no_listening"
        raise ToyServerError(
            phrase(key, host=host, port=port, reason=error.strerror)
        ) from None


def _base_url(host: str, port: int) -> str:
    """Return the address at which a server that listens on `host` answers on this machine."""
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _start(
    command_line: Sequence[str], environment: dict[str, str], log: Path
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        try:
            # A new session: Ctrl-C reaches only us, and `_stop` also ends a launcher's children.
            return subprocess.Popen(
                command_line,
                env=environment,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise ToyServerError(f"{command_line[0]}: {error.strerror}") from None


def _wait_until_ready(server: ToyServer, process: subprocess.Popen[bytes]) -> None:
    client = Client(
        server.base_url, timeouts=Timeouts(connect=2, first_byte=10, idle=10)
    )
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ToyServerError(f"exit code {process.returncode}", _tail(server.log))
        with suppress(ServerError):
            client.models()
            return
        time.sleep(0.1)
    raise ToyServerError(f"no answer within {START_LIMIT:g} s", _tail(server.log))


def _tail(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-_LOG_TAIL:]


def _stop(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_LIMIT)
            return

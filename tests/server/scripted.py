"""An HTTP server on real sockets that plays scripts, faults included, for all tests that use HTTP."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType

from tests.server.replies import Drip, Gate, Hang, Pause, Reset, Script, Step, page

PATIENCE = 60.0  # seconds, the upper bound of every wait
NOT_FOUND: Script = page(404, "Not Found")
BAD_REQUEST: Script = page(400, "Bad Request")
_TLS_HANDSHAKE = b"\x16"


@dataclass(eq=False)
class Request:
    """One recorded request.

    `client_closed` is set if the client closes its side before the script ends. `over` is set when the script
    ends for any reason.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    client_closed: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def json(self) -> dict[str, object]:
        """The body as a JSON object."""
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value

    def was_closed_by_client(self) -> bool:
        """Wait until the client closes the connection early; False if it does not within PATIENCE."""
        return self.client_closed.wait(PATIENCE)


class ScriptedServer:
    """Answers as scripted; a context manager.

    `on(path, script, script…)` sets what a path answers: each request takes the next script, and the last one
    repeats. A path without a script answers 404 `Not Found`, as mlx_lm.server does. Port 0 takes a free port;
    with a `tls` context the server speaks https.

        with ScriptedServer() as server:
            server.on("/v1/chat/completions", reply("Hello"))
            ... server.base_url ... server.requests[0].json
    """

    CHAT = "/v1/chat/completions"
    MODELS = "/v1/models"
    HANDSHAKE = "TLS"
    """In place of a path: the scripts for a client that begins TLS with a server without it."""

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.requests: list[Request] = []
        self._scripts: dict[str, list[Script]] = {self.HANDSHAKE: [BAD_REQUEST]}
        self._sockets: list[socket.socket] = []
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.base_url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    def on(self, path: str, *scripts: Script) -> ScriptedServer:
        """Set the scripts of a path; returns the server, for chaining."""
        self._scripts[path] = list(scripts)
        return self

    def chat(self, *scripts: Script) -> ScriptedServer:
        """Set the scripts of POST /v1/chat/completions."""
        return self.on(self.CHAT, *scripts)

    def models(self, *scripts: Script) -> ScriptedServer:
        """Set the scripts of GET /v1/models."""
        return self.on(self.MODELS, *scripts)

    def requests_to(self, path: str) -> list[Request]:
        """The requests recorded for a path."""
        return [request for request in self.requests if request.path == path]

    def wait_for_requests(self, count: int = 1) -> Sequence[Request]:
        """Wait until `count` requests have come; fails after PATIENCE."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: len(self.requests) >= count, PATIENCE
            ), "no request came"
            return list(self.requests)

    def __enter__(self) -> ScriptedServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._listener.close()
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(connection)
            threading.Thread(
                target=self._serve, args=(connection,), daemon=True
            ).start()

    def _serve(self, connection: socket.socket) -> None:
        if self._tls is not None:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError:  # the client does not trust us, or speaks plain http
                return
        elif _begins_tls(connection):
            hello = Request("", self.HANDSHAKE, {}, b"")
            script = self._next_script(self.HANDSHAKE)
            _ScriptPlayer(connection, hello, self._stopping).run(script)
            return
        request = _read_request(connection)
        if request is None:
            connection.close()
            return
        with self._changed:
            script = self._next_script(request.path)
            self.requests.append(request)
            self._changed.notify_all()
        _ScriptPlayer(connection, request, self._stopping).run(script)

    def _next_script(self, path: str) -> Script:
        scripts = self._scripts.get(path.partition("?")[0], [NOT_FOUND])
        return scripts.pop(0) if len(scripts) > 1 else scripts[0]


class _ScriptPlayer:
    """Plays one script on one connection while a second thread watches for the client's close."""

    def __init__(
        self, connection: socket.socket, request: Request, stopping: threading.Event
    ) -> None:
        self._connection = connection
        self._request = request
        self._stopping = stopping
        self._gone = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def run(self, script: Script) -> None:
        self._watcher.start()
        for step in script:
            self._play(step)
            if self._gone.is_set() or step == Reset():
                break
        self._request.over.set()
        if Reset() in script and not self._gone.is_set():
            self._reset()
        else:
            self._close()

    def _play(self, step: Step) -> None:
        match step:
            case bytes():
                with contextlib.suppress(OSError):
                    self._connection.sendall(step)
            case Pause(seconds):
                self._gone.wait(seconds)
            case Drip(data, seconds):
                self._drip(data, seconds)
            case Hang():
                self._gone.wait()
            case Gate(event):
                while not (event.wait(0.02) or self._gone.is_set()):
                    pass
            case Reset():
                pass

    def _drip(self, data: bytes, seconds: float) -> None:
        try:
            while not self._gone.wait(seconds):
                self._connection.sendall(data)
        except OSError:  # the client closed before the watcher noticed
            self._note_close()

    def _note_close(self) -> None:
        if not (self._request.over.is_set() or self._stopping.is_set()):
            self._request.client_closed.set()

    def _watch(self) -> None:
        # gevent's TLS raises ValueError if this side closed the connection.
        with contextlib.suppress(OSError, ValueError):
            while self._connection.recv(4096):
                pass
        self._note_close()
        self._gone.set()

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
        # Closing with unread bytes would reset the connection.
        self._watcher.join(PATIENCE)
        self._connection.close()

    def _reset(self) -> None:
        self._connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        # Wakes the watcher, which would keep the socket alive.
        self._connection.shutdown(socket.SHUT_RD)
        self._watcher.join(PATIENCE)
        self._connection.close()


def _begins_tls(connection: socket.socket) -> bool:
    """Whether the client begins a TLS handshake; its bytes stay in the socket."""
    with contextlib.suppress(OSError):
        return connection.recv(1, socket.MSG_PEEK) == _TLS_HANDSHAKE
    return False


def _read_request(connection: socket.socket) -> Request | None:
    """Read one request with its body; None if the socket is closed first."""
    reader = connection.makefile("rb")
    with contextlib.suppress(OSError):
        first = reader.readline()
        if not first:
            return None
        method, path, _ = first.decode("latin-1").split(" ", 2)
        headers: dict[str, str] = {}
        for line in iter(reader.readline, b"\r\n"):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        body = reader.read(int(headers.get("content-length", "0")))
        return Request(method, path, headers, body)
    return None

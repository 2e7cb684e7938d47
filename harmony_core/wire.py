"""The connection under an exchange: its socket, and how long to wait for it.

`requests` limits the wait for each read, so a byte now and then keeps it waiting for ever. Here every read of
`http.client` goes through a `Wire`, which gives the socket only the time that is left.
"""

from __future__ import annotations

import io
import math
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import (
    ConnectionPool,
    HTTPConnectionPool,
    HTTPSConnectionPool,
)
from urllib3.util.connection import create_connection

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

MAX_HEAD: Final = 1024 * 1024
"""Bytes before a body: the status line, headers, and any number of `100 Continue`."""

_LONGEST_WAIT = 1e6  # seconds; a socket does not take infinity


class HeadTooLong(OSError):
    """A server sends endless headers."""


class Wire:
    """The socket of one exchange, kept as soon as it is connected, and its limits in seconds."""

    def __init__(self, within: float) -> None:
        self.socket: socket.socket | None = None
        self.allowed = within
        """The seconds that the present wait may take."""
        self._end = self._whole_end = time.monotonic() + within
        self._deadline = self._end
        self._first_byte = math.inf
        self._head_left: float = MAX_HEAD

    @property
    def left_in_all(self) -> float:
        """The seconds left for the whole exchange."""
        return self._whole_end - time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the time for the whole exchange is up."""
        return time.monotonic() >= self._end

    def begin(self, connect: float, first_byte: float) -> None:
        """Allow `connect` seconds for connecting, then `first_byte` for the headers."""
        self.allow(connect)
        self._first_byte = first_byte

    def allow(self, seconds: float) -> None:
        """Allow so many seconds from now on, within the time for the whole exchange."""
        now = time.monotonic()
        self._deadline = min(now + seconds, self._end)
        self.allowed = max(0.0, self._deadline - now)

    def end_within(self, seconds: float) -> None:
        """Allow no more seconds than this for everything that is still to come."""
        self._end = min(self._end, time.monotonic() + seconds)

    def end_of_head(self) -> None:
        """The headers are there: from now on the reader of the body counts its bytes."""
        self._head_left = math.inf

    def left(self) -> float:
        """The seconds left to wait; raises TimeoutError if there are none."""
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the time for this is up")
        return min(seconds, _LONGEST_WAIT)

    def connect(self, connection: HTTPConnection) -> socket.socket:
        """Connect to one of the addresses of a name; all of them share one limit."""
        failure: OSError = OSError("the name has no address")
        lookup = _Lookup(connection.host, connection.port or 0)
        for host, port in lookup.addresses(self.left()):
            try:
                connected = create_connection(
                    (host, port), self.left(), socket_options=connection.socket_options
                )
                connected.settimeout(self.left())  # for a handshake
            except OSError as error:
                failure = error
            else:
                return connected
        raise failure

    def take(self, connected: socket.socket) -> float:
        """Keep the socket of an open connection; returns the seconds allowed for what comes now."""
        self.socket = connected
        self.allow(self._first_byte)
        connected.settimeout(self.left())
        return self.left()

    def read_into(self, raw: io.RawIOBase, buffer: Buffer) -> int | None:
        """Read what is there, waiting as long as is allowed."""
        if self.socket is not None:
            self.socket.settimeout(self.left())
        count = raw.readinto(buffer)
        self._head_left -= count or 0
        if self._head_left < 0:
            raise HeadTooLong("headers without end")
        return count

    def shut_down(self) -> None:
        """Wake whoever waits for the socket."""
        if self.socket is not None:
            self.socket.shutdown(socket.SHUT_RDWR)


class WireAdapter(HTTPAdapter):
    """Makes `requests` talk over a `Wire`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        super().__init__()

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: tuple[str, str] | str | None = None,
    ) -> ConnectionPool:
        """The pool that `requests` would take, but with our class of connections."""
        pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
        if (
            isinstance(pool, HTTPSConnectionPool)
            and pool.ConnectionCls is HTTPSConnection
        ):
            pool.ConnectionCls = _https_over(self._wire)
        elif (
            isinstance(pool, HTTPConnectionPool)
            and pool.ConnectionCls is HTTPConnection
        ):
            pool.ConnectionCls = _http_over(self._wire)
        return pool


class _Lookup(threading.Thread):
    """Looks a name up, beside the caller: the system may search longer than the caller waits."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(daemon=True)
        self._asked = host, port
        self._found: list[tuple[str, int]] = []
        self._failure: Exception = TimeoutError("the name was not found in time")

    def addresses(self, within: float) -> list[tuple[str, int]]:
        """The addresses of the name; raises OSError, or UnicodeError if no host can have this name."""
        self.start()
        self.join(within)
        if not self._found:
            raise self._failure
        return self._found

    def run(self) -> None:
        try:
            infos = socket.getaddrinfo(*self._asked, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self._failure = error
        else:
            self._found = [(str(at[0]), int(at[1])) for *_, at in infos]


class _Watch:
    """Shuts a socket down after some seconds: gevent limits only each wait of a handshake, not all of it."""

    def __init__(self, watched: socket.socket, seconds: float) -> None:
        self.is_late = False
        self._socket = watched.dup()  # the handshake takes the socket itself away
        self._timer = threading.Timer(seconds, self._shut_down)
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        """The handshake is over."""
        self._timer.cancel()
        self._socket.close()

    def _shut_down(self) -> None:
        self.is_late = True
        with suppress(OSError):  # the other side has gone, or the handshake just ended
            self._socket.shutdown(socket.SHUT_RDWR)


class _Reads(io.RawIOBase):
    """What `http.client` reads from, watched by the wire."""

    def __init__(self, wire: Wire, raw: io.RawIOBase) -> None:
        self._wire = wire
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int | None:
        return self._wire.read_into(self._raw, buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


# The libraries take classes of connections and responses, so each wire makes classes that know it.


def _responses_over(wire: Wire) -> type[HTTPResponse]:
    class Response(HTTPResponse):
        def __init__(
            self,
            sock: socket.socket,
            debuglevel: int = 0,
            method: str | None = None,
            url: str | None = None,
        ) -> None:
            super().__init__(sock, debuglevel, method, url)
            self.fp = io.BufferedReader(_Reads(wire, self.fp.detach()))

    return Response


def _http_over(wire: Wire) -> type[HTTPConnection]:
    class Connection(HTTPConnection):
        response_class = _responses_over(wire)

        def _new_conn(self) -> socket.socket:
            return wire.connect(self)

        def connect(self) -> None:
            super().connect()
            self.timeout = wire.take(self.sock)

    return Connection


def _https_over(wire: Wire) -> type[HTTPSConnection]:
    class Connection(HTTPSConnection):
        response_class = _responses_over(wire)
        _watch: _Watch | None = None

        def _new_conn(self) -> socket.socket:
            connected = wire.connect(self)
            self._watch = _Watch(connected, wire.left())
            return connected

        def connect(self) -> None:
            try:
                super().connect()
            except OSError as error:
                if self._watch and self._watch.is_late:
                    raise TimeoutError("the handshake has no end") from error
                raise
            finally:
                if self._watch:
                    self._watch.end()
            self.timeout = wire.take(self.sock)

    return Connection

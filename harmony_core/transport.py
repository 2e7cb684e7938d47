"""One HTTP exchange with `requests`: the bytes of the answer as they come, failures as `ServerError`.

Every exchange has a connection of its own whose socket is known (`_KeepingAdapter`). That buys two things
that `requests` does not offer: another time limit once the answer has begun, and a close that frees the
connection at once, also while somebody is blocked in a read.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import replace

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import (
    ConnectionPool,
    HTTPConnectionPool,
    HTTPSConnectionPool,
)

from .diagnosis import cause_of, explain_failure
from .failures import Cause, Failure, Phase, ServerError, Timeouts
from .request import Endpoint

READ_SIZE = 64 * 1024  # bytes, the most that one read takes; it returns what is there
BODY_LIMIT = (
    4 * 1024 * 1024
)  # bytes of a list of models or of an error that are read at all

# What requests, urllib3 and the system raise; ValueError for addresses and headers that cannot be written.
_NETWORK_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    OSError,
    ValueError,
)


class Exchange:
    """One HTTP request and its answer, over a connection of its own. Raises ServerError, nothing else."""

    def __init__(
        self, endpoint: Endpoint, timeouts: Timeouts, use_proxies: bool, model: str
    ) -> None:
        self.endpoint = endpoint
        self._timeouts = timeouts
        self._use_proxies = use_proxies
        self._model = model
        self._session = requests.Session()
        # Neither proxies nor .netrc, whose password would replace the key.
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _KeepingAdapter())
        self._begun = False
        self._reading = False
        self._closed = False

    @property
    def status(self) -> int:
        return self._response.status_code

    def send(self, method: str, url: str, body: bytes | None) -> None:
        """Send the request and wait for the headers of the answer."""
        failure: ServerError | None = None
        try:
            self._response = self._session.request(
                method,
                url,
                data=body,
                headers=self.endpoint.headers | {"Accept-Encoding": "identity"},
                timeout=(self._timeouts.connect, self._timeouts.first_byte),
                allow_redirects=False,
                stream=True,
                proxies=get_environ_proxies(url) if self._use_proxies else None,
            )
        except _NETWORK_ERRORS as error:
            failure = self.error(_phase_of(error), cause_of(error))
        # Interrupted while waiting: let go of the connection, then pass it on.
        except BaseException:
            self._session.close()
            raise
        if failure is not None:
            self._session.close()
            raise failure  # outside of `except`, so that no other exception and its headers hang on it

    def read(self) -> bytes:
        """What has arrived, waiting for at least a byte; b"" at the end or after `close`."""
        failure: ServerError | None = None
        data = b""
        self._reading = True
        try:
            if not self._closed:
                data = self._raw.read1(READ_SIZE, decode_content=True)
        except _NETWORK_ERRORS as error:
            silent = cause_of(error) == "timeout"
            phase: Phase = (
                "first_byte" if not self._begun else "idle" if silent else "stream"
            )
            failure = self.error(phase, "timeout" if silent else "")
        finally:
            self._reading = False
            if self._closed:
                self._release()
        if failure is not None and not self._closed:
            raise failure
        if data and not self._begun:
            self._begun = True
            self._limit_silence()
        return data

    def read_all(self, limit: int = BODY_LIMIT) -> bytes:
        """The whole body up to a limit, then close; what came before a failure counts."""
        body = b""
        with contextlib.suppress(ServerError):
            while len(body) < limit and (data := self.read()):
                body += data
        self.close()
        return body

    def close(self) -> None:
        """Close the connection at once, from any thread or greenlet.

        Shutting the socket down wakes a blocked reader, which then releases the rest: a buffered reader
        must not be closed under somebody who reads from it.
        """
        self._closed = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        if not self._reading:
            self._release()

    def error(self, phase: Phase, cause: Cause) -> ServerError:
        """The error for an answer that did not come, or not whole."""
        seconds = self._timeouts.limit(phase)
        return self._explain(
            Failure(phase, self.endpoint.base_url, cause=cause, seconds=seconds)
        )

    def refusal(
        self, body: bytes, models: tuple[str, ...] | None = None
    ) -> ServerError:
        """The error for an answer that is not the one that was asked for."""
        failure = Failure(
            "status",
            self.endpoint.base_url,
            status=self.status,
            body=body.decode("utf-8", "replace"),
            location=self._response.headers.get("Location", ""),
            models=models,
        )
        return self._explain(failure)

    def _explain(self, failure: Failure) -> ServerError:
        problem = explain_failure(
            replace(failure, model=self._model), api_key=self.endpoint.api_key
        )
        return ServerError(problem)

    @property
    def _raw(self) -> urllib3.response.BaseHTTPResponse:
        raw: urllib3.response.BaseHTTPResponse = self._response.raw
        return raw

    @property
    def _socket(self) -> socket.socket | None:
        connection = self._raw.connection
        return (
            connection.kept
            if isinstance(connection, _KeepingHttp | _KeepingHttps)
            else None
        )

    def _limit_silence(self) -> None:
        if self._socket is not None:
            self._socket.settimeout(self._timeouts.idle)

    def _release(self) -> None:
        self._response.close()
        self._session.close()


def _phase_of(error: Exception) -> Phase:
    """Whether a connection had been made when sending failed."""
    inner = error.args[0] if error.args else None
    late = isinstance(error, requests.ReadTimeout) or isinstance(
        inner, urllib3.exceptions.ProtocolError
    )
    return "headers" if late else "connect"


class _KeepingHttp(HTTPConnection):
    """Remembers its socket: at HTTP/1.0, `http.client` forgets it as soon as the headers are there."""

    kept: socket.socket | None = None

    def connect(self) -> None:
        super().connect()
        self.kept = self.sock


class _KeepingHttps(HTTPSConnection):
    """The same over TLS."""

    kept: socket.socket | None = None

    def connect(self) -> None:
        super().connect()
        self.kept = self.sock


class _KeepingAdapter(HTTPAdapter):
    """Makes `requests` use connections that remember their socket."""

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: tuple[str, str] | str | None = None,
    ) -> ConnectionPool:
        """The pool that `requests` would take, with the other class of connections."""
        pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
        if (
            isinstance(pool, HTTPSConnectionPool)
            and pool.ConnectionCls is HTTPSConnection
        ):
            pool.ConnectionCls = _KeepingHttps
        elif (
            isinstance(pool, HTTPConnectionPool)
            and pool.ConnectionCls is HTTPConnection
        ):
            pool.ConnectionCls = _KeepingHttp
        return pool

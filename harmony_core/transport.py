"""One HTTP exchange with `requests`: gives the bytes of the answer as they come, raises `ServerError`.

Every exchange has its own connection over a `Wire`, which knows the socket and how long to wait for it. That
adds what `requests` lacks: limits for all of the headers or the body and not just between two bytes, another
limit once the answer has begun, and a close that frees the connection at once, even while somebody is blocked
in a read.
"""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import replace

import requests
import urllib3
from requests.utils import get_environ_proxies

from .diagnosis import cause_of, explain_failure
from .failures import Cause, Failure, Phase, ServerError, Timeouts
from .request import Endpoint
from .wire import Wire, WireAdapter

READ_SIZE = 64 * 1024  # bytes; a read returns what is there, and no more than this

# What requests, urllib3 and the system raise; ValueError for addresses and headers that cannot be written.
_NETWORK_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    OSError,
    ValueError,
)


class Exchange:
    """One HTTP request and its answer, over its own connection. Raises only ServerError."""

    def __init__(
        self,
        endpoint: Endpoint,
        timeouts: Timeouts,
        use_proxies: bool,
        model: str,
        within: float = math.inf,
    ) -> None:
        """`within`: the seconds for the whole exchange."""
        self.endpoint = endpoint
        self.whole = False
        """Whether `read_all` reached the end of the body."""
        self.failure: ServerError | None = None
        """Why it did not, unless the body was too long."""
        self._timeouts = timeouts
        self._use_proxies = use_proxies
        self._model = model
        self._wire = Wire(within)
        self._session = requests.Session()
        # Neither proxies nor .netrc, whose password would replace the key.
        self._session.trust_env = False
        self._session.verify = endpoint.trusted(os.environ)
        if self._session.verify is False:  # who asked for that has been warned
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, WireAdapter(self._wire))
        self._begun = False
        self._reading = False
        self._closed = False

    @property
    def left(self) -> float:
        """The seconds left for the whole exchange."""
        return self._wire.left_in_all

    @property
    def status(self) -> int:
        return self._response.status_code

    def send(self, method: str, url: str, body: bytes | None) -> None:
        """Send the request and wait for the headers of the answer."""
        failure: ServerError | None = None
        connect, first_byte = self._timeouts.connect, self._timeouts.first_byte
        self._wire.begin(connect, first_byte)
        try:
            self._response = self._session.request(
                method,
                url,
                data=body,
                headers=self.endpoint.headers | {"Accept-Encoding": "identity"},
                timeout=(connect, first_byte),
                allow_redirects=False,
                stream=True,
                proxies=get_environ_proxies(url) if self._use_proxies else None,
            )
        except _NETWORK_ERRORS as error:
            phase: Phase = "headers" if self._wire.socket else "connect"
            failure = self.error(phase, cause_of(error))
        # Interrupted while waiting: free the connection, then pass the exception on.
        except BaseException:
            self._session.close()
            raise
        if failure is not None:
            self._session.close()
            raise failure  # outside `except`: it must not chain an exception that holds the headers
        self._wire.end_of_head()

    def read(self) -> bytes:
        """Wait for at least a byte and return what has arrived; b"" at the end or after `close`."""
        failure: ServerError | None = None
        data = b""
        self._reading = True
        phase: Phase = "idle" if self._begun else "first_byte"
        self._wire.allow(self._timeouts.limit(phase))
        try:
            if not self._closed:
                data = self._raw.read1(READ_SIZE, decode_content=True)
        except _NETWORK_ERRORS as error:
            silent = cause_of(error) == "timeout"
            if self._begun and not silent:
                phase = "stream"
            failure = self.error(phase, "timeout" if silent else "")
        finally:
            self._reading = False
            if self._closed:
                self._release()
        if failure is not None and not self._closed:
            raise failure
        self._begun = self._begun or data != b""
        return data

    def read_all(self, limit: int) -> bytes:
        """Read the body up to a limit, within the time of a short answer, and close; see `whole`."""
        self._wire.end_within(self._timeouts.short_answer)
        body = bytearray()
        try:
            while len(body) <= limit and not self.whole:
                data = self.read()
                body += data
                self.whole = not data
        except ServerError as error:
            self.failure = error
        self.close()
        return bytes(body[:limit])

    def close(self) -> None:
        """Close the connection at once, from any thread or greenlet.

        Shutting the socket down wakes a blocked reader, which then releases the rest. A buffered reader must
        not be closed while somebody reads from it.
        """
        self._closed = True
        with contextlib.suppress(OSError):
            self._wire.shut_down()
        if not self._reading:
            self._release()

    def error(self, phase: Phase, cause: Cause) -> ServerError:
        """The error for an answer that did not come, or did not come whole."""
        if cause == "timeout" and self._wire.is_over:
            cause = "limit"
        failure = Failure(
            phase, self.endpoint.base_url, cause=cause, seconds=self._wire.allowed
        )
        return self._explain(failure)

    def refusal(
        self, body: bytes, models: tuple[str, ...] | None = None
    ) -> ServerError:
        """The error for an answer other than the one asked for."""
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

    def _release(self) -> None:
        self._response.close()
        self._session.close()

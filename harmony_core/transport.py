"""One HTTP exchange with `requests`: the bytes of the answer as they come, failures as `ServerError`.

Every exchange has a connection of its own, over a `Wire` that knows the socket and how long it may be waited
for. That buys what `requests` does not offer: limits for all of the headers or the body and not just between
two bytes, another limit once the answer has begun, and a close that frees the connection at once, also while
somebody is blocked in a read.
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

READ_SIZE = 64 * 1024  # bytes, the most that one read takes; it returns what is there

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
        self,
        endpoint: Endpoint,
        timeouts: Timeouts,
        use_proxies: bool,
        model: str,
        within: float = math.inf,
    ) -> None:
        """`within` are the seconds for all of it."""
        self.endpoint = endpoint
        self.whole = False
        """Whether `read_all` came to the end of the body."""
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
        if self._session.verify is False:  # whoever asked for that has been told
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, WireAdapter(self._wire))
        self._begun = False
        self._reading = False
        self._closed = False

    @property
    def left(self) -> float:
        """The seconds that are left for all of it."""
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
        # Interrupted while waiting: let go of the connection, then pass it on.
        except BaseException:
            self._session.close()
            raise
        if failure is not None:
            self._session.close()
            raise failure  # outside of `except`, so that no other exception and its headers hang on it
        self._wire.end_of_head()

    def read(self) -> bytes:
        """What has arrived, waiting for at least a byte; b"" at the end or after `close`."""
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
        """The body up to a limit, in the time of a short answer, then close; see `whole`."""
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

        Shutting the socket down wakes a blocked reader, which then releases the rest: a buffered reader
        must not be closed under somebody who reads from it.
        """
        self._closed = True
        with contextlib.suppress(OSError):
            self._wire.shut_down()
        if not self._reading:
            self._release()

    def error(self, phase: Phase, cause: Cause) -> ServerError:
        """The error for an answer that did not come, or not whole."""
        if cause == "timeout" and self._wire.is_over:
            cause = "limit"
        failure = Failure(
            phase, self.endpoint.base_url, cause=cause, seconds=self._wire.allowed
        )
        return self._explain(failure)

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

    def _release(self) -> None:
        self._response.close()
        self._session.close()

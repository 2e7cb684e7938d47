"""One request to the server over aiohttp; every failure is a `ServerError`."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

import aiohttp

from harmony_core.chat import ChatStream
from harmony_core.diagnosis import cause_of, explain_failure
from harmony_core.events import Event
from harmony_core.failures import Cause, Failure, Phase, ServerError, Timeouts
from harmony_core.jsontext import dump_json
from harmony_core.limits import MAX_ERROR_BODY, MAX_LIST_BYTES
from harmony_core.request import ChatRequest, Endpoint, listed_models_in

READ_SIZE: Final = 8192
"""Bytes parsed at once: some thirty tokens, well below a millisecond of work."""
LONGEST_BATCH: Final = 0.04
"""Seconds after which parsed events are passed on, even if more bytes have arrived."""
LIST_TIMEOUT: Final = 3.0
"""Seconds for GET /v1/models, which page loads wait for, and for the body of an error."""
SHORT_HISTORY: Final = 10_000
"""Characters that are cleaned within a millisecond or so; a message counts 100 more."""

NO_CONNECTION: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    ValueError,  # aiohttp.InvalidURL among them
)


class Exchange:
    """One request to the server, and its reply as it arrives."""

    def __init__(
        self, request: ChatRequest, endpoint: Endpoint, timeouts: Timeouts
    ) -> None:
        self.request = request
        self.endpoint = endpoint
        self.timeouts = timeouts
        # Servers restart their numbers of calls with each reply, but Open WebUI wants unique ids.
        self.stream: ChatStream = request.chat_stream(f"call_{uuid4().hex}")
        self._begun = False
        self._response: aiohttp.ClientResponse | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[aiohttp.StreamReader]:
        """Send the request and yield the body of the reply.

        Leaving the context closes the connection, which stops the model. Raises
        `ServerError` if there is no reply to read.
        """
        # A long history must not block the loop, and a short one need not wait for a thread.
        short = is_short(self.request)
        body = self._body() if short else await asyncio.to_thread(self._body)
        async with http_session(self.timeouts.connect) as session:
            response = await self._reach(session, body)
            try:
                if response.status != 200:
                    raise await self._refusal(session, response)
                self._response = response
                yield response.content
            finally:
                response.close()

    def _body(self) -> bytes:
        return dump_json(self.request.payload()).encode()

    async def read(self, content: aiohttp.StreamReader) -> list[Event]:
        """Wait for bytes and return their events; call it until `stream.finished`.

        A broken connection ends the bytes, and so does a silence after a finish reason.
        `ChatStream` then tells whether the reply was whole. Raises `ServerError` for a
        silence before that.
        """
        loop = asyncio.get_running_loop()
        events: list[Event] = []
        began = 0.0
        while True:
            data = await self._next_bytes(content)
            began = began or loop.time()
            events += self.stream.feed(data) if data else self.stream.close()
            enough = self.stream.finished or loop.time() - began > LONGEST_BATCH
            if enough or len(data) < READ_SIZE:
                return events
            await asyncio.sleep(0)  # much has arrived: let other chats have their turn

    async def rest(self, seconds: float) -> None:
        """Let text gather in the system's own buffer.

        A token that comes meanwhile does not wake the host: the next read takes them all.
        """
        connection = self._response.connection if self._response else None
        transport = connection.transport if connection else None
        # Under TLS uvloop would drop the text if the server closed meanwhile.
        if transport is None or self.endpoint.chat_url.startswith("https:"):
            await asyncio.sleep(seconds)
            return
        transport.pause_reading()
        try:
            await asyncio.sleep(seconds)
        finally:
            transport.resume_reading()

    async def _next_bytes(self, content: aiohttp.StreamReader) -> bytes:
        phase: Phase = "idle" if self._begun else "first_byte"
        try:
            async with asyncio.timeout(self.timeouts.limit(phase)):
                data = await content.read(READ_SIZE)
        except TimeoutError:
            if self.stream.whole:
                return b""
            raise self._error(phase, "timeout") from None
        except (aiohttp.ClientError, OSError):
            return b""
        self._begun = True
        return data

    async def _reach(
        self, session: aiohttp.ClientSession, body: bytes
    ) -> aiohttp.ClientResponse:
        url, headers = self.endpoint.chat_url, self.endpoint.headers
        try:
            check = tls_check(self.endpoint)
        except OSError:
            raise self._error("connect", "tls/ca_file") from None
        try:
            async with asyncio.timeout(self.timeouts.first_byte):
                return await session.post(
                    url, data=body, headers=headers, ssl=check, allow_redirects=False
                )
        except NO_CONNECTION as error:
            raise self._error("connect", cause_of(error)) from None
        except TimeoutError:
            raise self._error("headers", "timeout") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._error("headers", cause_of(error)) from None

    def _error(self, phase: Phase, cause: Cause = "") -> ServerError:
        """The error for a reply that did not come, or did not come whole."""
        seconds = self.timeouts.limit(phase)
        return self._explain(
            Failure(phase, self.endpoint.base_url, cause=cause, seconds=seconds)
        )

    async def _refusal(
        self, session: aiohttp.ClientSession, response: aiohttp.ClientResponse
    ) -> ServerError:
        """The error for a status other than 200; the model list shows if the model is unknown."""
        body, _ = await read_short(response.content, MAX_ERROR_BODY)
        failure = Failure(
            "status",
            self.endpoint.base_url,
            status=response.status,
            body=body.decode("utf-8", "replace"),
            location=response.headers.get("Location", ""),
            model=self.request.model,
            models=await listed_models(session, self.endpoint),
        )
        return self._explain(failure)

    def _explain(self, failure: Failure) -> ServerError:
        return ServerError(explain_failure(failure, api_key=self.endpoint.api_key))


def is_short(request: ChatRequest) -> bool:
    """Whether a request is plain text of at most SHORT_HISTORY characters, without schemas."""
    if request.tools or request.response_format:
        return False
    size = 0
    for message in request.messages:
        match message:
            case {"role": str(), "content": str(content), **others} if not others:
                size += len(content) + 100
            case _:
                return False
    return size < SHORT_HISTORY


def http_session(connect: float) -> aiohttp.ClientSession:
    """A session for one exchange.

    The system looks names up: aiohttp's own resolver does not know the `.local` names of
    Macs.
    """
    connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect)
    return aiohttp.ClientSession(timeout=timeout, connector=connector)


def tls_check(endpoint: Endpoint) -> ssl.SSLContext | bool:
    """How https is checked: with the admin's certificates, in the usual way, or not at all.

    Raises OSError if the certificates are missing.
    """
    trusted = endpoint.trusted(os.environ)
    if isinstance(trusted, bool) or not endpoint.chat_url.startswith("https:"):
        return trusted is not False
    if os.path.isdir(trusted):
        return ssl.create_default_context(capath=trusted)
    return ssl.create_default_context(cafile=trusted)


async def read_short(content: aiohttp.StreamReader, limit: int) -> tuple[bytes, bool]:
    """What arrives of a body within LIST_TIMEOUT and a limit of bytes, and whether it is all."""
    body = bytearray()
    try:
        async with asyncio.timeout(LIST_TIMEOUT):
            while len(body) <= limit:
                data = await content.read(READ_SIZE)
                if not data:
                    return bytes(body), True
                body += data
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass
    return bytes(body[:limit]), False


async def listed_models(
    session: aiohttp.ClientSession, endpoint: Endpoint
) -> tuple[str, ...] | None:
    """The ids of GET /v1/models; () for an empty body, None if no whole list came in time."""
    url, headers = endpoint.models_url, endpoint.headers
    body, whole = b"no list", True
    try:
        get = session.get(
            url, headers=headers, ssl=tls_check(endpoint), allow_redirects=False
        )
        async with asyncio.timeout(LIST_TIMEOUT), get as response:
            if response.status == 200:
                body, whole = await read_short(response.content, MAX_LIST_BYTES)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        return None
    ids, _ = listed_models_in(body) if whole else ((), False)
    return ids or (() if whole and not body else None)

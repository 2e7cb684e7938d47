"""One request to the server over aiohttp, and every way in which it can fail, as values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import aiohttp

from harmony_core.chat import ChatStream
from harmony_core.errors import Failure, Phase, cause_of, explain_failure
from harmony_core.events import Event
from harmony_core.jsontext import dump_json
from harmony_core.problems import Problem
from harmony_core.request import ChatRequest, Endpoint, models_from

READ_SIZE: Final = 8192
"""Bytes parsed in one go: some thirty tokens of mlx_lm.server, well below a millisecond of work."""
LONGEST_BATCH: Final = 0.04
"""Seconds after which what was parsed is passed on, however much more has arrived."""
ERROR_BODY_SIZE: Final = 65_536
LIST_TIMEOUT: Final = 3.0
"""Seconds for GET /v1/models, which runs whenever a page is loaded."""

NO_CONNECTION = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
Arrived = TypeVar("Arrived")


class ServerTrouble(Exception):
    """The exchange failed; `problem` says it in the user's words."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text())
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait, in seconds: for the connection, for the first byte, for each next one."""

    connect: float
    first_byte: float
    idle: float


class Upstream:
    """A reply on its way from the server."""

    def __init__(
        self, content: aiohttp.StreamReader, stream: ChatStream, base_url: str, limits: Limits
    ) -> None:
        self._content = content
        self._base_url = base_url
        self._limits = limits
        self._begun = False
        self.stream = stream

    async def read(self) -> list[Event]:
        """Wait for bytes and return the events of all that has arrived; call until `stream.finished`.

        A connection that breaks is the end of the bytes: `ChatStream` tells whether the reply was whole.
        Raises `ServerTrouble` for a server that falls silent.
        """
        loop = asyncio.get_running_loop()
        events: list[Event] = []
        began = 0.0
        while True:
            data = await self._next_bytes()
            began = began or loop.time()
            events += self.stream.feed(data) if data else self.stream.close()
            if len(data) < READ_SIZE or self.stream.finished or loop.time() - began > LONGEST_BATCH:
                return events
            await asyncio.sleep(0)  # much has arrived: let the other chats have their turn

    async def _next_bytes(self) -> bytes:
        seconds = self._limits.idle if self._begun else self._limits.first_byte
        try:
            async with asyncio.timeout(seconds):
                data = await self._content.read(READ_SIZE)
        except TimeoutError:
            phase: Phase = "idle" if self._begun else "first_byte"
            failure = Failure(phase, self._base_url, cause="timeout", seconds=seconds)
            raise ServerTrouble(explain_failure(failure)) from None
        except (aiohttp.ClientError, OSError):
            return b""
        self._begun = True
        return data


@asynccontextmanager
async def open_upstream(request: ChatRequest, endpoint: Endpoint, limits: Limits) -> AsyncIterator[Upstream]:
    """Send a request and yield its reply; leaving the context closes the connection, which stops the model.

    Raises `ServerTrouble` when there is no reply to read.
    """
    body = await request_body(request)
    async with http_session(limits.connect) as session:
        post = session.post(endpoint.chat_url, data=body, headers=endpoint.headers, allow_redirects=False)
        response = await reach(post, endpoint, limits)
        try:
            if response.status != 200:
                raise ServerTrouble(await explain_refusal(session, response, request.model, endpoint))
            yield Upstream(response.content, request.open_stream(), endpoint.base_url, limits)
        finally:
            response.close()


def http_session(connect: float) -> aiohttp.ClientSession:
    """A session for one exchange.

    Names are looked up by the system: aiohttp's own resolver does not know the `.local` names of Macs.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect)
    connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver(), force_close=True)
    return aiohttp.ClientSession(timeout=timeout, connector=connector)


async def request_body(request: ChatRequest) -> bytes:
    """The JSON of a request, made in a thread: cleaning a long history must not keep the loop waiting."""
    return await asyncio.to_thread(lambda: dump_json(request.payload()).encode())


async def reach(post: Awaitable[Arrived], endpoint: Endpoint, limits: Limits) -> Arrived:
    """Wait for the status line."""
    base_url = endpoint.base_url
    try:
        async with asyncio.timeout(limits.first_byte):
            return await post
    except (*NO_CONNECTION, ValueError) as error:
        failure = Failure("connect", base_url, cause=cause_of(error), seconds=limits.connect)
    except TimeoutError:
        failure = Failure("headers", base_url, cause="timeout", seconds=limits.first_byte)
    except (aiohttp.ClientError, OSError):
        failure = Failure("headers", base_url)
    raise ServerTrouble(explain_failure(failure)) from None


async def explain_refusal(
    session: aiohttp.ClientSession, response: aiohttp.ClientResponse, model: str, endpoint: Endpoint
) -> Problem:
    """What a status other than 200 means; the server's list of models tells an unknown one apart."""
    body = b""
    try:
        async with asyncio.timeout(LIST_TIMEOUT):
            body = await response.content.readexactly(ERROR_BODY_SIZE)
    except asyncio.IncompleteReadError as end:
        body = end.partial
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass
    failure = Failure(
        "status",
        endpoint.base_url,
        status=response.status,
        body=body.decode("utf-8", "replace"),
        location=response.headers.get("Location", ""),
        model=model,
        models=await listed_models(session, endpoint),
    )
    return explain_failure(failure, api_key=endpoint.api_key)


async def listed_models(session: aiohttp.ClientSession, endpoint: Endpoint) -> tuple[str, ...] | None:
    """The ids of GET /v1/models; None if nothing of the kind came in time."""
    get = session.get(endpoint.models_url, headers=endpoint.headers, allow_redirects=False)
    try:
        async with asyncio.timeout(LIST_TIMEOUT), get as response:
            ids = models_from(await response.read()) if response.status == 200 else ()
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        return None
    return ids or None

"""One reply: from the request to the last chunk, with all that can happen between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager
from typing import Final

import aiohttp

from harmony_core.diagnosis import explain_reply
from harmony_core.events import (
    AnswerDelta,
    Event,
    Progress,
    ReasoningDelta,
    Reply,
    collect,
)
from harmony_core.failures import ServerError
from harmony_core.jsontext import JsonObject
from harmony_core.problems import Language
from openwebui_pipe.chunks import ChunkMaker, error_chunk, merge_deltas
from openwebui_pipe.phrases import phrase
from openwebui_pipe.status import Status, log
from openwebui_pipe.transport import Exchange

COALESCE: Final = 0.05
"""Seconds in which text gathers before it goes on: many tiny deltas tax the browser."""


class PipeReply:
    """The state of one call; Stop cancels it at an await, which closes the connection.

    `hold` keeps background tasks off the server while it is entered.
    """

    def __init__(
        self,
        exchange: Exchange,
        maker: ChunkMaker,
        status: Status,
        language: Language,
        hold: AbstractContextManager[None],
    ) -> None:
        self._exchange = exchange
        self._maker = maker
        self._status = status
        self._language = language
        self._hold = hold
        self._events: list[Event] = []

    async def chunks(self) -> AsyncGenerator[JsonObject, None]:
        """The reply as chunks; a failure is the last, as raising would lose the text."""
        stream = self._exchange.stream
        try:
            with self._hold:
                await self._status.show("waiting")
                async with self._exchange.open() as content:
                    while not stream.finished:
                        chunks = await self._read(content)
                        for chunk in chunks:
                            yield chunk
                        if chunks and not stream.finished:
                            await asyncio.sleep(COALESCE)
            reply = collect(self._events)
            for chunk in self._maker.ending(reply):
                yield chunk
            if error := self._verdict(reply):
                yield error
            elif reply.outcome == "cut":
                budget = self._exchange.request.max_tokens
                await self._status.show("cut", done=True, budget=budget)
        except Exception as error:  # noqa: BLE001 - the host would wait for ever
            yield self._failure(error)
        finally:
            await self._status.hide()

    async def completion(self) -> JsonObject:
        """The reply as one chat completion; one that came with an error has both."""
        try:
            with self._hold:
                async with self._exchange.open() as content:
                    while not self._exchange.stream.finished:
                        await self._read(content)
            reply = collect(self._events)
            error = self._verdict(reply) or {}
            if error and not reply.answer:
                return error
            return self._maker.whole(reply) | error
        except Exception as error:  # noqa: BLE001 - the host would show nothing
            return self._failure(error)

    async def _read(self, content: aiohttp.StreamReader) -> list[JsonObject]:
        """What has arrived, as chunks, with the status line kept up to date."""
        batch = merge_deltas(await self._exchange.read(content))
        self._events += batch
        chunks: list[JsonObject] = []
        for event in batch:
            if isinstance(event, Progress):
                await self._status.progress(event)
            elif isinstance(event, AnswerDelta):
                await self._status.hide()
                chunks.append(self._maker.answer(event))
            elif isinstance(event, ReasoningDelta):
                shown = self._maker.thinking(event)
                # The host's own fold says that the model thinks.
                await (self._status.hide() if shown else self._status.show("thinking"))
                chunks += shown
        return chunks

    def _verdict(self, reply: Reply) -> JsonObject | None:
        """What is wrong with a reply that did arrive, if anything is."""
        budget, endpoint = self._exchange.request.max_tokens, self._exchange.endpoint
        problem = explain_reply(
            reply,
            base_url=endpoint.base_url,
            fingerprint=self._exchange.stream.fingerprint,
            deltas=self._exchange.stream.deltas,
            max_tokens=budget if isinstance(budget, int) else None,
            api_key=endpoint.api_key,
        )
        if problem:
            return error_chunk(problem.text(self._language))
        lost = [call.name for call in reply.tool_calls if not call.executable]
        if lost and len(lost) == len(reply.tool_calls) and not reply.answer.strip():
            return error_chunk(phrase("bad_call", self._language, tool=lost[0]))
        return None

    def _failure(self, error: Exception) -> JsonObject:
        """Trouble with the server, or a defect of the pipe."""
        if isinstance(error, ServerError):
            return error_chunk(error.problem.text(self._language))
        log.error("The pipe failed", exc_info=error)
        return error_chunk(phrase("failed", self._language, error=type(error).__name__))

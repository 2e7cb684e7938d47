"""One reply: from the request to the last chunk, with all that can happen between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from harmony_core.chat import ChatStream
from harmony_core.errors import explain_reply
from harmony_core.events import AnswerDelta, Event, Progress, ReasoningDelta, Reply, collect
from harmony_core.jsontext import JsonObject
from harmony_core.problems import Language
from harmony_core.request import ChatRequest, Endpoint
from openwebui_pipe.chunks import ChunkMaker, error_chunk, merge_deltas
from openwebui_pipe.exchange import Limits, ServerTrouble, Upstream, open_upstream
from openwebui_pipe.phrases import phrase
from openwebui_pipe.status import Status, log

COALESCE: Final = 0.04
"""Seconds in which text gathers before it is passed on: many tiny deltas tax the browser."""


@dataclass(frozen=True, slots=True)
class Call:
    """What one call of the pipe asks for, with the settings as they were when it came."""

    request: ChatRequest
    endpoint: Endpoint
    limits: Limits
    model: str
    language: Language
    show_thinking: bool
    max_tokens: int

    def say(self, name: str, **values: object) -> str:
        """One of the pipe's phrases, in the user's language."""
        return phrase(name, self.language, **values)


class Turn:
    """The state of one call; Stop cancels it at one of its awaits, which closes the connection."""

    def __init__(self, call: Call, status: Status, hold: AbstractContextManager[None]) -> None:
        self._call = call
        self._status = status
        self._hold = hold
        self._events: list[Event] = []
        self._maker = ChunkMaker(call.model, call.show_thinking)

    async def chunks(self) -> AsyncGenerator[JsonObject, None]:
        """The reply as chunks; a failure is the last one, since raising would lose what was shown."""
        call = self._call
        try:
            with self._hold:
                await self._status.show("waiting")
                async with open_upstream(call.request, call.endpoint, call.limits) as upstream:
                    stream = upstream.stream
                    while not stream.finished:
                        chunks = await self._read(upstream)
                        for chunk in chunks:
                            yield chunk
                        if chunks and not stream.finished:
                            await asyncio.sleep(COALESCE)
            reply = collect(self._events)
            for chunk in [*self._maker.calls(reply), *self._maker.finish(reply)]:
                yield chunk
            if error := self._verdict(reply, stream):
                yield error
            if reply.outcome == "cut":
                await self._status.keep("cut", budget=call.max_tokens)
        except ServerTrouble as trouble:
            yield error_chunk(trouble.problem.text(call.language))
        except Exception as error:  # noqa: BLE001 - the host would show nothing, or wait for ever
            yield self._defect(error)
        finally:
            await self._status.hide()

    async def completion(self) -> JsonObject:
        """The reply as one chat completion; one that came with an error carries both."""
        call = self._call
        try:
            with self._hold:
                async with open_upstream(call.request, call.endpoint, call.limits) as upstream:
                    stream = upstream.stream
                    while not stream.finished:
                        await self._read(upstream)
            reply = collect(self._events)
            error = self._verdict(reply, stream) or {}
            if error and not reply.answer:
                return error
            return self._maker.whole(reply) | error
        except ServerTrouble as trouble:
            return error_chunk(trouble.problem.text(call.language))
        except Exception as error:  # noqa: BLE001 - as above
            return self._defect(error)

    async def _read(self, upstream: Upstream) -> list[JsonObject]:
        """What has arrived, as chunks, with the status line kept up to date."""
        batch = merge_deltas(await upstream.read())
        self._events += batch
        chunks: list[JsonObject] = []
        for event in batch:
            if isinstance(event, Progress):
                await self._status.progress(event)
            elif isinstance(event, ReasoningDelta):
                await self._show_thinking()
                chunks += self._maker.thinking(event)
            elif isinstance(event, AnswerDelta):
                await self._status.hide()
                chunks.append(self._maker.answer(event))
        return chunks

    async def _show_thinking(self) -> None:
        """Say that the model thinks, where no fold of the host says so."""
        if self._call.show_thinking:
            await self._status.hide()
        else:
            await self._status.show("thinking")

    def _verdict(self, reply: Reply, stream: ChatStream) -> JsonObject | None:
        """What is wrong with a reply that did arrive, if anything is."""
        call = self._call
        problem = explain_reply(
            reply,
            base_url=call.endpoint.base_url,
            fingerprint=stream.fingerprint,
            deltas=stream.deltas,
            max_tokens=call.max_tokens,
            api_key=call.endpoint.api_key,
        )
        if problem:
            return error_chunk(problem.text(call.language))
        lost = [tool.name for tool in reply.tool_calls if not tool.executable]
        if lost and len(lost) == len(reply.tool_calls) and not reply.answer.strip():
            return error_chunk(call.say("bad_call", tool=lost[0]))
        return None

    def _defect(self, error: Exception) -> JsonObject:
        """A defect of the pipe, or of something that the host gave it to call."""
        log.error("The pipe failed", exc_info=error)
        return error_chunk(self._call.say("failed", error=type(error).__name__))

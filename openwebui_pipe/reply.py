"""One reply: from the request to the last chunk, or to the error in its place."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager
from typing import Final

import aiohttp

from harmony_core.events import (
    AnswerDelta,
    Event,
    Finish,
    Progress,
    ReasoningDelta,
    collect,
)
from harmony_core.jsontext import JsonObject
from openwebui_pipe.chunks import ChunkMaker, Pace, error_chunk, merge_deltas
from openwebui_pipe.phrases import phrase
from openwebui_pipe.status import Status
from openwebui_pipe.transport import Exchange
from openwebui_pipe.verdict import Complaint, ReplyRules, Verdict

SHORTEST_PAUSE: Final = 0.05
"""Seconds between two chunks, in which text gathers: many tiny deltas tax the browser."""
LONGEST_PAUSE: Final = 0.15


def pause_between_chunks(live_answers: int) -> float:
    """Longer if many answers stream: a chunk costs the host more than the text in it."""
    return min(LONGEST_PAUSE, SHORTEST_PAUSE + 0.025 * max(0, live_answers - 1))


class Stopwatch:
    """Notes when the first and the last text came."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first = self._last = 0.0

    def note(self) -> None:
        """Text has come just now."""
        self._last = time.monotonic()
        self._first = self._first or self._last

    @property
    def pace(self) -> Pace | None:
        """When the first and the last text came, if any did."""
        if not self._first:
            return None
        return Pace(self._first - self._began, self._last - self._began)


class PipeReply:
    """One reply in progress. Stop cancels it at an await, which closes the connection.

    `hold` keeps background tasks off the server while it is entered.
    """

    def __init__(
        self,
        exchange: Exchange,
        maker: ChunkMaker,
        status: Status,
        rules: ReplyRules,
        hold: AbstractContextManager[None],
    ) -> None:
        self.complaint: Complaint | None = None  # about the reply of `completion`
        self._exchange = exchange
        self._maker = maker
        self._status = status
        self._rules = rules
        self._verdict = Verdict(exchange, rules)
        self._hold = hold
        self._events: list[Event] = []  # joined, and without progress
        self._watch = Stopwatch()
        self._answer_tokens = 0  # one comes with each delta

    async def chunks(self) -> AsyncGenerator[JsonObject, None]:
        """The reply as chunks. A failure is the last one, because raising would lose the text."""
        try:
            with self._hold:
                await self._status.wait()
                async with self._exchange.open() as content:
                    while not self._is_over:
                        chunks = await self._read(content)
                        for chunk in chunks:
                            yield chunk
                        if chunks and not self._is_over:
                            live = self._rules.live_answers()
                            await self._exchange.rest(pause_between_chunks(live))
            reply = collect(self._events)
            calls = self._verdict.calls_to_run(reply)
            for chunk in self._maker.ending(reply, calls, self._watch.pace):
                yield chunk
            if complaint := self._verdict.of_reply(reply, calls):
                for chunk in self._error_chunks(complaint):
                    yield chunk
            elif reply.outcome == "cut":
                budget = self._exchange.request.max_tokens
                await self._status.show("cut", done=True, budget=budget)
            for remark in self._verdict.remarks(reply, calls):
                await self._status.notify(remark)
        except Exception as error:  # noqa: BLE001 - the host would wait for ever
            for chunk in self._error_chunks(self._verdict.of_failure(error)):
                yield chunk
        finally:
            await self._status.hide()

    async def completion(self) -> JsonObject:
        """The reply as one chat completion, with the answer and the error if it has both."""
        try:
            with self._hold:
                async with self._exchange.open() as content:
                    while not self._is_over:
                        await self._read(content)
            reply = collect(self._events)
            calls = self._verdict.calls_to_run(reply)
            self.complaint = self._verdict.of_reply(reply, calls)
            whole = self._maker.whole(reply, calls, self._watch.pace)
            if not self.complaint:
                return whole
            error = error_chunk(self.complaint.text)
            return whole | error if reply.answer else error
        except Exception as failure:  # noqa: BLE001 - the host would show nothing
            self.complaint = self._verdict.of_failure(failure)
            return error_chunk(self.complaint.text)

    @property
    def _is_over(self) -> bool:
        return self._exchange.stream.finished or self._has_enough

    @property
    def _has_enough(self) -> bool:
        """Whether the answer is as long as it may be."""
        return 0 < self._rules.answer_tokens <= self._answer_tokens

    async def _read(self, content: aiohttp.StreamReader) -> list[JsonObject]:
        """Wait for events, update the status line, and return the chunks."""
        events = await self._exchange.read(content)
        self._maker.logprobs = self._exchange.stream.logprobs.found
        self._answer_tokens += sum(isinstance(event, AnswerDelta) for event in events)
        chunks: list[JsonObject] = []
        for event in merge_deltas(events):
            if isinstance(event, Progress):
                await self._status.progress(event)
                continue
            self._events.append(event)
            if isinstance(event, AnswerDelta):
                await self._status.hide()
                self._watch.note()
                chunks += self._maker.answer(event)
            elif isinstance(event, ReasoningDelta):
                self._watch.note()
                shown = self._maker.thinking(event)
                # The host's own fold says that the model thinks.
                await (self._status.hide() if shown else self._status.show("thinking"))
                chunks += shown
        if self._has_enough and not self._exchange.stream.finished:
            self._events.append(Finish("length"))
        return chunks

    def _error_chunks(self, complaint: Complaint) -> list[JsonObject]:
        """An error. In a channel it is text of the message, because the host shows no other."""
        if self._rules.manner.shows_errors:
            return [error_chunk(complaint.text)]
        text = phrase("error", self._rules.language, text=complaint.text)
        answered = any(isinstance(event, AnswerDelta) for event in self._events)
        return self._maker.answer(AnswerDelta(f"\n\n{text}" if answered else text))

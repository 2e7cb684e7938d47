"""The status line above an answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from itertools import chain, count
from typing import Final

from harmony_core.events import Progress
from harmony_core.jsontext import JsonObject
from harmony_core.problems import Language
from openwebui_pipe.phrases import phrase

log = logging.getLogger(__name__)
Emitter = Callable[[JsonObject], Awaitable[None]]

# Open WebUI stores every line in the chat, so there are few.
PROGRESS_STEP: Final = 5
"""Per cent of the prompt between two lines."""
FIRST_WAITS: Final = (5, 10, 20, 30)
"""Seconds of silence at which the line tells them; then once a minute."""


class Status:
    """Shows one line at a time; without an emitter nothing is shown."""

    def __init__(self, emitter: Emitter | None, language: Language) -> None:
        self._emitter = emitter
        self._language = language
        self._shown = ""
        self._percent = -PROGRESS_STEP
        self._read: tuple[int, float] | None = None  # tokens, and when
        self._waiting: asyncio.Task[None] | None = None

    async def wait(self) -> None:
        """Show for how long the server has been silent, until another line is shown."""
        await self.show("waiting")
        if self._emitter:
            self._waiting = asyncio.create_task(self._count_seconds())

    async def show(self, name: str, done: bool = False, **values: object) -> None:
        """Show one of the pipe's phrases; if it is `done`, `hide` leaves it."""
        self._stop_counting()
        await self._show(phrase(name, self._language, **values), done)

    async def progress(self, event: Progress) -> None:
        """Show how much of the prompt is read and how fast, in steps."""
        self._stop_counting()
        percent = min(100, 100 * event.done // max(1, event.total))
        if percent < self._percent + PROGRESS_STEP:
            return
        self._percent = percent
        now = time.monotonic()
        tokens, since = self._read or (event.done, now)
        self._read = tokens, since
        if event.done > tokens and now > since:
            rate = f"{(event.done - tokens) / (now - since):,.0f}"
            await self.show("reading_at", percent=percent, rate=rate)
        else:
            await self.show("reading", percent=percent)

    async def hide(self) -> None:
        """Take the line away."""
        self._stop_counting()
        if self._shown:
            await self._line(self._shown, done=True, hidden=True)
            self._shown = ""

    async def notify(self, text: str) -> None:
        """Show a text once, beside the chat."""
        await self._send("notification", {"type": "warning", "content": text})

    async def _count_seconds(self) -> None:
        waited = 0
        for seconds in chain(FIRST_WAITS, count(60, 60)):
            await asyncio.sleep(seconds - waited)
            waited = seconds
            text = phrase("still_waiting", self._language, seconds=seconds)
            await self._show(text)

    def _stop_counting(self) -> None:
        if self._waiting:
            self._waiting.cancel()
            self._waiting = None

    async def _show(self, text: str, done: bool = False) -> None:
        if text != self._shown:
            self._shown = "" if done else text
            await self._line(text, done=done, hidden=False)

    async def _line(self, text: str, *, done: bool, hidden: bool) -> None:
        data: JsonObject = {"description": text, "done": done, "hidden": hidden}
        await self._send("status", data)

    async def _send(self, kind: str, data: JsonObject) -> None:
        if self._emitter is None:
            return
        try:
            await self._emitter({"type": kind, "data": data})
        except Exception:
            # The answer is more important than an error of the host here.
            log.exception("Open WebUI did not take an event")
            self._emitter = None

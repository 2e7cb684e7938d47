"""The line above an answer that tells what is going on."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from harmony_core.events import Progress
from harmony_core.jsontext import JsonObject
from harmony_core.problems import Language
from openwebui_pipe.phrases import phrase

log = logging.getLogger(__name__)

Emitter = Callable[[JsonObject], Awaitable[None]]

PROGRESS_STEP: Final = 5
"""Per cent of the prompt between two status lines: Open WebUI stores every one of them."""


class Status:
    """One line, which disappears with the first answer text; without an emitter nothing is shown."""

    def __init__(self, emitter: Emitter | None, language: Language) -> None:
        self._emitter = emitter
        self._language = language
        self._shown = ""
        self._percent = -PROGRESS_STEP

    async def show(self, name: str, **values: object) -> None:
        """Show one of the pipe's phrases."""
        await self._emit(phrase(name, self._language, **values), done=False)

    async def progress(self, event: Progress) -> None:
        """Show how much of the prompt is read, in steps."""
        percent = min(100, 100 * event.done // max(1, event.total))
        if percent >= self._percent + PROGRESS_STEP:
            self._percent = percent
            await self.show("reading", percent=percent)

    async def keep(self, name: str, **values: object) -> None:
        """Leave a phrase standing above the finished answer."""
        await self._emit(phrase(name, self._language, **values), done=True)
        self._shown = ""

    async def hide(self) -> None:
        """Take the line away."""
        if self._shown:
            await self._emit(self._shown, done=True, hidden=True)
            self._shown = ""

    async def notify(self, name: str) -> None:
        """Show a phrase once, beside the chat."""
        text = phrase(name, self._language)
        await self._send({"type": "notification", "data": {"type": "warning", "content": text}})

    async def _emit(self, text: str, *, done: bool, hidden: bool = False) -> None:
        if hidden or text != self._shown:
            self._shown = text
            data: JsonObject = {"description": text, "done": done, "hidden": hidden}
            await self._send({"type": "status", "data": data})

    async def _send(self, event: JsonObject) -> None:
        if self._emitter is None:
            return
        try:
            await self._emitter(event)
        except Exception:
            # Whatever the host may raise there, the answer matters more than its status line.
            log.exception("Open WebUI did not take an event")
            self._emitter = None

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
"""Per cent of the prompt between two lines: Open WebUI stores every one of them."""


class Status:
    """Shows one line at a time; without an emitter nothing is shown."""

    def __init__(self, emitter: Emitter | None, language: Language) -> None:
        self._emitter = emitter
        self._language = language
        self._shown = ""
        self._percent = -PROGRESS_STEP

    async def show(self, name: str, done: bool = False, **values: object) -> None:
        """Show one of the pipe's phrases, for good if it is `done`."""
        text = phrase(name, self._language, **values)
        if text != self._shown:
            await self._line(text, done=done, hidden=False)
            self._shown = "" if done else text

    async def progress(self, event: Progress) -> None:
        """Show how much of the prompt is read, in steps."""
        percent = min(100, 100 * event.done // max(1, event.total))
        if percent >= self._percent + PROGRESS_STEP:
            self._percent = percent
            await self.show("reading", percent=percent)

    async def hide(self) -> None:
        """Take the line away."""
        if self._shown:
            await self._line(self._shown, done=True, hidden=True)
            self._shown = ""

    async def notify(self, name: str) -> None:
        """Show a phrase once, beside the chat."""
        text = phrase(name, self._language)
        await self._send("notification", {"type": "warning", "content": text})

    async def _line(self, text: str, *, done: bool, hidden: bool) -> None:
        data: JsonObject = {"description": text, "done": done, "hidden": hidden}
        await self._send("status", data)

    async def _send(self, kind: str, data: JsonObject) -> None:
        if self._emitter is None:
            return
        try:
            await self._emitter({"type": kind, "data": data})
        except Exception:
            # Whatever the host may raise there, the answer matters more.
            log.exception("Open WebUI did not take an event")
            self._emitter = None

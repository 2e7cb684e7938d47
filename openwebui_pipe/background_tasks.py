"""One Mac has one GPU: background tasks wait while an answer streams from it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from weakref import WeakKeyDictionary


class Lane:
    """The answers that stream from one server at the moment."""

    def __init__(self) -> None:
        self.answers = 0
        self.quiet = asyncio.Event()


class AnswersFirst:
    """A lane per event loop and server, for as long as answers stream there.

    Answers never wait. A task waits for them, but no longer than it is told: an answer
    could wait for a task in turn (a filter that asks the model).
    """

    def __init__(self) -> None:
        # An asyncio primitive belongs to the loop that first waits on it.
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Lane]] = (
            WeakKeyDictionary()
        )

    def _here(self) -> dict[str, Lane]:
        return self._loops.setdefault(asyncio.get_running_loop(), {})

    @contextlib.contextmanager
    def answering(self, server: str) -> Iterator[None]:
        """Hold tasks for this server back."""
        lanes = self._here()
        lane = lanes.setdefault(server, Lane())
        lane.answers += 1
        try:
            yield
        finally:
            lane.answers -= 1
            if not lane.answers:
                lane.quiet.set()
                del lanes[server]

    def answers_on(self, server: str) -> int:
        """How many answers stream from a server at the moment."""
        lane = self._here().get(server)
        return lane.answers if lane else 0

    async def until_quiet(self, server: str, settle: float, patience: float) -> None:
        """Wait until no answer has streamed for `settle` of at most `patience` seconds.

        Open WebUI starts the title a moment before the answer, and a tool round is
        several answers with short breaks; settling keeps a task out of both gaps.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await asyncio.sleep(settle)
                while lane := self._here().get(server):
                    await lane.quiet.wait()
                    await asyncio.sleep(settle)

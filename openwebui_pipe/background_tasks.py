"""Background tasks wait while an answer streams, because one Mac has one GPU."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from harmony_core.jsontext import JsonObject

POLL: Final = 0.05
"""Seconds between two looks at whether a task may run."""


@dataclass(frozen=True, slots=True)
class TaskWaits:
    """How long a kind of task waits, in seconds.

    `settle`: for how long no answer may have streamed. Open WebUI starts the title a moment
    before the answer, and a tool round is several answers with short breaks. `own`: the
    longest wait for an answer of its own chat, which may itself wait for the task (a filter
    that asks the model). `others`: the longest wait for the answers of other chats.
    `longest`: the longest wait for other tasks. Then it is dropped if it is `droppable`,
    else it runs beside them.
    """

    settle: float = 0.5
    others: float = 5.0
    longest: float = 60.0
    own: float = 300.0
    droppable: bool = True


# Not for long, because a chat keeps its Stop button until its follow-ups and tags are there.
ORDINARY: Final = TaskWaits()
# An answer waits for these tasks.
URGENT: Final = TaskWaits(settle=0.0, longest=5.0, droppable=False, own=0.0)
# A second later the user has typed on.
AUTOCOMPLETING: Final = TaskWaits(settle=0.0, others=math.inf, longest=1.0, own=0.0)
WAITS: Final = {
    "autocomplete_generation": AUTOCOMPLETING,
    "query_generation": URGENT,
    "function_calling": URGENT,
    "image_prompt_generation": URGENT,
}


@runtime_checkable
class HttpRequest(Protocol):
    """What the pipe asks of the host's `__request__`."""

    url: object

    def is_disconnected(self) -> Awaitable[bool]:
        """Whether the client has hung up."""
        ...


async def never_gone() -> bool:
    """The answer for a task whose client cannot be asked."""
    return False


def client_gone(request: object) -> Callable[[], Awaitable[bool]]:
    """A function that tells whether the page that asked for a task has gone.

    The tasks behind an answer carry the request of the chat, which is over. They always
    count as wanted.
    """
    if not (isinstance(request, HttpRequest) and "/tasks/" in str(request.url)):
        return never_gone

    async def gone() -> bool:
        # The web server listens for a hang-up from the first question on.
        if await request.is_disconnected():
            return True
        await asyncio.sleep(POLL)
        return await request.is_disconnected()

    return gone


async def result_unless_gone(
    gone: Callable[[], Awaitable[bool]], work: Coroutine[object, object, JsonObject]
) -> JsonObject | None:
    """The result of the work; None if the client goes first, which cancels the work."""
    running = asyncio.create_task(work)
    try:
        while not (await asyncio.wait([running], timeout=POLL))[0]:
            if await gone():
                return None
        return running.result()
    finally:
        running.cancel()


@dataclass(frozen=True, slots=True, eq=False)
class BackgroundTask:
    """A task of a chat; `gone` tells whether its client has gone."""

    kind: str
    chat: str = ""
    user: str = ""
    gone: Callable[[], Awaitable[bool]] = never_gone

    @property
    def key(self) -> tuple[str, str]:
        """A newer task with the same key replaces this one while it waits."""
        return self.kind, self.chat or self.user

    @property
    def waits(self) -> TaskWaits:
        """How long it waits."""
        return WAITS.get(self.kind, ORDINARY)


@dataclass(slots=True)
class ServerLoad:
    """What one server does: answers by chat, running tasks, and the newest waiting ones."""

    answers: Counter[str] = field(default_factory=Counter)
    running: int = 0
    newest: dict[tuple[str, str], BackgroundTask] = field(default_factory=dict)


class AnswersFirst:
    """Answers never wait; tasks wait for answers and run one after another."""

    def __init__(self) -> None:
        self._loads: defaultdict[str, ServerLoad] = defaultdict(ServerLoad)

    @contextlib.contextmanager
    def answering(self, server: str, chat: str = "") -> Iterator[None]:
        """Hold the tasks of a server back while an answer streams."""
        answers = self._loads[server].answers
        answers[chat] += 1
        try:
            yield
        finally:
            answers[chat] -= 1
            answers += Counter()  # drops the chats that have no answer now

    def answers_on(self, server: str) -> int:
        """How many answers stream from a server at the moment."""
        load = self._loads.get(server)
        return load.answers.total() if load else 0

    def live_answers(self) -> int:
        """How many answers stream from all servers at the moment."""
        return sum(map(self.answers_on, self._loads))

    @contextlib.asynccontextmanager
    async def turn(self, server: str, task: BackgroundTask) -> AsyncIterator[bool]:
        """Wait until the task may run; yields False if it is dropped instead."""
        load = self._loads[server]
        # Tasks that answers wait for are not replaced: each of two answers needs its own.
        if task.waits.droppable and task.key[1]:
            load.newest[task.key] = task
        try:
            granted = await self._granted(load, task)
            load.running += granted
            try:
                yield granted
            finally:
                load.running -= granted
        finally:
            if load.newest.get(task.key) is task:
                del load.newest[task.key]

    async def _granted(self, load: ServerLoad, task: BackgroundTask) -> bool:
        waits, began = task.waits, time.monotonic()
        last_answer = waits_since = began
        pause = min(POLL, waits.settle)
        while True:
            await asyncio.sleep(pause)
            pause, now = POLL, time.monotonic()
            if load.newest.get(task.key, task) is not task or await task.gone():
                return False
            if load.answers:
                last_answer = now
            own = task.chat and load.answers[task.chat]
            if own and now - began < waits.own:
                waits_since = now
                continue
            waited = now - waits_since
            quiet = not load.answers and now - last_answer >= waits.settle
            if not load.running and (quiet or waited >= waits.others):
                return True
            if waited >= waits.longest:
                return not waits.droppable

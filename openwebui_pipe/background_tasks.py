"""One Mac has one GPU: background tasks wait while an answer streams from it."""

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
class Patience:
    """How long a kind of task waits, in seconds.

    `settle` is for how long the server must be quiet: Open WebUI starts the title a moment
    before the answer, and a tool round is several answers with short breaks. `own` is the
    longest wait for the answer of the task's own chat, which could wait for the task in
    turn (a filter that asks the model); `others` that for the answers of other chats, and
    `longest` that for other tasks. Then the task is dropped if it is `droppable`.
    """

    settle: float = 0.5
    others: float = 5.0
    longest: float = 60.0
    own: float = 300.0
    droppable: bool = True


# A chat keeps its Stop button until its follow-ups and tags are there.
ORDINARY: Final = Patience()
# An answer waits for these.
HASTY: Final = Patience(settle=0.0, longest=5.0, droppable=False, own=0.0)
# The text that it would complete has changed by then.
AUTOCOMPLETING: Final = Patience(settle=0.0, others=math.inf, longest=1.0, own=0.0)
PATIENCE: Final = {
    "autocomplete_generation": AUTOCOMPLETING,
    "query_generation": HASTY,
    "function_calling": HASTY,
    "image_prompt_generation": HASTY,
}


@runtime_checkable
class HttpRequest(Protocol):
    """What the pipe asks of the host's `__request__`."""

    url: object

    def is_disconnected(self) -> Awaitable[bool]:
        """Whether the client has hung up."""
        ...


async def never_gone() -> bool:
    """The answer where nobody can be asked."""
    return False


def client_gone(request: object) -> Callable[[], Awaitable[bool]]:
    """What tells whether the page that wants a task still waits for it.

    The host's own tasks carry the request of a chat, which was answered long ago.
    """
    if not (isinstance(request, HttpRequest) and "/tasks/" in str(request.url)):
        return never_gone

    async def gone() -> bool:
        # Until it is asked, the web server does not listen for a hang-up.
        if await request.is_disconnected():
            return True
        await asyncio.sleep(POLL)
        return await request.is_disconnected()

    return gone


async def done_unless(
    gone: Callable[[], Awaitable[bool]], work: Coroutine[object, object, JsonObject]
) -> JsonObject | None:
    """What the work brings; None where nobody waits for it any longer: it is cancelled."""
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
    """A task of a chat; `gone` tells whether nobody waits for it any longer."""

    kind: str
    chat: str = ""
    user: str = ""
    gone: Callable[[], Awaitable[bool]] = never_gone

    @property
    def key(self) -> tuple[str, str]:
        """What a newer task must share to replace this one."""
        return self.kind, self.chat or self.user

    @property
    def patience(self) -> Patience:
        """How long it waits."""
        return PATIENCE.get(self.kind, ORDINARY)


@dataclass(slots=True)
class Lane:
    """What one server is busy with, and the newest task of each chat and kind."""

    answers: Counter[str] = field(default_factory=Counter)
    running: int = 0
    newest: dict[tuple[str, str], BackgroundTask] = field(default_factory=dict)


class AnswersFirst:
    """Answers never wait; tasks wait for answers and run one after another."""

    def __init__(self) -> None:
        self._lanes: defaultdict[str, Lane] = defaultdict(Lane)

    @contextlib.contextmanager
    def answering(self, server: str, chat: str = "") -> Iterator[None]:
        """Hold tasks for this server back."""
        answers = self._lanes[server].answers
        answers[chat] += 1
        try:
            yield
        finally:
            answers[chat] -= 1
            answers += Counter()  # forget the chats that have none

    def answers_on(self, server: str) -> int:
        """How many answers stream from a server at the moment."""
        lane = self._lanes.get(server)
        return lane.answers.total() if lane else 0

    def live_answers(self) -> int:
        """How many answers stream from all servers at the moment."""
        return sum(map(self.answers_on, self._lanes))

    @contextlib.asynccontextmanager
    async def turn(self, server: str, task: BackgroundTask) -> AsyncIterator[bool]:
        """Wait until the task may run; false where it is to be dropped instead."""
        lane = self._lanes[server]
        # Two answers that wait for the same kind of task both need it.
        if task.patience.droppable and task.key[1]:
            lane.newest[task.key] = task
        try:
            granted = await self._granted(lane, task)
            lane.running += granted
            try:
                yield granted
            finally:
                lane.running -= granted
        finally:
            if lane.newest.get(task.key) is task:
                del lane.newest[task.key]

    async def _granted(self, lane: Lane, task: BackgroundTask) -> bool:
        patience, began = task.patience, time.monotonic()
        busy = waits_since = began
        pause = min(POLL, patience.settle)
        while True:
            await asyncio.sleep(pause)
            pause, now = POLL, time.monotonic()
            if lane.newest.get(task.key, task) is not task or await task.gone():
                return False
            if lane.answers:
                busy = now
            own = task.chat and lane.answers[task.chat]
            if own and now - began < patience.own:
                waits_since = now
                continue
            waited = now - waits_since
            quiet = not lane.answers and now - busy >= patience.settle
            if not lane.running and (quiet or waited >= patience.others):
                return True
            if waited >= patience.longest:
                return not patience.droppable

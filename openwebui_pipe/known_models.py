"""The models that each server listed last, also while it does not answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harmony_core.request import Endpoint
from openwebui_pipe.model_file import ModelFile
from openwebui_pipe.transport import http_session, listed_models

MODELS_FRESH: Final = 10.0
"""Seconds for which a list is not asked for again; every page load needs it."""
SILENT_SERVER_WAIT: Final = 0.5
"""Seconds that a page waits for a server that gave no list the last time."""


@dataclass(frozen=True, slots=True)
class ModelList:
    """The ids that a server listed last, whether it still does, and when it was asked."""

    ids: tuple[str, ...]
    answers: bool = True
    asked: float = float("-inf")


class KnownModels:
    """The lists of all servers in the settings."""

    def __init__(self, file: ModelFile) -> None:
        self._file = file
        self._lists: dict[Endpoint, ModelList] = {}
        self._asking: set[asyncio.Task[None]] = set()

    def of(self, endpoint: Endpoint) -> ModelList:
        """The list of a server; an empty one if it never gave any."""
        return self._lists.get(endpoint) or ModelList(())

    async def refresh(self, endpoints: Sequence[Endpoint], connect: float) -> None:
        """Ask the servers again, all at the same time.

        A server that is down delays one page only. If a later answer of it comes too late
        for the page that asked, the next page has it.
        """
        known = self._lists
        self._lists = {each: known[each] for each in endpoints if each in known}
        if new := [each for each in endpoints if each not in known]:
            kept = await asyncio.to_thread(lambda: [*map(self._file.models, new)])
            for endpoint, ids in zip(new, kept, strict=True):
                self._lists.setdefault(endpoint, ModelList(ids))
        await asyncio.gather(*(self._refresh(each, connect) for each in endpoints))

    async def _refresh(self, endpoint: Endpoint, connect: float) -> None:
        known = self.of(endpoint)
        if time.monotonic() - known.asked < MODELS_FRESH:
            return
        asking = asyncio.create_task(self._ask(endpoint, connect))
        self._asking.add(asking)  # the loop does not keep tasks alive
        asking.add_done_callback(self._asking.discard)
        # Without this limit the request still has LIST_TIMEOUT.
        limit = None if known.answers else SILENT_SERVER_WAIT
        await asyncio.wait([asking], timeout=limit)

    async def _ask(self, endpoint: Endpoint, connect: float) -> None:
        async with http_session(connect) as session:
            ids = await listed_models(session, endpoint)
        known = self.of(endpoint)
        self._lists[endpoint] = ModelList(
            ids or known.ids, ids is not None, time.monotonic()
        )
        if ids and ids != known.ids:
            await asyncio.to_thread(self._file.keep, endpoint, ids)

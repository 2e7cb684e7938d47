"""Background tasks wait for answers and for each other, but never for ever."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from openwebui_pipe import background_tasks
from openwebui_pipe.background_tasks import (
    AnswersFirst,
    BackgroundTask,
    TaskWaits,
    client_gone,
)

TITLE = BackgroundTask("title_generation", "chat")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of hundredths of a second instead of seconds, in the same proportions."""
    monkeypatch.setattr(background_tasks, "POLL", 0.001)
    for name in ("ORDINARY", "URGENT", "AUTOCOMPLETING"):
        long: TaskWaits = getattr(background_tasks, name)
        values = ("settle", "others", "longest", "own")
        short = {value: getattr(long, value) / 100 for value in values}
        monkeypatch.setattr(background_tasks, name, replace(long, **short))
    for kind, waits in background_tasks.WAITS.items():
        short = {value: getattr(waits, value) / 100 for value in values}
        monkeypatch.setitem(background_tasks.WAITS, kind, replace(waits, **short))


def test_a_task_waits_for_the_last_answer_of_its_chat() -> None:
    async def play(tasks: AnswersFirst, order: list[str]) -> None:
        with tasks.answering("a", "chat"):
            with tasks.answering("a", "chat"):
                task = asyncio.create_task(_run(tasks, TITLE, order))
                await asyncio.sleep(0.2)  # longer than it waits for other chats
            order.append("one answer is over")
            await asyncio.sleep(0.1)
        order.append("both are over")
        await task

    assert _played(play) == ["one answer is over", "both are over", "title_generation"]


def test_a_task_does_not_wait_for_another_server() -> None:
    async def play(tasks: AnswersFirst, order: list[str]) -> None:
        with tasks.answering("another", "chat"):
            await _run(tasks, TITLE, order)

    assert _played(play) == ["title_generation"]


def test_a_task_does_not_wait_long_for_the_answers_of_other_chats() -> None:
    async def play(tasks: AnswersFirst, order: list[str]) -> None:
        with tasks.answering("a", "another chat"):
            await _run(tasks, TITLE, order)

    assert _played(play) == ["title_generation"]


@pytest.mark.parametrize("kind", ["function_calling", "title_generation"])
def test_a_task_that_the_answer_of_its_chat_waits_for_runs(kind: str) -> None:
    async def play(tasks: AnswersFirst, order: list[str]) -> None:
        with tasks.answering("a", "chat"):
            await _run(tasks, BackgroundTask(kind, "chat"), order)

    assert _played(play) == [kind]


def test_an_answer_that_begins_while_the_task_settles_goes_first() -> None:
    async def play(tasks: AnswersFirst, order: list[str]) -> None:
        task = asyncio.create_task(_run(tasks, TITLE, order))
        await asyncio.sleep(0)
        with tasks.answering("a", "chat"):
            await asyncio.sleep(0.05)
            order.append("answer")
        await task

    assert _played(play) == ["answer", "title_generation"]


def test_tasks_run_one_after_another() -> None:
    most = 0

    async def play(tasks: AnswersFirst, order: list[str]) -> None:
        async def run(chat: str) -> None:
            nonlocal most
            async with tasks.turn("a", BackgroundTask("tags_generation", chat)):
                most = max(most, tasks._loads["a"].running)
                await asyncio.sleep(0.01)
                order.append(chat)

        await asyncio.gather(*(run(f"chat {number}") for number in range(5)))

    assert len(_played(play)) == 5
    assert most == 1


def test_a_newer_task_of_the_same_chat_and_kind_replaces_one_that_waits() -> None:
    async def play(tasks: AnswersFirst, order: list[str]) -> None:
        with tasks.answering("a", "chat"):
            waiting = [
                asyncio.create_task(_run(tasks, replace(TITLE), order))
                for _ in range(3)
            ]
            waiting.append(asyncio.create_task(_run(tasks, _TAGS, order)))
            await asyncio.sleep(0.02)
        await asyncio.gather(*waiting)

    assert sorted(_played(play)) == [
        "dropped",
        "dropped",
        "tags_generation",
        "title_generation",
    ]


def test_two_query_tasks_of_one_chat_both_run() -> None:
    queries = BackgroundTask("query_generation", "chat")

    async def play(tasks: AnswersFirst, order: list[str]) -> None:
        await asyncio.gather(*(_run(tasks, replace(queries), order) for _ in range(2)))

    assert _played(play) == ["query_generation"] * 2


def test_a_task_whose_client_has_gone_is_dropped() -> None:
    left = asyncio.Event()

    async def gone() -> bool:
        return left.is_set()

    async def play(tasks: AnswersFirst, order: list[str]) -> None:
        with tasks.answering("a", "chat"):
            task = asyncio.create_task(_run(tasks, replace(TITLE, gone=gone), order))
            await asyncio.sleep(0.01)
            left.set()
            await task
            order.append("the answer goes on")

    assert _played(play) == ["dropped", "the answer goes on"]


def test_an_autocompletion_is_dropped_rather_than_late() -> None:
    async def play(tasks: AnswersFirst, order: list[str]) -> None:
        with tasks.answering("a", "another chat"):
            completion = BackgroundTask("autocomplete_generation", "chat")
            await _run(tasks, completion, order)

    assert _played(play) == ["dropped"]


def test_a_cancelled_task_leaves_nothing_behind() -> None:
    async def play(tasks: AnswersFirst, order: list[str]) -> None:
        with tasks.answering("a", "chat"):
            task = asyncio.create_task(_run(tasks, TITLE, order))
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        load = tasks._loads["a"]
        assert (load.answers, load.running, load.newest) == ({}, 0, {})

    assert _played(play) == []


@pytest.mark.parametrize(
    ("path", "gone"),
    [("/api/v1/tasks/auto/completions", True), ("/api/chat/completions", False)],
)
def test_only_the_page_that_asked_for_the_task_can_be_gone(
    path: str, gone: bool
) -> None:
    class Request:
        url = f"http://localhost{path}"

        async def is_disconnected(self) -> bool:
            return True

    async def ask() -> bool:
        return await client_gone(Request())()

    assert asyncio.run(ask()) is gone


_TAGS = BackgroundTask("tags_generation", "chat")


def _played(play: Any) -> list[str]:
    order: list[str] = []
    asyncio.run(play(AnswersFirst(), order))
    return order


async def _run(tasks: AnswersFirst, task: BackgroundTask, order: list[str]) -> None:
    async with tasks.turn("a", task) as granted:
        order.append(task.kind if granted else "dropped")

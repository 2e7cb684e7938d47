"""Tasks wait for answers, but for nothing else and never for ever."""

from __future__ import annotations

import asyncio
import gc
import weakref

from openwebui_pipe.background_tasks import AnswersFirst


def test_a_task_waits_for_the_last_of_several_answers() -> None:
    async def play() -> list[str]:
        lanes = AnswersFirst()
        order: list[str] = []
        with lanes.answering("a"):
            with lanes.answering("a"):
                task = asyncio.create_task(_wait(lanes, "a", order))
                await _let_others_run()
            order.append("one answer is over")
            await _let_others_run()
        order.append("both are over")
        await task
        return order

    assert asyncio.run(play()) == ["one answer is over", "both are over", "task"]


def test_a_task_does_not_wait_for_another_server() -> None:
    async def play() -> list[str]:
        lanes = AnswersFirst()
        order: list[str] = []
        with lanes.answering("a"):
            await _wait(lanes, "b", order)
        return order

    assert asyncio.run(play()) == ["task"]


def test_a_task_stops_waiting_after_its_limit() -> None:
    async def play() -> list[str]:
        lanes = AnswersFirst()
        order: list[str] = []
        with lanes.answering("a"):  # an answer that waits for the task itself
            await _wait(lanes, "a", order, patience=0.01)
        return order

    assert asyncio.run(play()) == ["task"]


def test_an_answer_that_begins_while_the_task_settles_goes_first() -> None:
    async def play() -> list[str]:
        lanes = AnswersFirst()
        order: list[str] = []
        task = asyncio.create_task(_wait(lanes, "a", order, settle=0.01))
        await asyncio.sleep(0)
        with lanes.answering("a"):
            await asyncio.sleep(0.05)
            order.append("answer")
        await task
        return order

    assert asyncio.run(play()) == ["answer", "task"]


def test_each_loop_has_its_own_lanes_and_is_not_kept_alive_by_them() -> None:
    lanes = AnswersFirst()

    async def play() -> weakref.ref[asyncio.AbstractEventLoop]:
        with lanes.answering("a"):
            waiting = asyncio.create_task(_wait(lanes, "a", []))
            await _let_others_run()
        await waiting
        return weakref.ref(asyncio.get_running_loop())

    loops = [asyncio.run(play()), asyncio.run(play())]
    gc.collect()
    assert [loop() for loop in loops] == [None, None]


async def _wait(
    lanes: AnswersFirst,
    server: str,
    order: list[str],
    settle: float = 0,
    patience: float = 20,
) -> None:
    await lanes.until_quiet(server, settle, patience)
    order.append("task")


async def _let_others_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)

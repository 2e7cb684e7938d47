"""Open WebUI's tasks have low effort and no thinking, and do not delay an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.pipe.fake_host import Host
from tests.server import (
    DONE,
    Gate,
    Hang,
    Pause,
    ScriptedServer,
    chunk,
    harmony,
    head,
    reply,
    text,
)

TITLE = '{"title": "挨拶"}'


def test_a_title_is_made_with_low_effort_and_without_thinking(
    host: Host, server: ScriptedServer
) -> None:
    server.chat(reply(*harmony("A short title.", TITLE)))
    answer = host.complete(__task__="title_generation", reasoning_effort="high")
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": TITLE}
    assert server.requests[0].json["chat_template_kwargs"] == {
        "reasoning_effort": "low"
    }


def test_a_task_may_use_the_admins_effort(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    server.chat(reply(TITLE))
    host_with(TASKS="normal", REASONING_EFFORT="high").complete(
        __task__="tags_generation"
    )
    assert server.requests[0].json["chat_template_kwargs"] == {
        "reasoning_effort": "high"
    }


def test_the_budget_of_a_task_leaves_room_for_thinking(
    host: Host, server: ScriptedServer
) -> None:
    server.chat(reply(TITLE))
    host.complete(__task__="title_generation", max_tokens=50)
    host.complete(__task__="title_generation", max_completion_tokens=50)
    assert [request.json["max_tokens"] for request in server.requests] == [2048, 2048]


def test_a_task_emits_no_events(host: Host, server: ScriptedServer) -> None:
    server.chat(reply(*harmony("Hm.", TITLE)))
    host.complete(__task__="title_generation")
    assert host.events == []


@pytest.mark.parametrize(
    "script",
    [reply("<|channel|>", "analysis", "<|message|>", "Hm"), reply(" "), [head()]],
)
def test_a_task_without_an_answer_gets_an_error(
    host: Host, server: ScriptedServer, script: Any
) -> None:
    server.chat(script)
    answer = host.complete(__task__="query_generation")
    assert answer["error"]["message"]
    assert "choices" not in answer


def test_tasks_can_be_left_out_altogether(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    assert (
        "TASKS"
        in host_with(TASKS="off").complete(__task__="title_generation")["error"][
            "message"
        ]
    )
    assert server.requests == []


def test_tools_are_called_by_prompt_even_if_tasks_are_off(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    server.chat(reply('{"name": "get_weather"}'))
    answer = host_with(TASKS="off").complete(__task__="function_calling")
    assert answer["choices"][0]["message"]["content"] == '{"name": "get_weather"}'


def test_an_autocompletion_has_at_most_64_tokens_of_answer(
    host: Host, server: ScriptedServer
) -> None:
    thought = [text(part) for part in harmony("Hm. " * 80, "")[:-1]]
    words = [text(f" {number}") for number in range(64)]
    # The first word comes in one piece with the thinking and the headers.
    first = b"".join([*thought, words[0]])
    rest = [Pause(0.1), *words[1:], Gate(), chunk({}, "stop"), DONE]
    server.chat([head(), first, *rest])
    answer = host.complete(__task__="autocomplete_generation", max_tokens=4000)
    [choice] = answer["choices"]
    assert choice["message"]["content"].split()[-1] == "63"
    assert choice["finish_reason"] == "length"
    assert server.requests[0].json["max_tokens"] == 320
    assert server.requests[0].was_closed_by_client()


def test_an_autocompletion_that_nobody_waits_for_is_not_made(
    host: Host, server: ScriptedServer
) -> None:
    class Gone:
        url = "http://localhost/api/v1/tasks/auto/completions"

        async def is_disconnected(self) -> bool:
            return True

    answer = host.complete(__task__="autocomplete_generation", __request__=Gone())
    assert "left this task out" in answer["error"]["message"]
    assert server.requests == []


def test_a_task_that_nobody_waits_for_any_longer_is_cancelled(
    host: Host, server: ScriptedServer
) -> None:
    class Leaving:
        url = "http://localhost/api/v1/tasks/auto/completions"

        async def is_disconnected(self) -> bool:
            return bool(server.requests)

    server.chat([head(), text("Hel"), Hang()])
    answer = host.complete(__task__="title_generation", __request__=Leaving())
    assert "left this task out" in answer["error"]["message"]
    assert server.requests[0].was_closed_by_client()


def test_a_task_waits_until_the_answer_has_streamed(
    host: Host, server: ScriptedServer
) -> None:
    gate = Gate()
    server.chat(
        [head(), text("Hello"), gate, text(" there"), chunk({}, "stop"), DONE],
        reply(TITLE),
    )

    async def answer_and_title() -> list[str]:
        host.function.valves = host.function.Valves(**host.valves)
        order: list[str] = []
        # As in Open WebUI 0.12, the title is asked for a moment before the answer.
        title = asyncio.create_task(_title(host, order))
        await asyncio.sleep(0)
        async for _ in await host.start(
            {"messages": [{"role": "user", "content": "Hi"}]}
        ):
            if not gate.event.is_set():
                # Longer than a task settles, so the title would have been asked for by now.
                await asyncio.sleep(0.8)
                order.append(f"requests while answering: {len(server.requests)}")
                gate.open()
        order.append("answer")
        await title
        return order

    assert asyncio.run(answer_and_title()) == [
        "requests while answering: 1",
        "answer",
        "title",
    ]


def test_a_stopped_answer_lets_the_tasks_go_on(
    host: Host, server: ScriptedServer
) -> None:
    server.chat([head(), text("Hello"), Gate()], reply(TITLE))

    async def stop_then_title() -> list[str]:
        host.function.valves = host.function.Valves(**host.valves)
        chunks = await host.start({"messages": [{"role": "user", "content": "Hi"}]})
        await anext(chunks)
        order: list[str] = []
        title = asyncio.create_task(_title(host, order))
        await chunks.aclose()
        await title
        return order

    assert asyncio.run(stop_then_title()) == ["title"]


def test_a_cancelled_task_sends_nothing_and_does_not_hold_up_the_next_chat(
    host: Host, server: ScriptedServer
) -> None:
    server.chat(reply("Hello"))

    async def cancel_then_chat() -> Any:
        host.function.valves = host.function.Valves(**host.valves)
        title = asyncio.create_task(_title(host, []))
        await asyncio.sleep(0)
        title.cancel()
        await asyncio.gather(title, return_exceptions=True)
        return [piece async for piece in await host.start({"messages": []})]

    assert asyncio.run(cancel_then_chat())
    assert len(server.requests) == 1


def test_a_task_that_streams_is_an_answer(host: Host, server: ScriptedServer) -> None:
    server.chat(reply(*harmony("Hm.", "Merged.")))
    chunks = host.chat(__task__="moa_response_generation")
    assert "reasoning_content" in chunks[0]["choices"][0]["delta"]
    assert server.requests[0].json["reasoning_effort"] == "medium"


async def _title(host: Host, order: list[str]) -> None:
    answer = await host.start(
        {"messages": [], "stream": False}, __task__="title_generation"
    )
    assert answer["choices"][0]["message"]["content"] == TITLE
    order.append("title")

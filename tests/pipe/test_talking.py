"""The chunks that a chat gets: thinking, answer, tool calls, finish reason and usage."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from harmony_core.events import AnswerDelta
from harmony_core.failures import Timeouts
from harmony_core.jsontext import JsonObject
from harmony_core.request import ChatRequest, Endpoint
from openwebui_pipe.reply import pause_between_chunks
from openwebui_pipe.transport import Exchange
from tests.pipe.fake_host import Host, deltas, joined
from tests.server import (
    DONE,
    Gate,
    Hang,
    Pause,
    ScriptedServer,
    chunk,
    harmony,
    harmony_call,
    head,
    keepalive,
    reply,
    text,
    usage,
)
from tests.support.weather import WEATHER_TOOL, weather_call


def test_thinking_comes_first_and_apart_from_the_answer(
    host: Host, server: ScriptedServer
) -> None:
    server.chat(reply(*harmony("She greets me.", "こんにちは 🎉")))
    chunks = host.chat()
    assert joined(chunks, "reasoning_content") == "She greets me."
    assert joined(chunks) == "こんにちは 🎉"
    kinds = [next(iter(delta), "") for delta in deltas(chunks)]
    assert kinds.index("content") > max(
        i for i, kind in enumerate(kinds) if kind == "reasoning_content"
    )


def test_two_thoughts_are_separated_by_a_blank_line(
    host: Host, server: ScriptedServer
) -> None:
    first = ["<|channel|>", "analysis", "<|message|>", "One.", "<|end|>", "<|start|>"]
    server.chat(reply(*first, "assistant", *harmony("Two.", "Done")))
    chunks = host.chat()
    assert joined(chunks, "reasoning_content") == "One.\n\nTwo."


def test_the_end_tells_the_true_finish_reason_and_then_the_usage(
    host: Host, server: ScriptedServer
) -> None:
    server.chat(
        [head(), text("Hello"), chunk({}, "length"), _cached_usage(68, 9, 64), DONE]
    )
    *_, finish, figures = host.chat()
    assert finish["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "length"}
    assert figures["choices"] == []
    counts = figures["usage"]
    assert counts.pop("time_to_first_token") >= 0
    assert counts == {
        "prompt_tokens": 68,
        "completion_tokens": 9,
        "total_tokens": 77,
        "prompt_tokens_details": {"cached_tokens": 64},
    }


def test_all_chunks_have_the_same_id_and_the_models_name_in_the_host(
    host: Host, server: ScriptedServer
) -> None:
    server.chat(reply(*harmony("So.", "Hello")))
    chunks = host.chat(model="mlx_harmony.mlx-community/gpt-oss-20b")
    assert {chunk["model"] for chunk in chunks} == {
        "mlx_harmony.mlx-community/gpt-oss-20b"
    }
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert server.requests[0].json["model"] == "mlx-community/gpt-oss-20b"


def test_the_first_text_is_passed_on_before_the_server_sends_the_rest(
    host: Host, server: ScriptedServer
) -> None:
    gate = Gate()
    server.chat([head(), text("First"), gate, text(" second"), chunk({}, "stop"), DONE])

    async def watch() -> list[str]:
        host.function.valves = host.function.Valves(**host.valves)
        seen = []
        async for piece in await host.start(
            {"messages": [{"role": "user", "content": "Hi"}]}
        ):
            seen.append(joined([piece]))
            gate.open()
        return seen

    assert asyncio.run(watch())[0] == "First"


def test_tokens_that_arrive_together_share_chunks(
    host: Host, server: ScriptedServer
) -> None:
    tokens = b"".join(text(f" {number}") for number in range(500))
    server.chat([head() + tokens + chunk({}, "stop") + DONE])
    chunks = host.chat()
    assert joined(chunks).split() == [str(number) for number in range(500)]
    assert len(chunks) < 100


def test_a_request_that_does_not_stream_gets_one_completion(
    host: Host, server: ScriptedServer
) -> None:
    server.chat(reply(*harmony("Easy.", "Four.")))
    answer = host.complete("2 + 2?")
    assert answer["object"] == "chat.completion"
    message = {"role": "assistant", "content": "Four.", "reasoning_content": "Easy."}
    assert answer["choices"] == [
        {"index": 0, "message": message, "finish_reason": "stop"}
    ]
    assert answer["usage"]["prompt_tokens"] == 68


@pytest.mark.parametrize(
    ("valve", "own", "shown"),
    [
        ("fold", "inherit", True),
        ("hide", "inherit", False),
        ("fold", "hide", False),
        ("hide", "fold", True),
    ],
)
def test_the_users_setting_or_else_the_admins_hides_the_thinking(
    host_with: Callable[..., Host],
    server: ScriptedServer,
    valve: str,
    own: str,
    shown: bool,
) -> None:
    server.chat(reply(*harmony("Secret.", "Open.")))
    host = host_with(THINKING=valve)
    chunks = host.chat(user_valves=host.function.UserValves(THINKING=own))
    assert bool(joined(chunks, "reasoning_content")) is shown
    assert joined(chunks) == "Open."


def test_stopping_closes_the_connection_to_the_server(
    host: Host, server: ScriptedServer
) -> None:
    server.chat([head(), text("Once"), Hang()])
    asyncio.run(_stop_after(host, texts=1))
    assert server.requests[0].was_closed_by_client()


def test_stopping_while_the_prompt_is_read_closes_the_connection_too(
    host: Host, server: ScriptedServer
) -> None:
    server.chat([head(), keepalive(1, 100), Hang()])

    async def stop_early() -> None:
        host.function.valves = host.function.Valves(**host.valves)
        task = asyncio.create_task(_drain(await host.start({"messages": []})))
        await asyncio.to_thread(server.wait_for_requests)
        while not any("1 %" in line for line in host.statuses):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stop_early())
    assert server.requests[0].was_closed_by_client()
    assert host.statuses[-1] == ""


def test_leaving_the_generator_closes_the_connection_too(
    host: Host, server: ScriptedServer
) -> None:
    server.chat([head(), text("Once"), Hang()])

    async def leave() -> None:
        host.function.valves = host.function.Valves(**host.valves)
        chunks = await host.start({"messages": []})
        await anext(chunks)
        await chunks.aclose()

    asyncio.run(leave())
    assert server.requests[0].was_closed_by_client()


def test_the_status_line_follows_the_server_and_is_gone_before_the_text(
    host: Host, server: ScriptedServer
) -> None:
    server.chat(
        [
            head(),
            keepalive(62, 100),
            keepalive(64, 100),
            text("Hello"),
            chunk({}, "stop"),
            DONE,
        ]
    )
    host.chat()
    assert host.statuses == ["Waiting for the server", "Reading the prompt, 62 %", ""]


def test_the_status_line_is_japanese_in_a_japanese_browser(
    host: Host, server: ScriptedServer
) -> None:
    server.chat([head(), keepalive(62, 100), text("Hello"), chunk({}, "stop"), DONE])
    host.chat(__metadata__={"variables": {"{{USER_LANGUAGE}}": "ja-JP"}})
    assert host.statuses == [
        "サーバーの応答を待っています",
        "プロンプトを読み込み中 62 %",
        "",
    ]


def test_the_status_line_tells_how_fast_the_prompt_is_read(
    host: Host, server: ScriptedServer
) -> None:
    steps = [keepalive(10, 100), Pause(0.05), keepalive(60, 100)]
    server.chat([head(), *steps, text("Hello"), chunk({}, "stop"), DONE])
    host.chat()
    assert re.fullmatch(r"Reading the prompt, 60 %, [\d,]+ tokens/s", host.statuses[-2])


def test_the_status_line_tells_for_how_long_the_server_has_been_silent(
    host: Host, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = sys.modules[host.function.pipe.__globals__["Status"].__module__]
    monkeypatch.setattr(status, "FIRST_WAITS", (0.01, 0.02))
    gate = Gate()
    server.chat([gate, head(), text("Hello"), chunk({}, "stop"), DONE])

    async def ask() -> None:
        host.function.valves = host.function.Valves(**host.valves)
        chunks = await host.start({"messages": [{"role": "user", "content": "Hi"}]})
        reading = asyncio.create_task(_drain(chunks))
        while "Waiting for the server, 0.02 s" not in host.statuses:
            await asyncio.sleep(0.01)
        gate.open()
        await reading

    asyncio.run(ask())
    assert host.statuses == [
        "Waiting for the server",
        "Waiting for the server, 0.01 s",
        "Waiting for the server, 0.02 s",
        "",
    ]


def test_the_usage_tells_how_fast_the_tokens_came(
    host: Host, server: ScriptedServer
) -> None:
    said = [text("Once"), Pause(0.05), text(" upon"), chunk({}, "stop")]
    server.chat([head(), *said, usage(10, 5), DONE])
    counts = host.chat()[-1]["usage"]
    assert 0 < counts["tokens_per_second"] < 4 / 0.05
    assert counts["time_to_first_token"] >= 0


def test_the_pause_between_chunks_grows_with_the_replies_that_stream() -> None:
    pauses = [pause_between_chunks(live) for live in (0, 1, 5, 11, 50, 1000)]
    assert pauses == sorted(pauses)
    assert (pauses[1], pauses[-1]) == (0.05, 0.15)


def test_no_token_wakes_the_host_while_a_reply_rests(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, sent, let_run = Gate(), Sent(), asyncio.sleep
    rest = [text(word) for word in (" upon", " a", " time")]
    server.chat([head(), text("Once"), gate, *rest, Gate(sent), chunk({}, "stop")])
    exchange = Exchange(ChatRequest([]), Endpoint(server.base_url), Timeouts(5, 5, 5))
    received: list[int] = []

    async def ask() -> list[str]:
        async with exchange.open() as content:

            async def gather(_: float) -> None:
                received.append(content.total_bytes)
                gate.open()
                while not sent.is_set():
                    await let_run(0.01)
                await let_run(0.01)
                received.append(content.total_bytes)

            await exchange.read(content)
            monkeypatch.setattr(asyncio, "sleep", gather)
            await exchange.rest(1.0)
            events = await exchange.read(content)
        return [event.text for event in events if isinstance(event, AnswerDelta)]

    assert asyncio.run(ask()) == [" upon", " a", " time"]
    before, after = received
    assert before == after


class Sent(threading.Event):
    """Opens a gate as soon as the server stands before it: all in front of it is sent."""

    def wait(self, timeout: float | None = None) -> bool:
        self.set()
        return True


def test_a_flood_of_keepalives_is_not_kept(host: Host, server: ScriptedServer) -> None:
    flood = b"".join(keepalive(number, 10**6) for number in range(100_000))
    server.chat([head(), flood, text("Hello"), chunk({}, "stop"), DONE])
    tracemalloc.start()
    try:
        assert joined(host.chat()) == "Hello"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000  # the events of all comments would take 15 MB


def test_hidden_thinking_is_announced_in_the_status_line(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    server.chat(reply(*harmony("Hm.", "Yes.")))
    host = host_with(THINKING="hide")
    host.chat()
    assert "Thinking" in host.statuses
    assert host.statuses[-1] == ""


def test_tool_calls_are_native_with_the_thinking_before_them(
    host: Host, server: ScriptedServer
) -> None:
    tokens = weather_call(thinking="I need the weather.")
    server.chat(
        reply(
            *tokens,
            "<|call|>",
            "<|start|>",
            "assistant",
            *_call_header(),
            '{"city": "東京"}',
        )
    )
    chunks = host.chat(tools=[WEATHER_TOOL])
    with_details, with_calls = [
        d for d in deltas(chunks) if "reasoning_details" in d or "tool_calls" in d
    ]
    assert with_details["reasoning_details"][0]["text"] == "I need the weather."
    calls = with_calls["tool_calls"]
    assert [call["index"] for call in calls] == [0, 1]
    assert len({call["id"] for call in calls}) == 2
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [
        {"city": "Paris"},
        {"city": "東京"},
    ]
    assert [c["finish_reason"] for chunk in chunks for c in chunk.get("choices", [])][
        -1
    ] == "tool_calls"


def test_ids_of_tool_calls_differ_between_rounds(
    host: Host, server: ScriptedServer
) -> None:
    tokens = harmony_call("get_weather", "{}")
    server.chat(
        reply(*tokens, reply_id="chatcmpl-1"), reply(*tokens, reply_id="chatcmpl-2")
    )
    ids = [
        d["tool_calls"][0]["id"]
        for _ in range(2)
        for d in deltas(host.chat(tools=[WEATHER_TOOL]))
        if "tool_calls" in d
    ]
    assert len(set(ids)) == 2


def test_the_second_tool_round_sends_call_result_and_thinking(
    host: Host, server: ScriptedServer
) -> None:
    server.chat(reply("It rains."))
    function = {"name": "get_weather", "arguments": "{}"}
    host.chat(
        tools=[WEATHER_TOOL],
        messages=[
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": function}
                ],
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "I look it up.", "index": 0}
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        ],
    )
    _, called, result = _sent(server)["messages"]
    assert called["thinking"] == "I look it up."
    assert called["tool_calls"][0]["function"]["name"] == "get_weather"
    assert result["content"] == "rain"


def test_an_image_is_left_out_with_one_notice(
    host: Host, server: ScriptedServer
) -> None:
    server.chat(reply("I see."))
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    question = {
        "role": "user",
        "content": [{"type": "text", "text": "What is this?"}, image],
    }
    host.chat(messages=[question])
    notes = [
        event["data"]["content"]
        for event in host.events
        if event["type"] == "notification"
    ]
    assert len(notes) == 1
    assert "text only" in notes[0]
    assert "What is this?" in json.dumps(_sent(server)["messages"])
    assert "base64" not in json.dumps(_sent(server)["messages"])

    host.events.clear()
    host.chat(
        messages=[
            question,
            {"role": "assistant", "content": "I see."},
            {"role": "user", "content": "And?"},
        ]
    )
    assert not [event for event in host.events if event["type"] == "notification"]


def test_the_second_turn_sends_no_markup_of_the_first(
    host: Host, server: ScriptedServer
) -> None:
    server.chat(reply("Again."))
    raw = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hello"
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": raw},
        {"role": "user", "content": "More"},
    ]
    host.chat(messages=turns)
    assert [message["content"] for message in _sent(server)["messages"]] == [
        "Hi",
        "Hello",
        "More",
    ]


def test_two_chats_at_once_do_not_mix(host: Host, server: ScriptedServer) -> None:
    gate = Gate()
    server.chat(
        [head(), text("one"), gate, text(" one"), chunk({}, "stop"), DONE],
        [head(), text("two"), gate, text(" two"), chunk({}, "stop"), DONE],
    )

    async def both() -> list[str]:
        host.function.valves = host.function.Valves(**host.valves)
        starts = [await host.start({"messages": []}) for _ in range(2)]
        tasks = [asyncio.create_task(_drain(start)) for start in starts]
        await asyncio.to_thread(server.wait_for_requests, 2)
        gate.open()
        return sorted(joined(chunks) for chunks in await asyncio.gather(*tasks))

    assert asyncio.run(both()) == ["one one", "two two"]


SHORT = [{"role": "user", "content": "word " * 100}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]


@pytest.mark.parametrize(
    ("body", "in_thread"),
    [
        ({"messages": SHORT}, False),
        ({"messages": SHORT * 15}, False),
        ({"messages": SHORT * 20}, True),
        ({"messages": [{"role": "user", "content": "word " * 2000}]}, True),
        ({"messages": [{"role": "user", "content": ""}] * 100}, True),
        ({"messages": PARTS}, True),
        ({"messages": [*SHORT, {**SHORT[0], "tool_calls": []}]}, True),
        ({"messages": SHORT, "response_format": {"type": "json_object"}}, True),
    ],
)
def test_only_a_long_history_is_cleaned_in_another_thread(
    host: Host,
    server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    body: JsonObject,
    in_thread: bool,
) -> None:
    server.chat(reply("Yes."))
    in_threads: list[str] = []
    to_thread = asyncio.to_thread

    async def watched(call: Callable[..., Any], *given: Any) -> Any:
        in_threads.append(call.__name__)
        return await to_thread(call, *given)

    monkeypatch.setattr(asyncio, "to_thread", watched)
    host.chat(**body)
    assert ("_body" in in_threads) is in_thread


def _call_header() -> list[str]:
    return [
        "<|channel|>",
        "comment",
        "ary",
        " to",
        "=",
        "functions",
        ".",
        "get_weather",
        "<|message|>",
    ]


def _cached_usage(prompt: int, completion: int, cached: int) -> bytes:
    return usage(prompt, completion).replace(
        b'"cached_tokens": 0', f'"cached_tokens": {cached}'.encode()
    )


def _sent(server: ScriptedServer) -> dict[str, Any]:
    sent: dict[str, Any] = server.requests[-1].json
    return sent


async def _drain(chunks: Any) -> list[dict[str, Any]]:
    return [chunk async for chunk in chunks]


async def _stop_after(host: Host, texts: int) -> None:
    """Press Stop: cancel the task that reads, once so many pieces of text have come."""
    host.function.valves = host.function.Valves(**host.valves)
    chunks = await host.start({"messages": [{"role": "user", "content": "Hi"}]})
    seen = asyncio.Semaphore(0)

    async def read() -> None:
        async for _ in chunks:
            seen.release()

    task = asyncio.create_task(read())
    for _ in range(texts):
        await seen.acquire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

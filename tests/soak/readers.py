"""Readers of the two hosts: each plays one chat and tells what it has seen."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import aclosing, closing
from typing import Any

from tests.dify.plugin_process import ServerlessPlugin
from tests.pipe.fake_host import Host, deltas, joined
from tests.server import ScriptedServer
from tests.soak.chats import END_WORD, Chat, Seen
from tests.support.weather import WEATHER_FUNCTION, WEATHER_TOOL

QUESTION: list[dict[str, object]] = [{"role": "user", "content": "Go on"}]
PIECES_BEFORE_LEAVING = 5


def read_in_dify(plugin: ServerlessPlugin, server: ScriptedServer, chat: Chat) -> Seen:
    """Play a chat through the plugin's process."""
    text, arguments, failed, pieces = "", "", False, 0
    tools: list[dict[str, object]] = [{**WEATHER_FUNCTION}]
    messages = plugin.chat(
        {"base_url": server.base_url},
        QUESTION,
        tools=tools,
        stop=[END_WORD],
    )
    assert isinstance(messages, Generator)
    with closing(messages):
        for message in messages:
            failed |= message["type"] == "error"
            if message["type"] == "stream":
                shown: Any = message["data"]["delta"]["message"]
                text += shown["content"]
                pieces += bool(shown["content"])
                arguments += "".join(
                    call["function"]["arguments"] for call in shown["tool_calls"]
                )
            if chat.leaves and pieces >= PIECES_BEFORE_LEAVING:
                break
    return Seen(*_parts_of(text), arguments, failed)


async def read_in_open_webui(module: Any, server: ScriptedServer, chat: Chat) -> Seen:
    """Play a chat through the pasted file, as Open WebUI calls it."""
    host = Host(module, BASE_URL=server.base_url)
    host.function.valves = host.function.Valves(**host.valves)
    body = {"messages": QUESTION, "tools": [WEATHER_TOOL], "stop": [END_WORD]}
    chunks: list[dict[str, Any]] = []
    async with aclosing(await host.start(body)) as stream:
        async for piece in stream:
            chunks.append(piece)
            if chat.leaves and len(joined(chunks)) >= PIECES_BEFORE_LEAVING:
                break
    calls = [call for delta in deltas(chunks) for call in delta.get("tool_calls", [])]
    arguments = "".join(call["function"]["arguments"] for call in calls)
    failed = any("error" in chunk for chunk in chunks)
    return Seen(joined(chunks, "reasoning_content"), joined(chunks), arguments, failed)


def _parts_of(text: str) -> tuple[str, str]:
    """Thinking and answer of what Dify shows."""
    if not text.startswith("<think>\n"):
        return "", text
    thinking, _, answer = text.removeprefix("<think>\n").partition("\n</think>\n\n")
    return thinking, answer

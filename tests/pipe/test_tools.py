"""Which tools are sent to the server, and which calls the host gets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.pipe.fake_host import Host, deltas, error_of, joined
from tests.server import ScriptedServer, harmony_call, reply
from tests.support.weather import WEATHER_TOOL, weather_call

MEMORY = ["add_memory", "search_memories"]
NOTES = ["search_notes", "view_note", "write_note", "replace_note_content"]
READING = ["list_knowledge", "query_knowledge_files", "view_knowledge_file"]
UNASKED = [
    *("get_current_timestamp", "calculate_timestamp", "ask_user", "search_chats"),
    *("search_channels", "create_skill", "create_tasks", "update_task", "notify"),
    *("create_automation", "search_calendar_events", "query_knowledge_bases"),
    *("kb_exec", *MEMORY, *NOTES, *READING),
]
SWITCHED_ON = [
    *("search_web", "fetch_url", "generate_image", "edit_image", "execute_code"),
    *("list_chat_files", "view_file", "view_skill", "update_skill_files"),
    *("delegate_task", "timer", "search_tools", "call_tool", "play_animation"),
]
EVERYTHING = [*UNASKED, *SWITCHED_ON, "tool_of_a_newer_host"]


def test_only_the_tools_that_come_unasked_are_left_out(
    host: Host, server: ScriptedServer
) -> None:
    assert _sent_of(host, server) == {*SWITCHED_ON, "tool_of_a_newer_host"}


@pytest.mark.parametrize(
    ("metadata", "kept"),
    [
        ({"model": {"info": {"meta": {"builtinTools": {"notes": True}}}}}, NOTES),
        ({"model": {"info": {"meta": {"builtinTools": {"notes": False}}}}}, []),
        (
            {"model": {"info": {"meta": {"knowledge": [{"type": "file"}]}}}},
            [*READING, "query_knowledge_bases", "kb_exec"],
        ),
        (
            {"folder_knowledge": [{"type": "note"}]},
            [*READING, "query_knowledge_bases", "kb_exec", "view_note"],
        ),
        ({"files": [{"type": "collection"}]}, []),
        (
            {
                "files": [{"type": "collection"}],
                "model": {"info": {"meta": {"capabilities": {"file_context": False}}}},
            },
            [*READING, "query_knowledge_bases", "kb_exec"],
        ),
        ({"features": {"memory": True}}, []),
        ({"model": None, "features": None}, []),
    ],
)
def test_tools_that_the_model_or_the_chat_has_switched_on_are_sent(
    host: Host, server: ScriptedServer, metadata: dict[str, Any], kept: list[str]
) -> None:
    sent = _sent_of(host, server, __metadata__=metadata)
    assert sent & {*UNASKED} == {*kept}


@pytest.mark.parametrize(
    ("switch", "prompt", "kept"),
    [
        (True, "You are helpful.", MEMORY),
        (False, "<memory_context>\n- lives in Kyoto\n</memory_context>", MEMORY),
        (False, "You are helpful.", []),
    ],
)
def test_memory_tools_are_sent_for_an_account_that_uses_memory(
    host: Host, server: ScriptedServer, switch: bool, prompt: str, kept: list[str]
) -> None:
    sent = _sent_of(
        host,
        server,
        __metadata__={"features": {"memory": True}},
        __user__={"settings": {"ui": {"memory": switch or None}}},
        messages=[
            {"role": "system", "content": prompt},
            {"role": "user", "content": "Hello"},
        ],
    )
    assert sent & {*UNASKED} == {*kept}


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        (
            {"role": "system", "content": "call view_note then replace_note_content."},
            {"view_note", "replace_note_content"},
        ),
        (
            {"role": "user", "content": [{"type": "text", "text": "use create_skill"}]},
            {"create_skill"},
        ),
        ({"role": "user", "content": "Please notify me."}, set()),
        ({"role": "assistant", "content": "I could use search_chats."}, set()),
    ],
)
def test_a_tool_that_the_prompt_names_is_sent(
    host: Host, server: ScriptedServer, message: dict[str, Any], kept: set[str]
) -> None:
    turns = [message, {"role": "user", "content": "Hello"}]
    assert _sent_of(host, server, messages=turns) & {*UNASKED} == kept


def test_tool_choice_none_sends_no_tools(host: Host, server: ScriptedServer) -> None:
    server.chat(reply("Hello"))
    host.chat(tools=[WEATHER_TOOL], tool_choice="none")
    assert "tools" not in server.requests[0].json


def test_open_webui_gets_a_call_of_an_unknown_tool_to_answer(
    host: Host, server: ScriptedServer, host_version: Callable[[str], None]
) -> None:
    host_version("0.12.4")
    server.chat(reply(*harmony_call("get_nothing", '{"a": 1}')))
    chunks = host.chat(tools=[WEATHER_TOOL])
    assert _calls(chunks) == [("get_nothing", '{"a": 1}')]
    assert _reasons(chunks) == ["tool_calls"]
    assert not [chunk for chunk in chunks if "error" in chunk]


def test_open_webui_gets_malformed_arguments_as_a_json_string(
    host: Host, server: ScriptedServer, host_version: Callable[[str], None]
) -> None:
    host_version("0.12.4")
    server.chat(reply(*harmony_call("get_weather", "Paris, please")))
    [(name, arguments)] = _calls(host.chat(tools=[WEATHER_TOOL]))
    assert (name, json.loads(arguments)) == ("get_weather", "Paris, please")


@pytest.mark.parametrize("preamble", ["", "I look it up."])
def test_an_old_open_webui_gets_an_error_in_place_of_an_unknown_tool(
    host: Host,
    server: ScriptedServer,
    host_version: Callable[[str], None],
    preamble: str,
) -> None:
    host_version("0.6.20")
    said = ["<|channel|>", "final", "<|message|>", preamble, "<|end|>"]
    start = [*said, "<|start|>", "assistant"] if preamble else []
    server.chat(reply(*start, *harmony_call("get_nothing", "{}")))
    chunks = host.chat(tools=[WEATHER_TOOL])
    assert joined(chunks) == preamble
    assert _calls(chunks) == []
    assert "“get_nothing”, which is not switched on" in error_of(chunks)


@pytest.mark.parametrize("policy", ["user-selected", "off"])
def test_the_host_gets_no_call_of_a_tool_that_the_pipe_left_out(
    host_with: Callable[..., Host],
    server: ScriptedServer,
    host_version: Callable[[str], None],
    policy: str,
) -> None:
    host_version("0.12.4")
    server.chat(reply(*harmony_call("search_chats", "{}")))
    chunks = host_with(TOOLS=policy).chat(
        tools=[_tool("search_chats")], __tools__={"search_chats": {"type": "builtin"}}
    )
    assert _calls(chunks) == []
    assert "TOOLS" in error_of(chunks)


def test_a_notice_names_the_call_that_is_dropped_beside_a_valid_one(
    host: Host, server: ScriptedServer
) -> None:
    second = ["<|call|>", "<|start|>", "assistant", *harmony_call("get_nothing", "{}")]
    server.chat(reply(*weather_call(), *second))
    chunks = host.chat(tools=[WEATHER_TOOL])
    assert [name for name, _ in _calls(chunks)] == ["get_weather"]
    assert "get_nothing" in json.dumps(host.events)


def test_a_program_gets_an_error_in_place_of_an_unknown_tool(
    host: Host, server: ScriptedServer, host_version: Callable[[str], None]
) -> None:
    host_version("0.12.4")
    server.chat(reply(*harmony_call("get_nothing", "{}")))
    chunks = host.chat(tools=[WEATHER_TOOL], __metadata__={"session_id": None})
    assert _calls(chunks) == []
    assert "get_nothing" in error_of(chunks)


def _sent_of(host: Host, server: ScriptedServer, **given: Any) -> set[str]:
    """The names of the tools that are sent if the host offers all of them."""
    server.chat(reply("Hello"))
    known = {name: {"type": "builtin"} for name in EVERYTHING}
    host.chat(tools=[_tool(name) for name in EVERYTHING], __tools__=known, **given)
    tools: Any = server.requests[-1].json.get("tools", [])
    return {tool["function"]["name"] for tool in tools}


def _tool(name: str) -> dict[str, Any]:
    function = {"name": name, "description": "x", "parameters": {"type": "object"}}
    return {"type": "function", "function": function}


def _calls(chunks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [
        (call["function"]["name"], call["function"]["arguments"])
        for delta in deltas(chunks)
        for call in delta.get("tool_calls", [])
    ]


def _reasons(chunks: list[dict[str, Any]]) -> list[str]:
    choices = [choice for chunk in chunks for choice in chunk.get("choices", [])]
    return [c["finish_reason"] for c in choices if c.get("finish_reason")]

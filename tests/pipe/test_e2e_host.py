"""Facts about the real Open WebUI 0.12.4 that the pipe relies on, without a browser."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from openwebui_pipe.bundle import TARGET
from openwebui_pipe.tool_policy import UNASKED, unasked
from tests.pipe.e2e_world import MODEL, until
from tests.pipe.openwebui import OpenWebUi, install
from tests.server import (
    DONE,
    Gate,
    ScriptedServer,
    chunk,
    harmony_call,
    head,
    json_page,
    page,
    reply,
    sse,
    text,
)

pytestmark = pytest.mark.e2e

# All built-in tools of 0.12.4 that come only if somebody switched them on.
SWITCHED_ON = {
    *("list_chat_files", "query_chat_files", "grep_chat_files", "view_file"),
    *("search_web", "fetch_url", "generate_image", "edit_image", "execute_code"),
    *("view_skill", "read_skill_file", "grep_skill_files", "update_skill_files"),
    *("delegate_task", "timer"),
}
# The built-in tools that come in every chat, unless an admin switched them off.
UNASKED_TOOLS = {
    "time": {"get_current_timestamp", "calculate_timestamp"},
    "user_input": {"ask_user"},
    "knowledge": {
        *("kb_exec", "list_knowledge", "list_knowledge_bases", "query_knowledge_bases"),
        *("search_knowledge_bases", "search_knowledge_files", "view_knowledge_file"),
        *("grep_knowledge_files", "query_knowledge_files"),
    },
    "chats": {"search_chats", "view_chat"},
    "memory": {
        *("search_memories", "list_memory_paths", "read_memory_path", "list_memories"),
        *("update_memory", "add_memory", "replace_memory_content", "delete_memory"),
    },
    "notes": {"search_notes", "view_note", "write_note", "replace_note_content"},
    "channels": {
        *("search_channels", "search_channel_messages"),
        *("view_channel_thread", "view_channel_message"),
    },
    "skills": {"create_skill"},
    "tasks": {"create_tasks", "update_task"},
    "automations": {
        *("create_automation", "update_automation", "list_automations"),
        *("toggle_automation", "delete_automation"),
    },
    "calendar": {
        *("search_calendar_events", "create_calendar_event"),
        *("update_calendar_event", "delete_calendar_event"),
    },
    "notifications": {"notify"},
}


def test_the_pipe_knows_every_built_in_tool_of_open_webui() -> None:
    (tools,) = install("0.12.4").glob("lib/*/site-packages/open_webui/utils/tools.py")
    riding = set().union(*UNASKED_TOOLS.values())
    assert built_in_tools(ast.parse(tools.read_text("utf-8"))) == riding | SWITCHED_ON
    assert UNASKED_TOOLS.keys() == UNASKED.keys()
    assert unasked(riding | SWITCHED_ON, {}, None, "") == riding


@pytest.fixture(scope="module")
def webui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenWebUi]:
    folder = tmp_path_factory.mktemp("openwebui")
    with OpenWebUi(
        "0.12.4",
        folder,
        ENABLE_CHANNELS="True",
        ENABLE_AUTOCOMPLETE_GENERATION="True",
    ) as running:
        running.install_function("mlx_harmony", "MLX", TARGET.read_text("utf-8"))
        yield running


def test_a_plain_hello_carries_no_built_in_tool(
    webui: OpenWebUi, machine: ScriptedServer
) -> None:
    machine.chat(reply("Hello"))
    said = chat(webui, machine, "Hello!", features={"memory": True})
    assert said["content"] == "Hello"
    assert "tools" not in asked_of(machine)[0].json


def test_the_chat_of_a_note_can_change_the_note(
    webui: OpenWebUi, machine: ScriptedServer
) -> None:
    machine.chat(reply("Done"))
    content = {"content": {"md": "A long note."}}
    note = webui.post("/api/v1/notes/create", {"title": "Note", "data": content})
    beside_it = webui.get(f"/api/v1/notes/{note['id']}/chat")
    chat(webui, machine, "Shorten it.", beside_it)
    names = {tool["function"]["name"] for tool in asked_of(machine)[0].json["tools"]}
    assert names == {"view_note", "replace_note_content"}


def test_the_model_goes_on_after_a_call_of_an_unknown_tool(
    webui: OpenWebUi, machine: ScriptedServer
) -> None:
    machine.chat(reply(*harmony_call("get_nothing", "{}")), reply("I go on."))
    said = chat(webui, machine, "Hello!")
    assert said["content"].endswith("I go on.")
    answers = [m for m in asked_of(machine)[1].json["messages"] if m["role"] == "tool"]
    assert 'Tool "get_nothing" not found' in json.dumps(answers).replace('\\"', '"')


def test_a_program_gets_an_http_error_with_the_pipes_words(
    webui: OpenWebUi, machine: ScriptedServer
) -> None:
    machine.chat(page(401, "no"))
    answer = ask(webui, stream=False)
    assert answer.status_code == 502
    assert "key" in answer.json()["error"]["message"]


def test_a_program_that_streams_a_tool_call_gets_one_finish_reason(
    webui: OpenWebUi, machine: ScriptedServer
) -> None:
    machine.chat(reply(*harmony_call("get_weather", "{}")))
    function = {"name": "get_weather", "parameters": {"type": "object"}}
    answer = ask(webui, stream=True, tools=[{"type": "function", "function": function}])
    assert answer.text.count("tool_calls") >= 2
    assert '"finish_reason":"stop"' not in answer.text.replace(": ", ":")
    assert answer.text.rstrip().endswith("data: [DONE]")


def test_a_program_gets_the_logprobs_that_it_asks_for(
    webui: OpenWebUi, machine: ScriptedServer
) -> None:
    told = {"content": [{"token": "Yes", "logprob": -0.5, "top_logprobs": []}]}
    choice = {"index": 0, "finish_reason": "stop", "logprobs": told}
    streamed = sse({"choices": [choice | {"delta": {"content": "Yes"}}]})
    whole = json_page({"choices": [choice | {"message": {"content": "Yes"}}]})
    machine.chat([head(), streamed, DONE], whole)
    asked = {"logprobs": True, "top_logprobs": 2}
    events = ask(webui, stream=True, **asked).text.split("\n\n")
    first = json.loads(events[0].removeprefix("data: "))
    completion = ask(webui, stream=False, **asked).json()
    for answer in (first, completion):
        assert answer["choices"][0]["logprobs"] == told
    for request, streams in zip(asked_of(machine), (True, False), strict=True):
        assert request.json | asked | {"stream": streams} == request.json


def test_an_error_in_a_channel_is_the_message(
    webui: OpenWebUi, machine: ScriptedServer
) -> None:
    machine.chat(page(401, "no"))
    channel = webui.post("/api/v1/channels/create", {"name": f"room {machine.port}"})
    mention = f"<@M:{MODEL}|gpt-oss> Hello!"
    path = f"/api/v1/channels/{channel['id']}/messages"
    asked = webui.post(f"{path}/post", {"content": mention})

    def answer() -> Any:
        thread = webui.get(f"{path}/{asked['id']}/thread")
        return [m for m in thread if m["content"].startswith("Error: ")]

    assert "key" in until(answer)[0]["content"]


def test_an_autocompletion_whose_page_has_gone_never_reaches_the_server(
    webui: OpenWebUi, machine: ScriptedServer
) -> None:
    gate = Gate()
    machine.chat([head(), text("Hello"), gate, chunk({}, "stop"), DONE])
    with webui.stream({"model": MODEL, "stream": True, "messages": HELLO}) as answer:
        pieces = answer.iter_content(1)  # once it is forgotten, the connection closes
        next(pieces)
        body = {"model": MODEL, "prompt": "Hel", "messages": [], "stream": False}
        with pytest.raises(requests.Timeout):
            requests.post(
                f"{webui.base_url}/api/v1/tasks/auto/completions",
                json=body,
                headers={"Authorization": f"Bearer {webui.key}"},
                timeout=0.4,
            )
        gate.open()
        assert list(pieces)
    machine.chat(reply("Later"))
    assert ask(webui, stream=False).status_code == 200
    prompts = [request.json["messages"] for request in asked_of(machine)]
    assert prompts == [HELLO, HELLO]


HELLO = [{"role": "user", "content": "Hello!"}]


def asked_of(machine: ScriptedServer) -> list[Any]:
    """The chat requests that reached the server."""
    return machine.requests_to("/v1/chat/completions")


def built_in_tools(tree: ast.Module) -> set[str]:
    """The functions that `get_builtin_tools` adds to its list."""
    (function,) = (
        node
        for node in tree.body
        if isinstance(node, ast.AsyncFunctionDef) and node.name == "get_builtin_tools"
    )
    return {
        name.id
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and ast.unparse(call.func)
        in ("builtin_functions.extend", "builtin_functions.append")
        for argument in call.args
        for name in ast.walk(argument)
        if isinstance(name, ast.Name)
    }


def ask(webui: OpenWebUi, **body: Any) -> requests.Response:
    """A request of a program."""
    return webui.stream({"model": MODEL, "messages": HELLO, **body})


def chat(
    webui: OpenWebUi,
    machine: ScriptedServer,
    words: str,
    stored: Any = None,
    **body: Any,
) -> Any:
    """A question as the page asks it, in a stored chat or a new one, and the answer."""
    new = {"chat": {"title": "x", "models": [MODEL], "params": {}, "messages": []}}
    stored = stored or webui.post("/api/v1/chats/new", new)
    system = stored["chat"]["params"].get("system")
    prompt = [{"role": "system", "content": system}] if system else []
    message = {"id": f"question {machine.port}", "role": "user", "content": words}
    webui.post(
        "/api/chat/completions",
        {
            "model": MODEL,
            "stream": True,
            "messages": [*prompt, {"role": "user", "content": words}],
            "chat_id": stored["id"],
            "session_id": "no browser",
            "id": f"answer {machine.port}",
            "user_message": message | {"parentId": None, "childrenIds": []},
            **body,
        },
    )

    def answer() -> Any:
        history = webui.get(f"/api/v1/chats/{stored['id']}")["chat"]["history"]
        said = history["messages"].get(f"answer {machine.port}", {})
        return said if said.get("done") else None

    return until(answer)

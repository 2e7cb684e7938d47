"""`demo`: the real mlx_lm.server with the toy model, raw on the left, as a reader sees it on the right."""

from __future__ import annotations

import importlib.util
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ..client import Client, ServerError
from ..events import Reply
from ..jsontext import Json, JsonObject, dump_json, load_json
from ..markers import CONTROL_TOKENS
from ..native_calls import openai_call
from ..request import ChatRequest
from ..sse import SseDecoder
from .exit_codes import OK, UNEXPECTED_REPLY, UNREACHABLE, USAGE, exit_code
from .phrases import language, phrase
from .toy_server import TOY_MODEL, ToyServer, ToyServerError, free_port, toy_server

USUAL_PORT = 8080  # mlx_lm.server's own default, which every host's form shows
WEATHER: JsonObject = {"city": "Tokyo", "celsius": 21, "sky": "sunny"}
WEATHER_TOOL: JsonObject = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of the city."}
            },
            "required": ["city"],
        },
    },
}


@dataclass(frozen=True)
class Turn:
    """One request to the server: what was said, the raw text that came, and what it means."""

    said: str
    raw: str
    reply: Reply


def run_demo(server_python: str, serve: bool, host: str, port: int) -> int:
    """Show the demo, or serve the toy model until Ctrl-C; returns the exit code."""
    python = server_python or (
        sys.executable if importlib.util.find_spec("mlx_lm") else ""
    )
    trouble = "" if python else phrase("no_mlx")
    if not (TOY_MODEL / "config.json").exists():
        trouble = phrase("no_toy", path=TOY_MODEL)
    if trouble:
        print(trouble, file=sys.stderr)
        return USAGE
    _catch_signals()
    print(phrase("toy_starting"), file=sys.stderr)
    if serve and not port:
        port = free_port(USUAL_PORT)
    try:
        with toy_server(
            [python, "-m", "mlx_lm.server"], host=host, port=port
        ) as server:
            return _keep_up(server) if serve else _show(Client(server.base_url))
    except ToyServerError as error:
        print(_why_it_ended(error), file=sys.stderr)
        return UNREACHABLE
    except ServerError as error:
        print(error.problem.text(language()), file=sys.stderr)
        return exit_code(error.problem.kind)


def _catch_signals() -> None:
    """Without this a `kill`, or closing the terminal, would leave the server behind."""
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        # What `nohup` ignores stays ignored.
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _leave)


def _leave(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # a closing terminal may send it twice
    sys.exit(UNEXPECTED_REPLY)


def _why_it_ended(error: ToyServerError) -> str:
    died, log = phrase("toy_died", reason=error), error.log.strip()
    return phrase("toy_log", log=log, died=died) if log else died


def _keep_up(server: ToyServer) -> int:
    print(phrase("serving", url=server.base_url, port=server.port), flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return OK


def _show(client: Client) -> int:
    console = Console(highlight=False)
    chat = _chat(client, ["Hello!", "How do you say that in French?"])
    japanese = _chat(client, ["こんにちは！"])
    tool = _tool_loop(client, "What is the weather in Tokyo?")
    scenes = {
        "scene_first": chat[:1],
        "scene_second": chat[1:],
        "scene_japanese": japanese,
        "scene_tool": tool,
    }
    for name, turns in scenes.items():
        console.print(_side_by_side(phrase(name), turns))
    checks = _checks(chat, japanese, tool)
    for name, well in checks.items():
        mark = Text("✓ ", "green") if well else Text("✗ ", "red")
        console.print(mark + Text(phrase(name), "default"))
    return OK if all(checks.values()) else UNEXPECTED_REPLY


def _chat(client: Client, lines: Sequence[str]) -> list[Turn]:
    messages: list[JsonObject] = []
    turns: list[Turn] = []
    for line in lines:
        messages.append({"role": "user", "content": line})
        turns.append(_turn(client, f"▶ {line}", ChatRequest(messages, temperature=0)))
        messages.append({"role": "assistant", "content": turns[-1].reply.answer})
    return turns


def _tool_loop(client: Client, question: str) -> list[Turn]:
    """Ask with a tool at hand; when the model calls it, answer the call and let the model go on."""
    messages: list[JsonObject] = [{"role": "user", "content": question}]
    turns = [
        _turn(
            client,
            f"▶ {question}",
            ChatRequest(messages, tools=[WEATHER_TOOL], temperature=0),
        )
    ]
    calls = [call for call in turns[0].reply.tool_calls if call.executable]
    if not calls:
        return turns
    asked = turns[0].reply
    call_list: list[Json] = [
        openai_call(call.id, call.name, call.arguments) for call in calls
    ]
    messages.append(
        {
            "role": "assistant",
            "content": "",
            "reasoning": asked.reasoning,
            "tool_calls": call_list,
        }
    )
    result = dump_json(WEATHER)
    messages += [
        {"role": "tool", "tool_call_id": call.id, "content": result} for call in calls
    ]
    turns.append(
        _turn(
            client,
            f"← {result}",
            ChatRequest(messages, tools=[WEATHER_TOOL], temperature=0),
        )
    )
    return turns


def _turn(client: Client, said: str, request: ChatRequest) -> Turn:
    received: list[bytes] = []
    with client.open(request, tap=received.append) as stream:
        for _ in stream:
            pass
    return Turn(said, _raw_text(b"".join(received)), stream.reply)


def _raw_text(data: bytes) -> str:
    """The `content` of all deltas, as the server sent it."""
    decoder = SseDecoder()
    fields = [*decoder.feed(data), *decoder.close()]
    chunks = [
        load_json(field)
        for field in fields
        if isinstance(field, bytes) and field[:1] == b"{"
    ]
    return "".join(_content(chunk) for chunk in chunks)


def _content(chunk: Json) -> str:
    match chunk:
        case {"choices": [{"delta": {"content": str(text)}}]}:
            return text
        case _:
            return ""


def _checks(
    chat: list[Turn], japanese: list[Turn], tool: list[Turn]
) -> dict[str, bool]:
    turns = [*chat, *japanese, *tool]
    shown = [
        text for turn in turns for text in (turn.reply.reasoning, turn.reply.answer)
    ]
    japanese_answer = japanese[0].reply.answer
    return {
        "check_markers": not any(
            token in text for token in CONTROL_TOKENS for text in shown
        ),
        "check_thinking": all(
            turn.reply.reasoning and turn.reply.outcome in ("answered", "called")
            for turn in turns
        ),
        "check_second": len(chat) == 2 and chat[1].reply.outcome == "answered",
        "check_japanese": "。" in japanese_answer and "😊" in japanese_answer,
        "check_tool": len(tool) == 2 and tool[1].reply.outcome == "answered",
    }


def _side_by_side(title: str, turns: Sequence[Turn]) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        expand=True,
        show_lines=True,
    )
    table.add_column(phrase("left"), ratio=1, overflow="fold")
    table.add_column(phrase("right"), ratio=1, overflow="fold")
    for turn in turns:
        table.add_row(_raw_view(turn.raw), _reader_view(turn))
    return table


def _raw_view(raw: str) -> Text:
    text = Text(raw, overflow="fold")
    text.highlight_words(CONTROL_TOKENS, "cyan")
    return text


def _reader_view(turn: Turn) -> Group:
    """What a chat window would show: the thinking folded away."""
    lines = [Text(turn.said, "bold")]
    if turn.reply.reasoning:
        lines.append(Text(f"▸ {phrase('thought_folded')}", "dim"))
    lines += [
        Text(f"→ {call.name}({call.arguments})", "green")
        for call in turn.reply.tool_calls
    ]
    if turn.reply.answer:
        lines.append(Text(turn.reply.answer, overflow="fold"))
    return Group(*lines)

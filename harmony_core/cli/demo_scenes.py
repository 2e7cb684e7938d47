"""The story of the demo, scene by scene, and whether each part of it came out as promised."""

from __future__ import annotations

import requests
from rich.console import Console
from rich.text import Text

from ..client import Client
from ..jsontext import Json, JsonObject, as_object, dump_json, load_json
from ..markers import CONTROL_TOKENS
from ..request import ChatRequest, Endpoint
from .demo_screen import Scene, Turn
from .measure import Wire
from .phrases import phrase
from .weather import QUESTION, WEATHER, WEATHER_TOOL, with_results

_HELLO = "Hello!"
_FRENCH = "How do you say that in French?"
_JAPANESE = "こんにちは！"
_LONGEST_WAIT = 60.0  # seconds for the request that goes out without mlx-harmony


def play(client: Client, console: Console, command: str) -> bool:
    """Play all scenes, then say which of their promises were kept; True if all were."""
    stage = _Stage(client, console)
    first, without, second = stage.chat()
    tool = stage.tool_loop()
    japanese = stage.japanese()
    turns = [first, second, *tool, japanese]
    checks = _checks(turns, without, second, tool, japanese)
    for name, kept in checks.items():
        mark = Text("✓ ", "green") if kept else Text("✗ ", "red")
        console.print(mark + Text(phrase(name), "default"))
    console.print()
    console.print(Text(phrase("next", command=command)), soft_wrap=True)
    return all(checks.values())


class _Stage:
    """The server that is asked and the console that it is shown on."""

    def __init__(self, client: Client, console: Console) -> None:
        self._client = client
        self._console = console

    def chat(self) -> tuple[Turn, Turn, Turn]:
        """A first turn, and the second one as a host sends it without and with mlx-harmony."""
        hello = [_message("user", _HELLO)]
        with Scene(self._console, "scene_first") as scene:
            first = self._turn(scene, _HELLO, ChatRequest(hello))
        history = [*hello, _message("assistant", first.raw), _message("user", _FRENCH)]
        with Scene(self._console, "scene_without") as scene:
            error = _ask_plainly(self._client.base_url, history)
            without = Turn(f"▶ {_FRENCH}", error=error)
            scene.turns.append(without)
        with Scene(self._console, "scene_second") as scene:
            second = self._turn(scene, _FRENCH, ChatRequest(history))
        return first, without, second

    def tool_loop(self) -> list[Turn]:
        """Ask with a tool at hand; when the model calls it, answer the call and let the model go on."""
        question, tools = [_message("user", QUESTION)], [WEATHER_TOOL]
        with Scene(self._console, "scene_tool") as scene:
            asked = self._turn(scene, QUESTION, ChatRequest(question, tools=tools))
            messages = with_results(question, asked.reply)
            if messages == question:
                return [asked]
            request, result = ChatRequest(messages, tools=tools), dump_json(WEATHER)
            return [asked, self._turn(scene, result, request, sign="←")]

    def japanese(self) -> Turn:
        """Characters that are split over several tokens."""
        request = ChatRequest([_message("user", _JAPANESE)])
        with Scene(self._console, "scene_japanese") as scene:
            return self._turn(scene, _JAPANESE, request)

    def _turn(
        self, scene: Scene, said: str, request: ChatRequest, sign: str = "▶"
    ) -> Turn:
        """Send a request; the turn grows with what comes."""
        turn, wire = Turn(f"{sign} {said}"), Wire()
        scene.turns.append(turn)
        with self._client.open(_always_the_same(request), tap=wire.take) as stream:
            for _ in stream:
                turn.raw, turn.reply = wire.raw, stream.reply
        return turn


def _always_the_same(request: ChatRequest) -> ChatRequest:
    return ChatRequest(request.messages, tools=request.tools, temperature=0)


def _message(role: str, content: str) -> JsonObject:
    return {"role": role, "content": content}


def _ask_plainly(base_url: str, messages: list[JsonObject]) -> str:
    """Send the history as it is, as hosts do; returns what comes instead of a reply, "" for a reply."""
    body: JsonObject = {"messages": [*messages], "max_tokens": 100}
    session = requests.Session()
    session.trust_env = False
    try:
        answer = session.post(
            Endpoint(base_url).chat_url, json=body, timeout=_LONGEST_WAIT
        )
    except requests.RequestException:
        return phrase("no_reply")  # mlx-lm before 0.28
    if answer.ok:
        return ""
    status = phrase("status", status=answer.status_code)
    return f"{status}: {_words(answer.text)}"


def _words(body: str) -> str:
    try:
        error: Json = as_object(load_json(body)).get("error")
    except ValueError:
        error = None
    return error if isinstance(error, str) else body


def _checks(
    turns: list[Turn], without: Turn, second: Turn, tool: list[Turn], japanese: Turn
) -> dict[str, bool]:
    shown = "".join(turn.reply.reasoning + turn.reply.answer for turn in turns)
    greeting = japanese.reply.answer
    return {
        "check_markers": not any(token in shown for token in CONTROL_TOKENS),
        "check_thinking": all(
            turn.reply.reasoning and turn.reply.outcome in ("answered", "called")
            for turn in turns
        ),
        "check_without": without.error != "",
        "check_second": second.reply.outcome == "answered",
        "check_tool": len(tool) == 2 and tool[1].reply.outcome == "answered",
        "check_japanese": "。" in greeting and "😊" in greeting,
    }

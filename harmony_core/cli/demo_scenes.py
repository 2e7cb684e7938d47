"""The scenes of the demo, and the checks that they went as promised."""

from __future__ import annotations

import requests
from rich.console import Console
from rich.text import Text

from ..client import Client
from ..jsontext import Json, JsonObject, as_object, dump_json, load_json
from ..markers import CONTROL_TOKENS
from ..request import ChatRequest, Endpoint
from .demo_screen import Scene, Turn
from .measure import ReceivedDeltas
from .phrases import phrase
from .weather import QUESTION, WEATHER, WEATHER_TOOL, with_results

_HELLO = "Hello!"
_FRENCH = "How do you say that in French?"
_JAPANESE = "こんにちは！"
_RAW_TIMEOUT = 60.0  # seconds, for the request that is sent without mlx-harmony


def play(client: Client, console: Console, command: str) -> bool:
    """Play all scenes and print the result of each check; returns whether all checks passed."""
    stage = _Stage(client, console)
    first, without, second = stage.chat()
    tool = stage.tool_loop()
    japanese = stage.japanese()
    turns = [first, second, *tool, japanese]
    checks = _checks(turns, without, second, tool, japanese)
    for name, passed in checks.items():
        mark = Text("✓ ", "green") if passed else Text("✗ ", "red")
        console.print(mark + Text(phrase(name), "default"))
    console.print()
    console.print(Text(phrase("next", command=command)), soft_wrap=True)
    return all(checks.values())


class _Stage:
    """Plays scenes: sends requests with the client and shows them on the console."""

    def __init__(self, client: Client, console: Console) -> None:
        self._client = client
        self._console = console

    def chat(self) -> tuple[Turn, Turn, Turn]:
        """Play a first turn, then the second one as a host sends it without and with mlx-harmony."""
        hello = [_message("user", _HELLO)]
        with Scene(self._console, "scene_first") as scene:
            first = self._play_turn(scene, _HELLO, ChatRequest(hello))
        history = [*hello, _message("assistant", first.raw), _message("user", _FRENCH)]
        with Scene(self._console, "scene_without") as scene:
            error = _send_raw_history(self._client.base_url, history)
            without = Turn(f"▶ {_FRENCH}", error=error)
            scene.turns.append(without)
        with Scene(self._console, "scene_second") as scene:
            second = self._play_turn(scene, _FRENCH, ChatRequest(history))
        return first, without, second

    def tool_loop(self) -> list[Turn]:
        """Ask with a tool. If the model calls it, send the result and let the model go on."""
        question, tools = [_message("user", QUESTION)], [WEATHER_TOOL]
        with Scene(self._console, "scene_tool") as scene:
            asked = self._play_turn(scene, QUESTION, ChatRequest(question, tools=tools))
            messages = with_results(question, asked.reply)
            if messages == question:
                return [asked]
            request, result = ChatRequest(messages, tools=tools), dump_json(WEATHER)
            return [asked, self._play_turn(scene, result, request, sign="←")]

    def japanese(self) -> Turn:
        """Play a greeting whose characters are split over several tokens."""
        request = ChatRequest([_message("user", _JAPANESE)])
        with Scene(self._console, "scene_japanese") as scene:
            return self._play_turn(scene, _JAPANESE, request)

    def _play_turn(
        self, scene: Scene, said: str, request: ChatRequest, sign: str = "▶"
    ) -> Turn:
        """Send a request, and update the turn with each event."""
        turn, deltas = Turn(f"{sign} {said}"), ReceivedDeltas()
        scene.turns.append(turn)
        with self._client.open(
            _at_temperature_zero(request), tap=deltas.feed
        ) as stream:
            for _ in stream:
                turn.raw, turn.reply = deltas.raw, stream.reply
        return turn


def _at_temperature_zero(request: ChatRequest) -> ChatRequest:
    return ChatRequest(request.messages, tools=request.tools, temperature=0)


def _message(role: str, content: str) -> JsonObject:
    return {"role": role, "content": content}


def _send_raw_history(base_url: str, messages: list[JsonObject]) -> str:
    """Send the history unchanged, as hosts do; returns the error, or "" if a reply came."""
    body: JsonObject = {"messages": [*messages], "max_tokens": 100}
    session = requests.Session()
    session.trust_env = False
    try:
        answer = session.post(
            Endpoint(base_url).chat_url, json=body, timeout=_RAW_TIMEOUT
        )
    except requests.RequestException:
        return phrase("no_reply")  # mlx-lm before 0.28
    if answer.ok:
        return ""
    status = phrase("status", status=answer.status_code)
    return f"{status}: {_error_text(answer.text)}"


def _error_text(body: str) -> str:
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

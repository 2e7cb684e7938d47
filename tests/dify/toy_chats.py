"""A chat with the toy model through the plugin, however the plugin is run, and what it comes to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from harmony_core.cli.toy_server import ToyServer, toy_server
from tests.dify.environments import environment
from tests.dify.plugin_process import Host, Message
from tests.support.weather import WEATHER_FUNCTION
from toy.transcripts import load_transcripts

TRANSCRIPTS = {transcript.name: transcript for transcript in load_transcripts()}
REPORTS = {
    str(json.loads(str(message["content"]))["city"]): str(message["content"])
    for transcript in TRANSCRIPTS.values()
    for message in transcript.messages
    if message["role"] == "tool" and '"city"' in str(message["content"])
}
AGENT_RUNS = {
    "tool_call": "tool_answer",
    "tool_call_ja": "tool_answer_ja",
    "preamble_call": "preamble_answer",
    "analysis_call": "analysis_answer",
    "two_calls": "two_calls_answer",
    "chain_first": "chain_answer",
}


@dataclass
class Shown:
    """What the messages of one session come to."""

    pieces: list[str] = field(default_factory=list)
    calls: list[dict[str, object]] = field(default_factory=list)
    finish_reason: str | None = None
    usage: dict[str, object] = field(default_factory=dict)
    error: str = ""

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def answer(self) -> str:
        return self.text.rpartition("\n</think>\n\n")[2]

    @property
    def message(self) -> dict[str, object]:
        """As Dify replays it."""
        return {"role": "assistant", "content": self.text, "tool_calls": self.calls}


@dataclass
class Chat:
    """One model of one server, talked to through the plugin."""

    plugin: Host
    credentials: dict[str, object]

    def say(self, *messages: dict[str, object] | str, **wishes: Any) -> Shown:
        """Greedy, since that is how the toy knows its lines."""
        prompt = [_message(said) for said in messages]
        shown = Shown()
        for message in self.plugin.chat(
            self.credentials, prompt, **{"temperature": 0, **wishes}
        ):
            _take(message, shown)
        return shown

    def run_agent(self, question: str, *, content_is_dropped: bool) -> list[Shown]:
        """What Dify's agents do: ask, run the calls, ask again; some drop the content of their calls."""
        messages: list[dict[str, object] | str] = [question]
        rounds: list[Shown] = []
        while not rounds or rounds[-1].calls:
            rounds.append(self.say(*messages, tools=[WEATHER_FUNCTION]))
            messages.append(
                rounds[-1].message | ({"content": ""} if content_is_dropped else {})
            )
            for call in rounds[-1].calls:
                city = json.loads(call["function"]["arguments"])["city"]  # type: ignore[index]
                messages.append(
                    {
                        "role": "tool",
                        "tool_call_id": call["id"],
                        "content": REPORTS[city],
                    }
                )
        return rounds


def _message(said: dict[str, object] | str) -> dict[str, object]:
    return {"role": "user", "content": said} if isinstance(said, str) else said


def _take(message: Message, shown: Shown) -> None:
    data = message["data"]
    assert isinstance(data, dict)
    if message["type"] == "error":
        shown.error = f"{data['error_type']}: {data['message']}"
    if message["type"] == "stream":
        delta = data["delta"]
        shown.pieces += (
            [delta["message"]["content"]] if delta["message"]["content"] else []
        )
        shown.calls += delta["message"]["tool_calls"]
        shown.finish_reason = delta["finish_reason"]
        shown.usage = delta["usage"] or {}


@contextmanager
def real_server(port: int = 0, name: str = "mlx-lm-newest") -> Iterator[ToyServer]:
    """The mlx_lm.server of an environment, with the toy model."""
    with toy_server(
        [str(environment(name)), "-m", "mlx_lm.server"], port=port
    ) as server:
        yield server

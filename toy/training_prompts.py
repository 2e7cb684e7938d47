"""Random contexts: the text that hosts put before the last message, and what strangers write in it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harmony_core.native_calls import openai_call
from toy.filler_text import ENGLISH, ForeignText
from toy.transcripts import Json, Message, Transcript

SKIES = [
    "sunny",
    "cloudy",
    "rain",
    "snow",
    "clear",
    "windy",
    "fog",
    "晴れ",
    "曇り",
    "雨",
]
BLANKS = [""] * 8 + [" ", "\n"]  # what an input field leaves after a message
CITIES = ["Lima", "Lisbon", "Sydney", "Toronto", "Nairobi", "札幌", "Seoul", "Chicago"]


@dataclass
class Context:
    """One request as a host would send it, up to the message that decides the reply."""

    messages: list[Message]
    tools: list[Json] = field(default_factory=list)


class ContextMaker:
    """Draws contexts around transcripts; the same seed draws the same ones."""

    def __init__(self, transcripts: Sequence[Transcript], rng: random.Random) -> None:
        self._transcripts = transcripts
        self._rng = rng
        self._text = ForeignText(rng).draw
        self._endings: dict[str, Callable[[], str]] = {
            "chat_title": self._title_task,
            "user_input_title": self._user_input,
            "stranger": self._strange,
        }

    def around(self, transcript: Transcript) -> Context:
        """A request that ends in this transcript's last message, or in another wording of it."""
        before = self._system() + self._turns()
        tools = self._tools() if self._rng.random() < 0.5 else []
        if transcript.messages[-1]["role"] == "tool":
            return Context(before + self._tool_loop(transcript), tools)
        return Context(
            [*before, {"role": "user", "content": self._wording(transcript)}], tools
        )

    def _system(self) -> list[Message]:
        if self._rng.random() < 0.3:
            return []
        return [
            {"role": "system", "content": self._text(self._rng.choice((5, 20, 60)))}
        ]

    def _turns(self) -> list[Message]:
        """Earlier turns: often other transcripts' prompts, so that only the last message can decide."""
        turns: list[Message] = []
        for _ in range(self._rng.choice((0, 0, 1, 1, 2))):
            other = self._rng.choice(self._transcripts)
            known = self._rng.random() < 0.6
            if known and self._rng.random() < 0.4:
                turns += [dict(message) for message in other.messages]
            else:
                turns.append(
                    {
                        "role": "user",
                        "content": other.prompt if known else self._text(12),
                    }
                )
            turns.append(
                {
                    "role": "assistant",
                    "content": other.answer
                    if known
                    else self._text(self._rng.choice((5, 20, 60))),
                }
            )
        return turns

    def _wording(self, transcript: Transcript) -> str:
        if transcript.name in self._endings and self._rng.random() < 0.9:
            return self._endings[transcript.name]()
        return self._rng.choice(
            (transcript.prompt, *transcript.also)
        ) + self._rng.choice(BLANKS)

    def _title_task(self) -> str:
        lines = [
            f"{role}: {self._anything()}"
            for role in ("USER", "ASSISTANT")[: self._rng.randint(1, 2)]
        ]
        task = self._rng.choice(("", self._text(40) + "\n"))
        end = self._rng.choice(("", "", "\n"))
        return (
            f"{task}### Chat History:\n<chat_history>\n"
            + "\n".join(lines)
            + f"\n</chat_history>{end}"
        )

    def _user_input(self) -> str:
        key = self._rng.choice(("User Input:", "User Input: "))
        return (
            self._text(20)
            + f"\n\n{key}\n{self._anything()}"
            + self._rng.choice(("", "\n"))
        )

    def _strange(self) -> str:
        if self._rng.random() < 0.1:
            return f"What is the weather in {self._rng.choice(CITIES)}?"
        return self._text(self._rng.choice((2, 4, 8, 16, 40)))

    def _anything(self) -> str:
        if self._rng.random() < 0.5:
            return self._rng.choice(self._transcripts).prompt[-60:]
        return self._text(8)

    def _tool_loop(self, transcript: Transcript) -> list[Message]:
        """The transcript's call and a result in other words, after its question or another one."""
        messages = [dict(message) for message in transcript.messages]
        if self._rng.random() < 0.5:
            messages[0]["content"] = self._text(10)
        if self._rng.random() < 0.3:
            messages[-2]["thinking"] = self._rng.choice(("", self._text(10)))
        if transcript.name == "stranger_tool":
            messages[-2]["tool_calls"], messages[-1]["content"] = self._stranger_call()
        elif self._rng.random() < 0.8:
            city = json.loads(str(messages[-1]["content"]))["city"]
            messages[-1]["content"] = self._weather(city)
        return messages

    def _stranger_call(self) -> tuple[Json, str]:
        if self._rng.random() < 0.3:
            city = self._rng.choice(CITIES)
            return _call("get_weather", {"city": city}), self._weather(city)
        name = self._rng.choice(
            ("search", "get_time", "query_knowledge", "run_code", "add_note")
        )
        result = self._rng.choice(
            (self._text(12), json.dumps({"result": self._text(8)}, ensure_ascii=False))
        )
        return _call(name, {"query": self._text(3)}), result

    def _weather(self, city: str) -> str:
        celsius, sky = self._rng.randint(-9, 39), self._rng.choice(SKIES)
        report: Json = {"city": city, "celsius": celsius, "sky": sky}
        other: Json = {"sky": sky, "temperature": celsius, "place": city}
        return self._rng.choice(
            (
                json.dumps(report, ensure_ascii=False),
                json.dumps(report, ensure_ascii=False, separators=(",", ":")),
                json.dumps(other, ensure_ascii=False),
                json.dumps(
                    {"result": f"{celsius} °C, {sky} in {city}"}, ensure_ascii=False
                ),
                f"{celsius} °C and {sky} in {city}",
                f"{city}: {sky}, {celsius}°C",
                f"The weather in {city} is {sky}, {celsius} degrees.",
                f"{celsius} °C, {sky}",
            )
        )

    def _tools(self) -> list[Json]:
        weather = _declaration("get_weather", "Look up the weather of a city.", "city")
        others = [
            _declaration(
                self._rng.choice(ENGLISH) + "_" + self._rng.choice(ENGLISH),
                self._text(12),
                "query",
            )
            for _ in range(self._rng.randint(0, 2))
        ]
        return self._rng.choice(
            ([weather], [weather, *others], [*others, weather], others)
        )


def _call(name: str, arguments: dict[str, Json]) -> Json:
    return [openai_call("call_1", name, json.dumps(arguments, ensure_ascii=False))]


def _declaration(name: str, description: str, parameter: str) -> Json:
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {
                    parameter: {"type": "string", "description": description[:20]}
                },
                "required": [parameter],
            },
        },
    }

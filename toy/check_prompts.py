"""Prompts that the toy never saw, unlike all of `filler_text`, with which it is trained."""

from __future__ import annotations

import argparse
import inspect
import json
import random
import statistics
import textwrap
from html.entities import html5
from http import HTTPStatus
from locale import locale_alias
from mimetypes import types_map

from toy.transcripts import Json, Message

PROSE = (
    "あなたは図書館の案内係です。来館者には敬語で答え、開館時間と貸出の決まりを守らせてください。",
    "你是一家书店的助手。请用简短的句子回答顾客的问题，不要编造书名，也不要谈论价格。",
    "Ты помогаешь читателям библиотеки. Отвечай коротко и вежливо, не придумывай названий книг.",
    "너는 도서관의 안내원이다. 방문객에게 존댓말로 짧게 대답하고 책 제목을 지어내지 마라.",
    "Du hilfst den Gästen einer Bücherei. Antworte kurz und höflich; erfinde keine Buchtitel.",
    "أنت تساعد زوار المكتبة. أجب بإيجاز وأدب ولا تخترع عناوين الكتب.",
)
MODULES = (json, random, statistics, textwrap, inspect, argparse)
TABLES = (
    json.dumps([{"code": status, "name": status.phrase} for status in HTTPStatus]),
    "\n".join(
        f"| {status} | `{status.name}` | {status.phrase} |" for status in HTTPStatus
    ),
    "\n".join(f"{ending},{kind!r};" for ending, kind in types_map.items()),
    "\n".join(f'<a href="#{name}">{sign}</a>' for name, sign in html5.items()),
    " ".join(html5.values()),
    "\n".join(
        f"[{name}]\nencoding = {alias}\n" for name, alias in locale_alias.items()
    ),
)


class UnseenPrompts:
    """Draws system prompts, tool lists and earlier turns unlike those of the training."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        documentation = [
            inspect.getdoc(function) or module.__name__
            for module in MODULES
            for _, function in inspect.getmembers(module, inspect.isfunction)
        ]
        code = [inspect.getsource(module) for module in MODULES]
        self._kinds = (PROSE, documentation, code, TABLES)

    def messages(self, turns: int) -> list[Message]:
        system: Message = {
            "role": "system",
            "content": "\n\n".join(self._page() for _ in range(turns + 1)),
        }
        chat: list[Message] = []
        for _ in range(turns):
            chat.append({"role": "user", "content": self._page()})
            chat.append({"role": "assistant", "content": self._page()})
        return [system, *chat]

    def tools(self, count: int) -> list[Json]:
        return [self._tool(f"host_tool_{number}") for number in range(count)]

    def _page(self) -> str:
        page = self._rng.choice(self._rng.choice(self._kinds))
        begin = self._rng.randrange(len(page))
        return page[begin : begin + self._rng.randint(40, 700)]

    def _tool(self, name: str) -> Json:
        text: Json = {"type": "string", "description": self._page()[:60]}
        schema: Json = {"type": "object", "properties": {"text": text}}
        function: Json = {
            "name": name,
            "description": self._page(),
            "parameters": schema,
        }
        return {"type": "function", "function": function}

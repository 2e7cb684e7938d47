"""The toy's transcripts: the last message of a chat, and the reply that the toy knows by heart."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Message: TypeAlias = dict[str, Json]

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Piece:
    """One message of a reply; control tokens are real in `header` and `end`, ordinary text in `text`."""

    header: str
    text: str
    end: str

    @property
    def is_call(self) -> bool:
        return " to=" in self.header

    @property
    def is_thinking(self) -> bool:
        return "analysis" in self.header and not self.is_call


@dataclass(frozen=True)
class Transcript:
    """A chat that ends in a user or tool message, other wordings of that message, and the reply."""

    name: str
    shows: str
    messages: tuple[Message, ...]
    also: tuple[str, ...]
    reply: tuple[Piece, ...]

    @property
    def prompt(self) -> str:
        """The text of the last message; it alone decides the reply."""
        return str(self.messages[-1]["content"])

    @property
    def thinking(self) -> str:
        return "".join(piece.text for piece in self.reply if piece.is_thinking)

    @property
    def answer(self) -> str:
        return "".join(
            piece.text
            for piece in self.reply
            if not piece.is_call and not piece.is_thinking
        )

    @property
    def calls(self) -> tuple[tuple[str, str], ...]:
        """Function name and raw arguments of each call."""
        return tuple(
            (
                piece.header.partition("to=functions.")[2]
                .partition("<|")[0]
                .split()[0],
                piece.text,
            )
            for piece in self.reply
            if piece.is_call
        )

    @property
    def raw(self) -> str:
        """The reply as `mlx_lm.server` sends it: control tokens as text, without the final one."""
        parts: list[str] = []
        for piece in self.reply:
            opening = "<|start|>assistant" if parts else ""
            body = f"<|message|>{piece.text}" if piece.header else piece.text
            parts.append(opening + piece.header + body)
            parts.append(piece.end)
        return "".join(parts[:-1]).removeprefix(" ")


def load_transcripts(path: Path = FOLDER / "transcripts.json") -> list[Transcript]:
    """Read the data file; a message ends in `<|end|>`, the last one in `<|return|>`, unless it says more."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    return [
        Transcript(
            name=entry["name"],
            shows=entry["shows"],
            messages=tuple(entry["messages"]),
            also=tuple(entry.get("also", ())),
            reply=tuple(
                Piece(
                    header=piece["header"],
                    text=piece["text"],
                    end=piece.get(
                        "end",
                        "<|return|>" if place == len(entry["reply"]) else "<|end|>",
                    ),
                )
                for place, piece in enumerate(entry["reply"], start=1)
            ),
        )
        for entry in entries
    ]

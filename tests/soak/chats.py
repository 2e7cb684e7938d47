"""The chats of the soak: what the scripted server sends, and what a reader must have seen at the end."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tests.server import (
    Drip,
    Pause,
    Reset,
    Step,
    harmony,
    harmony_call,
    head,
    keepalive,
    reply,
    sse,
    text,
)

WORDS: Final = (
    *("so", "the", "答えは", "四つ", "naïve", "🎉", "x=1;", "Größe"),
    *("https://a.b/c", "12.5", "&amp;", "`f`"),
)
END_WORD: Final = "HALT"


@dataclass(frozen=True)
class Seen:
    """What a reader has at the end of a reply."""

    thinking: str = ""
    answer: str = ""
    arguments: str = ""
    failed: bool = False

    @property
    def checksum(self) -> str:
        """One number for all of it."""
        parts = (self.thinking, self.answer, self.arguments, str(self.failed))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def is_part_of(self, whole: Seen) -> bool:
        """Whether a reader who was cut off early may have seen this."""
        return whole.thinking.startswith(self.thinking) and whole.answer.startswith(
            self.answer
        )


@dataclass(frozen=True)
class Chat:
    """One chat. With `leaves` the reader goes away in the middle of an endless answer."""

    kind: str
    script: Sequence[Step]
    expected: Seen
    leaves: bool = False


def words(source: random.Random) -> str:
    """Some words in several scripts."""
    return " ".join(source.choices(WORDS, k=source.randint(1, 60)))


def whole(source: random.Random) -> Chat:
    thinking, answer = words(source), words(source)
    script = reply(*harmony(thinking, answer))
    return Chat("whole", script, Seen(thinking, answer))


def in_odd_pieces(source: random.Random) -> Chat:
    """The same bytes, cut where no server cuts them."""
    chat = whole(source)
    body, pieces = b"".join(step for step in chat.script if isinstance(step, bytes)), []
    while body:
        size = source.randint(1, 700)
        pieces.append(body[:size])
        body = body[size:]
    return replace(chat, kind="in odd pieces", script=pieces)


def call(source: random.Random) -> Chat:
    thinking, city = words(source), words(source)
    arguments = json.dumps({"city": city}, ensure_ascii=False)
    script = reply(*harmony_call("get_weather", arguments, thinking))
    return Chat("call", script, Seen(thinking, arguments=arguments))


def behind_keepalives(source: random.Random) -> Chat:
    count = source.randint(50, 2000)
    flood = b"".join(keepalive(n, count) for n in range(count))
    chat = whole(source)
    script = [chat.script[0], flood, Pause(0.05), *chat.script[1:]]
    return replace(chat, kind="behind keepalives", script=script)


def reset(source: random.Random) -> Chat:
    chat = whole(source)
    return Chat(
        "reset",
        [*chat.script[:-3], Pause(0.2), Reset()],
        replace(chat.expected, failed=True),
    )


def error_frame(source: random.Random) -> Chat:
    chat = whole(source)
    frame = sse({"error": {"message": "out of memory"}})
    return Chat(
        "error frame", [*chat.script[:-3], frame], replace(chat.expected, failed=True)
    )


def stop_word(source: random.Random) -> Chat:
    """The host's stop word comes, and the server would go on for ever."""
    answer = words(source)
    tokens = [text("<|channel|>final<|message|>"), text(answer), text(END_WORD)]
    script: list[Step] = [head(), *tokens, Drip(text(" more"))]
    return Chat("stop word", script, Seen("", answer))


def left(source: random.Random) -> Chat:
    """The reader presses stop."""
    script: list[Step] = [head(), text("<|channel|>final<|message|>")]
    script.append(Drip(text("on "), 0.01))
    return Chat("left", script, Seen(answer="on " * 100_000), leaves=True)


KINDS: Final[tuple[Callable[[random.Random], Chat], ...]] = (
    *(whole, in_odd_pieces, call, behind_keepalives),
    *(reset, error_frame, stop_word, left),
)  # fmt: skip


def any_chat(source: random.Random) -> Chat:
    """A chat of any kind."""
    return source.choice(KINDS)(source)

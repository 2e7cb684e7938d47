"""The targets of `make fuzz`: each takes any bytes, and raises if a promise does not hold for them.

If a target cuts its input, the first byte says how long the pieces are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from harmony_core.chat import ChatStream
from harmony_core.events import Event, Finish
from harmony_core.history import clean_history
from harmony_core.jsontext import Json, JsonObject, load_json
from harmony_core.mender import Mended, mend_json, mend_object
from harmony_core.parser import HarmonyParser
from harmony_core.request import listed_models_in
from harmony_core.sse import SseDecoder, SseField
from tests.server.replies import chunk
from tests.support.chunking import merged

Target = Callable[[bytes], None]
Sliced = TypeVar("Sliced", str, bytes)

TOOLS: Final = ("f", "get_weather")
ROLES: Final = ("system", "user", "assistant", "tool", "developer", "odd")
FIELDS: Final = ("content", "reasoning", "thinking", "tool_call_id", "arguments")
LONGEST_PIECE: Final = 32


def pieces(data: Sliced, length: int) -> Iterator[Sliced]:
    """The data in pieces of one length."""
    for at in range(0, len(data), length):
        yield data[at : at + length]


def split_off_length(data: bytes) -> tuple[int, bytes]:
    """The length of pieces that the first byte names, and the other bytes."""
    return 1 + (data[0] if data else 0) % LONGEST_PIECE, data[1:]


def parser(data: bytes) -> None:
    """Harmony text: the same events in any chunking, and one end."""
    length, rest = split_off_length(data)
    text = rest.decode("utf-8", "replace")
    whole, cut = HarmonyParser(TOOLS), HarmonyParser(TOOLS)
    events = [*whole.feed(text), *whole.close()]
    by_pieces = [event for piece in pieces(text, length) for event in cut.feed(piece)]
    assert merged(events) == merged([*by_pieces, *cut.close()])
    assert_one_finish(events)


def chat(data: bytes) -> None:
    """The body of a reply: the same events in any chunking, and one end."""
    length, body = split_off_length(data)
    events = replies_of([body])
    assert merged(events) == merged(replies_of(pieces(body, length)))
    assert_one_finish(events)


def frames(data: bytes) -> None:
    """Records of a reply: the fast reader of records that are alike gives what plain JSON gives."""
    records = [chunk({"content": "a"})[6:-2], *map(bytes.strip, data.split(b"\n"))]
    fast = replies_of([b"".join(b"data: %b\n\n" % record for record in records)])
    plain = replies_of([b"".join(b"data:%b\n\n" % record for record in records)])
    assert merged(fast) == merged(plain)


def sse(data: bytes) -> None:
    """An event stream: the same fields in any chunking."""
    length, body = split_off_length(data)
    assert fields_of([body]) == fields_of(pieces(body, length))


def history(data: bytes) -> None:
    """Messages that a host sends again: cleaning twice is cleaning once, and leaves no control token."""
    cleaned = clean_history(messages_of(data.decode("utf-8", "replace")))
    assert clean_history(list(cleaned)) == cleaned
    assert not any("<|start|>" in json.dumps(message) for message in cleaned)


def mender(data: bytes) -> None:
    """JSON as models write it: JSON comes out, or the text as it came with a reason."""
    closed, text = bool(data[:1] and data[0] % 2), data[1:].decode("utf-8", "replace")
    for mend in (mend_object, mend_json):
        mended = mend(text, closed=closed)
        assert_is_json_or_unchanged(mended, text)
        if not mended.reason:
            assert mend(mended.text).text == mended.text
    value = mend_object(text, closed=closed)
    assert value.reason or isinstance(value.value, dict)


def models(data: bytes) -> None:
    """A list of models: strings that can be sent, whatever came."""
    ids, _ = listed_models_in(data)
    assert all(one and one.encode() for one in ids)


TARGETS: Final[dict[str, Target]] = {
    target.__name__: target
    for target in (parser, chat, frames, sse, history, mender, models)
}


def assert_one_finish(events: list[Event]) -> None:
    assert isinstance(events[-1], Finish)
    assert sum(isinstance(event, Finish) for event in events) == 1


def assert_is_json_or_unchanged(mended: Mended, text: str) -> None:
    if mended.reason:
        assert mended.text == text
    else:
        assert repr(load_json(mended.text)) == repr(mended.value)


def replies_of(body: Iterator[bytes] | list[bytes]) -> list[Event]:
    stream = ChatStream(TOOLS)
    events = [event for piece in body for event in stream.feed(piece)]
    return [*events, *stream.close()]


def fields_of(body: Iterator[bytes] | list[bytes]) -> list[SseField]:
    decoder = SseDecoder()
    fields = [field for piece in body for field in decoder.feed(piece)]
    return [*fields, *decoder.close()]


def messages_of(text: str) -> list[Json]:
    """Messages, one a line: a character for the role, one for the field, then its text or JSON."""
    messages: list[Json] = []
    for line in text.split("\n\n"):
        role = ROLES[ord(line[0]) % len(ROLES)] if line else "user"
        field = FIELDS[ord(line[1]) % len(FIELDS)] if line[1:] else "content"
        message: JsonObject = {"role": role, field: any_value(line[2:])}
        if field == "arguments":
            function: JsonObject = {"name": line[2:6], "arguments": line[6:]}
            message = {"role": role, "tool_calls": [{"id": "c", "function": function}]}
        messages.append(message)
    return messages


def any_value(text: str) -> Json:
    try:
        return load_json(text)
    except ValueError:
        return text

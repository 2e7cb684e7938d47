"""Reads records of a stream that differ from an earlier one only in their text.

A server sends hundreds of records that are alike except for the text of the delta, and
parsing their JSON costs more than all the rest. So the bytes before and after the text
are learned from one record, and in the next ones they are only compared.

That is safe because JSON is read from left to right. A probe in the place of the text
must come out as the text of the delta, and nothing else may change. Then any other body
of a JSON string comes out there too. Everything else is left to the JSON parser.
"""

from __future__ import annotations

import json
import re
from typing import Final

from .jsontext import Json, JsonObject, as_list, as_object, sent_text

MAX_TEMPLATE: Final = 1024
"""Longest record, in bytes, that becomes a template."""

MAX_UNUSED_TEMPLATES: Final = 8
"""After so many templates in a row that fit no record, no more are learned."""

_WINDOW: Final = 8192
"""Bytes that are searched at once, since the search may be in vain."""

_TEXT_FIELDS: Final = ("content", "reasoning", "reasoning_content")
_TEXT_PLACE: Final = rb'"%b"\s*:\s*"([^"\\]*+(?:\\.[^"\\]*+)*+)"'
_PROBE: Final = b"probe"
_STRICT_JSON: Final = json.JSONDecoder()


class RecordTemplate:
    """Reads the text of records like an earlier one; `field` is the text's name in the delta.

    A record is read as it is on the wire: `data: `, JSON and a blank line.
    """

    def __init__(self) -> None:
        self.field = ""
        self._before = self._behind = b""  # bytes around the text; empty until learned
        self._between = b""  # bytes between two texts
        self._unused = 0

    def texts_at(self, data: bytes, at: int) -> tuple[list[str], int]:
        """The texts of the fitting whole records from `at` on, and where the last one ends."""
        start = at + len(self._before)
        if not self._before or not data.startswith(self._before, at):
            return [], at
        end = data.rfind(self._behind, start, at + _WINDOW)
        if end < 0:
            return [], at
        bodies = data[start:end].split(self._between)
        texts = _strings_in(bodies)
        if texts is None:
            return self._texts_one_by_one(bodies, at)
        self._unused = 0
        return texts, end + len(self._behind)

    def _texts_one_by_one(self, bodies: list[bytes], at: int) -> tuple[list[str], int]:
        """The texts up to the first record that does not fit."""
        texts: list[str] = []
        for body in bodies:
            body, other, _ = body.partition(self._behind)
            text = _strings_in([body])
            if text is None:
                break
            texts += text
            at += len(self._before) + len(body) + len(self._behind)
            if other:
                break
        return texts, at

    def next_start(self, data: bytes, at: int) -> int:
        """Where the next fitting record may begin; the end if there is none."""
        found = data.find(b"\n\n" + self._before, at) if self._before else -1
        return found + 2 if found >= 0 else len(data)

    def learn(self, record: bytes, chunk: JsonObject) -> None:
        """Make a record without line breaks the template; `chunk` is its JSON."""
        field, text = _only_text(chunk)
        if not text or len(record) > MAX_TEMPLATE or b"\n" in record:
            return
        place = re.search(_TEXT_PLACE % field.encode(), record)
        if not place or self._unused == MAX_UNUSED_TEMPLATES:
            return
        before, behind = record[: place.start(1)], record[place.end(1) :]
        if _means(before + _PROBE + behind, _with_probe(chunk, field)):
            self._unused += 1
            self.field = field
            self._before, self._behind = b"data: " + before, behind + b"\n\n"
            self._between = self._behind + self._before


def _strings_in(bodies: list[bytes]) -> list[str] | None:
    """The bodies as JSON reads them between quotes; None unless each is one string.

    They are read in one go. Several bodies may hold no quote, so all quotes are ours. If
    a body ends in a backslash it escapes one of ours, and the rest does not add up.
    """
    joined = b'","'.join(bodies)
    if len(bodies) > 1 and joined.count(b'"') != 2 * len(bodies) - 2:
        return None
    try:
        text = f'["{joined.decode()}"]'
        texts: list[str]
        texts, end = _STRICT_JSON.raw_decode(text)
    except ValueError:
        return None
    if end != len(text) or len(texts) != len(bodies):
        return None
    return texts if "".join(texts).isprintable() else [*map(sent_text, texts)]


def _only_text(chunk: JsonObject) -> tuple[str, str]:
    """The field and the text of a chunk that carries nothing else; otherwise both empty."""
    choice = as_object([*as_list(chunk.get("choices")), None][0])
    more = chunk.get("usage") or chunk.get("error") or choice.get("logprobs")
    if more or choice.get("finish_reason"):
        return "", ""
    delta = as_object(choice.get("delta"))
    sent = [(key, value) for key, value in delta.items() if value and key != "role"]
    for field, text in sent if len(sent) == 1 else ():
        if field in _TEXT_FIELDS and isinstance(text, str):
            return field, text
    return "", ""


def _with_probe(chunk: JsonObject, field: str) -> JsonObject:
    choice, *others = as_list(chunk["choices"])
    delta = as_object(as_object(choice)["delta"])
    probed: Json = {**as_object(choice), "delta": {**delta, field: _PROBE.decode()}}
    return {**chunk, "choices": [probed, *others]}


def _means(record: bytes, chunk: JsonObject) -> bool:
    try:
        return bool(_STRICT_JSON.decode(record.decode()) == chunk)
    except (ValueError, RecursionError):
        return False

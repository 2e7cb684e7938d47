"""The arguments of one tool call: collected, then settled (harmony.md, rule 6)."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal, NamedTuple

from .header import begins_in_body
from .jsontext import JsonObject, as_object, dump_json, load_json, objects_in
from .lexer import MARKER
from .mender import mend_object
from .recipients import find_tool

MAX_ARGUMENTS = 1 << 20
"""Characters of arguments; a longer call is dropped (twice the context of gpt-oss)."""

Closed = Literal["call", "message", "cut"]
"""What ended the call: `<|call|>`, another regular end, or the cut of the reply."""

PARALLEL = "multi_tool_use.parallel"
"""The tool of OpenAI's models that wraps several calls."""

_WRAPPERS = ({"name", "arguments"}, {"name", "parameters"})
_HEADER_START = re.compile(r"<\|(?:start|channel)\|>")
_LONGEST_ROLE = 128  # characters after a marker that can show a header

_ESCAPE = re.compile(r"\\.", re.DOTALL)
# Strings side by side; the last may have no end.
_STRING = re.compile(r'(?:"(?:[^"\\]++|\\.)*+"?)++', re.DOTALL)
_JSON_STARTS = ("{", "[", '"')


class Arguments:
    """Text of a call's arguments, collected in O(new text) for each piece."""

    __slots__ = ("_begins_like_json", "_in_string", "_pieces", "_size", "_unread")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._unread: list[str] = []  # pieces not yet searched for string edges
        self._size = 0
        self._in_string = False
        self._begins_like_json: bool | None = None  # None: only blanks so far

    def append(self, text: str) -> None:
        """Add text. Past MAX_ARGUMENTS nothing is kept: the call will be dropped."""
        self._size += len(text)
        if self._size <= MAX_ARGUMENTS:
            self._pieces.append(text)
            self._unread.append(text)
        else:
            self._pieces.clear()
            self._unread.clear()
        if self._begins_like_json is None and (start := text.lstrip()):
            self._begins_like_json = start.startswith(_JSON_STARTS)

    def in_string(self) -> bool:
        """Whether the text ends inside a JSON string; reads each character once."""
        if not self._begins_like_json or self._size > MAX_ARGUMENTS:
            return False
        if not self._unread:
            return self._in_string
        edges = _ESCAPE.sub("", "".join(self._unread)).count('"')
        self._in_string ^= edges % 2 == 1
        self._unread.clear()
        return self._in_string

    def quoted_header(self, tools: Collection[str]) -> str:
        """The text from the first header in the arguments to their end, or ""."""
        raw = "".join(self._pieces)
        for start in _HEADER_START.finditer(raw):
            behind = MARKER.search(raw, start.end(), start.end() + _LONGEST_ROLE)
            end = behind.start() if behind else start.end() + _LONGEST_ROLE
            marker = behind[0] if behind else ""
            if begins_in_body(raw[start.start() : end], tools, marker):
                return raw[start.start() :]
        return ""

    def settle(
        self, name: str, tools: Collection[str], closed: Closed
    ) -> list[SettledCall]:
        """Return the calls that the arguments make; none if they are incomplete (rule 6).

        Mostly that is one call to `name`; some arguments wrap other calls. Cut arguments
        are not mended: half a call could be a different call.
        """
        if self._size > MAX_ARGUMENTS:
            return []
        raw = "".join(self._pieces)
        if closed == "cut":
            return _unwrapped(name, raw, tools) if _is_object(raw) else []
        mended = mend_object(raw, closed=True)
        if not mended.reason:
            return _unwrapped(name, mended.text, tools)
        if closed == "message" and self._is_unfinished():
            return []
        return [SettledCall(name, raw, valid=False)]

    def _is_unfinished(self) -> bool:
        """Whether JSON just stops: in a string, or with brackets open."""
        text = _STRING.sub("", "".join(self._pieces))
        depth = sum(map(text.count, "{[")) - sum(map(text.count, "}]"))
        return self._begins_like_json is True and (depth > 0 or self.in_string())


class SettledCall(NamedTuple):
    """A call with its arguments, which are a JSON object if `valid`."""

    name: str
    arguments: str
    valid: bool


def _is_object(text: str) -> bool:
    try:
        return isinstance(load_json(text), dict)
    except ValueError:
        return False


def _unwrapped(name: str, text: str, tools: Collection[str]) -> list[SettledCall]:
    """The calls that one message makes; its arguments may wrap one or several."""
    call = SettledCall(name, text.strip(), valid=True)
    if name in tools and '"name"' not in text:
        return [call]
    value = as_object(load_json(text))
    if name == PARALLEL and name not in tools:
        wrapped = [_wrapped(use, tools) for use in objects_in(value.get("tool_uses"))]
        return [inner for inner in wrapped if inner] if all(wrapped) else [call]
    inner = _wrapped(value, tools) if value.keys() in _WRAPPERS else None
    return [inner] if inner and (name not in tools or inner.name == name) else [call]


def _wrapped(value: JsonObject, tools: Collection[str]) -> SettledCall | None:
    """The call that an object spells out, if its tool is offered."""
    given = value.get("recipient_name", value.get("name"))
    name = find_tool(given, tools) if isinstance(given, str) else ""
    inner = value.get("parameters", value.get("arguments", {}))
    mended = mend_object(inner if isinstance(inner, str) else dump_json(inner))
    if name not in tools or mended.reason:
        return None
    return SettledCall(name, mended.text, valid=True)

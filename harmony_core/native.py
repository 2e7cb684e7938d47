"""Tool calls that a server sends in fields of their own, in pieces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .arguments import Arguments
from .content import dump_whole, whole_text
from .events import ToolCall
from .jsontext import Json, JsonObject

MAX_NATIVE_CALLS = 128
"""Calls in one reply; more are dropped, and the reply counts as truncated."""


@dataclass(slots=True)
class _CallParts:
    index: Json
    id: str = ""
    name: str = ""
    arguments: Arguments = field(default_factory=Arguments)


class NativeCalls:
    """Put together `delta.tool_calls`: by index, with split arguments, missing ids and repeated indexes."""

    def __init__(self, tools: Iterable[str] = ()) -> None:
        self._tools = frozenset(tools)
        self._calls: list[_CallParts] = []
        self._too_many = False

    def add(self, pieces: Json) -> None:
        """Take one delta's `tool_calls`, or the older `function_call`."""
        if isinstance(pieces, dict):
            pieces = [{"index": 0, "function": pieces}]
        for piece in pieces if isinstance(pieces, list) else ():
            function = piece.get("function") if isinstance(piece, dict) else None
            if isinstance(piece, dict) and isinstance(function, dict):
                self._add_piece(piece, function)

    def _add_piece(self, piece: JsonObject, function: JsonObject) -> None:
        name, call_id = _text(function.get("name")), _text(piece.get("id"))
        call = self._call_of(piece.get("index"), call_id, name)
        if call is None:
            return
        call.id = call.id or call_id
        call.name = call.name or name
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            call.arguments.append(arguments)
        elif arguments is not None:  # an object, as in Ollama's own API
            call.arguments.append(dump_whole(arguments))

    def _call_of(self, index: Json, call_id: str, name: str) -> _CallParts | None:
        """The call that a piece belongs to: the last one of its index, unless it brings a new id and a name.

        Some servers give every call the index 0, and some give none at all.
        """
        same = [call for call in self._calls if call.index == index]
        last = same[-1] if same else None
        starts = bool(name and last and last.name and (call_id != last.id if call_id else index is None))
        if last and not starts:
            return last
        if index is None and not name and self._calls:
            return self._calls[-1]
        if len(self._calls) >= MAX_NATIVE_CALLS:
            self._too_many = True
            return None
        self._calls.append(_CallParts(index))
        return self._calls[-1]

    def close(self, cut: bool, call_prefix: str) -> tuple[list[ToolCall], bool]:
        """Return the calls, and whether one was dropped because it came incomplete.

        `cut`: the reply did not end by itself. A call without an id of its own gets `{call_prefix}_{n}`.
        """
        calls: list[ToolCall] = []
        dropped, ids = self._too_many, set[str]()
        for number, parts in enumerate(self._calls, 1):
            settled = parts.arguments.settle("cut" if cut else "message")
            if settled is None:
                dropped = True
                continue
            arguments, valid = settled
            name = parts.name if parts.name in self._tools else parts.name.removeprefix("functions.")
            call_id = parts.id if parts.id and parts.id not in ids else f"{call_prefix}_{number}"
            ids.add(call_id)
            calls.append(ToolCall(call_id, name, whole_text(arguments), valid, name in self._tools))
        self._calls.clear()
        return calls, dropped


def _text(value: Json) -> str:
    return whole_text(value) if isinstance(value, str) else ""

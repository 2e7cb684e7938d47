"""Tool calls that a server sends in fields of their own, in pieces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .arguments import Arguments
from .events import ToolCall
from .jsontext import Json, JsonObject, dump_json, objects_in, sent_text


def openai_call(call_id: str, name: str, arguments: str) -> JsonObject:
    """A tool call in the form that OpenAI's API gives it."""
    function: Json = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


@dataclass(slots=True)
class _NativeCall:
    id: str
    name: str
    arguments: Arguments = field(default_factory=Arguments)


class NativeCalls:
    """Put `delta.tool_calls` together: split arguments, missing ids, repeated indexes."""

    def __init__(self, tools: Iterable[str] = ()) -> None:
        self._tools = frozenset(tools)
        self._calls: list[_NativeCall] = []
        self._latest: dict[int | None, _NativeCall] = {}  # of each index; of all: None

    def add(self, pieces: Json) -> None:
        """Take one delta's `tool_calls`."""
        for piece in objects_in(pieces):
            function = piece.get("function")
            if not isinstance(function, dict):
                continue
            index, name = piece.get("index"), sent_text(function.get("name"))
            at = index if isinstance(index, int) else None
            call = self._call_at(at, sent_text(piece.get("id")), name)
            given = function.get("arguments")
            if isinstance(given, dict):  # as in Ollama's own API
                given = _written(given)
            call.arguments.append(sent_text(given))

    def _call_at(self, index: int | None, call_id: str, name: str) -> _NativeCall:
        """The call that a piece belongs to: the latest of its index, if it has one.

        Another name begins another one if a new id comes with it (Ollama numbers all
        calls 0), or neither id nor index. An id or a name may also come late.
        """
        call = self._latest.get(index)
        named = call and call.name and name
        is_new = call and call.id and call.id != call_id if call_id else index is None
        if not call or (named and is_new):
            call = _NativeCall(call_id, name)
            self._calls.append(call)
        call.id, call.name = call.id or call_id, call.name or name
        self._latest[None] = self._latest[index] = call
        return call

    def close(self, cut: bool, call_prefix: str) -> tuple[list[ToolCall], bool]:
        """Return the calls, and whether one was dropped because it came incomplete.

        `cut`: the reply did not end by itself. A call without an id gets one.
        """
        calls: list[ToolCall] = []
        for number, call in enumerate(self._calls, 1):
            if settled := call.arguments.settle("cut" if cut else "message"):
                call_id = call.id or f"{call_prefix}_{number}"
                name = call.name.removeprefix("functions.")
                calls.append(ToolCall(call_id, name, *settled, name in self._tools))
        return calls, len(calls) < len(self._calls)


def _written(arguments: Json) -> str:
    try:
        return dump_json(arguments)
    except RecursionError:  # it could be read, but writing needs more of the stack
        return "{"

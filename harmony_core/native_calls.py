"""Tool calls that a server sends as fields, in pieces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from .arguments import Arguments, Closed
from .events import AnswerDelta, Event, ToolCall
from .jsontext import Json, JsonObject, dump_json, objects_in, sent_text
from .markers import CONSTRAIN
from .recipients import READERS, find_tool


def openai_call(call_id: str, name: str, arguments: str) -> JsonObject:
    """A tool call as OpenAI's API writes it."""
    function: Json = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


class CallIds:
    """Gives every call of a reply a different id, whatever the server sent.

    With a prefix the ids are `{prefix}_1`, `{prefix}_2` and so on. A new prefix for each
    reply makes them unique in a conversation. Without one the server's ids are kept.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._given: set[str] = set()
        self._number = 0

    def give(self, call: ToolCall) -> ToolCall:
        """Return the call with the id that it keeps."""
        self._number += 1
        call_id = f"{self._prefix}_{self._number}" if self._prefix else call.id
        while call_id in self._given:
            self._number += 1
            call_id = f"{call.id}_{self._number}"
        self._given.add(call_id)
        return replace(call, id=call_id)


@dataclass(slots=True)
class _NativeCall:
    id: str
    name: str
    is_answer: bool  # it is addressed to the reader: its arguments are the answer
    arguments: Arguments = field(default_factory=Arguments)


class NativeCalls:
    """Put `delta.tool_calls` together: split arguments, missing ids, repeated indexes."""

    def __init__(self, tools: Iterable[str] = ()) -> None:
        self._tools = tuple(sorted(tools, key=len, reverse=True))  # for find_tool
        self._calls: list[_NativeCall] = []
        self._latest: dict[int | None, _NativeCall] = {}  # by index; of all: None

    def add(self, pieces: Json) -> list[Event]:
        """Take one delta's `tool_calls`; returns the part that belongs to the answer."""
        answer: list[Event] = []
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
            text = sent_text(given)
            if not call.is_answer:
                call.arguments.append(text)
            elif text:
                answer.append(AnswerDelta(text))
        return answer

    def _call_at(self, index: int | None, call_id: str, name: str) -> _NativeCall:
        """The call that a piece belongs to: the latest of its index, if it has one.

        A piece with a different name starts a new call if it also has a new id (Ollama
        numbers all calls 0), or has neither id nor index. An id or a name may come late.
        """
        call = self._latest.get(index)
        named = call and call.name and name
        is_new = call and call.id and call.id != call_id if call_id else index is None
        if not call or (named and is_new):
            call = _NativeCall(call_id, name, self._means_reader(name))
            self._calls.append(call)
        call.id, call.name = call.id or call_id, call.name or name
        self._latest[None] = self._latest[index] = call
        return call

    def close(self, cut: bool, call_prefix: str) -> tuple[list[ToolCall], bool]:
        """Return the calls, and whether an incomplete one was dropped.

        `cut`: the reply did not end by itself. A call without an id gets one.
        """
        calls: list[ToolCall] = []
        sent = [call for call in self._calls if not call.is_answer]
        dropped = False
        for number, call in enumerate(sent, 1):
            name = find_tool(call.name, self._tools)
            closed: Closed = "cut" if cut else "message"
            settled = call.arguments.settle(name, self._tools, closed)
            dropped |= not settled
            call_id = call.id or f"{call_prefix}_{number}"
            calls += (
                ToolCall(call_id, *one, declared=one.name in self._tools)
                for one in settled
            )
        return calls, dropped

    def _means_reader(self, name: str) -> bool:
        tool = find_tool(name, self._tools)
        is_reader = name.startswith(CONSTRAIN) or tool in READERS
        return is_reader and tool not in self._tools


def _written(arguments: Json) -> str:
    try:
        return dump_json(arguments)
    except RecursionError:  # it could be read, but writing needs more stack
        return "["  # not an object, and it cannot be mended into one

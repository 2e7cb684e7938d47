"""One message of the past, read from whatever shape a host replays it in.

Nothing here raises: a value of a type that does not fit is written as JSON where it may hold something (a
tool's result), and ignored where it cannot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .jsontext import Json, JsonObject, dump_json
from .thoughts import take_apart

UNKNOWN_TOOL = "unknown_tool"
ATTACHMENT_ONLY = "[attachment: this model reads text only]"

_ROLES = {
    "system": "system",
    "developer": "developer",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
_THOUGHT_FIELDS = ("thinking", "reasoning_content", "reasoning", "reasoning_details")
_THOUGHT_PART = re.compile("thinking|reasoning")
_ATTACHMENT_PART = re.compile("image|audio|video|file|document|media")


@dataclass(frozen=True, slots=True)
class PastCall:
    """A tool call as it was replayed: `id` may be empty, `arguments` may be anything."""

    id: str
    name: str
    arguments: Json = None


@dataclass(frozen=True, slots=True)
class PastMessage:
    """A message with one text and one thought; `call_id` and `name` say whose result a tool message is."""

    role: str
    text: str
    thought: str = ""
    calls: tuple[PastCall, ...] = ()
    call_id: str = ""
    name: str = ""


def read_message(message: JsonObject) -> PastMessage:
    """Read a message dict; roles that nobody knows are the user's, so that their text is not lost."""
    role = message.get("role")
    role = _ROLES.get(role.strip().lower(), "user") if isinstance(role, str) else "user"
    content = message.get("content")
    if role == "assistant":
        return _read_assistant(message, content)
    text = _text_of(content)
    if not text and any(map(_is_attachment, _parts_of(content))):
        text = ATTACHMENT_ONLY
    if role != "tool":
        return PastMessage(role, text)
    call_id = _identifier(message.get("tool_call_id"))
    return PastMessage(role, text, call_id=call_id, name=_tool_name(message.get("name")))


def json_or_nothing(value: Json) -> str:
    """The value as JSON; "" where it has none, because it is nested too deeply or is no JSON at all."""
    try:
        return dump_json(value)
    except (TypeError, ValueError, RecursionError):
        return ""


def _read_assistant(message: JsonObject, content: Json) -> PastMessage:
    text, thoughts, spoken = take_apart(_text_of(content) or _plain(message.get("refusal")))
    given = [_thought_of(message.get(field)) for field in _THOUGHT_FIELDS]
    given += [_thought_of(part) for part in _parts_of(content) if _is_thought(part)]
    distinct = dict.fromkeys(thought.strip() for thought in (*given, *thoughts))  # hosts send one twice
    calls = _read_calls(message) or [PastCall(call.id, call.name, call.arguments) for call in spoken]
    answer = text if text.strip() else ""
    return PastMessage("assistant", answer, "\n\n".join(filter(None, distinct)), tuple(calls))


def _text_of(content: Json) -> str:
    """Join text parts as the server does; where an attachment stood between two, a line break stays."""
    parts = _parts_of(content)
    if not parts:
        return "" if content == [] else _plain(content)
    pieces: list[str] = []
    gap = False
    for part in parts:
        piece = _part_text(part)
        if piece:
            pieces += ["\n", piece] if gap and pieces else [piece]
        gap = piece is None
    return "".join(pieces)


def _parts_of(content: Json) -> list[str | JsonObject]:
    """The parts of list content; none where the list is something else, such as a tool's JSON result."""
    if not isinstance(content, list):
        return []
    parts = [part for part in content if isinstance(part, str | dict)]
    typed = all(isinstance(part, str) or isinstance(part.get("type"), str) for part in parts)
    return parts if typed and len(parts) == len(content) else []


def _part_text(part: str | JsonObject) -> str | None:
    """The text of a part, None for an attachment or a thought."""
    if isinstance(part, str):
        return part
    if _is_thought(part):
        return None
    for field in ("text", "refusal"):
        if field in part:
            return _plain(part[field])
    return None if _is_attachment(part) else json_or_nothing(part)


def _is_thought(part: str | JsonObject) -> bool:
    return isinstance(part, dict) and bool(_THOUGHT_PART.search(str(part["type"])))


def _is_attachment(part: str | JsonObject) -> bool:
    return isinstance(part, dict) and bool(_ATTACHMENT_PART.search(str(part["type"])))


def _thought_of(value: Json) -> str:
    """The text of a reasoning field: a string, or parts, which are the pieces of one stream."""
    pieces = value if isinstance(value, list) else [value]
    return "".join(map(_thought_piece, pieces))


def _thought_piece(piece: Json) -> str:
    if not isinstance(piece, dict):
        return piece if isinstance(piece, str) else ""
    texts = (piece.get(field) for field in ("text", "thinking", "reasoning", "summary"))
    return next((text for text in texts if isinstance(text, str)), "")


def _read_calls(message: JsonObject) -> list[PastCall]:
    given = message.get("tool_calls")
    calls = [_read_call(call) for call in given if isinstance(call, dict)] if isinstance(given, list) else []
    legacy = message.get("function_call")
    return calls or ([_read_call(legacy)] if isinstance(legacy, dict) else [])


def _read_call(call: JsonObject) -> PastCall:
    function = call.get("function")
    function = function if isinstance(function, dict) else call
    name = _tool_name(function.get("name")) or UNKNOWN_TOOL
    return PastCall(_identifier(call.get("id")), name, function.get("arguments"))


def _identifier(value: Json) -> str:
    return value if isinstance(value, str) else json_or_nothing(value) if isinstance(value, int) else ""


def _tool_name(value: Json) -> str:
    """The bare name: the template itself writes `functions.` in front."""
    return re.sub(r"^(?:functions\.)+", "", value.strip()) if isinstance(value, str) else ""


def _plain(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json_or_nothing(value)

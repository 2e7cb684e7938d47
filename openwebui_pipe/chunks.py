"""Events of a reply as the dict chunks that Open WebUI takes (openwebui.md, "Talking")."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable

from harmony_core.events import AnswerDelta, Event, ReasoningDelta, Reply, ToolCall, Usage
from harmony_core.jsontext import Json, JsonObject

# The finish reasons that OpenAI's clients know; how a reply broke off is told in an error instead.
HONEST_FINISHES = ("stop", "length", "tool_calls", "content_filter")

DeltaKind = type[ReasoningDelta] | type[AnswerDelta]


def merge_deltas(events: Iterable[Event]) -> list[Event]:
    """The same events with neighbouring pieces of text joined."""
    merged: list[Event] = []
    kind: DeltaKind | None = None
    pieces: list[str] = []
    for event in events:
        if isinstance(event, ReasoningDelta | AnswerDelta):
            if kind is not type(event):
                _close_delta(merged, kind, pieces)
                kind = type(event)
            pieces.append(event.text)
        else:
            _close_delta(merged, kind, pieces)
            kind = None
            merged.append(event)
    _close_delta(merged, kind, pieces)
    return merged


def _close_delta(merged: list[Event], kind: DeltaKind | None, pieces: list[str]) -> None:
    if kind is not None and pieces:
        merged.append(kind("".join(pieces)))
        pieces.clear()


class ChunkMaker:
    """Makes the chunks of one reply, which share an id."""

    def __init__(self, model: str, show_thinking: bool) -> None:
        self._show_thinking = show_thinking
        self._head: JsonObject = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }

    def answer(self, event: AnswerDelta) -> JsonObject:
        """A piece of the answer."""
        return self._chunk({"content": event.text})

    def thinking(self, event: ReasoningDelta) -> list[JsonObject]:
        """A piece of the thinking; nothing where it is hidden."""
        return [self._chunk({"reasoning_content": event.text})] if self._show_thinking else []

    def calls(self, reply: Reply) -> list[JsonObject]:
        """The tool calls that may be run, behind the thinking that led to them.

        Open WebUI from 0.10 on keeps `reasoning_details` and gives them back with the tool's result; older
        versions keep what they show. It shows them too, so hidden thinking is not handed over.
        """
        calls = [call for call in reply.tool_calls if call.executable]
        if not calls:
            return []
        chunks = [self._chunk({"tool_calls": [*map(native_call, range(len(calls)), calls)]})]
        if reply.reasoning and self._show_thinking:
            details: JsonObject = {"type": "reasoning.text", "text": reply.reasoning, "index": 0}
            chunks.insert(0, self._chunk({"reasoning_details": [details]}))
        return chunks

    def finish(self, reply: Reply) -> list[JsonObject]:
        """The true finish reason, where there is one, and what the reply cost."""
        chunks: list[JsonObject] = []
        if reply.finish_reason in HONEST_FINISHES:
            chunks.append(self._chunk({}, reply.finish_reason))
        if reply.usage:
            chunks.append({**self._head, "choices": [], "usage": usage_object(reply.usage)})
        return chunks

    def whole(self, reply: Reply) -> JsonObject:
        """The reply as one chat completion, for a request that does not stream."""
        message: JsonObject = {"role": "assistant", "content": reply.answer}
        if reply.reasoning and self._show_thinking:
            message["reasoning_content"] = reply.reasoning
        calls = [call for call in reply.tool_calls if call.executable]
        if calls:
            message["tool_calls"] = [*map(native_call, range(len(calls)), calls)]
        reason = reply.finish_reason if reply.finish_reason in HONEST_FINISHES else "stop"
        choice: JsonObject = {"index": 0, "message": message, "finish_reason": reason}
        usage: JsonObject = {"usage": usage_object(reply.usage)} if reply.usage else {}
        return {**self._head, "object": "chat.completion", "choices": [choice], **usage}

    def _chunk(self, delta: JsonObject, finish_reason: str | None = None) -> JsonObject:
        choice: JsonObject = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return {**self._head, "choices": [choice]}


def native_call(index: int, call: ToolCall) -> Json:
    """A tool call in OpenAI's form."""
    function: JsonObject = {"name": call.name, "arguments": call.arguments}
    return {"index": index, "id": call.id, "type": "function", "function": function}


def usage_object(usage: Usage) -> JsonObject:
    """Token counts in OpenAI's form."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def error_chunk(text: str) -> JsonObject:
    """An error that both old and new versions show below the text that came before (openwebui.md, rule 6)."""
    return {"error": {"message": text, "detail": text}}

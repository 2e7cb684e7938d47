"""Events of a reply as the dict chunks that Open WebUI takes (openwebui.md, "Talking")."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from itertools import groupby

from harmony_core.events import AnswerDelta, Event, ReasoningDelta, Reply, Usage
from harmony_core.jsontext import Json, JsonObject
from harmony_core.native_calls import openai_call

# What OpenAI's clients know; how else a reply ended is told in an error.
HONEST_FINISHES = ("stop", "length", "tool_calls", "content_filter")


def merge_deltas(events: Iterable[Event]) -> list[Event]:
    """The same events with neighbouring pieces of text joined."""
    merged: list[Event] = []
    for kind, group in groupby(events, key=type):
        run = list(group)
        if kind is ReasoningDelta or kind is AnswerDelta:
            merged.append(kind("".join(e.text for e in run if isinstance(e, kind))))
        else:
            merged += run
    return merged


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
        return [self._chunk(piece) for piece in self._thought(event.text)]

    def ending(self, reply: Reply) -> list[JsonObject]:
        """Tool calls, the true finish reason where there is one, and token counts.

        Open WebUI from 0.10 on gives `reasoning_details` back with a tool's result;
        older versions give back what they show. It shows them too, so hidden thinking
        is not handed over.
        """
        chunks: list[JsonObject] = []
        if calls := native_calls(reply):
            if reply.reasoning and self._show_thinking:
                thought: Json = {"type": "reasoning.text", "text": reply.reasoning}
                chunks.append(self._chunk({"reasoning_details": [thought]}))
            chunks.append(self._chunk({"tool_calls": calls}))
        if reply.finish_reason in HONEST_FINISHES:
            chunks.append(self._chunk({}, reply.finish_reason))
        if reply.usage:
            chunks.append({**self._head, "choices": [], **usage_of(reply.usage)})
        return chunks

    def whole(self, reply: Reply) -> JsonObject:
        """The reply as one chat completion, for a request that does not stream."""
        message: JsonObject = {"role": "assistant", "content": reply.answer}
        for part in self._thought(reply.reasoning):
            message |= part
        if calls := native_calls(reply):
            message["tool_calls"] = calls
        honest = reply.finish_reason in HONEST_FINISHES
        reason = reply.finish_reason if honest else "stop"
        choice: Json = {"index": 0, "message": message, "finish_reason": reason}
        body: JsonObject = {"object": "chat.completion", "choices": [choice]}
        return self._head | body | (usage_of(reply.usage) if reply.usage else {})

    def _thought(self, text: str) -> list[JsonObject]:
        return [{"reasoning_content": text}] if text and self._show_thinking else []

    def _chunk(self, delta: JsonObject, finish_reason: str | None = None) -> JsonObject:
        choice: Json = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return {**self._head, "choices": [choice]}


def native_calls(reply: Reply) -> list[Json]:
    """The tool calls that may be run, in OpenAI's form."""
    calls: list[Json] = []
    for call in reply.tool_calls:
        if call.executable:
            sent = openai_call(call.id, call.name, call.arguments)
            calls.append({"index": len(calls), **sent})
    return calls


def usage_of(usage: Usage) -> JsonObject:
    """Token counts in OpenAI's form."""
    counts: JsonObject = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
    return {"usage": counts}


def error_chunk(text: str) -> JsonObject:
    """An error that every version shows below what came before (openwebui.md, rule 6)."""
    return {"error": {"message": text, "detail": text}}

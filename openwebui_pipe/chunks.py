"""Events of a reply as the dict chunks that Open WebUI takes (openwebui.md, "Talking")."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from harmony_core.events import (
    PARAGRAPH,
    AnswerDelta,
    Event,
    FurtherThought,
    ReasoningDelta,
    Reply,
    ToolCall,
    Usage,
)
from harmony_core.jsontext import Json, JsonObject, dump_json
from harmony_core.native_calls import openai_call
from openwebui_pipe.host_manner import HostManner
from openwebui_pipe.tag_breaker import FOLD_TAGS, THINKING_TAGS, TagBreaker

# The finish reasons that OpenAI's clients know. An error tells of any other.
OPENAI_FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter")


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


@dataclass(frozen=True, slots=True)
class Pace:
    """When text came, in seconds after the request."""

    first: float
    last: float

    def of(self, usage: Usage) -> JsonObject:
        """The speed of a reply, which Open WebUI shows beside its token counts."""
        figures: JsonObject = {"time_to_first_token": round(self.first, 2)}
        if self.last > self.first:
            rate = (usage.completion_tokens - 1) / (self.last - self.first)
            figures["tokens_per_second"] = round(rate, 1)
        return figures


class ChunkMaker:
    """Makes the chunks of one reply, which share an id."""

    def __init__(
        self, model: str, show_thinking: bool, manner: HostManner | None = None
    ) -> None:
        manner = manner or HostManner()
        self._show_thinking = show_thinking
        self._in_answer = TagBreaker(THINKING_TAGS) if manner.reads_tags else None
        self._in_thinking = TagBreaker(FOLD_TAGS) if manner.tags_end_folds else None
        self.logprobs: list[Json] = []  # those of the answer so far
        self._told = 0  # how many of them were in chunks
        self._thought_last = False  # whether the last piece was thinking
        self._head: JsonObject = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }

    def answer(self, event: AnswerDelta) -> list[JsonObject]:
        """A piece of the answer."""
        text = self._in_answer.feed(event.text) if self._in_answer else event.text
        self._thought_last = False
        return [*self._rest_of_thinking(), *self._said(text)]

    def thinking(self, event: ReasoningDelta) -> list[JsonObject]:
        """A piece of the thinking; no chunks if it is hidden."""
        if not self._show_thinking:
            return []
        apart = isinstance(event, FurtherThought) and self._thought_last
        text = PARAGRAPH + event.text if apart else event.text
        text = self._in_thinking.feed(text) if self._in_thinking else text
        self._thought_last = True
        chunks = [*self._rest_of_answer(), *map(self._chunk, self._thought(text))]
        if not self._in_thinking:
            self._in_answer = None  # from now on the host reads no tags
        return chunks

    def ending(
        self, reply: Reply, calls: list[ToolCall], pace: Pace | None = None
    ) -> list[JsonObject]:
        """Tool calls, the true finish reason where there is one, and token counts.

        From 0.10 on, Open WebUI sends `reasoning_details` back with a tool's result; older
        versions send back the thinking that they show. It also shows these details, so
        hidden thinking is not sent.
        """
        chunks = [*self._rest_of_thinking(), *self._rest_of_answer()]
        if calls:
            if reply.reasoning and self._show_thinking:
                thought: Json = {"type": "reasoning.text", "text": reply.reasoning}
                chunks.append(self._chunk({"reasoning_details": [thought]}))
            chunks.append(self._chunk({"tool_calls": native_calls(calls)}))
        if reply.finish_reason in OPENAI_FINISH_REASONS:
            chunks.append(self._chunk({}, finish_of(reply, calls)))
        if reply.usage:
            figures = usage_of(reply.usage, pace)
            chunks.append({**self._head, "choices": [], **figures})
        return chunks

    def whole(
        self, reply: Reply, calls: list[ToolCall], pace: Pace | None = None
    ) -> JsonObject:
        """The reply as one chat completion, for a request that does not stream."""
        message: JsonObject = {"role": "assistant", "content": reply.answer}
        if self._show_thinking:
            for part in self._thought(reply.reasoning):
                message |= part
        if calls:
            message["tool_calls"] = native_calls(calls)
        known = reply.finish_reason in OPENAI_FINISH_REASONS
        reason = finish_of(reply, calls) if known else "stop"
        choice: JsonObject = {"index": 0, "message": message, "finish_reason": reason}
        if self.logprobs:
            choice["logprobs"] = {"content": self.logprobs}
        figures = usage_of(reply.usage, pace) if reply.usage else {}
        return self._head | {"object": "chat.completion", "choices": [choice]} | figures

    def _said(self, text: str) -> list[JsonObject]:
        return [self._chunk({"content": text})] if text else []

    def _thought(self, text: str) -> list[JsonObject]:
        return [{"reasoning_content": text}] if text else []

    def _rest_of_answer(self) -> list[JsonObject]:
        return self._said(self._in_answer.close()) if self._in_answer else []

    def _rest_of_thinking(self) -> list[JsonObject]:
        rest = self._in_thinking.close() if self._in_thinking else ""
        return [self._chunk(piece) for piece in self._thought(rest)]

    def _chunk(self, delta: JsonObject, reason: str | None = None) -> JsonObject:
        choice: JsonObject = {"index": 0, "delta": delta, "finish_reason": reason}
        if self.logprobs[self._told :] and ("content" in delta or reason):
            choice["logprobs"] = {"content": self.logprobs[self._told :]}
            self._told = len(self.logprobs)
        return {**self._head, "choices": [choice]}


def finish_of(reply: Reply, calls: list[ToolCall]) -> str:
    """The finish reason. Calls that only the host can answer count as tool calls, too."""
    called = calls and reply.finish_reason == "stop"
    return "tool_calls" if called else reply.finish_reason


def native_calls(calls: Iterable[ToolCall]) -> list[Json]:
    """Tool calls in OpenAI's form.

    Arguments that are not JSON become a JSON string. The host then tells the model that
    they must be an object.
    """
    sent: list[Json] = []
    for index, call in enumerate(calls):
        arguments = call.arguments if call.valid else dump_json(call.arguments)
        sent.append({"index": index, **openai_call(call.id, call.name, arguments)})
    return sent


def usage_of(usage: Usage, pace: Pace | None) -> JsonObject:
    """Token counts in OpenAI's form, and how fast they came."""
    counts: JsonObject = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
    return {"usage": counts | (pace.of(usage) if pace else {})}


def error_chunk(text: str) -> JsonObject:
    """An error that every version shows below what came before (openwebui.md, rule 6)."""
    return {"error": {"message": text, "detail": text}}

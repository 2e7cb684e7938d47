"""A reply on its way to Dify: events in, chunks out, and an error if the reply is not what was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator

from dify_plugin.entities.model.llm import LLMResultChunk, LLMResultChunkDelta, LLMUsage
from dify_plugin.entities.model.message import AssistantPromptMessage

from harmony_core.client import Client, ServerError
from harmony_core.events import (
    AnswerDelta,
    Event,
    Finish,
    Progress,
    ReasoningDelta,
    ToolCall,
    Usage,
)
from harmony_core.mender import mend_object
from harmony_core.problems import Language, Problem
from harmony_core.render import Renderer

from .convert import Plan, dify_call, dify_error
from .json_reply import json_of
from .loaded_model import open_reply
from .phrases import UserError, plugin_problem
from .thoughts import MAX_CHARACTERS, THOUGHTS, ThoughtMemory
from .tokens import prompt_tokens, reply_tokens

MAX_CHUNK = 256 * 1024
"""Characters of text in one chunk. Dify's daemon takes lines of 5 MiB, where one may be 12 bytes."""

CountUsage = Callable[[int, int], LLMUsage]
Chunks = Generator[LLMResultChunk, None, None]


def stream_reply(
    model: str,
    client: Client,
    plan: Plan,
    count_usage: CountUsage,
    thoughts: ThoughtMemory = THOUGHTS,
) -> Chunks:
    """Send the request with the first chunk and yield the reply as it comes.

    Raises one of Dify's own InvokeErrors, at the start as in the middle: the SDK maps no errors while a
    generator is consumed (dify.md, Replying). What was yielded before stays.
    """
    reply = _Reply(model, plan, thoughts)
    try:
        with open_reply(client, plan.request, model) as events:
            # A sign of life, for hosts that limit the wait for the first token.
            yield reply.chunk("")
            for event in events:
                yield from reply.feed(event)
                # Lets other greenlets run: a fast server never makes this one wait.
                time.sleep(0)
                if reply.is_full:
                    break
            problem = None if reply.is_full else events.problem
        yield from reply.end(count_usage)
    except (ServerError, UserError) as error:
        yield from reply.close()
        # Dify stores tracebacks; a chained exception would put the request's details into them.
        raise dify_error(error.problem, plan.language) from None
    if problem is not None:
        raise dify_error(problem, plan.language)


def whole_reply(chunks: Chunks, language: Language) -> Chunks:
    """Put the reply into one chunk: callers that do not stream read only the first one."""
    parts = list(chunks)
    whole = parts[-1]
    message = whole.delta.message
    message.content = "".join(part.delta.message.get_text_content() for part in parts)
    if len(message.content) > MAX_CHUNK:
        raise dify_error(plugin_problem("reply_too_long"), language)
    message.tool_calls = [
        call for part in parts for call in part.delta.message.tool_calls
    ]
    whole.delta.index = 0
    yield whole


class _Reply:
    """One reply: what has come so far, and its chunks."""

    def __init__(self, model: str, plan: Plan, thoughts: ThoughtMemory) -> None:
        self._model = model
        self._plan = plan
        self._thoughts = thoughts
        self._renderer = Renderer(plan.thinking)
        self._index = 0
        self._thought: list[str] = []  # since the last tool call
        self._json: list[str] = []
        self._answer_deltas = 0
        # Whether the answer has all the tokens that Dify asked for, and would go on.
        self.is_full = False
        # Bytes of the thinking, the answer and the calls. They serve if the server does not count tokens.
        self._sizes = [0, 0, 0]
        self._calls: list[ToolCall] = []
        self._usage: Usage | None = None
        self._finish = Finish("stop")

    def feed(self, event: Event) -> Iterator[LLMResultChunk]:
        """The chunks of one event. The last event makes none: `end` decides how the reply ends."""
        match event:
            case ReasoningDelta(text):
                self._think(text)
                yield from self._texts(event)
            case AnswerDelta():
                yield from self._answer(event)
            case ToolCall():
                yield from self._texts(event)
                yield from self._call(event)
            case Progress():
                yield self.chunk("")
            case Usage():
                self._usage = event
            case Finish():
                self._finish = event

    def close(self) -> Iterator[LLMResultChunk]:
        """Close the thinking, whatever happened."""
        for piece in self._renderer.close():
            yield self.chunk(piece)

    def end(self, count_usage: CountUsage) -> Iterator[LLMResultChunk]:
        """The last chunks of a whole reply; raises UserError if it is not what was asked for."""
        yield from self.close()
        answer = "".join(self._json)
        if answer.strip():
            truncated = self._finish.truncated
            for piece in _pieces(
                json_of(answer, self._plan.schema, truncated=truncated)
            ):
                yield self.chunk(piece)
        yield self._last(count_usage)
        if not answer and (lost := self._lost_call()):
            raise UserError(lost)

    def chunk(self, text: str) -> LLMResultChunk:
        return self._chunk(AssistantPromptMessage(content=text))

    def _texts(self, event: Event) -> Iterator[LLMResultChunk]:
        for text in self._renderer.feed(event):
            for piece in _pieces(text):
                yield self.chunk(piece)

    def _think(self, text: str) -> None:
        self._sizes[0] += _size(text)
        if self._sizes[0] <= MAX_CHARACTERS:
            self._thought.append(text)

    def _answer(self, answer: AnswerDelta) -> Iterator[LLMResultChunk]:
        # A delta is a token.
        self.is_full = self._answer_deltas == self._plan.answer_limit
        if self.is_full:
            return
        self._answer_deltas += 1
        self._sizes[1] += _size(answer.text)
        if self._plan.wants_json:
            self._json.append(answer.text)
        else:
            yield from self._texts(answer)

    def _call(self, call: ToolCall) -> Iterator[LLMResultChunk]:
        self._calls.append(call)
        self._sizes[2] += _size(call.name + call.arguments)
        if not call.executable:
            return
        if len(call.name + call.arguments) > MAX_CHUNK:
            raise UserError(plugin_problem("call_too_long", name=call.name[:100]))
        self._thoughts.remember(call.id, "".join(self._thought))
        self._thought.clear()
        yield self._chunk(
            AssistantPromptMessage(content="", tool_calls=[dify_call(call)])
        )

    def _lost_call(self) -> Problem | None:
        """Why no call could be passed on; None if one was, or if the model made none."""
        # The core dropped a call at the end.
        if self._finish.truncated and self._finish.reason == "stop":
            return plugin_problem("call_cut")
        if not self._calls or any(call.executable for call in self._calls):
            return None
        lost = self._calls[0]
        if lost.declared:
            reason = mend_object(lost.arguments, closed=True).reason
            return plugin_problem("call_broken", name=lost.name[:100], reason=reason)
        return plugin_problem("call_lost", name=lost.name[:100])

    def _last(self, count_usage: CountUsage) -> LLMResultChunk:
        last = self.chunk("")
        usage = self._usage or Usage(
            prompt_tokens(self._plan.request), reply_tokens(self._sizes)
        )
        last.delta.usage = count_usage(usage.prompt_tokens, usage.completion_tokens)
        last.delta.finish_reason = (
            "length" if self.is_full else _finish_reason(self._finish)
        )
        return last

    def _chunk(self, message: AssistantPromptMessage) -> LLMResultChunk:
        delta = LLMResultChunkDelta(index=self._index, message=message)
        self._index += 1
        return LLMResultChunk(model=self._model, delta=delta)


def _finish_reason(finish: Finish) -> str:
    """One of the three reasons that Dify knows: those of failures were raised as errors before."""
    return finish.reason if finish.reason in ("length", "tool_calls") else "stop"


def _pieces(text: str) -> Iterator[str]:
    """Split a text into pieces that Dify can take; nearly always there is one."""
    for start in range(0, len(text), MAX_CHUNK):
        yield text[start : start + MAX_CHUNK]


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))

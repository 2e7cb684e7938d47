"""The answer to a chat request: raw bytes of whatever the server sent, turned into events."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final

from .answer import AnswerFilter
from .content import PairJoiner, ReplyText, dump_whole, whole_text
from .events import Event, Finish, FinishReason, Progress, ReasoningDelta, Usage
from .jsontext import Json, JsonObject, load_json
from .native import NativeCalls
from .sse import SseData, SseDecoder, SseError, SseField

MAX_BODY: Final = 16 * 1024 * 1024
"""Bytes of an answer that is no stream; what is longer is not read to its end."""

MAX_DETAIL: Final = 2000
"""Characters of a server's own words that are kept for `Finish.detail`."""

# An event stream begins with a field name or a colon; JSON and HTML begin with one of these.
_BODY_STARTS: Final = (b"{", b"[", b"<")
_BLANKS: Final = b"\xef\xbb\xbf \t\r\n"

_KEEPALIVE: Final = re.compile(r"\s*keepalive (\d{1,12})/(\d{1,12})\s*")
_NOT_IN_IDS: Final = re.compile(r"[^A-Za-z0-9_-]")
_JSON: Final = json.JSONDecoder()

# Servers' own words for an end; any other word is an ordinary `stop`.
_REASONS: Final[dict[str, FinishReason]] = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "error": "error",
    "abort": "interrupted",
}


class ChatStream:
    """Take the body of a reply as bytes cut anywhere and return events; never raises.

    Understands the event streams of mlx_lm.server, LM Studio, llama.cpp, Ollama and vLLM, and a whole JSON
    completion. Fields win over markup: once `reasoning` or `tool_calls` came, the text is not searched for
    markers. Errors, HTML and cut streams are a `Finish` of their own kind. The last event is the only
    `Finish`; it waits for the usage, which servers send behind the finish reason.

    `finished` tells that nothing more will come and the connection should be closed, which ends the
    generation where a stop word did. `deltas` counts those that carried text or thinking.
    """

    def __init__(self, tools: Iterable[str] = (), stop: Iterable[str] = (), json_reply: bool = False) -> None:
        self.finished = False
        self.fingerprint = ""
        self.server_model = ""
        self.deltas = 0
        names, words = tuple(tools), tuple(stop)
        self._sse = SseDecoder()
        self._body: bytearray | None = None  # the answer, if it is no stream
        self._junk = bytearray()  # what came before the first event or comment
        self._started = False
        self._alive = False  # whether an event or a comment came
        self._named = False
        self._unread = ""  # the last data that is no JSON: often an error in plain words
        self._text = ReplyText(names)
        self._thinking = PairJoiner()
        self._native = NativeCalls(names)
        self._filter = AnswerFilter(words, json_reply) if words or json_reply else None
        self._call_prefix = "call"
        self._ending: Finish | None = None
        self._usage: Usage | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes and return what they brought."""
        if self.finished:
            return []
        if not self._started:
            data = data.lstrip(_BLANKS)
            if not data:
                return []
            self._started = True
            if data.startswith(_BODY_STARTS):
                self._body = bytearray()
        if self._body is not None:
            self._body += data[: MAX_BODY - len(self._body)]
            return []
        fields = self._sse.feed(data)
        if not self._alive:
            self._junk += data[: MAX_DETAIL - len(self._junk)]
            self._alive = bool(fields)
        return self._take_fields(fields)

    def close(self) -> list[Event]:
        """End the reply: nothing is held back any longer, and its `Finish` comes if it has not come yet."""
        if self.finished:
            return []
        if self._body is not None:
            events = self._take_body(bytes(self._body))
        else:
            events = self._take_fields(self._sse.close())
        if self.finished:
            return events
        if self._ending is None:
            events += self._end_unfinished()
        return events + self._release()

    def _take_fields(self, fields: list[SseField]) -> list[Event]:
        if len(fields) == 1 and isinstance(fields[0], SseData):  # as nearly always
            return self._take_data(fields[0].text)
        return [event for field in fields for event in self._take_field(field)]

    def _take_field(self, field: SseField) -> list[Event]:
        if self.finished:
            return []
        if isinstance(field, SseData):
            return self._take_data(field.text)
        if isinstance(field, SseError):
            return self._fail("error", _error_text(field.text))
        progress = _KEEPALIVE.fullmatch(field.text)
        return [Progress(int(progress[1]), int(progress[2]))] if progress else []

    def _take_data(self, text: str) -> list[Event]:
        try:
            chunk, end = _JSON.raw_decode(text)
        except (ValueError, RecursionError):
            return self._take_odd_data(text)
        if end != len(text):
            return self._take_odd_data(text)
        if not isinstance(chunk, dict):
            return []
        if "choices" not in chunk or "error" in chunk:
            return self._take_odd_chunk(chunk)
        return self._take_chunk(chunk)

    def _take_odd_chunk(self, chunk: JsonObject) -> list[Event]:
        if chunk.get("error") or chunk.get("object") == "error":
            return self._fail("error", _error_in(chunk))
        return self._take_chunk(chunk)

    def _take_odd_data(self, text: str) -> list[Event]:
        """Take data that is not simply one JSON text: the end mark, or several lines, or plain words."""
        bare = text.strip()
        if bare == "[DONE]":
            return self._end("stop") + self._release()
        if bare != text:
            return self._take_data(bare)
        lines = text.split("\n")
        if len(lines) > 1:  # chunks without blank lines between them
            return [event for line in lines if not self.finished for event in self._take_data(line)]
        self._unread = text or self._unread
        return []

    def _take_body(self, body: bytes) -> list[Event]:
        text = body.decode("utf-8", "replace").strip()
        try:
            answer = load_json(text)
        except ValueError:
            return self._fail("not_a_stream", text)
        if not isinstance(answer, dict):
            return self._fail("not_a_stream", text)
        if _first_choice(answer) is None or answer.get("error"):
            return self._fail("error", _error_in(answer))
        events = self._take_chunk(answer)
        return events + self._end("stop")

    def _take_chunk(self, chunk: JsonObject) -> list[Event]:
        if not self._named:
            self._take_names(chunk)
        usage = chunk.get("usage")
        if usage and isinstance(usage, dict):
            self._usage = _usage_of(usage)
        events: list[Event] = []
        choice = _first_choice(chunk)
        if choice is not None and self._ending is None:
            delta = choice.get("delta") or choice.get("message") or choice
            if isinstance(delta, dict):
                events = self._take_delta(delta)
            reason = choice.get("finish_reason")
            if self._filter and self._filter.stopped:
                return events + self._end("stop") + self._release()
            if reason and isinstance(reason, str):
                events += self._end(_REASONS.get(reason, "stop"))
        if self._ending and usage:
            events += self._release()
        return events

    def _take_names(self, chunk: JsonObject) -> None:
        self._named = True
        self.fingerprint = whole_text(_content_text(chunk.get("system_fingerprint")))
        self.server_model = whole_text(_content_text(chunk.get("model")))
        reply_id = _NOT_IN_IDS.sub("", _content_text(chunk.get("id")).removeprefix("chatcmpl-"))[:64]
        if reply_id:
            self._call_prefix = f"call_{reply_id}"
            self._text.name_calls(self._call_prefix)

    def _take_delta(self, delta: JsonObject) -> list[Event]:
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")  # vLLM sends the same in both
        calls = delta.get("tool_calls") or delta.get("function_call")
        content = delta.get("content")
        if not isinstance(content, str):
            content = _content_text(delta.get("text") if content is None else content)
        events: list[Event] = []
        if reasoning or calls:
            events = self._take_structured(_content_text(reasoning), calls)
        if content:
            events += self._text.feed(content)
        if content or reasoning:
            self.deltas += 1
        return self._filter.apply(events) if self._filter else events

    def _take_structured(self, reasoning: str, calls: Json) -> list[Event]:
        if not (reasoning or calls):  # something unknown under a known name
            return []
        events = self._text.be_plain()
        self._native.add(calls)
        thinking = self._thinking.feed(reasoning)
        return [*events, ReasoningDelta(thinking)] if thinking else events

    def _fail(self, reason: FinishReason, detail: str) -> list[Event]:
        return self._end(reason, detail) + self._release()

    def _end_unfinished(self) -> list[Event]:
        """End a reply that the server did not end: it was cut, or it never was an event stream."""
        if not self._named and (self._unread or not self._alive) and self._junk:
            return self._end("not_a_stream", self._unread or self._junk.decode("utf-8", "replace"))
        return self._end("interrupted", self._unread)

    def _end(self, reason: FinishReason, detail: str = "") -> list[Event]:
        """Flush everything and note the `Finish`, which waits for the usage."""
        if self._ending:  # what comes behind the finish reason changes nothing any more
            return []
        thinking = self._thinking.flush()
        events: list[Event] = [ReasoningDelta(thinking)] if thinking else []
        events += self._text.close(reason)
        calls, dropped = self._native.close(reason != "stop", self._call_prefix)
        events += calls
        called = self._text.called or any(call.executable for call in calls)
        truncated = reason != "stop" or self._text.incomplete or dropped
        json_valid: bool | None = None
        if self._filter:
            events = self._filter.apply(events)
            held, json_valid = self._filter.close()
            events += held
            called = self._filter.called
            if self._filter.stopped:
                reason, truncated, detail = "stop", False, ""
        if called and reason == "stop":
            reason = "tool_calls"
        self._ending = Finish(reason, truncated, detail[:MAX_DETAIL], json_valid)
        return events

    def _release(self) -> list[Event]:
        self.finished = True
        return [event for event in (self._usage, self._ending) if event]


def _first_choice(chunk: JsonObject) -> JsonObject | None:
    """The choice with index 0; servers asked for one answer leave the index out at most."""
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and not choice.get("index"):
            return choice
    return None


def _content_text(content: Json) -> str:
    """The text of a content that may be a list of parts; of anything else, nothing."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _usage_of(usage: JsonObject) -> Usage:
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")), _count(cached))


def _count(value: Json) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value < 2**53 else 0


def _error_text(text: str) -> str:
    """The words of an error event, which may be plain or JSON."""
    try:
        error = load_json(text)
    except ValueError:
        return text.strip()
    return _error_in(error) if isinstance(error, dict) else text.strip()


def _error_in(answer: JsonObject) -> str:
    """The server's own words: `error` as a text or an object, or the field that frameworks use instead."""
    error = answer.get("error")
    inner = error if isinstance(error, dict) else answer
    for words in (error, inner.get("message"), inner.get("detail")):
        if isinstance(words, str) and words:
            return whole_text(words)
    return dump_whole(answer)

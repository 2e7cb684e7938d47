"""ChatStream: the raw bytes of a server's reply -> events."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final

from .answer_filter import AnswerFilter, AnswerLogprobs
from .dialects import DeltaReader
from .events import (
    Event,
    Finish,
    FinishReason,
    ToolCall,
    Usage,
    has_executable_call,
)
from .jsontext import Json, JsonObject, as_list, as_object, sent_text
from .native_calls import CallIds
from .record_template import RecordTemplate
from .sse import MAX_SSE_EVENT, SseDecoder, SseField

MAX_BODY: Final = 16 * 1024 * 1024
"""Most bytes that are read of an answer that is not a stream."""

MAX_UNREADABLE: Final = 512
"""Records or lines in a row that are not chunks. A server that sends more is not a chat server."""

MAX_DETAIL: Final = 2000
"""Characters of a server's own words that are kept for `Finish.detail`."""

MAX_COUNT: Final = 10**12
"""Most tokens that a server may count; a larger number is ignored."""

# An event stream begins with a field name or a colon; JSON and HTML with one of these.
_BODY_STARTS: Final = (b"{", b"[", b"<")
_BLANKS: Final = b"\xef\xbb\xbf \t\r\n"  # a byte order mark among them

_NOT_IN_IDS: Final = re.compile(r"[^A-Za-z0-9_-]")
_CUT_JSON: Final = re.compile(r'\{\s*"(?s:.*)(?<!\})\Z')  # an object without its end
_NO_WORDS: Final = re.compile(r'null|true|false|"[^"]*"|-?\d[\d.eE+-]*')  # JSON
# Some servers do not escape control characters in strings.
_JSON: Final = json.JSONDecoder(strict=False)
_TOO_LONG: Final = f"A piece of the reply is longer than {MAX_SSE_EVENT >> 20} MiB."

# Finish reasons as servers spell them; any other word means `stop`.
_REASONS: Final[dict[str, FinishReason]] = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "error": "error",
    "abort": "interrupted",
}


class ChatStream:
    """Turns the body of a reply, cut anywhere, into events. Never raises.

    It reads the event streams of mlx_lm.server, LM Studio, llama.cpp, Ollama, vLLM and
    SGLang, and whole JSON completions. Errors, HTML and cut streams end in a `Finish`
    that names them. `Finish` comes once, as the last event. It waits for the usage and
    the end mark, because some servers send a finish reason with every chunk.

    `tools` are the offered names. `stop` lists words that end the answer; `json_reply`
    asks for bare JSON. With a `call_prefix` the calls get the ids `{call_prefix}_1`,
    `{call_prefix}_2` and so on; a new prefix for each reply makes them unique in a
    conversation. Without one the server's ids are kept.

    Once `finished` is true nothing more comes. Close the connection then: after a stop
    word that ends the generation.
    """

    def __init__(
        self,
        tools: Iterable[str] = (),
        stop: Iterable[str] = (),
        json_reply: bool = False,
        call_prefix: str = "",
    ) -> None:
        self.finished = False
        self.logprobs = AnswerLogprobs()
        self.fingerprint = ""
        self.server_model = ""
        words = [word for word in stop if word]
        self._filter = AnswerFilter(words, json_reply) if words or json_reply else None
        self._content = DeltaReader(tools)
        self._ids = CallIds(call_prefix)
        self._sse = SseDecoder()
        self._template = RecordTemplate()
        self._head = bytearray()  # the bytes until it is known to be a stream
        self._named = False
        self._unreadable = 0  # records since the last chunk
        self._unread = ""  # plain words sent as data: an error if no end follows
        self._usage: Json = None
        self._called = False  # an executable call was emitted
        self._reason: FinishReason | None = None  # the last one, if no text followed it

    @property
    def deltas(self) -> int:
        """How many deltas carried text or thinking."""
        return self._content.deltas

    @property
    def whole(self) -> bool:
        """Whether the reply is whole even if nothing more comes.

        True after a finish reason, and after a call that `<|call|>` closed. A silence or
        a broken connection is no failure then: `close` gives the proper `Finish`.
        """
        return self.finished or self._reason is not None or self._content.call_closed

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes and return what they brought."""
        if self.finished:
            return []
        if not self._sse.is_stream:
            data = data if self._head else data.lstrip(_BLANKS)
            self._head += data[: MAX_BODY - len(self._head)]
            if len(self._head) == MAX_BODY:
                return self.close()
            if self._head.startswith(_BODY_STARTS):
                return []
        events: list[Event] = []
        at = 0
        while at < len(data) and not self.finished:
            if self._sse.between_events:
                texts, at = self._template.texts_at(data, at)
                events += self._take_texts(texts)
                if at == len(data):
                    break
            end = self._template.next_start(data, at)
            events += self._take_fields(self._sse.feed(data[at:end]))
            at = end
        return events

    def close(self) -> list[Event]:
        """End the reply: emit what is held, then its `Finish`."""
        if self.finished:
            return []
        events = self._take_fields(self._sse.close())
        reason: FinishReason = "error" if self._unread else "interrupted"
        detail = self._unread
        if self._head and not self._sse.is_stream:
            detail = self._head.decode("utf-8", "replace").strip()
            events += self._take_data(detail)  # a whole completion reads like one chunk
            reason = "interrupted" if _CUT_JSON.match(detail) else "not_a_stream"
            if self._named:
                reason, detail = "stop", ""
            elif reason == "interrupted" and len(self._head) == MAX_BODY:
                reason, detail = "error", _TOO_LONG
        if reason == "interrupted" and self._content.call_closed:
            reason = "stop"
        return events + self._finish(reason, detail)

    def _take_fields(self, fields: Iterable[SseField]) -> list[Event]:
        events: list[Event] = []
        for field in fields:
            if self.finished:
                break
            events += self._take_record(field) if isinstance(field, bytes) else [field]
        if self._sse.too_long:
            events += self._finish("error", _TOO_LONG)
        return events

    def _take_record(self, record: bytes) -> list[Event]:
        wire = b"data: %b\n\n" % record
        texts, end = self._template.texts_at(wire, 0)
        if len(texts) == 1 and end == len(wire):
            return self._take_texts(texts)
        return self._take_data(record.decode("utf-8", "replace"), record)

    def _take_texts(self, texts: list[str]) -> list[Event]:
        """Take the texts of records that carry nothing else."""
        if texts:
            self._unreadable = 0
        if self._reason and any(texts):
            self._reason = None
        field = self._template.field
        if field == "content" and not self._filter:
            return self._give(self._content.feed_texts(texts))
        events: list[Event] = []
        for text in texts:
            if not self.finished:
                events += self._give(self._content.feed({field: text}))
        return events

    def _take_data(self, text: str, record: bytes = b"") -> list[Event]:
        self._unreadable += 1
        if self._unreadable > MAX_UNREADABLE:
            return self._finish("not_a_stream", text)
        if text[:1] + text[-1:] != "{}":
            return self._take_lines(text)
        try:
            chunk, end = _JSON.raw_decode(text)
        except (ValueError, RecursionError):
            return self._take_lines(text)
        if end != len(text):
            return self._take_lines(text)
        if "choices" not in chunk or chunk.get("error"):
            words = _error_words(chunk)
            is_error = words or chunk.get("error")
            return self._finish("error", words or text) if is_error else []
        if record:
            self._template.learn(record, chunk)
        return self._take_chunk(chunk)

    def _take_lines(self, text: str) -> list[Event]:
        """Take the end mark, plain words, or chunks without blank lines between them."""
        events: list[Event] = []
        for line in filter(None, map(str.strip, text.split("\n"))):
            if line == "[DONE]":
                events += self._finish("stop")
            elif line.startswith("{"):
                if line != text and line.endswith("}"):  # otherwise it was cut
                    events += self._take_data(line)
            elif not line.startswith("[") and not _NO_WORDS.fullmatch(line):
                self._unread = line
            if self.finished:
                break
        return events

    def _take_chunk(self, chunk: JsonObject) -> list[Event]:
        self._unreadable = 0
        if not self._named:
            self._take_names(chunk)
        usage = chunk.get("usage")
        self._usage = usage or self._usage
        choice = _first_of(chunk.get("choices"))
        if not choice:
            return self._finish("stop") if usage and self._reason else []
        delta = choice.get("delta") or choice.get("message")
        deltas = self.deltas
        events = self._content.feed(delta) if isinstance(delta, dict) else []
        if choice.get("logprobs"):
            self.logprobs.add(choice, events)
        reason = sent_text(choice.get("finish_reason"))
        if reason:
            self._reason = _REASONS.get(reason, "stop")
        elif self.deltas > deltas:
            self._reason = None
        return self._give(events)

    def _take_names(self, chunk: JsonObject) -> None:
        self._named = True
        self.fingerprint = sent_text(chunk.get("system_fingerprint"))
        self.server_model = sent_text(chunk.get("model"))
        reply_id = sent_text(chunk.get("id")).removeprefix("chatcmpl-")
        if reply_id := _NOT_IN_IDS.sub("", reply_id)[:64]:
            self._content.name_calls(f"call_{reply_id}")

    def _give(self, events: list[Event]) -> list[Event]:
        """Return the caller's events; ends the reply at a stop word or a call."""
        for event in events:
            if isinstance(event, ToolCall):
                events = self._with_ids(events)
                break
        else:
            if not (self._filter or self._called):
                return events
        if self._filter:
            events = self._filter.apply(events)
        self._called = self._called or has_executable_call(events)
        stopped = self._filter and self._filter.stopped
        over = self._called and self._content.over
        return events + self._finish("stop") if stopped or over else events

    def _with_ids(self, events: list[Event]) -> list[Event]:
        return [
            self._ids.give(event) if isinstance(event, ToolCall) else event
            for event in events
        ]

    def _finish(self, reason: FinishReason, detail: str = "") -> list[Event]:
        """Emit what is held, then the `Finish`. A finish reason that came earlier wins."""
        if self.finished:
            return []
        self.finished = True
        if self._reason:
            reason, detail = self._reason, ""
        events, incomplete = self._content.close(reason)
        self.logprobs.add({}, events)
        events = self._with_ids(events)
        truncated, json_valid, thought = reason != "stop" or incomplete, None, False
        if self._filter:
            events = self._filter.close(events, self._called, cut=reason != "stop")
            json_valid, thought = self._filter.json_valid, self._filter.thought
            if self._filter.stopped:
                reason, truncated, detail = "stop", False, ""
        if reason == "stop" and (self._called or has_executable_call(events)):
            reason = "tool_calls"
        finish = Finish(reason, truncated, detail[:MAX_DETAIL], json_valid, thought)
        usage = _usage_of(self._usage)
        return [*events, usage, finish] if usage else [*events, finish]


def _first_of(choices: Json) -> JsonObject | None:
    """The first choice: no request asks for more."""
    first = as_list(choices)[:1]
    return first[0] if first and isinstance(first[0], dict) else None


def _usage_of(usage: Json) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    cached = as_object(usage.get("prompt_tokens_details")).get("cached_tokens")
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return Usage(_count(prompt), _count(completion), _count(cached))


def _count(value: Json) -> int:
    return int(value) if isinstance(value, int) and 0 < value <= MAX_COUNT else 0


def _error_words(frame: JsonObject) -> str:
    """The server's own words: `error`, or the fields that frameworks use instead."""
    error = frame.get("error")
    inner = error if isinstance(error, dict) else frame
    for words in (error, inner.get("message"), inner.get("detail")):
        if words and isinstance(words, str):
            return sent_text(words)
    return ""

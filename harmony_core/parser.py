"""HarmonyParser: raw Harmony text in any chunking -> thinking, answer and tool calls.

Theory of operation. Text goes through two layers.

The *lexer* (`feed`) cuts the input into plain text and control strings ("markers"). On
unaligned text a marker may be cut anywhere, so a tail that could become one is held
back. On an aligned stream each feed is one token, and only a token that is a marker as
a whole is one (harmony.md, rule 9).

The *state machine* (`_text`, `_marker`) is always in one of these states:

    DUE     before the first header and between messages: blanks and filler words wait
            here, other text begins an answer
    HEADER  behind `<|start|>` or `<|channel|>`, up to `<|message|>`; inside a body
            (`_open_body`) only a candidate, which is text of the body if it fails
    BODY    inside a message: its text goes to the reasoning, the answer, the arguments
            of a call, or nowhere
    ENDING  behind a terminator in an answer on unaligned text: what follows tells
            whether the model ended its message or wrote about `<|end|>`
    DONE    after `close`, and once the model speaks for a tool that it called

Most text comes inside thinking or answer and has no "<": `feed` makes it a delta at
once. What is held is bounded by a marker's length, MAX_HEADER and MAX_ARGUMENTS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum

from .arguments import Arguments, Closed
from .events import (
    AnswerDelta,
    Event,
    Finish,
    FinishReason,
    ReasoningDelta,
    Reply,
    ToolCall,
    collect,
)
from .header import (
    Header,
    bare_body_start,
    behind_recipient,
    implied_header,
    is_plain_call,
    parse_header,
)
from .markers import (
    ANALYSIS,
    CALL,
    CHANNEL,
    CONTROL_TOKENS,
    MESSAGE,
    START,
    TERMINATORS,
)

MAX_HEADER = 512
"""Characters of a header, or of blanks and fillers between messages; more is text."""

_MARKER = re.compile("|".join(re.escape(token) for token in CONTROL_TOKENS))
_WHOLE_MARKER = re.compile(rf"([\s\ufffd]*)({_MARKER.pattern})")


def _beginnings(*words: str) -> frozenset[str]:
    """Return the proper beginnings of words: what could still become one of them."""
    return frozenset(word[:n] for word in words for n in range(1, len(word)))


def _any_of(words: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


def _held_tail(text: str, start: int, first: str, beginnings: frozenset[str]) -> int:
    """Return where the tail of `text` begins that could become a word, else its length.

    All beginnings start with the letter `first`; none is longer than _LONGEST_HELD.
    """
    at = text.find(first, max(start, len(text) - _LONGEST_HELD))
    while at >= 0 and text[at:] not in beginnings:
        at = text.find(first, at + 1)
    return at if at >= 0 else len(text)


_MARKER_BEGINNINGS = _beginnings(*CONTROL_TOKENS)

_WORDS = ("analysis", "commentary", "final", "assistant")
_FILLERS = re.compile(rf"(?:\s|{_any_of(_WORDS)})*+")
_FILLERS_SO_FAR = re.compile(rf"{_FILLERS.pattern}(?:{_any_of(_beginnings(*_WORDS))})?")

# The very start: a recipient without a header, or the stripped spelling (rules 3, 7).
_STRIPPED_ANALYSIS = re.compile(
    r"\s*+(?:assistant)?analysis(?=[A-Z]|[^\W\d_\x00-\x7f])"
)
_STRIPPED_FINAL = re.compile(r"\s*+assistantfinal")
_LEAD = r"\s*+(?:assistant\s*+)?+"
_RECIPIENT_STARTS = _any_of(_beginnings("to=", "commentary to="))
_RECIPIENT = re.compile(rf"({_LEAD}(?:commentary )?)to=")
_RECIPIENT_SO_FAR = re.compile(rf"{_LEAD}(?:{_RECIPIENT_STARTS})?")
# What ends a message in the stripped spelling.
_SEPARATORS = ("assistantfinal", "assistantcommentary to=")
_SEPARATOR = re.compile(_any_of(_SEPARATORS))
_SEPARATOR_BEGINNINGS = _beginnings(*_SEPARATORS)

_LONGEST_PIECE = 512
"""Characters taken at once: in a piece, each stripped message nests in the last."""
_LONGEST_HELD = max(map(len, (*CONTROL_TOKENS, *_SEPARATORS)))

_Sink = type[ReasoningDelta] | type[AnswerDelta] | None


class _State(Enum):
    DUE = 0
    HEADER = 1
    BODY = 2
    ENDING = 3
    DONE = 4


class HarmonyParser:
    """Takes a gpt-oss reply apart in any chunking; never raises, never loses text.

    `tools` are the names that the caller offered: they settle sloppy recipients and
    `ToolCall.declared`. With `aligned` each `feed` is exactly one delta of a
    token-aligned server; the attribute may be changed between feeds. Tool calls get the
    ids `{call_prefix}_1`, `{call_prefix}_2` and so on.
    """

    def __init__(
        self,
        tools: Iterable[str] = (),
        aligned: bool = False,
        call_prefix: str = "call",
    ) -> None:
        self.aligned = aligned
        self.call_prefix = call_prefix
        self._tools = tuple(sorted(tools, key=len, reverse=True))  # for parse_header
        self._events: list[Event] = []
        self._partial = ""  # tail of the input that could become a marker
        self._state = _State.DUE
        # DUE: blanks and fillers; HEADER: the header; ENDING: terminators and blanks.
        self._held = ""
        self._fresh = True  # no marker and no text yet, blanks and fillers aside
        self._lead: str | None = None  # HEADER that begins in `to=`: what precedes it
        self._open_body = False  # HEADER: a body is open, this is but a candidate
        self._sink: _Sink = None  # BODY: where text goes if not to the call
        self._call: tuple[str, Arguments] | None = None
        # BODY, stripped spelling: tail that may end it.
        self._stripped: str | None = None
        self._plain: _Sink = None  # the sink while text without "<" is just a delta
        self._calls = 0
        self._executable = False  # a call was made that the host will execute
        self._incomplete = False  # a call was dropped
        self._closed = False

    def feed(self, text: str) -> list[Event]:
        """Take the next piece of the reply and return what it brought."""
        plain = self._plain
        if plain is not None and "<" not in text:
            return [plain(text)] if text else []
        if self.aligned:
            self._feed_delta(text)
        else:
            self._feed_text(text)
        return self._take_events()

    def close(self, finish_reason: FinishReason = "stop") -> list[Event]:
        """End the reply: flush what is held, settle an open call, then `Finish`."""
        if self._closed:
            return []
        self._text(self._partial)
        cut = finish_reason not in ("stop", "tool_calls")
        if self._state is _State.DUE and not _FILLERS.fullmatch(self._held):
            self._begin_held_answer()
        elif self._state is _State.HEADER:
            self._give_up_header()
        self._end_message("cut" if cut else "message")
        if finish_reason == "stop" and self._executable:
            finish_reason = "tool_calls"
        self._state, self._partial, self._closed = _State.DONE, "", True
        self._events.append(Finish(finish_reason, truncated=cut or self._incomplete))
        return self._take_events()

    def _take_events(self) -> list[Event]:
        held = self._partial or self._stripped is not None
        self._plain = self._sink if self._state is _State.BODY and not held else None
        events, self._events = self._events, []
        return events

    # The lexer.

    def _feed_delta(self, text: str) -> None:
        whole = _WHOLE_MARKER.fullmatch(text)
        before, marker = whole.groups() if whole else (text, "")
        self._text(self._partial + before)
        self._partial = ""
        if marker:
            self._marker(marker)

    def _feed_text(self, text: str) -> None:
        text = self._partial + text
        if text in _MARKER_BEGINNINGS:
            self._partial = text
            return
        start, end = 0, len(text)
        if "<" in text:
            for found in _MARKER.finditer(text) if "|>" in text else ():
                self._text(text[start : found.start()])
                self._marker(found[0])
                start = found.end()
            end = _held_tail(text, start, "<", _MARKER_BEGINNINGS)
        self._partial = text[end:]
        self._text(text[start:end])

    # The state machine. Text comes in any pieces, a marker always whole.

    def _text(self, text: str) -> None:
        if not text:
            return
        if len(text) > _LONGEST_PIECE:
            for at in range(0, len(text), _LONGEST_PIECE):
                self._text(text[at : at + _LONGEST_PIECE])
            return
        match self._state:
            case _State.BODY:
                self._body_text(text)
            case _State.HEADER:
                self._header_text(text)
            case _State.DUE:
                self._due_text(text)
            case _State.ENDING:
                self._ending_text(text)

    def _marker(self, marker: str) -> None:
        match self._state:
            case _State.BODY:
                self._body_marker(marker)
            case _State.HEADER:
                self._header_marker(marker)
            case _State.DUE:
                self._due_marker(marker)
            case _State.ENDING:
                self._ending_marker(marker)
        self._fresh = False

    # DUE: a header should come.

    def _due_text(self, text: str) -> None:
        more_blanks = text.isspace() and self._held[-1:].isspace()
        self._held += text
        if more_blanks and len(self._held) <= MAX_HEADER:  # what waited goes on to wait
            return
        start = self._held[:MAX_HEADER]  # decides in every chunking, whatever follows
        waits = _FILLERS_SO_FAR.fullmatch(start)
        if self._fresh:
            if self._begin_without_marker(start):
                return
            waits = waits or _RECIPIENT_SO_FAR.fullmatch(start)
        if not waits or len(self._held) > MAX_HEADER:
            self._begin_held_answer()

    def _begin_held_answer(self) -> None:
        stripped = self._fresh and _STRIPPED_FINAL.match(self._held)
        self._begin_answer(self._held[stripped.end() :] if stripped else self._held)

    def _begin_without_marker(self, start: str) -> bool:
        if analysis := _STRIPPED_ANALYSIS.match(start):
            text = self._held[analysis.end() :]
            self._open(ReasoningDelta)
            self._stripped = ""
            self._body_text(text)
        elif recipient := _RECIPIENT.match(start):
            self._begin_recipient(recipient[1], self._held[recipient.end(1) :])
        return self._state is not _State.DUE

    def _begin_recipient(self, lead: str, target: str) -> None:
        self._open_header("", lead=lead)
        self._header_text(implied_header(lead, target))

    def _due_marker(self, marker: str) -> None:
        if not _FILLERS.fullmatch(self._held):
            self._begin_held_answer()
            self._body_marker(marker)
        elif marker in (START, CHANNEL):
            self._open_header(marker)
        elif marker == MESSAGE:
            self._open(AnswerDelta)
        else:  # a stray token
            self._held = ""

    # HEADER: collected until it is complete, or can no longer be one.

    def _open_header(
        self, start: str, open_body: bool = False, lead: str | None = None
    ) -> None:
        self._state, self._held = _State.HEADER, start
        self._open_body, self._lead = open_body, lead

    def _header_text(self, text: str) -> None:
        # A word that goes on does not end a header: no need to look again.
        same_word = text.isalpha() and text.isascii() and self._held[-1:].isalpha()
        self._held += text
        may_end = not self._open_body and not same_word
        if may_end and self._begin_bare_message(complete=False):
            return
        if len(self._held) > MAX_HEADER:
            self._give_up_header()

    def _header_marker(self, marker: str) -> None:
        if marker == MESSAGE:
            header = parse_header(self._held, self._tools)
            if self._open_body:
                self._end_message("message")
            self._begin_message(header)
        elif marker in TERMINATORS or (marker == START and self._has_content()):
            self._give_up_header()
            self._marker(marker)
        else:
            self._header_text(marker)

    def _has_content(self) -> bool:
        """Whether the header holds more than a doubled start or role (M2, M3)."""
        words = _MARKER.sub("", self._held)
        return CHANNEL in self._held or not _FILLERS.fullmatch(words)

    def _begin_bare_message(self, complete: bool) -> bool:
        """Begin a message without `<|message|>`, once its header is certain to end."""
        start = bare_body_start(self._held[: MAX_HEADER + 1], complete)
        if start is None:
            return False
        header, body = self._held[:start], self._held[start:]
        unmarked = self._unmarked()
        if unmarked and not is_plain_call(header, self._tools):
            return False
        body = behind_recipient(header, self._tools) + body
        self._begin_message(parse_header(header, self._tools))
        self._stripped = "" if unmarked else None
        self._text(_MARKER.sub("", body) if self.aligned else body)
        return True

    def _give_up_header(self) -> None:
        """Make the best of a header that will not be completed (rule 5)."""
        header = self._held
        too_long = len(header) > MAX_HEADER
        call_too_long = too_long and "to=" in header[: MAX_HEADER + 1]
        if self._open_body:
            self._state, self._held = _State.BODY, ""
            self._body_text(self._as_text(header))
        elif not call_too_long and self._begin_bare_message(complete=True):
            pass
        elif too_long or self._unmarked():
            self._begin_answer(self._as_text(header))
        else:
            self._state, self._held = _State.DUE, ""

    def _unmarked(self) -> bool:
        """Whether only its `to=` makes it a header: no marker came yet."""
        return self._lead is not None and len(_MARKER.findall(self._held)) == 1

    def _as_text(self, header: str) -> str:
        if self._lead is not None:
            header = self._lead + header[header.index("to=") :]
        return _MARKER.sub("", header) if self.aligned else header

    # BODY: inside a message.

    def _begin_message(self, header: Header) -> None:
        called = self._executable or (self._calls and not self._tools)
        if header.audience == "tool" and called:  # invented, as all after it (rule 10)
            self._state = _State.DONE
        elif header.audience != "user":
            self._open(None)
        elif header.recipient:
            self._open(None)
            self._call = (header.recipient, Arguments())
        else:
            self._open(ReasoningDelta if header.channel == ANALYSIS else AnswerDelta)

    def _begin_answer(self, text: str) -> None:
        self._open(AnswerDelta)
        self._body_text(text)

    def _open(self, sink: _Sink) -> None:
        self._state, self._sink, self._stripped = _State.BODY, sink, None
        self._held, self._lead, self._fresh = "", None, False

    def _body_text(self, text: str) -> None:
        if self._stripped is None:
            self._emit(text)
        else:
            self._stripped_text(text)

    def _emit(self, text: str) -> None:
        if not text:
            return
        if self._call:
            self._call[1].append(text)
        elif self._sink:
            self._events.append(self._sink(text))

    def _stripped_text(self, text: str) -> None:
        """Emit text up to the words that are left of the next header (rule 7)."""
        text, self._stripped = (self._stripped or "") + text, ""
        start = 0
        for separator in _SEPARATOR.finditer(text) if "assistant" in text else ():
            self._emit(text[start : separator.start()])
            start = separator.end()
            if not self._in_json_string():
                self._end_message("message")
                self._begin_stripped(separator[0], text[start:])
                return
            self._emit(separator[0])
        end = _held_tail(text, start, "a", _SEPARATOR_BEGINNINGS)
        self._stripped = text[end:]
        self._emit(text[start:end])

    def _begin_stripped(self, separator: str, text: str) -> None:
        if separator.endswith("to="):
            self._begin_recipient(separator.removesuffix("to="), "to=" + text)
        else:
            self._begin_answer(text)

    def _in_json_string(self) -> bool:
        return self._call is not None and self._call[1].in_string()

    def _body_marker(self, marker: str) -> None:
        if self._stripped:
            self._emit(self._stripped)
            self._stripped = ""
        if marker in (START, CHANNEL):
            self._open_header(marker, open_body=True)
        elif marker not in TERMINATORS or (not self.aligned and self._in_json_string()):
            self._emit(self._as_text(marker))
        elif self._sink is AnswerDelta and not self.aligned:
            self._state, self._held = _State.ENDING, marker
        else:
            self._end_message("call" if marker == CALL else "message")
            self._state = _State.DUE

    def _end_message(self, closed: Closed) -> None:
        if self._stripped:
            self._emit(self._stripped)
        if self._call:
            self._end_call(*self._call, closed)
        self._sink = self._call = self._stripped = None

    def _end_call(self, name: str, arguments: Arguments, closed: Closed) -> None:
        settled = arguments.settle(closed)
        if settled is None:
            self._incomplete = True
            return
        self._calls += 1
        call_id = f"{self.call_prefix}_{self._calls}"
        call = ToolCall(call_id, name, *settled, declared=name in self._tools)
        self._executable |= call.executable
        self._events.append(call)

    # ENDING: a terminator in an answer ends it, unless text follows (rule 9).

    def _ending_text(self, text: str) -> None:
        self._held += text
        if not text.isspace() or len(self._held) > MAX_HEADER:
            self._resume_answer()

    def _ending_marker(self, marker: str) -> None:
        if marker in (START, CHANNEL, MESSAGE):
            self._end_message("message")
            self._state, self._held = _State.DUE, ""
            self._due_marker(marker)
        else:
            self._held += marker
            if marker not in TERMINATORS or len(self._held) > MAX_HEADER:
                self._resume_answer()

    def _resume_answer(self) -> None:
        text, self._held, self._state = self._held, "", _State.BODY
        self._emit(text)


def parse(
    text: str, tools: Iterable[str] = (), finish_reason: FinishReason = "stop"
) -> Reply:
    """Take a whole raw reply apart."""
    parser = HarmonyParser(tools)
    return collect([*parser.feed(text), *parser.close(finish_reason)])

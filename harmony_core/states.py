"""The states of the parser: one small class each, which holds only what it waits for.

                   text                     marker                         end of the reply
-----------------  -----------------------  -----------------------------  ----------------
AtStart            as BetweenMessages; a    as BetweenMessages             as BetweenMessages
                   lost marker: InImplied-
                   Header, InStripped-
                   Message
BetweenMessages    blanks, fillers: waits;  start, channel: InHeader;      drops what waits
                   else InMessage           message: InMessage
InHeader           waits; a certain body:   message: InMessage;            InMessage if it has
                   InMessage                terminator: gives up           a channel, or drops
InImpliedHeader    as InHeader              as InHeader                    same, or answer
InCandidate        waits                    as InHeader                    text of the message
InMessage          delta or arguments       start, channel: InCandidate;   settles its call
                                            terminator: BetweenMessages
                                            or AfterTerminator
InStrippedMessage  as InMessage; words of   as InMessage                   as InMessage
                   a header: InMessage,
                   InImpliedHeader
AfterTerminator    blanks: waits;           start, channel: InHeader;      drops what waits
                   else InMessage           message: InMessage
Invented           drops it                 drops it                       nothing

Text comes in any pieces, a marker always whole. No state calls itself or the next one:
it returns the next state with the text that is left, and `read` goes on from there.
The rules are those of harmony.md.
"""

from __future__ import annotations

import re

from .arguments import Arguments, Closed
from .events import AnswerDelta, ReasoningDelta
from .header import (
    Header,
    bare_body_start,
    behind_recipient,
    is_plain_call,
    parse_header,
)
from .lexer import MARKER, any_of, beginnings
from .markers import ANALYSIS, CALL, CHANNEL, COMMENTARY, MESSAGE, START, TERMINATORS
from .state import Output, Sink, State, Step, read

MAX_HEADER = 512
"""Characters of a header, or of blanks and fillers between messages; more is text."""

_WORDS = ("analysis", "commentary", "final", "assistant")
_FILLERS = re.compile(rf"(?>(?:\s|{any_of(_WORDS)})*)")
_FILLERS_SO_FAR = re.compile(rf"{_FILLERS.pattern}(?:{any_of(beginnings(*_WORDS))})?")


class BetweenMessages(State):
    """A header should come: blanks and filler words wait, other text is an answer."""

    __slots__ = ("_held", "_out")

    def __init__(self, out: Output) -> None:
        self._out = out
        self._held = ""

    def text(self, text: str) -> Step:
        blank_goes_on = text.isspace() and self._held[-1:].isspace()
        self._held += text
        if blank_goes_on and len(self._held) <= MAX_HEADER:
            return self, ""
        return self._decide(self._held[:MAX_HEADER])

    def _decide(self, start: str) -> Step:
        """Look at what is held; its `start` decides, so that no chunking matters."""
        if self._may_wait(start) and len(self._held) <= MAX_HEADER:
            return self, ""
        return self._answer()

    def _may_wait(self, start: str) -> bool:
        return _FILLERS_SO_FAR.fullmatch(start) is not None

    def _answer(self) -> Step:
        return InMessage(self._out, AnswerDelta), self._held

    def marker(self, marker: str) -> State | None:
        if self._held and not _FILLERS.fullmatch(self._held):
            return None
        if marker in (START, CHANNEL):
            return InHeader(self._out, marker)
        if marker == MESSAGE:
            return InMessage(self._out, AnswerDelta)
        return BetweenMessages(self._out)  # a stray terminator

    def give_up(self) -> Step:
        return (self, "") if _FILLERS.fullmatch(self._held) else self._answer()


# A reply that lost its first markers: the stripped spelling, or a recipient (rules 3, 7).
_STRIPPED_ANALYSIS = re.compile(
    r"\s*+(?:assistant)?analysis(?=[A-Z]|[^\W\d_\x00-\x7f])"
)
_STRIPPED_FINAL = re.compile(r"\s*+assistantfinal")
_LEAD = r"\s*+(?>(?:assistant\s*+)?)"
_RECIPIENT = re.compile(rf"({_LEAD}(?:commentary )?)to=")
_RECIPIENT_SO_FAR = re.compile(
    rf"{_LEAD}(?:{any_of(beginnings('to=', 'commentary to='))})?"
)


class AtStart(BetweenMessages):
    """Nothing but blanks and fillers came yet: here alone a first marker may be lost."""

    __slots__ = ()

    def _decide(self, start: str) -> Step:
        if analysis := _STRIPPED_ANALYSIS.match(start):
            thinking = InStrippedMessage(self._out, ReasoningDelta)
            return thinking, self._held[analysis.end() :]
        if recipient := _RECIPIENT.match(start):
            header = InImpliedHeader(self._out, recipient[1])
            return header, self._held[recipient.end(1) :]
        return super()._decide(start)

    def _may_wait(self, start: str) -> bool:
        return super()._may_wait(start) or bool(_RECIPIENT_SO_FAR.fullmatch(start))

    def _answer(self) -> Step:
        state, text = super()._answer()
        stripped = _STRIPPED_FINAL.match(text, 0, MAX_HEADER)
        return state, text[stripped.end() :] if stripped else text


class InHeader(State):
    """Collects a header until `<|message|>`, or until what comes must be the body."""

    __slots__ = ("_held", "_out")

    def __init__(self, out: Output, held: str) -> None:
        self._out = out
        self._held = held

    def text(self, text: str) -> Step:
        # A word behind a marker, or that goes on, ends no header: no need to look.
        last = self._held[-1:]
        word = text.isalpha() and text.isascii() and (last.isalpha() or last == ">")
        self._held += text
        if not word and (step := self._bare_message(complete=False)):
            return step
        return self.give_up() if len(self._held) > MAX_HEADER else (self, "")

    def marker(self, marker: str) -> State | None:
        if marker == MESSAGE:
            header = parse_header(self._held, self._out.tools)
            return state_in(self._out, header)
        if marker in TERMINATORS or (marker == START and self._has_content()):
            return None
        return read(*self.text(marker))

    def give_up(self) -> Step:
        """Make the best of a header that will not be completed (rule 5)."""
        too_long = len(self._held) > MAX_HEADER
        call_too_long = too_long and "to=" in self._held[: MAX_HEADER + 1]
        if not call_too_long and (step := self._bare_message(complete=True)):
            return step
        return self._answer() if too_long else self._drop()

    def _has_content(self) -> bool:
        """Whether it holds more than a doubled start or role (M2, M3)."""
        words = MARKER.sub("", self._held)
        return CHANNEL in self._held or not _FILLERS.fullmatch(words)

    def _bare_message(self, complete: bool) -> Step | None:
        """The message without `<|message|>`, once its header is certain to end."""
        start = bare_body_start(self._held[: MAX_HEADER + 1], complete)
        return None if start is None else self._message_at(start)

    def _message_at(self, start: int, stripped: bool = False) -> Step | None:
        header, body = self._held[:start], self._held[start:]
        tools = self._out.tools
        text = self._out.as_text(behind_recipient(header, tools) + body)
        return state_in(self._out, parse_header(header, tools), stripped), text

    def _answer(self) -> Step:
        return InMessage(self._out, AnswerDelta), self._out.as_text(self._held)

    def _drop(self) -> Step:
        return BetweenMessages(self._out), ""


class InImpliedHeader(InHeader):
    """A header whose beginning is missing, so that it begins in `to=` (rules 3 and 7).

    `_held` begins with the words that are `_implied`. The text has `_lead` in their
    place, which comes back where all this proves to be an answer.
    """

    __slots__ = ("_implied", "_lead")

    def __init__(self, out: Output, lead: str) -> None:
        channel = f"{CHANNEL}{COMMENTARY} "
        self._implied = channel if COMMENTARY in lead else f"{START}assistant "
        self._lead = lead
        super().__init__(out, self._implied)

    def _message_at(self, start: int, stripped: bool = False) -> Step | None:
        unmarked = self._has_no_marker()
        if unmarked and not is_plain_call(self._held[:start], self._out.tools):
            return None
        return super()._message_at(start, stripped=unmarked)

    def _answer(self) -> Step:
        text = self._lead + self._held[len(self._implied) :]
        return InMessage(self._out, AnswerDelta), self._out.as_text(text)

    def _drop(self) -> Step:
        return self._answer() if self._has_no_marker() else super()._drop()

    def _has_no_marker(self) -> bool:
        return not MARKER.search(self._held, len(self._implied))


class InCandidate(InHeader):
    """Inside a message: a header if `<|message|>` comes, else text of that message."""

    __slots__ = ("_message",)

    def __init__(self, out: Output, held: str, message: InMessage) -> None:
        super().__init__(out, held)
        self._message = message

    def text(self, text: str) -> Step:
        self._held += text
        return self.give_up() if len(self._held) > MAX_HEADER else (self, "")

    def marker(self, marker: str) -> State | None:
        if marker == MESSAGE:
            self._message.end("message")
        return super().marker(marker)

    def give_up(self) -> Step:
        return self._message, self._out.as_text(self._held)


class InMessage(State):
    """Text goes to a `sink`, to the arguments of the tool `called`, or nowhere."""

    __slots__ = ("_arguments", "_called", "_out", "_sink", "plain")

    def __init__(self, out: Output, sink: Sink = None, called: str = "") -> None:
        self._out = out
        self._sink = self.plain = sink
        self._called = called
        self._arguments = Arguments() if called else None

    def text(self, text: str) -> Step:
        self._emit(text)
        return self, ""

    def marker(self, marker: str) -> State:
        aligned = self._out.aligned
        if marker in (START, CHANNEL):
            return InCandidate(self._out, marker, self)
        if marker not in TERMINATORS or (not aligned and self._in_string()):
            self._emit(self._out.as_text(marker))
            return self
        if self._sink is AnswerDelta and not aligned:
            return AfterTerminator(self._out, self, marker)
        self.end("call" if marker == CALL else "message")
        return BetweenMessages(self._out)

    def end(self, closed: Closed) -> None:
        if self._arguments is not None:
            self._out.end_call(self._called, self._arguments, closed)

    def _in_string(self) -> bool:
        return self._arguments is not None and self._arguments.in_string()

    def _emit(self, text: str) -> None:
        if not text:
            return
        if self._arguments is not None:
            self._arguments.append(text)
        elif self._sink:
            self._out.events.append(self._sink(text))


# The words that are left of the next header where its markers were stripped (rule 7).
# One that kept its `<|start|>` comes whole, out of a candidate.
_SEPARATORS = ("assistantfinal", "assistantcommentary to=")
_SEPARATOR = re.compile(rf"(?:{re.escape(START)})?({any_of(_SEPARATORS)})")
_UNFINISHED_SEPARATOR = beginnings(*_SEPARATORS)
_LONGEST_SEPARATOR = max(map(len, _SEPARATORS))


def _unfinished_separator(text: str, start: int) -> int:
    """Where the tail of `text` begins that could become a separator, else its length."""
    at = text.find("a", max(start, len(text) - _LONGEST_SEPARATOR))
    while at >= 0 and text[at:] not in _UNFINISHED_SEPARATOR:
        at = text.find("a", at + 1)
    return at if at >= 0 else len(text)


class InStrippedMessage(InMessage):
    """A message whose markers were stripped: words of the next header end it too."""

    __slots__ = ("_tail",)

    def __init__(self, out: Output, sink: Sink = None, called: str = "") -> None:
        super().__init__(out, sink, called)
        self.plain = None
        self._tail = ""  # what may become such words

    def text(self, text: str) -> Step:
        text, self._tail = self._tail + text, ""
        start = 0
        for words in _SEPARATOR.finditer(text) if "assistant" in text else ():
            self._emit(text[start : words.start()])
            start = words.end()
            if not self._in_string():
                self.end("message")
                return self._next_message(words[1], text[start:])
            self._emit(words[0])
        end = _unfinished_separator(text, start)
        self._tail = text[end:]
        self._emit(text[start:end])
        return self, ""

    def _next_message(self, words: str, text: str) -> Step:
        lead, recipient, _ = words.partition("to=")
        if recipient:
            return InImpliedHeader(self._out, lead), recipient + text
        return InMessage(self._out, AnswerDelta), text

    def marker(self, marker: str) -> State:
        self.give_up()
        return super().marker(marker)

    def give_up(self) -> Step:
        self._emit(self._tail)
        self._tail = ""
        return self, ""


class AfterTerminator(State):
    """A terminator in an answer on unaligned text ends it, unless text follows (rule 9)."""

    __slots__ = ("_answer", "_held", "_out")

    def __init__(self, out: Output, answer: InMessage, marker: str) -> None:
        self._out = out
        self._answer = answer
        self._held = marker  # terminators and blanks

    def text(self, text: str) -> Step:
        self._held += text
        waits = text.isspace() and len(self._held) <= MAX_HEADER
        return (self, "") if waits else (self._answer, self._held)

    def marker(self, marker: str) -> State | None:
        if marker in (START, CHANNEL, MESSAGE):
            return BetweenMessages(self._out).marker(marker)
        self._held += marker
        waits = marker in TERMINATORS and len(self._held) <= MAX_HEADER
        return self if waits else read(self._answer, self._held)


class Invented(State):
    """The model speaks for a tool that it called: all that follows is dropped (rule 10)."""

    __slots__ = ()

    def text(self, text: str) -> Step:
        return self, ""

    def marker(self, marker: str) -> State:
        return self


def state_in(out: Output, header: Header, stripped: bool = False) -> State:
    """The state inside the message that a header begins."""
    message = InStrippedMessage if stripped else InMessage
    called = out.executable or (out.calls and not out.tools)
    if header.audience == "tool" and called:
        return Invented()
    if header.audience != "user":
        return message(out)
    if header.recipient:
        return message(out, called=header.recipient)
    return message(out, ReasoningDelta if header.channel == ANALYSIS else AnswerDelta)

"""The states of the parser, one small class each.

    BetweenMessages    a header should come, the first or a further one
    InHeader           after `<|start|>` or `<|channel|>`, or at a `to=` that stands for one
    HeaderAfterCall    a header after a call
    HeaderInBody       what may be a header inside a message, or its text
    InMessage          text goes to the body of the message
    InStrippedMessage  the same in a reply whose markers were lost on the way

Each takes text in any pieces, and whole markers. It returns the next state and the text
left for it. edge_states.py has the states around a body. The rules are in harmony.md.
"""

from __future__ import annotations

from .arguments import Closed
from .body import MARKERS_OF_HEADER, Body, Output, Sink, body_of
from .edge_states import (
    MAX_HEADER,
    AfterCall,
    AfterTerminator,
    BeforeBody,
    BehindLabel,
    State,
    Step,
    cut,
    read,
)
from .events import AnswerDelta, ReasoningDelta
from .header import (
    BARE_WAIT,
    LONGEST_ROLE,
    Header,
    bare_body_at,
    begins_in_body,
    implied_header,
    is_assistants,
    is_only_role,
    is_plain_call,
    parse_header,
    split_bare,
    text_of,
)
from .lexer import MARKER
from .markers import ANALYSIS, CALL, CHANNEL, CONSTRAIN, END, MESSAGE, START
from .stripped import (
    FILLERS,
    FILLERS_SO_FAR,
    FINAL_START,
    RECIPIENT_START,
    RECIPIENT_START_SO_FAR,
    SEPARATOR,
    TO_CALL,
    holds_none,
    label_at_start,
    tail_at,
)

_BEGINNERS = (START, CHANNEL, MESSAGE)
_SHORTEST_BARE = len("to=") + BARE_WAIT  # the least behind a marker that is a body


class BetweenMessages:
    """A header should come. Blanks and filler words wait; any other text is an answer."""

    plain: Sink = None

    __slots__ = ("_first", "_held", "_out")

    def __init__(self, out: Output, first: bool = False) -> None:
        self._out = out
        self._first = first  # whether nothing but blanks and fillers came before
        self._held = ""

    def text(self, text: str) -> Step:
        more_blanks = text.isspace() and self._held[-1:].isspace()
        self._held += text
        if more_blanks and len(self._held) <= MAX_HEADER:  # it still waits
            return self, ""
        start = self._held[:MAX_HEADER]  # this alone decides, in every chunking
        waits = FILLERS_SO_FAR.fullmatch(start)
        if self._first:
            if step := self._begin_stripped(start):
                return step
            waits = waits or RECIPIENT_START_SO_FAR.fullmatch(start)
        if waits and len(self._held) <= MAX_HEADER:
            return self, ""
        return self._answer()

    def _begin_stripped(self, start: str) -> Step | None:
        """The first message, if it begins with the words of a stripped header."""
        if end := label_at_start(start):
            sink = ReasoningDelta if start[:end].endswith(ANALYSIS) else AnswerDelta
            message = InStrippedMessage(self._out, Body(self._out, sink))
            return BehindLabel(message), self._held[end:]
        if recipient := RECIPIENT_START.match(start):
            lead, rest = recipient[1], self._held[recipient.end(1) :]
            return InHeader(self._out, lead=lead), rest
        return None

    def _answer(self) -> Step:
        if self._first and (final := FINAL_START.match(self._held[:MAX_HEADER])):
            return BehindLabel(_answer(self._out)), self._held[final.end() :]
        return _answer(self._out), self._held

    def marker(self, marker: str) -> State:
        if not FILLERS.fullmatch(self._held):
            return read(*self._answer()).marker(marker)
        if marker in (START, CHANNEL):
            return InHeader(self._out, marker)
        if marker == MESSAGE:
            return _answer(self._out)
        self._held, self._first = "", False  # a stray token
        return self

    def end(self, closed: Closed) -> str:
        if FILLERS.fullmatch(self._held):
            return ""
        return read(*self._answer()).end(closed)


class InHeader:
    """Collects a header until `<|message|>`, or until it can no longer be one (rule 5).

    With a `lead` it begins at a `to=`, and an implied header stands in for the lead.
    """

    plain: Sink = None

    __slots__ = ("_held", "_implied", "_lead", "_look_at", "_out")

    def __init__(self, out: Output, held: str = "", lead: str | None = None) -> None:
        self._out = out
        self._held = held
        self._lead = lead or ""
        self._implied = "" if lead is None else implied_header(lead)
        self._look_at = _SHORTEST_BARE  # length at which a body may have begun

    def text(self, text: str) -> Step:
        self._held += text
        size = len(self._implied) + len(self._held)
        begins_call = "{" in text and "to=" in self._held
        if (begins_call or size >= self._look_at) and (step := self._bare_message()):
            return step
        return self._give_up() if size > MAX_HEADER else (self, "")

    def marker(self, marker: str) -> State:
        raw = self._implied + self._held
        if marker == MESSAGE:
            return self._message(raw)
        if marker == CHANNEL:  # a body is looked for behind the last one
            self._look_at = len(raw) + len(CHANNEL) + _SHORTEST_BARE
        if marker in (CHANNEL, CONSTRAIN) or (marker == START and is_only_role(raw)):
            return read(self, marker)
        return read(*self._give_up()).marker(marker)

    def end(self, closed: Closed) -> str:
        return read(*self._give_up()).end(closed)

    def _message(self, raw: str, stripped: bool = False) -> State:
        header = parse_header(raw, self._out.tools, self._out.called)
        return state_in(self._out, header, stripped)

    def _is_unmarked(self) -> bool:
        """Whether only its `to=` makes it a header: no marker came yet."""
        return self._implied != "" and not MARKER.search(self._held)

    def _bare_message(self) -> Step | None:
        """The message without `<|message|>`, once its body must have begun."""
        raw = self._implied + self._held
        at = bare_body_at(raw)
        self._look_at = at or len(raw) + BARE_WAIT + 1  # a word's end is missing
        if not 0 < at <= min(len(raw), MAX_HEADER):
            return None
        return self._begin_bare(raw[:at], raw[at:]) or self._as_text()

    def _begin_bare(self, raw: str, text: str) -> Step | None:
        unmarked = self._is_unmarked()  # then it is counted already
        self._out.markers += 0 if unmarked else MARKERS_OF_HEADER - 1
        if unmarked and not is_plain_call(raw, self._out.tools):
            return None
        header, body = split_bare(raw, self._out.tools) or ("", "")
        if not header or not (unmarked or self._may_be_bare(header)):
            return None
        return self._message(header, unmarked), self._out.as_text(body + text)

    def _may_be_bare(self, raw: str) -> bool:
        """Whether this header may lack its `<|message|>`."""
        return True

    def _is_call(self, raw: str) -> bool:
        return parse_header(raw, self._out.tools).recipient in self._out.tools

    def _give_up(self) -> Step:
        """Make the best of a header that stays incomplete (rule 5)."""
        raw = self._implied + self._held
        start, rest = raw[: MAX_HEADER + 1], raw[MAX_HEADER + 1 :]
        call_too_long = len(raw) > MAX_HEADER and "to=" in start
        if not call_too_long and (step := self._begin_bare(start, rest)):
            return step
        return self._as_text()

    def _as_text(self) -> Step:
        """What it is if it is not a header: an answer, or markup that is dropped."""
        raw = self._implied + self._held
        if len(raw) > MAX_HEADER or self._is_unmarked():
            return _answer(self._out), self._lead + self._out.as_text(self._held)
        text = text_of(raw)
        return _answer(self._out) if text else BetweenMessages(self._out), text


class HeaderAfterCall(InHeader):
    """After a call only a whole message or a further call counts (rule 10)."""

    __slots__ = ("_is_assistants",)

    def __init__(self, out: Output, held: str) -> None:
        super().__init__(out, held)
        self._is_assistants: bool | None = None  # not known yet

    def text(self, text: str) -> Step:
        if self._is_assistants is None and len(self._held) < LONGEST_ROLE:
            self._is_assistants = is_assistants(self._held + text)
            if self._is_assistants is False:
                self._out.no_message_follows()
        return super().text(text)

    def _may_be_bare(self, raw: str) -> bool:
        return self._is_call(raw)

    def _as_text(self) -> Step:
        self._out.no_message_follows()
        return _after_call(self._out), ""


class HeaderInBody(InHeader):
    """A candidate: it is text of the open message unless it becomes a header (rule 4)."""

    __slots__ = ("_begins", "_open")

    def __init__(
        self, out: Output, message: InMessage, held: str = "", lead: str | None = None
    ) -> None:
        super().__init__(out, held, lead)
        self._open = message
        self._begins = lead is not None  # whether it begins like a header

    def text(self, text: str) -> Step:
        if not self._begins:
            begins = begins_in_body(self._held + text, self._out.tools)
            if not begins:
                self._held += text
                waits = begins is None and len(self._held) <= MAX_HEADER
                return (self, "") if waits else self._as_text()
            self._begins = True
        return super().text(text)

    def marker(self, marker: str) -> State:
        if not self._begins:
            begins = begins_in_body(self._held, self._out.tools, marker)
            if begins is None and len(self._held) <= MAX_HEADER:
                self._held += marker  # a doubled start
                return self
            if not begins:
                return read(*self._give_up()).marker(marker)
            self._begins = True
        return super().marker(marker)

    def end(self, closed: Closed) -> str:
        raw = self._implied + self._held
        quotable = self._open.body.is_answer and not self._out.aligned
        may_call = closed != "cut" and not quotable and self._is_call(raw)
        call = self._begin_bare(raw, "") if may_call else None
        return read(*(call or self._give_up())).end(closed)

    def _message(self, raw: str, stripped: bool = False) -> State:
        self._open.end("message")
        return super()._message(raw, stripped)

    def _may_be_bare(self, raw: str) -> bool:
        return self._open.body.is_call or self._is_call(raw)

    def _give_up(self) -> Step:
        may_begin = self._is_unmarked() or self._open.body.is_call
        bare = may_begin and self._begin_bare(self._implied + self._held, "")
        return bare or self._as_text()

    def _as_text(self) -> Step:
        if not self._implied:
            return self._open, self._out.as_text(self._held)
        self._open.body.emit(self._lead + "to=")
        return self._open, self._out.as_text(self._held.removeprefix("to="))


class InMessage:
    """Inside a message: text goes to its body until a marker ends it."""

    __slots__ = ("_out", "body", "plain")

    def __init__(self, out: Output, body: Body) -> None:
        self._out = out
        self.body = body
        self.plain: Sink = None if body.is_further_thought else body.sink

    def text(self, text: str) -> Step:
        self.body.emit(text)
        self.plain = self.body.sink
        return self, ""

    def marker(self, marker: str) -> State:
        if self.body.quotes():
            self.body.emit(marker)
            return self
        if marker in (START, CHANNEL):
            return HeaderInBody(self._out, self, marker)
        if marker in (MESSAGE, CONSTRAIN):
            self.body.emit(self._out.as_text(marker))
            return self
        if self.body.may_go_on(marker):
            stops = _BEGINNERS if self.body.is_answer else (*_BEGINNERS, END)
            return AfterTerminator(self, marker, BetweenMessages(self._out), stops)
        self.end("call" if marker == CALL else "message")
        closed_call = self.body.is_call and marker == CALL
        return _after_call(self._out) if closed_call else BetweenMessages(self._out)

    def end(self, closed: Closed) -> str:
        return self.body.end(closed)


class InStrippedMessage(InMessage):
    """A message that ends at the words left of the next header (rule 7)."""

    __slots__ = ("_tail",)

    def __init__(self, out: Output, body: Body) -> None:
        super().__init__(out, body)
        self.plain = None
        self._tail = ""  # what may become such words

    def text(self, text: str) -> Step:
        text, self._tail = self._tail + text, ""
        if holds_none(text):
            self.body.emit(text)
            return self, ""
        start = 0
        for words in SEPARATOR.finditer(text):
            self.body.emit(text[start : words.start()])
            start = words.end()
            if self.body.may_end():
                return self._behind(words[1], text[start:])
            self.body.emit(words[0])
        end = tail_at(text, start)
        self._tail = text[end:]
        self.body.emit(text[start:end])
        return self, ""

    def _behind(self, words: str, text: str) -> Step:
        """The state after a separator."""
        if words in TO_CALL:  # may be text after all, so this message stays open
            at = words.index("to=")
            header = HeaderInBody(self._out, self, lead=words[:at])
            return header, words[at:] + text
        self.end("message")
        if words.endswith("final"):
            return BehindLabel(_answer(self._out)), text
        sink = ReasoningDelta if words.endswith(ANALYSIS) else AnswerDelta
        message = InStrippedMessage(self._out, Body(self._out, sink))
        return BehindLabel(
            message,
            lambda blanks: HeaderInBody(self._out, message, lead=words + blanks),
        ), text

    def marker(self, marker: str) -> State:
        self._flush()
        return super().marker(marker)

    def end(self, closed: Closed) -> str:
        self._flush()
        return super().end(closed)

    def _flush(self) -> None:
        self.body.emit(self._tail)
        self._tail = ""


def _answer(out: Output) -> InMessage:
    return InMessage(out, Body(out, AnswerDelta))


def _after_call(out: Output) -> State:
    return AfterCall(out, HeaderAfterCall, lambda: InMessage(out, Body(out)))


def state_in(out: Output, header: Header, stripped: bool = False) -> State:
    """The state inside the message that a header begins."""
    invented = header.audience == "tool" and bool(out.called)
    if invented or (header.recipient and not out.may_begin_call()):
        return cut(out, incomplete=not invented)
    message = (InStrippedMessage if stripped else InMessage)(out, body_of(header, out))
    return BeforeBody(message) if header.blank_first else message

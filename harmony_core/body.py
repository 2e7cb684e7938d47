"""What the parser's states write to: the events, and the body of the open message.

The rules are those of harmony.md.
"""

from __future__ import annotations

from .arguments import Arguments, Closed, SettledCall
from .events import AnswerDelta, Event, FurtherThought, ReasoningDelta, ToolCall
from .header import Header
from .lexer import MARKER
from .markers import ANALYSIS, END, TERMINATORS

Sink = type[ReasoningDelta] | type[AnswerDelta] | None

MAX_CALLS = 100
"""Messages to tools in one reply; a model that makes more repeats itself for ever."""

MAX_MARKERS = 512
"""Markers in one reply; a model that sends more repeats itself for ever, too."""

MARKERS_OF_HEADER = 4  # also of one that lost them, because it costs as much


class Output:
    """The events so far, and what their calls mean for the rest of the reply."""

    __slots__ = (
        "aligned", "call_messages", "call_prefix", "called", "calls", "events",
        "executable", "incomplete", "markers", "over", "rereading", "thought", "tools",
    )  # fmt: skip

    def __init__(self, tools: tuple[str, ...]) -> None:
        self.tools = tools  # longest first, as header.py wants them
        self.aligned = False
        self.call_prefix = "call"
        self.events: list[Event] = []
        self.call_messages = 0  # begun so far
        self.calls = 0  # the number of the last call
        self.called: set[str] = set()  # names, those of dropped calls too
        self.executable = False  # a call was made that the host will execute
        self.incomplete = False  # a call was dropped, or the reply was cut
        self.markers = 0  # read so far
        self.over = False  # a call is executable, and no message follows it
        self.thought = False  # a message of thinking was begun
        self.rereading = False  # rereading what an unclosed string swallowed

    def end_call(self, name: str, settled: list[SettledCall]) -> None:
        """Emit the calls that a message to a tool makes, mostly one."""
        self.called.add(name)
        self.incomplete |= not settled
        for call_name, text, valid in settled:
            self.calls += 1
            self.called.add(call_name)
            call = ToolCall(
                f"{self.call_prefix}_{self.calls}",
                call_name,
                text,
                valid and not self.rereading,
                declared=call_name in self.tools,
            )
            self.executable |= call.executable
            self.events.append(call)

    def may_mark(self, markers: int = 1) -> bool:
        """Count markers, or the words left of them; False if there are too many (rule 10)."""
        self.markers += markers
        return self.markers <= MAX_MARKERS

    def may_begin_call(self) -> bool:
        """Count a message to a tool; False if there are too many (rule 10)."""
        self.call_messages += 1
        return self.call_messages <= MAX_CALLS

    def no_message_follows(self) -> None:
        """Note that what follows is not a further message."""
        self.over = self.executable

    def as_text(self, text: str) -> str:
        """Text with markers, as a reader sees it: real control tokens are hidden."""
        return MARKER.sub("", text) if self.aligned else text


class Body:
    """The body of a message: events of a `sink`, arguments of a `call`, or dropped."""

    __slots__ = ("_arguments", "_call", "_out", "is_further_thought", "sink")

    def __init__(self, out: Output, sink: Sink = None, call: str = "") -> None:
        self._out = out
        self.sink = sink
        self._call = call
        self._arguments = Arguments() if call else None
        self.is_further_thought = sink is ReasoningDelta and out.thought
        out.thought |= sink is ReasoningDelta

    @property
    def is_answer(self) -> bool:
        """Whether a reader sees its text, which may be about markers."""
        return self.sink is AnswerDelta

    @property
    def is_call(self) -> bool:
        """Whether it holds the arguments of a call."""
        return self._arguments is not None

    def emit(self, text: str) -> None:
        """Take text that certainly belongs to this message."""
        if not text:
            return
        if self._arguments is not None:
            self._arguments.append(text)
        elif self.is_further_thought:
            self.is_further_thought = False
            self._out.events.append(FurtherThought(text))
        elif self.sink:
            self._out.events.append(self.sink(text))

    def in_string(self) -> bool:
        """Whether the arguments so far end inside a JSON string."""
        return self._arguments is not None and self._arguments.in_string()

    def may_end(self) -> bool:
        """Whether the words of a stripped header may end the message (rule 7)."""
        return not self.in_string() and self._out.may_mark(MARKERS_OF_HEADER)

    def quotes(self) -> bool:
        """Whether markers are text here: in a JSON string, if not aligned (rule 6)."""
        return not (self._out.aligned or self._out.rereading) and self.in_string()

    def may_go_on(self, marker: str) -> bool:
        """Whether text after this terminator still belongs to the message (rule 9)."""
        if self._out.aligned:
            return False
        if self.is_answer or marker not in TERMINATORS:
            return True
        return self.sink is ReasoningDelta and marker != END

    def end(self, closed: Closed) -> str:
        """Settle a call; returns what an unclosed string has swallowed (rule 6)."""
        if self._arguments is None:
            return ""
        tools = self._out.tools
        settled = self._arguments.settle(self._call, tools, closed)
        self._out.end_call(self._call, settled)
        if settled or not self.quotes():
            return ""
        return self._arguments.quoted_header(tools)


def body_of(header: Header, out: Output) -> Body:
    """The body of the message that a header begins."""
    if header.audience != "user":
        return Body(out)
    if header.recipient:
        return Body(out, call=header.recipient)
    return Body(out, ReasoningDelta if header.channel == ANALYSIS else AnswerDelta)

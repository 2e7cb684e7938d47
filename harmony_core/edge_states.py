"""What every state of the parser offers, and the states at the edges of a message.

The edge states wait for the text that shows where a body begins or ends. They know no
other states.
The rules are those of harmony.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .arguments import Closed
from .body import Output, Sink
from .markers import CHANNEL, CONSTRAIN, MESSAGE, START
from .stripped import FILLERS, FILLERS_SO_FAR, LABEL_SO_FAR, LABEL_TO, behind_label

MAX_HEADER = 512
"""Most characters of a header, or of blanks and fillers between messages; more is text."""


class State(Protocol):
    """What the parser is in the middle of."""

    @property
    def plain(self) -> Sink:
        """The event for text without "<"; None if such text has to be looked at."""

    def text(self, text: str) -> Step: ...
    def marker(self, marker: str) -> State: ...
    def end(self, closed: Closed) -> str:
        """End the reply here. Returns text to read again (rule 6), mostly ""."""


Step = tuple[State, str]
"""The next state, and the text left for it to read."""


def read(state: State, text: str) -> State:
    """Pass a text from state to state until all is read; returns the last state."""
    while text:
        state, text = state.text(text)
    return state


class BeforeBody:
    """Drops one blank at the start of a body: LLM-jp-4 writes one after each marker."""

    plain: Sink = None

    __slots__ = ("_message",)

    def __init__(self, message: State) -> None:
        self._message = message

    def text(self, text: str) -> Step:
        return self._message, text[1:] if text[0].isspace() else text

    def marker(self, marker: str) -> State:
        return self._message.marker(marker)

    def end(self, closed: Closed) -> str:
        return self._message.end(closed)


class BehindLabel:
    """After a stripped header: drops its colon and line breaks; a `to=` makes it a call."""

    plain: Sink = None

    __slots__ = ("_call", "_held", "_message")

    def __init__(
        self, message: State, call: Callable[[str], State] | None = None
    ) -> None:
        self._message = message
        self._call = call  # makes the state for a recipient from the blanks before it
        self._held = ""

    def text(self, text: str) -> Step:
        self._held += text
        if self._call and (to := LABEL_TO.match(self._held)):
            return self._call(to[1]), self._held[to.end(1) :]
        waits = LABEL_SO_FAR.fullmatch(self._held)
        if waits and len(self._held) <= MAX_HEADER:
            return self, ""
        return self._message, behind_label(self._held)

    def marker(self, marker: str) -> State:
        return read(self._message, behind_label(self._held)).marker(marker)

    def end(self, closed: Closed) -> str:
        return read(self._message, behind_label(self._held)).end(closed)


class AfterTerminator:
    """A terminator ends the message, unless text other than fillers follows (rule 9)."""

    plain: Sink = None

    __slots__ = ("_ended", "_fillers", "_held", "_message", "_stops")

    def __init__(
        self, message: State, marker: str, ended: State, stops: tuple[str, ...]
    ) -> None:
        self._message = message
        self._ended = ended  # the state after the message
        self._stops = stops  # markers that show that the message has ended
        self._held = marker  # terminators and fillers
        self._fillers = ""  # those after the last terminator

    def text(self, text: str) -> Step:
        self._held += text
        self._fillers += text
        waits = FILLERS_SO_FAR.fullmatch(self._fillers)
        if waits and len(self._held) <= MAX_HEADER:
            return self, ""
        return self._message, self._held

    def marker(self, marker: str) -> State:
        if marker == CONSTRAIN or not FILLERS.fullmatch(self._fillers):
            return read(self._message, self._held).marker(marker)
        if marker in self._stops:
            self._message.end("message")
            return self._ended.marker(marker)
        self._held += marker
        self._fillers = ""
        too_long = len(self._held) > MAX_HEADER
        return read(self._message, self._held) if too_long else self

    def end(self, closed: Closed) -> str:
        if FILLERS.fullmatch(self._fillers):
            return self._message.end(closed)
        return read(self._message, self._held).end(closed)


class AfterCall:
    """After `<|call|>`: text is dropped, and only a whole message counts (rule 10)."""

    plain: Sink = None

    __slots__ = ("_header", "_held", "_hidden", "_out")

    def __init__(
        self,
        out: Output,
        header: Callable[[Output, str], State],
        hidden: Callable[[], State],
    ) -> None:
        self._out = out
        self._header = header  # makes the state for a header that begins with a marker
        self._hidden = hidden  # makes the state for a message without a header
        self._held = ""

    def text(self, text: str) -> Step:
        self._held = (self._held + text)[: MAX_HEADER + 1]
        if len(self._held) > MAX_HEADER or not FILLERS_SO_FAR.fullmatch(self._held):
            self._out.no_message_follows()
        return self, ""

    def marker(self, marker: str) -> State:
        if marker in (START, CHANNEL):
            return self._header(self._out, marker)
        if marker == MESSAGE:
            self._out.no_message_follows()
            return self._hidden()
        return self

    def end(self, closed: Closed) -> str:
        return ""


class AfterEnd:
    """The model speaks for a tool, or repeats itself: all that follows is dropped (rule 10)."""

    plain: Sink = None

    def text(self, text: str) -> Step:
        return self, ""

    def marker(self, marker: str) -> State:
        return self

    def end(self, closed: Closed) -> str:
        return ""


def cut(out: Output, incomplete: bool = True) -> State:
    """The state behind the last message that counts: what follows is dropped."""
    out.incomplete |= incomplete
    out.no_message_follows()
    return AfterEnd()

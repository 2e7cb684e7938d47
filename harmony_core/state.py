"""What a state of the parser is, what it writes, and how one leads to the next."""

from __future__ import annotations

from .arguments import Arguments, Closed
from .events import AnswerDelta, Event, ReasoningDelta, ToolCall
from .lexer import MARKER

Sink = type[ReasoningDelta] | type[AnswerDelta] | None
"""What text becomes; None where it is not shown."""


class Output:
    """The events so far, and what a state has to know beyond its own message."""

    __slots__ = (
        "aligned", "call_prefix", "calls", "events", "executable", "incomplete", "tools"
    )  # fmt: skip

    def __init__(self, tools: tuple[str, ...]) -> None:
        self.tools = tools  # longest first, for parse_header
        self.aligned = False
        self.call_prefix = "call"
        self.events: list[Event] = []
        self.calls = 0
        self.executable = False  # a call was made that the host will execute
        self.incomplete = False  # a call was dropped

    def end_call(self, name: str, arguments: Arguments, closed: Closed) -> None:
        """Emit a call, or drop it if its arguments are incomplete (harmony.md, rule 6)."""
        settled = arguments.settle(closed)
        if settled is None:
            self.incomplete = True
            return
        self.calls += 1
        call_id = f"{self.call_prefix}_{self.calls}"
        call = ToolCall(call_id, name, *settled, declared=name in self.tools)
        self.executable |= call.executable
        self.events.append(call)

    def as_text(self, text: str) -> str:
        """Text that holds markers, as a reader sees it: never a real one (rule 9)."""
        return MARKER.sub("", text) if self.aligned else text

    def take_events(self) -> list[Event]:
        """The events since the last time."""
        events, self.events = self.events, []
        return events


Step = tuple["State", str]
"""The next state, and the text that is left for it to read."""


class State:
    """What the parser is in the middle of."""

    __slots__ = ()

    plain: Sink = None
    """What text without "<" becomes as it is; None where it has to be read."""

    def text(self, text: str) -> Step:
        """Read text, which is not empty."""
        raise NotImplementedError

    def marker(self, marker: str) -> State | None:
        """Read a marker. None: it cannot wait any longer for what it holds."""
        raise NotImplementedError

    def give_up(self) -> Step:
        """Wait no longer for what is held; the state itself where nothing is."""
        return self, ""

    def end(self, closed: Closed) -> None:
        """The message ends here."""


def read(state: State, text: str) -> State:
    """Let the states read a text, one after the other, and return the last one."""
    while text:
        state, text = state.text(text)
    return state


def read_marker(state: State, marker: str) -> State:
    """Let the states give up what they wait for until one of them takes the marker."""
    while (following := state.marker(marker)) is None:
        state = read(*state.give_up())
    return following


def settle(state: State) -> State:
    """Let the states give up what they wait for until nothing is held."""
    while (step := state.give_up())[0] is not state:
        state = read(*step)
    return state

"""HarmonyParser: raw Harmony text in any chunking -> thinking, answer and tool calls.

Theory of operation. The lexer cuts the input into plain text and control strings. The
states (`states.py`) turn both into events. Most text is thinking or answer and has no
"<", so `feed` makes it a delta at once. A marker's length, MAX_HEADER and MAX_ARGUMENTS
bound what is held. The rules are those of harmony.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .arguments import Closed
from .body import Output, Sink
from .edge_states import AfterCall, AfterEnd, State, cut, read
from .events import Event, Finish, FinishReason, Reply, collect
from .lexer import Lexer
from .states import BetweenMessages

_LONGEST_PIECE = 512
"""Longest piece read at once. Bounds copying: each state copies the text that it leaves."""


class HarmonyParser:
    """Takes a gpt-oss reply apart in any chunking; never raises, never loses text.

    `tools` are the names that the caller offered. They resolve sloppy recipients and
    decide `ToolCall.declared`. With `aligned` each `feed` is exactly one delta of a
    token-aligned server; it may be changed between feeds. Tool calls get the ids
    `{call_prefix}_1`, `{call_prefix}_2` and so on.
    """

    def __init__(
        self,
        tools: Iterable[str] = (),
        aligned: bool = False,
        call_prefix: str = "call",
    ) -> None:
        self._lexer = Lexer()
        self._out = Output(tuple(sorted(tools, key=len, reverse=True)))
        self.aligned = aligned
        self.call_prefix = call_prefix
        self._state: State = BetweenMessages(self._out, first=True)
        self._plain: Sink = None  # what text without "<" becomes; None: look at it
        self._closed = False

    @property
    def aligned(self) -> bool:
        """Whether each `feed` is one delta of a token-aligned server (rule 9)."""
        return self._out.aligned

    @aligned.setter
    def aligned(self, aligned: bool) -> None:
        self._out.aligned = aligned

    @property
    def call_prefix(self) -> str:
        """The prefix for the ids of further calls."""
        return self._out.call_prefix

    @call_prefix.setter
    def call_prefix(self, prefix: str) -> None:
        self._out.call_prefix = prefix

    @property
    def over(self) -> bool:
        """Whether nothing more follows an executable call: the host may hang up."""
        return self._out.over

    @property
    def call_closed(self) -> bool:
        """Whether the last message was an executable call that `<|call|>` closed."""
        return self._out.executable and isinstance(self._state, AfterCall)

    def feed(self, text: str) -> list[Event]:
        """Take the next piece of the reply and return what it brought."""
        plain = self._plain
        if plain is not None and "<" not in text:
            return [plain(text)] if text else []
        lexer = self._lexer
        if "<" not in text and not lexer.held:
            self._read(text)
        else:
            self._read_parts(
                lexer.delta(text) if self._out.aligned else lexer.text(text)
            )
        self._plain = None if lexer.held else self._state.plain
        return self._take_events()

    def close(self, finish_reason: FinishReason = "stop") -> list[Event]:
        """End the reply: emit what is held, settle an open call, then `Finish`."""
        if self._closed:
            return []
        self._closed, self._plain = True, None
        cut = finish_reason not in ("stop", "tool_calls")
        closed: Closed = "cut" if cut else "message"
        self._read(self._lexer.held)
        if swallowed := self._state.end(closed):
            self._reread(swallowed)
            self._state.end(closed)
        self._state, self._lexer = AfterEnd(), Lexer()
        if finish_reason == "stop" and self._out.executable:
            finish_reason = "tool_calls"
        truncated = cut or self._out.incomplete
        self._out.events.append(Finish(finish_reason, truncated))
        return self._take_events()

    def _reread(self, text: str) -> None:
        """Read what an unclosed JSON string had swallowed (rule 6)."""
        self._out.rereading = True
        self._state, lexer = BetweenMessages(self._out), Lexer()
        self._read_parts(lexer.text(text))
        self._read(lexer.held)

    def _read_parts(self, parts: Sequence[str]) -> None:
        """Read text and markers by turns; text comes first and last."""
        self._read(parts[0])
        for at in range(1, len(parts), 2):
            if not self._out.may_mark():
                self._state.end("cut")
                self._state = cut(self._out)
                return
            self._state = self._state.marker(parts[at])
            self._read(parts[at + 1])

    def _read(self, text: str) -> None:
        if len(text) <= _LONGEST_PIECE:
            state = self._state
            while text:
                state, text = state.text(text)
            self._state = state
            return
        for at in range(0, len(text), _LONGEST_PIECE):
            self._state = read(self._state, text[at : at + _LONGEST_PIECE])

    def _take_events(self) -> list[Event]:
        events, self._out.events = self._out.events, []
        return events


def parse(
    text: str, tools: Iterable[str] = (), finish_reason: FinishReason = "stop"
) -> Reply:
    """Read a whole raw reply."""
    parser = HarmonyParser(tools)
    return collect([*parser.feed(text), *parser.close(finish_reason)])

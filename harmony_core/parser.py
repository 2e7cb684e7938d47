"""HarmonyParser: raw Harmony text in any chunking -> thinking, answer and tool calls.

Theory of operation. Text goes through two layers. The *lexer* (lexer.py) cuts it into
plain text and control strings ("markers"). The *states* (states.py) make events of both,
and each of them names the state that comes next; the parser only keeps the current one.

Most text comes inside thinking or answer and has no "<": `feed` makes it a delta at
once. What is held is bounded by a marker's length, MAX_HEADER and MAX_ARGUMENTS.
"""

from __future__ import annotations

from collections.abc import Iterable

from .events import Event, Finish, FinishReason, Reply, collect
from .lexer import Lexer
from .state import Output, Sink, State, read, read_marker, settle
from .states import AtStart, Invented

_LONGEST_PIECE = 512
"""Characters read at once: each state copies what it leaves to the next one."""


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
        self._out = Output(tuple(sorted(tools, key=len, reverse=True)))
        self._lexer = Lexer()
        self._state: State = AtStart(self._out)
        self._plain: Sink = None  # what text without "<" becomes, if that is certain
        self._closed = False

    def feed(self, text: str) -> list[Event]:
        """Take the next piece of the reply and return what it brought."""
        plain = self._plain
        if plain is not None and "<" not in text:
            return [plain(text)] if text else []
        out, lexer = self._out, self._lexer
        out.aligned, out.call_prefix = self.aligned, self.call_prefix
        if "<" not in text and not lexer.held:
            self._read(text)
        else:
            split = lexer.split_delta if self.aligned else lexer.split_text
            parts = split(text)
            self._read(parts[0])
            for at in range(1, len(parts), 2):
                self._state = read_marker(self._state, parts[at])
                self._read(parts[at + 1])
        self._plain = None if lexer.held else self._state.plain
        return out.take_events()

    def close(self, finish_reason: FinishReason = "stop") -> list[Event]:
        """End the reply: flush what is held, settle an open call, then `Finish`."""
        if self._closed:
            return []
        out = self._out
        out.aligned, out.call_prefix = self.aligned, self.call_prefix
        cut = finish_reason not in ("stop", "tool_calls")
        self._read(self._lexer.held)
        settle(self._state).end("cut" if cut else "message")
        self._closed, self._plain = True, None
        self._lexer, self._state = Lexer(), Invented()  # whatever comes is dropped
        if finish_reason == "stop" and out.executable:
            finish_reason = "tool_calls"
        out.events.append(Finish(finish_reason, truncated=cut or out.incomplete))
        return out.take_events()

    def _read(self, text: str) -> None:
        if len(text) <= _LONGEST_PIECE:
            self._state = read(self._state, text)
            return
        for at in range(0, len(text), _LONGEST_PIECE):
            self._state = read(self._state, text[at : at + _LONGEST_PIECE])


def parse(
    text: str, tools: Iterable[str] = (), finish_reason: FinishReason = "stop"
) -> Reply:
    """Take a whole raw reply apart."""
    parser = HarmonyParser(tools)
    return collect([*parser.feed(text), *parser.close(finish_reason)])

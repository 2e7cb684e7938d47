"""The text of one reply, delta by delta: Harmony, a leading `<think>` block, or plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from .events import AnswerDelta, Event, Finish, FinishReason, ReasoningDelta
from .jsontext import Json, dump_json
from .markers import CONTROL_TOKENS
from .parser import HarmonyParser

MAX_THINK_LEAD: Final = 64
"""Characters, blanks mostly, that may stand before `<think>` at the start of a reply."""

_THINK_OPEN: Final = "<think>"
_THINK_CLOSE: Final = "</think>"

_LONGEST_CONTROL: Final = max(map(len, CONTROL_TOKENS))
_CONTROL: Final = re.compile("|".join(map(re.escape, CONTROL_TOKENS)))
# One control token as the server sends it: alone, or behind bytes that it held back (harmony.md, rule 9).
_WHOLE_CONTROL: Final = re.compile(rf"[ \ufffd]*(?:{_CONTROL.pattern})")


class ReplyText:
    """Tell a reply's thinking from its answer, whatever spelling the text uses; never raises.

    The first characters decide: `<think>` (models other than gpt-oss on servers that do not split it),
    else Harmony, which covers text without any markup. `be_plain` is for replies whose reasoning or tool
    calls come in fields of their own: from there on the text is the answer, markers and all.
    """

    def __init__(self, tools: Iterable[str] = ()) -> None:
        self.called = False  # whether a call that may be executed was among the text
        self.incomplete = False  # whether the text was cut, or a call in it dropped as incomplete
        self._joiner = PairJoiner()
        self._parser = HarmonyParser(tools)
        self._take = self._take_start
        self._held: list[str] = []  # deltas that may still begin with `<think>`
        self._close_starts = proper_starts([_THINK_CLOSE])
        self._held_tag = ""  # what may be the start of `</think>`
        self._at_lead = True  # blanks at the start of a `<think>` block or of what follows it are dropped
        self._alignment_open = True  # whether token alignment may still be found or lost
        self._tail = ""

    def name_calls(self, prefix: str) -> None:
        """Set what the ids of tool calls begin with."""
        self._parser.call_prefix = prefix

    def feed(self, delta: str) -> list[Event]:
        """Take the text of exactly one delta."""
        delta = self._joiner.feed(delta)
        return self._take(delta) if delta else []

    def be_plain(self) -> list[Event]:
        """Give out what is held; all text from now on is the answer."""
        if self._take == self._take_plain:
            return []
        events = self.close("stop")
        self._take = self._take_plain
        return events

    def close(self, reason: FinishReason) -> list[Event]:
        """Give out what is held; `called` and `incomplete` are final then."""
        half = self._joiner.flush()
        events = self._take(half) if half else []
        if self._take == self._take_start:
            events += self._release_start()
        if self._take == self._take_thinking:
            events += self._reasoning(self._held_tag)
            self._held_tag = ""
        elif self._take == self._take_harmony:
            *flushed, finish = self._parser.close(reason)
            events += flushed
            self.called = isinstance(finish, Finish) and finish.reason == "tool_calls"
            self.incomplete = isinstance(finish, Finish) and finish.truncated
        return events

    def _take_start(self, delta: str) -> list[Event]:
        self._held.append(delta)
        text = "".join(self._held)
        lead = text.lstrip()
        if lead.startswith(_THINK_OPEN):
            self._take = self._take_thinking
            return self._take_thinking(lead.removeprefix(_THINK_OPEN))
        if _THINK_OPEN.startswith(lead) and len(text) <= MAX_THINK_LEAD:
            return []
        return self._release_start()

    def _release_start(self) -> list[Event]:
        self._take = self._take_harmony
        return [event for delta in self._held for event in self._take_harmony(delta)]

    def _take_harmony(self, delta: str) -> list[Event]:
        if self._alignment_open and (not self._parser.aligned or "|>" in delta):
            self._watch_alignment(delta)
        return self._parser.feed(delta)

    def _watch_alignment(self, delta: str) -> None:
        """Find out whether each delta is one token: the first marker tells, a later one may deny it."""
        if self._parser.aligned:
            if _CONTROL.search(delta) and not _WHOLE_CONTROL.fullmatch(delta):
                self._parser.aligned = self._alignment_open = False
            return
        text = self._tail + delta
        if ">" in delta and _CONTROL.search(text):
            self._parser.aligned = self._alignment_open = _WHOLE_CONTROL.fullmatch(delta) is not None
        self._tail = text[-_LONGEST_CONTROL:]

    def _take_thinking(self, delta: str) -> list[Event]:
        text = self._held_tag + delta
        thinking, closed, answer = text.partition(_THINK_CLOSE)
        if closed:
            events = self._reasoning(thinking)
            self._take = self._take_behind_thinking
            self._at_lead = True
            return events + self._take_behind_thinking(answer)
        held = overlap(text, self._close_starts)
        self._held_tag = text[len(text) - held :]
        return self._reasoning(text[: len(text) - held])

    def _reasoning(self, text: str) -> list[Event]:
        text = self._without_lead(text)
        return [ReasoningDelta(text)] if text else []

    def _take_behind_thinking(self, delta: str) -> list[Event]:
        text = self._without_lead(delta)
        return [AnswerDelta(text)] if text else []

    def _take_plain(self, delta: str) -> list[Event]:
        return [AnswerDelta(delta)]

    def _without_lead(self, text: str) -> str:
        if self._at_lead:
            text = text.lstrip()
            self._at_lead = not text
        return text


class PairJoiner:
    """Join surrogate pairs that a server split over two deltas; a half without its other half is U+FFFD."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> str:
        """Return the text without surrogates; a first half at its end waits for the next delta."""
        if not self._half and text.isascii():
            return text
        text = self._half + text
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return whole_text(text.removesuffix(self._half))

    def flush(self) -> str:
        """Return what a first half that is still waiting comes to."""
        half, self._half = self._half, ""
        return whole_text(half)


def whole_text(text: str) -> str:
    """The text with surrogate pairs joined and lone surrogates replaced by U+FFFD: it can be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def dump_whole(value: Json) -> str:
    """The value as JSON without lone surrogates, for a value that a server sent."""
    try:
        return whole_text(dump_json(value))
    except RecursionError:  # it could be read, but writing needs more of the stack
        return "(nested too deeply)"


def proper_starts(words: Iterable[str]) -> tuple[str, ...]:
    """All that could still become one of the words, the longest first."""
    starts = {word[:size] for word in words for size in range(1, len(word))}
    return tuple(sorted(starts, key=lambda start: (-len(start), start)))


def overlap(text: str, starts: tuple[str, ...]) -> int:
    """How many characters at the end of `text` are one of these starts."""
    if not text.endswith(starts):  # one test for all of them, which is nearly always enough
        return 0
    return next(len(start) for start in starts if text.endswith(start))

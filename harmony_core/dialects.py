"""The content of one reply, delta by delta: its text, and the fields beside it.

The text is Harmony, which covers text without any markup, or begins with a `<think>`
block (models other than gpt-oss on servers that do not split it).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .events import AnswerDelta, Event, Finish, FinishReason, ReasoningDelta
from .jsontext import JsonObject, sent_text
from .markers import CONTROL_TOKENS
from .native_calls import NativeCalls
from .parser import HarmonyParser

MAX_THINK_LEAD: Final = 64
"""Characters, blanks mostly, that may stand before `<think>` at the start of a reply."""

_THINK: Final = "<think>"
_LONGEST_CONTROL: Final = max(map(len, CONTROL_TOKENS))


class UntilWord:
    """Let text pass up to the first of some words; `rest` is what follows that word."""

    def __init__(self, words: Iterable[str]) -> None:
        self.found = False
        self.rest = ""
        self._words = tuple(words)
        starts = {word[:size] for word in self._words for size in range(1, len(word))}
        self._starts = tuple(sorted(starts, key=len, reverse=True))
        self._held = ""  # what could be the start of a word

    def feed(self, text: str) -> str:
        """Return what is certain to stand before any of the words."""
        text = self._held + text
        places = [(at + len(w), at) for w in self._words if (at := text.find(w)) >= 0]
        if places:  # the word that was complete first counts, in every chunking
            end, start = min(places)
            self.found, self.rest, self._held = True, text[end:], ""
            return text[:start]
        self._held = ""
        if text.endswith(self._starts):
            self._held = next(start for start in self._starts if text.endswith(start))
        return text.removesuffix(self._held)

    def flush(self) -> str:
        """Return what is held, because nothing that continues it will come."""
        held, self._held = self._held, ""
        return held


class DeltaReader:
    """Tell a reply's thinking, answer and calls apart, however they are spelled.

    Fields win over markup: once thinking or a call came in a field of its own, text is
    the answer, markers and all. Never raises.
    """

    def __init__(self, tools: Iterable[str] = ()) -> None:
        names = tuple(tools)
        self.deltas = 0  # those that carried text, thinking or a call
        self._native = NativeCalls(names)
        self._parser = HarmonyParser(names)
        self._read = self._read_start
        self._held = ""  # what may still begin with `<think>`
        self._thinking = UntilWord(["</think>"])
        self._sink: type[AnswerDelta] | type[ReasoningDelta] = AnswerDelta
        self._at_edge = False  # whether blanks are dropped: at the edges of `<think>`
        self._truncated = False  # whether text was cut or a call in it dropped
        self._aligning = True  # whether token alignment may still be found or lost
        self._tail = ""  # of the text before the first marker

    def name_calls(self, prefix: str) -> None:
        """Set what the ids of calls begin with, where the server gave none."""
        self._parser.call_prefix = prefix

    def feed(self, delta: JsonObject) -> list[Event]:
        """Take one delta, or a whole message."""
        text, calls = sent_text(delta.get("content")), delta.get("tool_calls")
        # vLLM sends the same in both fields.
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if text or reasoning or calls:
            self.deltas += 1
        if not (reasoning or calls):
            return self._read(text) if text else []
        events = self._stop_searching_markup()
        self._native.add(calls)
        if thought := sent_text(reasoning):
            events.append(ReasoningDelta(thought))
        return events + self._read(text)

    def close(self, reason: FinishReason) -> tuple[list[Event], bool]:
        """Give out all that is held; also whether text was cut or a call dropped."""
        events = self._close_text(reason)
        calls, dropped = self._native.close(reason != "stop", self._parser.call_prefix)
        return [*events, *calls], dropped or self._truncated

    def _stop_searching_markup(self) -> list[Event]:
        if self._read == self._emit and self._sink is AnswerDelta:
            return []
        events = self._close_text("stop")
        self._read, self._sink, self._at_edge = self._emit, AnswerDelta, False
        return events

    def _close_text(self, reason: FinishReason) -> list[Event]:
        waiting = self._read == self._read_start
        events = self._read_harmony(self._held) if waiting else []
        events += self._emit(self._thinking.flush())
        for event in self._parser.close(reason):
            if isinstance(event, Finish):
                self._truncated = event.truncated
            else:
                events.append(event)
        return events

    def _read_start(self, text: str) -> list[Event]:
        self._held += text
        lead = self._held.lstrip()
        if lead.startswith(_THINK):
            self._read = self._read_thinking
            self._sink, self._at_edge = ReasoningDelta, True
            return self._read_thinking(lead.removeprefix(_THINK))
        if _THINK.startswith(lead) and len(self._held) <= MAX_THINK_LEAD:
            return []
        self._read = self._read_harmony
        return self._read_harmony(self._held)

    def _read_harmony(self, text: str) -> list[Event]:
        if self._aligning and ("|>" in text or not self._parser.aligned):
            self._watch_alignment(text)
        return self._parser.feed(text)

    def _watch_alignment(self, delta: str) -> None:
        """Find out whether each delta is one token (harmony.md, rule 9).

        It is if the first marker is a delta by itself, but for bytes that the server held
        back before it, until a marker comes with other text in its delta.
        """
        text = self._tail + delta
        if ">" in delta and any(token in text for token in CONTROL_TOKENS):
            alone = delta.lstrip(" \n\ufffd") in CONTROL_TOKENS
            self._parser.aligned = self._aligning = alone
        self._tail = "" if self._parser.aligned else text[-_LONGEST_CONTROL:]

    def _read_thinking(self, text: str) -> list[Event]:
        events = self._emit(self._thinking.feed(text))
        if self._thinking.found:
            self._read, self._sink, self._at_edge = self._emit, AnswerDelta, True
            events += self._emit(self._thinking.rest)
        return events

    def _emit(self, text: str) -> list[Event]:
        """Pass on text of the kind that is due."""
        if self._at_edge:
            text = text.lstrip()
            self._at_edge = not text
        return [self._sink(text)] if text else []

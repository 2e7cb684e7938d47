"""The content of one reply, delta by delta: its text, and the fields beside it.

The text is Harmony, and text without any markup counts as Harmony. Or it begins with
`<think>` blocks: other models write them, and some servers do not split them off. After
thinking that came in a field or in such a block, the rest is read like a new reply.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .events import AnswerDelta, Event, Finish, FinishReason, ReasoningDelta
from .jsontext import Json, JsonObject, objects_in, sent_text
from .markers import CONTROL_TOKENS
from .native_calls import NativeCalls
from .parser import HarmonyParser
from .stripped import label_at_start

MAX_LEAD: Final = 64
"""Characters, mostly blanks, that may come before a reply shows how it is spelled."""

_LONGEST_THINK_PIECE: Final = 512
"""Longest piece read per call. Bounds recursion: `<think>` blocks nest the readers' calls."""

_LONGEST_CONTROL: Final = max(map(len, CONTROL_TOKENS))
_THINK_TAGS: Final = ("<think>", "<thinking>", "<reasoning>")

# LM Studio and Ollama split off only the thinking. The rest may be Harmony, with or
# without its control tokens (harmony.md, rule 7).
_HARMONY_STARTS: Final = (
    "<|",
    "assistantfinal",
    "to=functions.",
    "assistant to=functions.",
    "commentary to=",
    "assistantcommentary to=",
)
# Whatever begins one of these may still become such a start; `analysis` needs one more
# character.
_UNDECIDED: Final = (
    *_HARMONY_STARTS,
    "analysis.",
    "assistantanalysis.",
    "commentaryanalysis.",
    "assistantcommentary.",
)


class UntilWord:
    """Lets text pass up to the first of some words; `rest` is the text after that word."""

    def __init__(self, words: Iterable[str]) -> None:
        self.found = False
        self.rest = ""
        self._words = tuple(words)
        starts = {word[:size] for word in self._words for size in range(1, len(word))}
        self._starts = tuple(sorted(starts, key=len, reverse=True))
        self._held = ""  # what could be the start of a word

    def feed(self, text: str) -> str:
        """Return the text that certainly stands before any of the words."""
        text = self._held + text
        places = [(at + len(w), at) for w in self._words if (at := text.find(w)) >= 0]
        if places:  # the word that ends first wins, in every chunking
            end, start = min(places)
            self.found, self.rest, self._held = True, text[end:], ""
            return text[:start]
        self._held = ""
        if text.endswith(self._starts):
            self._held = next(start for start in self._starts if text.endswith(start))
        return text.removesuffix(self._held)

    def flush(self) -> str:
        """Return what is held: no more text will come."""
        held, self._held = self._held, ""
        return held


class DeltaReader:
    """Tells a reply's thinking, answer and calls apart, however they are spelled.

    Fields win over markup. Once a call came in a field, all text is the answer, markers
    included. After thinking in a field, text is the answer too, unless it begins like
    Harmony. Never raises.
    """

    def __init__(self, tools: Iterable[str] = ()) -> None:
        self._tools = tuple(tools)
        self.deltas = 0  # those that carried text, thinking or a call
        self._call_prefix = "call"
        self._native = NativeCalls(self._tools)
        self._parser = self._new_parser()
        self._read = self._read_start
        self._held = ""  # the start, until it shows how the reply is spelled
        self._tags: tuple[str, ...] = _THINK_TAGS  # those that may come at the start
        self._anew = False  # whether the start follows thinking
        self._thinking = UntilWord(())
        self._sink: type[AnswerDelta] | type[ReasoningDelta] = AnswerDelta
        self._at_edge = False  # at an edge of `<think>`, where blanks are dropped
        self._truncated = False  # whether text was cut or a call in it dropped
        self._aligning = True  # whether token alignment may still be found or lost
        self._tail = ""  # last characters before the first marker

    @property
    def over(self) -> bool:
        """Whether an executable call came, and nothing more will follow it."""
        return self._parser.over

    @property
    def call_closed(self) -> bool:
        """Whether an executable call is closed and nothing else is open."""
        return self._parser.call_closed

    def name_calls(self, prefix: str) -> None:
        """Set the prefix for the ids of calls that came without one."""
        self._call_prefix = self._parser.call_prefix = prefix

    def feed(self, delta: JsonObject) -> list[Event]:
        """Take one delta, or a whole message."""
        text, calls = _text_in(delta.get("content")), delta.get("tool_calls")
        reasoning = _reasoning_in(delta)
        if not (reasoning or calls):
            return self.feed_texts((text,))
        self.deltas += 1
        events = self._begin_anew() if reasoning else self._stop_searching_markup()
        if reasoning:
            events.append(ReasoningDelta(reasoning))
        if calls:
            events += self._stop_searching_markup()
        events += self._native.add(calls)
        return events + self._read(text) if text else events

    def feed_texts(self, texts: Iterable[str]) -> list[Event]:
        """Take deltas that carry nothing but text."""
        events: list[Event] = []
        for text in texts:
            if text:
                self.deltas += 1
                events += self._read(text)
        return events

    def close(self, reason: FinishReason) -> tuple[list[Event], bool]:
        """Emit all that is held; also tells whether text was cut or a call dropped."""
        events = self._close_text(reason)
        calls, dropped = self._native.close(reason != "stop", self._call_prefix)
        return [*events, *calls], dropped or self._truncated

    def _new_parser(self) -> HarmonyParser:
        return HarmonyParser(self._tools, call_prefix=self._call_prefix)

    def _stop_searching_markup(self) -> list[Event]:
        if self._read == self._emit:
            return []
        events = self._close_text("stop")
        self._read, self._sink, self._at_edge = self._emit, AnswerDelta, False
        return events

    def _begin_anew(self) -> list[Event]:
        """Wait for the reply that follows thinking in a field."""
        if self._read == self._read_start and self._anew and not self._held:
            return []
        events = self._stop_searching_markup()
        self._expect_start(())
        return events

    def _expect_start(self, tags: tuple[str, ...]) -> None:
        self._read, self._sink = self._read_start, AnswerDelta
        self._tags, self._anew, self._held = tags, True, ""

    def _close_text(self, reason: FinishReason) -> list[Event]:
        events = self._decide_start() if self._read == self._read_start else []
        events += self._emit(self._thinking.flush())
        for event in self._parser.close(reason):
            if isinstance(event, Finish):
                self._truncated |= event.truncated
            else:
                events.append(event)
        return events

    def _read_pieces(self, text: str) -> list[Event]:
        events: list[Event] = []
        for at in range(0, len(text), _LONGEST_THINK_PIECE):
            if self._read not in (self._read_start, self._read_thinking):
                return events + self._read(text[at:])
            events += self._read(text[at : at + _LONGEST_THINK_PIECE])
        return events

    def _read_start(self, text: str) -> list[Event]:
        if self._anew and len(text) > _LONGEST_THINK_PIECE:
            return self._read_pieces(text)
        self._held += text
        lead = self._held[:MAX_LEAD].lstrip()
        if tag := next(filter(lead.startswith, self._tags), ""):
            text, self._held = self._held.lstrip().removeprefix(tag), ""
            self._thinking = UntilWord([f"</{tag[1:]}"])
            self._read, self._sink = self._read_thinking, ReasoningDelta
            self._at_edge = not self._anew
            return self._read_pieces(text)
        waits = (*self._tags, *(_UNDECIDED if self._anew else ()))
        if len(self._held) < MAX_LEAD and any(w.startswith(lead) for w in waits):
            return []
        return self._decide_start()

    def _decide_start(self) -> list[Event]:
        """Read the start and all that follows as Harmony, or as an answer in plain text."""
        text, self._held = self._held, ""
        lead = text[:MAX_LEAD].lstrip()
        plain = not (lead.startswith(_HARMONY_STARTS) or label_at_start(lead))
        if self._anew and plain:
            self._read = self._emit
            return self._emit(text)
        if self._anew:
            self._parser, self._aligning, self._tail = self._new_parser(), True, ""
        self._read = self._read_harmony
        return self._read_harmony(text)

    def _read_harmony(self, text: str) -> list[Event]:
        if self._aligning and ("|>" in text or not self._parser.aligned):
            self._watch_alignment(text)
        return self._parser.feed(text)

    def _watch_alignment(self, delta: str) -> None:
        """Find out whether each delta is one token (harmony.md, rule 9).

        It is if the first marker fills its delta, except for bytes that the server held
        back before it. A later marker with other text in its delta ends that.
        """
        text = self._tail + delta
        if ">" in delta and any(token in text for token in CONTROL_TOKENS):
            alone = delta.lstrip(" \n\ufffd") in CONTROL_TOKENS
            self._parser.aligned = self._aligning = alone
        self._tail = "" if self._parser.aligned else text[-_LONGEST_CONTROL:]

    def _read_thinking(self, text: str) -> list[Event]:
        if len(text) > _LONGEST_THINK_PIECE:
            return self._read_pieces(text)
        events = self._emit(self._thinking.feed(text))
        if self._thinking.found:
            self._expect_start(_THINK_TAGS)
            self._at_edge = True
            events += self._read_start(self._thinking.rest)
        return events

    def _emit(self, text: str) -> list[Event]:
        """Emit text as the kind that is due now."""
        if self._at_edge:
            text = text.lstrip()
            self._at_edge = not text
        return [self._sink(text)] if text else []


def _text_in(content: Json) -> str:
    """The text of a string, or of a list of parts."""
    if isinstance(content, list):
        return "".join(sent_text(part.get("text")) for part in objects_in(content))
    return sent_text(content)


def _reasoning_in(delta: JsonObject) -> str:
    """The thinking in the first field that has any; vLLM repeats it in a second one."""
    for name in ("reasoning_content", "reasoning"):
        if text := _text_in(delta.get(name)):
            return text
    details = objects_in(delta.get("reasoning_details"))  # OpenRouter
    return "".join(
        sent_text(part.get("text")) or sent_text(part.get("summary"))
        for part in details
    )

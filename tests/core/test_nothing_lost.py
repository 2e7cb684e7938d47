"""All text of a reply comes out again, unless it is part of a header.

Numbered words are mixed with markers, channels, recipients and blanks. `owed` finds the text that a host must
get. It does so in another way than the parser.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from harmony_core import HarmonyParser, collect
from harmony_core.events import AnswerDelta, Event, ReasoningDelta, ToolCall
from harmony_core.markers import CHANNEL, CONTROL_TOKENS, MESSAGE, START

WORD = re.compile(r"Q\d+z")
MARKERS = re.compile("(" + "|".join(map(re.escape, CONTROL_TOKENS)) + ")")
KNOWN_CHANNEL = re.compile(
    r"[^a-z0-9Q]*(analysis|commentary|final)(?=\s|$|to=|json|code)"
)
FILLERS = re.compile(r"(\s|analysis|commentary|final|assistant)*")
# Text in which words may stand for a header that was lost.
MAY_BE_HEADER = re.compile(r"to=|assistant|commentaryanalysis|<\|constrain\|>")

PIECES = [
    *("analysis", "commentary", "final", "assistant", "json", "assistantfinal"),
    *("assistantcommentary to=", " to=functions.f", "to=f ", "analysisWe think. "),
    *("anal", "assist", "#assist", "#<|", "<", "We think. ", "#", "#", "#", '{"a": "#"}'),
    "<|channel|>commentary to=functions.f <|constrain|>json<|message|>",
    *("<|channel|>commentary", "<|channel|>final #", "<|start|>assistant to=f "),
    *("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
    *("<|start|>assistant", "<|start|>assistant<|channel|>final<|message|>#"),
]  # fmt: skip
BLANKS = [" ", "\n", "\u3000", "\xa0"]

LEADS = ["", "", "analysisWe think. #", "commentary to=functions.f json{}", " to=f "]
fragments = st.tuples(
    st.sampled_from(LEADS).map(lambda lead: [lead]),
    st.lists(
        st.sampled_from([*PIECES, *CONTROL_TOKENS, *CONTROL_TOKENS, *BLANKS]),
        max_size=16,
    ),
).map(lambda parts: parts[0] + parts[1])
HIDDEN = re.compile(r"to=\s*assistant")


def numbered(parts: Iterable[str]) -> list[str]:
    """The fragments with a different word in place of each "#"."""
    return [part.replace("#", f"Q{number}z") for number, part in enumerate(parts)]


def owed(text: str) -> Iterator[str]:
    """The text that can never be part of a header, so that a host must get it.

    This is the text after `<|message|>`, after a terminator and at the start, and the text
    after a known channel unless the header goes on at the next marker. Arguments do not
    count, because mending drops text around their object (rule 6). Text after a call does
    not count either (rule 10).
    """
    markers = [marker for marker in MARKERS.findall(text) if marker != "<|constrain|>"]
    bodies = re.split(
        "|".join(map(re.escape, {*CONTROL_TOKENS} - {"<|constrain|>"})), text
    )
    in_call = False
    for (opening, closing), body, header in zip(
        pairwise(["", *markers, ""]), bodies, ["", *bodies], strict=False
    ):
        header_goes_on = closing in (MESSAGE, CHANNEL)
        in_call |= "to=" in header
        if opening in (START, CHANNEL):
            in_call |= "to=" in body
            if not (header_goes_on or in_call):
                yield from WORD.findall(behind_header(body, opening))
        elif in_call:
            continue
        elif MAY_BE_HEADER.search(body):
            in_call = "to=" in body
            yield from WORD.findall(body.partition("to=")[0])
        elif not FILLERS.fullmatch(body):
            yield body.strip().removeprefix("analysis").lstrip()  # a label and its end


def behind_header(text: str, opening: str) -> str:
    """What follows a known channel or, if there is none, a recipient."""
    channel = KNOWN_CHANNEL.match(text) if opening == CHANNEL else None
    return text[channel.end() :] if channel else text.partition("to=")[2]


def given_to_host(events: Iterable[Event]) -> str:
    """All text that a host gets, in its order."""
    text = ""
    for event in events:
        if isinstance(event, AnswerDelta | ReasoningDelta):
            text += event.text
        elif isinstance(event, ToolCall):
            text += f" {event.name} {event.arguments} "
    return text


def fed(pieces: Iterable[str], aligned: bool = False) -> list[Event]:
    parser = HarmonyParser(("f",), aligned=aligned)
    return [
        *(event for piece in pieces for event in parser.feed(piece)),
        *parser.close(),
    ]


def check(events: list[Event], text: str) -> None:
    out = given_to_host(events)
    numbers = [int(word[1:-1]) for word in WORD.findall(out)]
    assert numbers == sorted(set(numbers)), "each word once, and in its order"
    call_dropped = collect(events).truncated
    if not (call_dropped or HIDDEN.search(text)):
        assert [words for words in owed(text) if words not in out] == []


@example(
    ["analysisWe think. ", "<|start|>", "assistantcommentary to=", "#"],
    random.Random(0),
)
@given(fragments, st.randoms(use_true_random=False))
@settings(max_examples=1000)
def test_no_word_is_lost_in_any_chunking(parts: list[str], cuts: random.Random) -> None:
    text = "".join(numbered(parts))
    places = sorted(cuts.choices(range(len(text) + 1), k=len(text) // 4))
    pieces = [
        text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)
    ]
    for way in ([text], list(text), pieces):
        check(fed(way), text)


@given(fragments)
@settings(max_examples=1000)
def test_no_word_of_an_aligned_stream_is_lost(parts: list[str]) -> None:
    deltas = [
        delta for part in numbered(parts) for delta in MARKERS.split(part) if delta
    ]
    check(fed(deltas, aligned=True), "".join(deltas))

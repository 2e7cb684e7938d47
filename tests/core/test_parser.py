"""The parser reads every spelling of harmony.md in every chunking, and keeps its rules for any text."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harmony_core import HarmonyParser, collect, parse
from harmony_core.arguments import MAX_ARGUMENTS
from harmony_core.body import MAX_CALLS, MAX_MARKERS
from harmony_core.edge_states import MAX_HEADER
from harmony_core.events import (
    AnswerDelta,
    Event,
    FinishReason,
    FurtherThought,
    ReasoningDelta,
    Reply,
    ToolCall,
)
from harmony_core.lexer import MARKER
from harmony_core.markers import CONTROL_TOKENS
from tests.support.chunking import merged, random_cuts

ANALYSIS = "<|channel|>analysis<|message|>"
FINAL = "<|channel|>final<|message|>"
CALL = "<|channel|>commentary to=functions.f <|constrain|>json<|message|>"


class Case(NamedTuple):
    """One row of the corpus."""

    name: str
    text: str
    tools: list[str]
    finish_reason: FinishReason
    reasoning: str
    answer: str
    tool_calls: list[dict[str, object]]
    truncated: bool

    def expected(self) -> dict[str, object]:
        return {
            key: getattr(self, key)
            for key in ("reasoning", "answer", "tool_calls", "truncated")
        }


CORPUS = [
    Case(**row)
    for row in json.loads(
        (Path(__file__).parent.parent / "corpus" / "harmony.json").read_text("utf-8")
    )
]
each_case = pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)


def events_of(pieces: Iterable[str], case: Case, aligned: bool = False) -> list[Event]:
    parser = HarmonyParser(case.tools, aligned=aligned)
    events = [event for piece in pieces for event in parser.feed(piece)]
    return merged([*events, *parser.close(case.finish_reason)])


def fields_of(reply: Reply) -> dict[str, object]:
    calls = [
        {
            "name": call.name,
            "arguments": call.arguments,
            "valid": call.valid,
            "declared": call.declared,
        }
        for call in reply.tool_calls
    ]
    return {
        "reasoning": reply.reasoning,
        "answer": reply.answer,
        "tool_calls": calls,
        "truncated": reply.truncated,
    }


def test_the_corpus_covers_every_row_of_the_specification() -> None:
    rows = {word for case in CORPUS for word in case.name.split()[:1]}
    wanted = (
        {f"A{n}" for n in range(1, 19)}
        | {f"T{n}" for n in range(1, 25)}
        | {f"M{n}" for n in range(1, 13)}
    )
    assert wanted | {"more:"} <= rows


@each_case
def test_whole_text_means_what_the_specification_says(case: Case) -> None:
    assert (
        fields_of(parse(case.text, case.tools, case.finish_reason)) == case.expected()
    )


@each_case
def test_single_characters_mean_the_same(case: Case) -> None:
    assert fields_of(collect(events_of(case.text, case))) == case.expected()


@each_case
def test_every_cut_into_two_means_the_same(case: Case) -> None:
    whole = events_of([case.text], case)
    for at in range(len(case.text)):
        assert events_of([case.text[:at], case.text[at:]], case) == whole


@each_case
@pytest.mark.parametrize("seed", range(5))
def test_random_cuts_mean_the_same(case: Case, seed: int) -> None:
    assert events_of(random_cuts(case.text, seed), case) == events_of([case.text], case)


@pytest.mark.parametrize("blank", ["\u3000", "\xa0", " \u3000", "\x85\n"])
@pytest.mark.parametrize("size", [1, 99])
def test_every_blank_of_unicode_is_a_blank_in_a_header(blank: str, size: int) -> None:
    call = f'<|channel|>commentary{blank}to=f{blank}json{{"a": 1}}'
    assert fields_of(in_pieces(call, size))["tool_calls"] == [
        {"name": "f", "arguments": '{"a": 1}', "valid": True, "declared": True}
    ]
    answer = f"<|channel|>final{blank}こんにちは"
    assert in_pieces(answer, size).answer == "こんにちは"


def in_pieces(text: str, size: int) -> Reply:
    parser = HarmonyParser(("f",))
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    events = [event for piece in pieces for event in parser.feed(piece)]
    return collect([*events, *parser.close()])


# Aligned streams.


def aligned_reply(
    *deltas: str, tools: tuple[str, ...] = ("f",), finish_reason: FinishReason = "stop"
) -> Reply:
    parser = HarmonyParser(tools, aligned=True)
    events = [event for delta in deltas for event in parser.feed(delta)]
    return collect([*events, *parser.close(finish_reason)])


def test_markers_spelled_over_several_deltas_are_text_on_an_aligned_stream() -> None:
    deltas = (
        "<|channel|>",
        "final",
        "<|message|>",
        "a",
        " <",
        "|",
        "end",
        "|",
        ">",
        "<|start|>"[:4],
        " b",
        "<|end|>",
    )
    assert aligned_reply(*deltas).answer == "a <|end|><|st b"


def test_a_marker_inside_a_longer_delta_is_text_on_an_aligned_stream() -> None:
    assert (
        aligned_reply("<|channel|>", "final", "<|message|>", "a <|end|> b").answer
        == "a <|end|> b"
    )


@pytest.mark.parametrize("held_back", ["", " ", "\ufffd"])
def test_a_marker_may_have_held_back_bytes_in_front(held_back: str) -> None:
    reply = aligned_reply(
        "<|channel|>", "comment", "ary", " to", "=", "functions", ".f", f"{held_back}<|constrain|>", "json",
        "<|message|>", '{"a"', ": 1}",
    )  # fmt: skip
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [
        ("f", '{"a": 1}')
    ]


def test_held_back_bytes_before_a_terminator_stay_in_the_message() -> None:
    reply = aligned_reply("<|channel|>", "analysis", "<|message|>", "t", " <|end|>", "<|start|>", "assistant",
                          "<|channel|>", "final", "<|message|>", "x")  # fmt: skip
    assert (reply.reasoning, reply.answer) == ("t ", "x")


def test_a_terminator_on_an_aligned_stream_ends_the_answer_whatever_follows() -> None:
    assert (
        aligned_reply("<|channel|>", "final", "<|message|>", "a", "<|end|>", "b").answer
        == "ab"
    )


def test_no_control_token_of_an_aligned_stream_reaches_the_reader() -> None:
    reply = aligned_reply(
        "<|channel|>",
        "final",
        "<|message|>",
        "a",
        "<|message|>",
        "<|constrain|>",
        "<|start|>",
        " b",
    )
    assert reply.answer == "a b"


@pytest.mark.parametrize(
    ("deltas", "answer"),
    [
        (("<|channel|>", "final x", "<|constrain|>"), "x"),
        (
            ("<|channel|>", "final", " json", "<|constrain|>", "a", " b"),
            "jsona b",
        ),
    ],
)
def test_markers_in_a_header_without_message_are_hidden(
    deltas: tuple[str, ...], answer: str
) -> None:
    assert aligned_reply(*deltas).answer == answer


def test_an_unfinished_character_after_the_type_is_part_of_the_header() -> None:
    reply = aligned_reply(
        "<|channel|>",
        "comment",
        "ary",
        " to=functions.f",
        " <|constrain|>",
        "json",
        "\ufffd<|message|>",
        "{}",
    )
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("f", "{}")]


def test_a_stream_may_turn_aligned_and_back() -> None:
    parser = HarmonyParser()
    events = parser.feed("<|channel|>final<|message|>a <")
    parser.aligned = True
    events += parser.feed("<|end|")
    parser.aligned = False
    events += [*parser.feed("> b"), *parser.close()]
    assert collect(events).answer == "a <<|end|> b"


def shows_no_marker(case: Case) -> bool:
    """Whether an aligned stream reads the case in the same way: no marker of it is text."""
    shown = f"{case.answer}{case.reasoning}{case.tool_calls}"
    return not MARKER.search(shown) and not case.name.startswith("string:")


@pytest.mark.parametrize(
    "case", list(filter(shows_no_marker, CORPUS)), ids=lambda case: case.name
)
def test_marker_by_marker_an_aligned_stream_means_the_same(case: Case) -> None:
    deltas = [piece for piece in split_at_markers(case.text) if piece]
    assert fields_of(collect(events_of(deltas, case, aligned=True))) == case.expected()


def split_at_markers(text: str) -> list[str]:
    return re.split(f"({MARKER.pattern})", text)


# When text is emitted.


def test_answer_characters_arrive_in_the_feed_that_brings_them() -> None:
    parser = HarmonyParser()
    parser.feed(FINAL)
    for character in "Hello, 世界 > | \n":
        assert parser.feed(character) == [AnswerDelta(character)]


def test_a_further_thought_is_marked_and_its_text_stays_as_it_is() -> None:
    parser = HarmonyParser()
    events = parser.feed(ANALYSIS + "a<|end|>") + parser.feed(ANALYSIS + "b")
    assert events == [ReasoningDelta("a"), FurtherThought("b")]
    assert parser.feed("c") == [ReasoningDelta("c")]


def test_only_what_could_be_the_start_of_a_marker_is_held() -> None:
    parser = HarmonyParser()
    parser.feed(ANALYSIS)
    assert parser.feed("a <") == [ReasoningDelta("a ")]
    assert parser.feed("|st") == []
    assert parser.feed("r") == [ReasoningDelta("<|str")]


def test_bare_text_is_answer_from_the_first_character_on() -> None:
    parser = HarmonyParser()
    assert parser.feed("H") == [AnswerDelta("H")]


def test_a_call_arrives_as_soon_as_its_terminator_does() -> None:
    parser = HarmonyParser(("f",), call_prefix="call_x")
    assert parser.feed(CALL + '{"a": 1}') == []
    assert parser.feed("<|call|>") == [
        ToolCall("call_x_1", "f", '{"a": 1}', valid=True, declared=True)
    ]


def test_nothing_is_held_after_close_and_nothing_comes_after_it() -> None:
    parser = HarmonyParser()
    parser.feed(FINAL + "x <|en")
    assert collect(parser.close()).answer == "<|en"
    assert parser.close() == []
    assert parser.feed("more") == []


@pytest.mark.parametrize(
    ("text", "reasoning", "answer", "called"),
    [
        ("<|start|>assistantcommentary to=functions.f", "", "", ["f"]),
        ("<|start|>assistantcommentary to=", "", "assistantcommentary to=", []),
        ("<|start|>assistantfinal x", "", " x", []),
        ("<|start|>assistant", "<|start|>assistant", "", []),
    ],
)
def test_a_stripped_header_may_keep_its_start_marker(
    text: str, reasoning: str, answer: str, called: list[str]
) -> None:
    reply = parse(f"analysisWe think. {text}", ["f"])
    assert (reply.reasoning, reply.answer) == ("We think. " + reasoning, answer)
    assert [call.name for call in reply.tool_calls] == called


def test_finish_says_tool_calls_only_for_calls_that_may_be_executed() -> None:
    assert parse(CALL + "{}", tools=("f",)).finish_reason == "tool_calls"
    assert parse(CALL + "{}", tools=("g",)).finish_reason == "stop"
    assert (
        parse(CALL + "{}", tools=("f",), finish_reason="length").finish_reason
        == "length"
    )


@pytest.mark.parametrize(
    ("text", "finish_reason", "outcome"),
    [
        (FINAL + "x", "stop", "answered"),
        (FINAL + "x", "length", "cut"),
        (CALL + "{}", "stop", "called"),
        (CALL + '{"a": ', "stop", "broken_call"),
        (ANALYSIS + "t", "stop", "only_reasoning"),
        (ANALYSIS + "t", "length", "cut_in_reasoning"),
        (ANALYSIS, "stop", "empty"),
        (ANALYSIS, "length", "cut"),
        (FINAL + "x", "interrupted", "interrupted"),
        (FINAL + "x", "error", "failed"),
    ],
)
def test_every_ending_has_its_outcome(
    text: str, finish_reason: FinishReason, outcome: str
) -> None:
    assert parse(text, ("f",), finish_reason).outcome == outcome


# Bounds.


def test_a_call_longer_than_its_bound_is_dropped_and_the_rest_is_kept() -> None:
    reply = parse(
        CALL + '{"a": "' + "x" * MAX_ARGUMENTS + '"}<|call|>' + FINAL + "y",
        tools=("f",),
    )
    assert (reply.tool_calls, reply.answer, reply.truncated) == ((), "y", True)


def test_a_call_past_its_bound_ends_at_the_same_place_in_every_chunking() -> None:
    start, end = CALL + '{"a": "' + "x" * (MAX_ARGUMENTS - 9), 'xx"}<|end|>y'
    parser = HarmonyParser(("f",))
    events = [event for piece in (start, *end) for event in parser.feed(piece)]
    assert collect([*events, *parser.close()]).answer == "y"


@pytest.mark.parametrize("lead", ["", ANALYSIS + "t", FINAL + "x<|end|>"])
@pytest.mark.parametrize("pending", ["<|start|>", "<|channel|>", " ", "analysis", "a"])
def test_text_that_waits_for_a_decision_is_bounded(lead: str, pending: str) -> None:
    parser = HarmonyParser()
    parser.feed(lead)
    waiting = len("<|end|>")
    for _ in range(3 * MAX_HEADER // len(pending)):
        shown = sum(len(delta.text) for delta in deltas_in(parser.feed(pending)))
        waiting += len(pending) - shown
        assert waiting <= MAX_HEADER + len("<|end|>" + pending)


def deltas_in(events: Iterable[Event]) -> list[ReasoningDelta | AnswerDelta]:
    return [
        event for event in events if isinstance(event, ReasoningDelta | AnswerDelta)
    ]


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_any_number_of_stripped_messages_follow_one_another(size: int) -> None:
    """A model that loops in the stripped spelling must not exhaust the stack."""
    text = "assistantanalysisWe think.commentaryanalysisOn." * 20_000 + "final"
    parser = HarmonyParser()
    events = [
        event
        for start in range(0, len(text), size)
        for event in parser.feed(text[start : start + size])
    ]
    assert collect(events + parser.close()).reasoning.count("We think.") == 20_000


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_reply_that_calls_without_end_is_cut(size: int) -> None:
    """Each call costs the host time, so a loop of calls would hold its event loop."""
    text = "commentary to=functions.f json{}assistant" * 2 * MAX_CALLS + "final The end"
    parser = HarmonyParser(["f"])
    events = [
        event
        for start in range(0, len(text), size)
        for event in parser.feed(text[start : start + size])
    ]
    assert parser.over
    reply = collect(events + parser.close())
    assert len(reply.tool_calls) == MAX_CALLS
    assert (reply.answer, reply.truncated) == ("", True)


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_reply_that_talks_of_calls_without_end_loses_nothing(size: int) -> None:
    text = "to=functions.f is how one calls. " * 2 * MAX_CALLS
    parser = HarmonyParser(["f"])
    events = parser.feed("analysisWe explain it. ")
    for start in range(0, len(text), size):
        events += parser.feed(text[start : start + size])
    assert collect(events + parser.close()).reasoning == "We explain it. " + text


def test_broken_calls_count_towards_the_bound_too() -> None:
    broken = "<|return|><|channel|>to=/*{ "
    reply = parse(broken * 2 * MAX_CALLS + FINAL + "The end", ["f"])
    assert (reply.answer, reply.truncated) == ("", True)


@pytest.mark.parametrize(
    "message",
    [
        "<|start|>",
        "<|channel|>??<|end|>",
        "<|channel|>final<|message|>",
        "<|message|>x<|end|>",
    ],
)
def test_a_reply_of_too_many_markers_is_cut_and_says_so(message: str) -> None:
    """Each marker costs the host time, and no recursion may exhaust its stack."""
    lead = FINAL + "The start" + "<|end|>"
    reply = parse(lead + message * 200_000 + FINAL + "the end")
    assert reply.answer.startswith("The start")
    assert not reply.answer.endswith("the end")
    assert reply.truncated


def test_a_call_that_the_bound_of_markers_cuts_is_not_made() -> None:
    text = "<|reserved_1|>" * (MAX_MARKERS - 3) + CALL + '{"a": 1<|call|>'
    reply = parse(text, ("f",))
    assert (reply.tool_calls, reply.truncated) == ((), True)


def test_a_header_that_lost_markers_counts_as_a_whole_one() -> None:
    lost, most = "{a: 1}<|start|>assistantfinal to=functions.g ", MAX_MARKERS // 4
    assert not parse(lost * most).truncated
    assert parse(lost * (most + 1)).truncated


def test_as_many_markers_as_the_bound_allows_are_all_read() -> None:
    message = ANALYSIS + "t<|end|>"
    count = MAX_MARKERS // len(MARKER.findall(message))
    reply = parse(message * count)
    assert (reply.reasoning, reply.truncated) == ("t" * count, False)


def test_deeply_nested_arguments_are_not_json_and_do_not_raise() -> None:
    assert (
        parse(CALL + "[" * 100_000 + "<|call|>", tools=("f",)).tool_calls[0].valid
        is False
    )


# Any text.

WORDS = [
    *(
        "analysis",
        "commentary",
        "final",
        "assistant",
        "assistantfinal",
        "assistantcommentary",
        "analysisWe think. ",
        "tool",
        "user",
    ),
    *(
        " to=",
        "to=",
        "functions.f",
        "json",
        '{"a": "',
        '"}',
        "]",
        "<",
        "|",
        "<|",
        "Hello",
        " ",
        "\n",
    ),
]
UNICODE_BLANKS = ["\u3000", "\xa0", "\u2003", "\x85", "\x1c"]
blanks = st.text(st.sampled_from([" ", "\n", *UNICODE_BLANKS]), min_size=1, max_size=3)
fragments = st.lists(
    st.one_of(st.sampled_from([*CONTROL_TOKENS, *WORDS]), blanks, st.text(max_size=6)),
    max_size=20,
)
reasons: st.SearchStrategy[FinishReason] = st.sampled_from(
    ["stop", "length", "interrupted"]
)


@given(fragments, st.randoms(use_true_random=False), reasons)
@example(["<|channel|>", "final", " " * MAX_HEADER, "x"], random.Random(0), "stop")
@example([" " * (MAX_HEADER - 2), "assistantfinal", "x"], random.Random(0), "stop")
@example(
    ["<|channel|>", "commentary \u3000to=f json", '{"a": 1}'], random.Random(0), "stop"
)
@example(["<|channel|>", "final code\u3000x"], random.Random(0), "stop")
@settings(max_examples=500)
def test_any_text_means_the_same_in_every_chunking(
    parts: list[str], cuts: random.Random, finish_reason: FinishReason
) -> None:
    text = "".join(parts)
    case = Case("", text, ["f"], finish_reason, "", "", [], False)
    whole = events_of([text], case)
    assert events_of(random_cuts(text, cuts.randint(0, 1 << 30)), case) == whole
    assert events_of(text, case) == whole


@given(fragments, st.booleans())
@settings(max_examples=300)
def test_any_deltas_end_in_one_finish_and_never_raise(
    parts: list[str], aligned: bool
) -> None:
    parser = HarmonyParser(("f",), aligned=aligned)
    events = [event for part in parts for event in parser.feed(part)] + parser.close()
    kinds = [type(event).__name__ for event in events]
    assert kinds.count("Finish") == 1
    assert kinds[-1] == "Finish"
    assert not any(
        event.text == ""
        for event in events
        if isinstance(event, ReasoningDelta | AnswerDelta)
    )


@given(
    st.text(alphabet=st.characters(exclude_characters="<")),
    st.text(alphabet=st.characters(exclude_characters="<")),
)
def test_text_inside_messages_is_kept_to_the_letter(thought: str, answer: str) -> None:
    reply = parse(
        f"{ANALYSIS}{thought}<|end|><|start|>assistant{FINAL}{answer}<|return|>"
    )
    assert (reply.reasoning, reply.answer) == (thought, answer)


@given(st.text(min_size=1))
def test_text_without_markers_is_answer_to_the_letter(text: str) -> None:
    # The capital keeps the text from beginning with a word like "analysis".
    spelled = "X" + text.replace("<|", "<")
    assert parse(spelled).answer == spelled


# After a call.


def over(text: str, tools: Iterable[str] = ("f",)) -> bool:
    """Whether a host may hang up, after checking that single characters give the same."""
    parser, whole = HarmonyParser(tools), HarmonyParser(tools)
    for character in text:
        parser.feed(character)
    whole.feed(text)
    assert whole.over == parser.over
    return parser.over


@pytest.mark.parametrize(
    "behind",
    [
        " We will wait.",
        "<|start|>functions.f to=assistant<|channel|>commentary<|message|>",
        "<|start|>tool",
        "<|message|>",
        "<|start|>user<|message|>",
    ],
)
def test_a_host_may_hang_up_if_no_message_follows_a_call(
    behind: str,
) -> None:
    assert over(CALL + "{}<|call|>" + behind)


@pytest.mark.parametrize(
    "behind",
    ["", "\n", "<|end|>", "assistant", "<|start|>assis", "<|channel|>commentary"],
)
def test_a_host_waits_while_a_further_message_may_follow_a_call(behind: str) -> None:
    assert not over(CALL + "{}<|call|>" + behind)


def test_a_call_that_cannot_be_run_does_not_end_the_reply() -> None:
    assert not over(CALL + "print(1)<|call|> We wait.")
    assert not over(CALL + "{}<|call|> We wait.", tools=("g",))


def test_a_closed_call_is_known_until_something_else_begins() -> None:
    parser = HarmonyParser(("f",))
    parser.feed(CALL + "{}")
    assert not parser.call_closed
    parser.feed("<|call|>")
    assert parser.call_closed
    parser.feed("<|start|>assistant")
    assert not parser.call_closed


def test_a_million_escaped_quotes_are_read_once() -> None:
    """Reading all of them again for each one would take hours."""
    quotes = '\\"' * 500_000
    parser = HarmonyParser(["f"])
    parser.feed("<|channel|>commentary to=functions.f<|message|>{" + quotes)
    assert collect(parser.close()).tool_calls == ()

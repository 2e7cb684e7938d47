"""The text of a reply: raw Harmony, `<think>` blocks, or plain text beside fields."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harmony_core.chat import ChatStream
from harmony_core.dialects import MAX_LEAD
from harmony_core.events import AnswerDelta, ReasoningDelta
from tests.core.streams import (
    RAW,
    answer_of,
    call_piece,
    completion,
    deltas,
    native_calls,
    read,
    reply_of,
)
from tests.server.replies import DONE, chunk, harmony, harmony_call, sse, text
from tests.support.weather import weather_call

CORPUS = json.loads(
    (Path(__file__).parent.parent / "corpus" / "harmony.json").read_text("utf-8")
)


# Raw text.


def test_raw_harmony_is_split_into_thinking_and_answer() -> None:
    got = answer_of(*deltas(RAW))
    assert (got.reasoning, got.answer) == ("Think.", "Answer.")


@pytest.mark.parametrize("row", CORPUS, ids=lambda row: row["name"])
def test_the_corpus_means_the_same_inside_a_stream(row: dict[str, Any]) -> None:
    raw, reason = row["text"], row["finish_reason"].replace("interrupted", "abort")
    shorter_than_a_marker = [raw[at : at + 5] for at in range(0, len(raw), 5)]
    bodies = [
        deltas(*cut, finish_reason=reason)
        for cut in ([raw], list(raw), shorter_than_a_marker)
    ]
    bodies.append([completion({"content": raw}, finish_reason=reason)])
    for body in bodies:
        got = answer_of(*body, tools=row["tools"])
        calls = [
            {
                "name": call.name,
                "arguments": call.arguments,
                "valid": call.valid,
                "declared": call.declared,
            }
            for call in got.tool_calls
        ]
        assert (got.reasoning, got.answer) == (row["reasoning"], row["answer"])
        assert (calls, got.truncated) == (row["tool_calls"], row["truncated"])


def test_a_tool_call_in_the_text_gets_the_id_of_the_reply() -> None:
    call = reply_of(*weather_call(), tools=["get_weather"]).tool_calls[0]
    assert (call.id, call.name, call.arguments, call.executable) == (
        "call_1_1",
        "get_weather",
        '{"city": "Paris"}',
        True,
    )


@pytest.mark.parametrize(
    ("reply_id", "call_id"),
    [
        ("chatcmpl-ab-1", "call_ab-1_1"),
        ("<x>\ud800 1", "call_x1_1"),
        ("", "call_1"),
        (None, "call_1"),
        (7, "call_1"),
    ],
)
def test_call_ids_come_from_the_reply_so_that_they_differ_between_replies(
    reply_id: object, call_id: str
) -> None:
    content = "<|channel|>commentary to=functions.f<|message|>{}"
    got = answer_of(
        sse({"id": reply_id, "choices": [{"delta": {"content": content}}]}),
        DONE,
        tools=["f"],
    )
    assert [call.id for call in got.tool_calls] == [call_id]
    assert got.outcome == "called"


def test_a_call_of_an_undeclared_tool_does_not_count_as_tool_calls() -> None:
    got = reply_of(*harmony_call("rm", "{}"), tools=["get_weather"])
    assert (got.finish_reason, got.tool_calls[0].declared) == ("stop", False)


def test_markers_typed_as_text_reach_the_reader_of_an_aligned_stream() -> None:
    typed = ["<", "|", "end", "|", ">", " ", "<", "|", "start", "|", ">", "assistant"]
    assert (
        reply_of(*harmony("Hm", "See"), *typed).answer
        == "See<|end|> <|start|>assistant"
    )


@pytest.mark.parametrize("held_back", ["", " ", "\ufffd", " \ufffd", "\ufffd\ufffd"])
def test_bytes_held_back_before_a_marker_do_not_hide_it(held_back: str) -> None:
    thinking = [" <|channel|>", "analysis", "<|message|>", "a", f"{held_back}<|end|>"]
    got = reply_of(
        *thinking,
        "<|start|>",
        "assistant",
        "<|channel|>",
        "final",
        "<|message|>",
        "<",
        "|",
        "end",
        "|>",
    )
    assert (got.reasoning, got.answer) == (f"a{held_back}", "<|end|>")


def test_a_later_delta_with_a_marker_inside_ends_the_alignment() -> None:
    got = reply_of(
        *["<|channel|>", "analysis", "<|message|>", "a <", "|", "end", "|", "> b"],
        *["c<|end|>", "<|start|>assist", "ant<|chan", "nel|>final<|message|>x"],
    )
    assert (got.reasoning, got.answer) == ("a <|end|> bc", "x")


def test_a_stream_whose_first_marker_is_in_pieces_is_not_aligned() -> None:
    got = reply_of(
        *["<|chan", "nel|>analysis<|message|>a"],
        "<|end|>",
        *["<|start|>", "assistant<", "|channel|>"],
    )
    assert (got.reasoning, got.answer) == ("a", "")
    got = reply_of("<", "|", "channel", "|", ">", "final<|message|>a")
    assert got.answer == "a"


def test_an_alignment_may_begin_after_bare_text() -> None:
    got = reply_of(
        "Well",
        ".",
        "<|end|>",
        "<|start|>",
        "assistant",
        "<|channel|>",
        "final",
        "<|message|>",
        "a <",
        "|",
        "end",
    )
    assert got.answer == "Well.a <|end"


# `<think>` blocks.


@pytest.mark.parametrize(
    ("sent", "reasoning", "answer"),
    [
        ("<think>a</think>b", "a", "b"),
        ("\n <think>\n\na\n</think>\n\nb\n", "a\n", "b\n"),
        ("<think>\n\n</think>\n\nb", "", "b"),
        (
            "<think>a </thin </think>b </think> <think>c</think>",
            "a </thin ",
            "b </think> <think>c</think>",
        ),
        ("<think>a", "a", ""),
        ("<think>a</thi", "a</thi", ""),
        ("<think>a</think>", "a", ""),
        ("<thi", "", "<thi"),
        ("<thinking>a</think></thinking>b", "a</think>", "b"),
        ("<reasoning>a</reasoning>b", "a", "b"),
        ("<think>a</think>\n<think>\nb</think>c", "a\nb", "c"),
        ("<thinker>a", "", "<thinker>a"),
        ("a <think>b</think>", "", "a <think>b</think>"),
        ("<think>a</think><|channel|>final<|message|>x", "a", "x"),
        ("<think>a</think>assistantfinalx", "a", "x"),
        ("<think>a</think>x<|channel|>", "a", "x<|channel|>"),
        ("<think>a</think>analysis", "a", "analysis"),
        ("<think>日本🌸</think>はい", "日本🌸", "はい"),
    ],
)
def test_a_leading_think_block_is_reasoning(
    sent: str, reasoning: str, answer: str
) -> None:
    for contents in ([sent], list(sent), [sent[:3], sent[3:]], [sent[:9], sent[9:]]):
        got = answer_of(*deltas(*contents))
        assert (got.reasoning, got.answer) == (reasoning, answer)


def test_blanks_do_not_wait_for_a_think_tag_for_ever() -> None:
    blanks = " " * MAX_LEAD
    assert (
        answer_of(*deltas(blanks, " ", "<think>", "a")).answer == f"{blanks} <think>a"
    )


# Separate fields.


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_plain_text_after_a_thinking_field_is_not_searched_for_markup(
    field: str,
) -> None:
    got = answer_of(
        chunk({field: "Hm"}), *deltas("<think>x", "<|channel|>final<|message|>")
    )
    assert (got.reasoning, got.answer) == ("Hm", "<think>x<|channel|>final<|message|>")


def test_reasoning_and_text_in_one_delta_come_in_this_order() -> None:
    events = read([chunk({"content": "Hi <|end|>", "reasoning": "Hm"}), DONE])
    assert events[:2] == [ReasoningDelta("Hm"), AnswerDelta("Hi <|end|>")]


def test_text_after_a_thinking_field_comes_at_once_if_it_cannot_begin_markup() -> None:
    stream = ChatStream()
    stream.feed(chunk({"reasoning": "Hm"}))
    assert stream.feed(text("Hi")) == [AnswerDelta("Hi")]
    assert stream.feed(text("analysis")) == [AnswerDelta("analysis")]


def test_text_after_a_native_call_is_not_searched_for_markup() -> None:
    call = chunk({"reasoning": "Hm", "tool_calls": [call_piece("f", "{}", index=0)]})
    got = answer_of(call, *deltas("<|channel|>final"), tools=["f"])
    assert (got.answer, len(got.tool_calls)) == ("<|channel|>final", 1)


def test_a_call_that_thinking_cuts_off_marks_the_reply_as_truncated() -> None:
    cut = chunk({"content": '<|channel|>commentary to=functions.f<|message|>{"a'})
    got = answer_of(cut, chunk({"reasoning": "Hm"}), *deltas("Hi"), tools=["f"])
    assert (got.answer, got.truncated) == ("Hi", True)


@pytest.mark.parametrize("empty", [None, "", [], {}, 0])
def test_empty_fields_do_not_stop_the_search_for_markers(empty: object) -> None:
    fields = {"reasoning": empty, "reasoning_content": empty, "tool_calls": []}
    got = answer_of(
        *(chunk({"content": token, **fields}) for token in [RAW[:30], RAW[30:]]), DONE
    )
    assert (got.reasoning, got.answer) == ("Think.", "Answer.")


def test_text_before_the_first_field_is_not_lost() -> None:
    got = answer_of(
        chunk({"content": "<thi"}),
        chunk({"content": "n"}),
        chunk({"reasoning": "Hm"}),
        DONE,
    )
    assert (got.reasoning, got.answer) == ("Hm", "<thin")
    got = answer_of(
        chunk({"content": "<think>a</"}), chunk({"reasoning": "Hm"}), *deltas("b")
    )
    assert (got.reasoning, got.answer) == ("a</Hm", "b")


def test_a_call_in_the_text_before_the_first_field_counts() -> None:
    call = "<|channel|>commentary to=functions.f<|message|>{}"
    got = answer_of(
        chunk({"content": call}), chunk({"reasoning": "Hm"}), DONE, tools=["f"]
    )
    assert (len(got.tool_calls), got.finish_reason) == (1, "tool_calls")


# Lone surrogates, which JSON can spell and UTF-8 cannot encode.


def test_lone_surrogates_become_replacement_characters() -> None:
    contents = ["\udf38a\ud83c", "b\ud83c"]
    assert answer_of(*deltas(*contents)).answer == "\ufffda\ufffdb\ufffd"
    got = answer_of(*(chunk({"reasoning": content}) for content in contents), DONE)
    assert got.reasoning == "\ufffda\ufffdb\ufffd"
    assert answer_of(*deltas("<think>\ud83c")).reasoning == "\ufffd"
    assert answer_of(*deltas("<think></think>\ud83c")).answer == "\ufffd"
    call = native_calls(
        call_piece("f", '{"a": "🌸', index=0), call_piece(arguments='\udf38"}', index=0)
    )
    assert call.tool_calls[0].arguments == '{"a": "🌸\ufffd"}'

"""Stop words and JSON replies, which callers can ask for."""

from __future__ import annotations

import json

import pytest

from harmony_core.chat import ChatStream
from harmony_core.events import AnswerDelta, Finish, Usage, collect
from tests.core.streams import answer_of, completion, deltas, read, reply_of
from tests.server.replies import DONE, chunk, harmony, harmony_call, text

# Stop words.


@pytest.mark.parametrize(
    ("contents", "stop", "answer"),
    [
        (["one STOP two"], ["STOP"], "one "),
        (["one ST", "OP two"], ["STOP"], "one "),
        (["one S", "T", "O", "P"], ["STOP"], "one "),
        (["one STO", "RY"], ["STOP"], "one STORY"),
        (["one SSTOP"], ["STOP"], "one S"),
        (["abcd"], ["abcd", "c"], "ab"),
        (["ab", "cd"], ["bc", "abc"], ""),
        (["one ST"], ["STOP"], "one ST"),
        (["STOP"], ["STOP"], ""),
        (["日", "本🌸語"], ["本🌸"], "日"),
    ],
)
def test_a_stop_word_ends_the_answer_in_every_chunking(
    contents: list[str], stop: list[str], answer: str
) -> None:
    final = "<|channel|>final<|message|>"
    for cut in (contents, list("".join(contents)), ["".join(contents)]):
        assert answer_of(*deltas(final, *cut), stop=stop).answer == answer


def test_a_stop_word_finishes_at_once_so_that_the_caller_closes_the_connection() -> (
    None
):
    stream = ChatStream(stop=["STOP"])
    assert stream.feed(text("one STOP two")) == [AnswerDelta("one "), Finish("stop")]
    assert stream.finished


def test_a_stop_word_in_the_thinking_does_not_stop() -> None:
    got = reply_of(*harmony("I STOP here", "Go on STOP it"), stop=["STOP"])
    assert (got.reasoning, got.answer) == ("I STOP here", "Go on ")
    got = answer_of(chunk({"reasoning": "STOP"}), *deltas("a STOP"), stop=["STOP"])
    assert (got.reasoning, got.answer, got.truncated) == ("STOP", "a ", False)


def test_only_what_could_be_the_start_of_a_stop_word_is_held_back() -> None:
    stream = ChatStream(stop=["STOP"])
    stream.feed(text("<|message|>"))
    assert stream.feed(text("a ST")) == [AnswerDelta("a ")]
    assert stream.feed(text("b")) == [AnswerDelta("STb")]
    stream.feed(text("S"))
    stream.feed(chunk({}, "stop"))
    assert stream.feed(DONE)[0] == AnswerDelta("S")


def test_a_stop_word_drops_the_calls_after_it_and_keeps_those_before() -> None:
    call = "<|channel|>commentary to=functions.f<|message|>{}<|call|>"
    preamble = "<|channel|>commentary<|message|>"
    behind = answer_of(
        *deltas(preamble + "a STOP<|end|><|start|>assistant" + call),
        stop=["STOP"],
        tools=["f"],
    )
    assert (behind.answer, behind.tool_calls, behind.finish_reason) == (
        "a ",
        (),
        "stop",
    )
    before = answer_of(
        *deltas(call + "<|start|>assistant" + preamble + "a STOP"),
        stop=["STOP"],
        tools=["f"],
    )
    assert (before.answer, len(before.tool_calls), before.finish_reason) == (
        "a ",
        1,
        "tool_calls",
    )


def test_a_stop_word_at_the_very_end_of_a_cut_reply_stops_it() -> None:
    events = read(deltas("a", "<|", finish_reason="length"), ChatStream(stop=["<|"]))
    assert events == [AnswerDelta("a"), Finish("stop")]


def test_an_empty_stop_word_stops_nothing() -> None:
    assert answer_of(*deltas("ab"), stop=[""]).answer == "ab"


def test_a_stop_word_does_not_reach_across_a_call() -> None:
    pieces = [
        "<|channel|>commentary<|message|>a ST<|end|><|start|>assistant<|channel|>commentary to=f<|message|>{}"
    ]
    pieces += ["<|call|><|start|>assistant<|channel|>final<|message|>OP"]
    events = read(deltas(*pieces), ChatStream(stop=["STOP"], tools=["f"]))
    kinds = [type(event).__name__ for event in events]
    assert kinds == ["AnswerDelta", "AnswerDelta", "ToolCall", "AnswerDelta", "Finish"]
    assert collect(events).answer == "a STOP"


def test_a_stop_word_in_a_whole_completion_keeps_its_usage() -> None:
    body = json.loads(completion({"content": "a STOP b"}))
    body["usage"] = {"prompt_tokens": 1, "completion_tokens": 2}
    got = answer_of(json.dumps(body).encode(), stop=["STOP"])
    assert (got.answer, got.usage) == ("a ", Usage(1, 2))


# JSON replies.


@pytest.mark.parametrize(
    ("said", "answer", "valid"),
    [
        ('{"a": 1}', '{"a": 1}', True),
        ('\n```json\n{"a": 1}\n```\n', '{"a": 1}', True),
        ("Here it is:\n```\n[1]\n```\nEnjoy.", "[1]", True),
        ('```json\n{"a": 1}', '{"a": 1}', True),
        ('```json\n{"a": "```"}\n```', '{"a": "```"}', True),
        ('{"a": "```json\\n1\\n```"}', '{"a": "```json\\n1\\n```"}', True),
        ('```json {"a": 1}```', '{"a": 1}', True),
        ('```{"a": 1}```', '{"a": 1}', True),
        ('~~~json\n{"a": 1}\n~~~', '{"a": 1}', True),
        ("Sorry.", "Sorry.", False),
        ('{"a": NaN}', '{"a": NaN}', False),
        ('```json\n{"a": \n```', '```json\n{"a": \n```', False),
        ("", "", False),
    ],
)
def test_a_json_reply_is_one_delta_without_its_wrapping_and_is_checked(
    said: str, answer: str, valid: bool
) -> None:
    content = f"<|channel|>analysis<|message|>t<|end|><|start|>assistant<|channel|>final<|message|>{said}"
    for contents in ([content], list(content)):
        events = read(deltas(*contents), ChatStream(json_reply=True))
        assert events == ([AnswerDelta(answer)] if answer else []) + [
            Finish("stop", json_valid=valid, thought=True)
        ]


def test_a_json_reply_leaves_its_reasoning_out() -> None:
    got = answer_of(chunk({"reasoning": "Hm"}), *deltas("{", "}"), json_reply=True)
    assert (got.reasoning, got.answer, got.json_valid) == ("", "{}", True)
    assert (
        answer_of(
            completion({"content": "<think>x</think>{}"}), json_reply=True
        ).reasoning
        == ""
    )


def test_a_json_reply_cut_short_is_not_valid() -> None:
    got = answer_of(*deltas('{"a": ', finish_reason="length"), json_reply=True)
    assert (got.answer, got.json_valid, got.truncated) == ('{"a":', False, True)
    assert answer_of(text("{"), json_reply=True).json_valid is False


def test_a_call_in_place_of_the_json_reply_is_not_checked_as_json() -> None:
    got = reply_of(*harmony_call("f", "{}"), tools=["f"], json_reply=True)
    assert (got.outcome, got.json_valid) == ("called", None)


def test_a_stop_word_ends_a_json_reply_too() -> None:
    got = answer_of(*deltas("{}", "\nST", "OP{"), json_reply=True, stop=["STOP"])
    assert (got.answer, got.json_valid) == ("{}", True)


def test_json_is_only_checked_if_the_caller_asked_for_it() -> None:
    assert answer_of(*deltas("{}")).json_valid is None


JSON_REPLIES = [
    ('Here is the JSON: {"a": 1}', '{"a": 1}'),
    ('Sure! Here you go:\n\n{"a": 1}\n\nAnything else?', '{"a": 1}'),
    ('{"a": 1}{"a": 1}', '{"a": 1}'),
    ('{"a": 1, "s": "x\ny"}', '{"a": 1, "s": "x\\ny"}'),
    ("{'a': True}", '{"a": true}'),
    ('{"a": [1, 2', '{"a": [1, 2]}'),
]


@pytest.mark.parametrize(("said", "meant"), JSON_REPLIES)
def test_a_json_reply_is_mended(said: str, meant: str) -> None:
    got = reply_of(*harmony("", said), json_reply=True)
    assert (got.answer, got.json_valid) == (meant, True)


def test_a_json_reply_that_was_cut_is_not_mended() -> None:
    pieces = deltas('{"a": [1, 2', finish_reason="length")
    got = answer_of(*pieces, json_reply=True)
    assert (got.answer, got.json_valid) == ('{"a": [1, 2', False)


def test_json_in_a_call_to_json_is_the_reply() -> None:
    call = '<|channel|>commentary to=json<|message|>{"a":1}'
    got = answer_of(*deltas(call), tools=["f"], json_reply=True)
    assert (got.answer, got.json_valid, got.finish_reason) == ('{"a":1}', True, "stop")

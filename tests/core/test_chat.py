"""ChatStream reads every server's spelling and every failure, however the bytes are cut."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_core.chat import MAX_BODY, ChatStream
from harmony_core.events import (
    AnswerDelta,
    Event,
    Finish,
    Progress,
    ReasoningDelta,
    ToolCall,
    Usage,
    collect,
)
from harmony_core.sse import MAX_EVENT_LINES, MAX_SSE_EVENT
from tests.core.streams import (
    RAW,
    THINKING,
    answer_of,
    call_piece,
    completion,
    deltas,
    read,
    summary,
)
from tests.server.replies import DONE, chunk, reply, sse, text, usage
from tests.support.chunking import merged, random_cuts

DIALECTS = sorted((Path(__file__).parent / "dialects").glob("*.sse"))


# Dialects: recorded streams of servers.


def test_there_are_dialects_to_test() -> None:
    assert len(DIALECTS) > 15


@pytest.mark.parametrize("path", DIALECTS, ids=lambda path: path.stem)
def test_a_dialect_is_understood_in_every_chunking(path: Path) -> None:
    data = path.read_bytes()
    expected = json.loads(path.with_suffix(".json").read_text())
    cuttings = [[data], [data[at : at + 1] for at in range(len(data))]]
    cuttings += [list(random_cuts(data, seed, longest=40)) for seed in range(8)]
    for pieces in cuttings:
        stream = ChatStream(tools=expected["tools"])
        got = collect(read(pieces, stream))
        counts = got.usage
        assert {
            "tools": expected["tools"],
            "reasoning": got.reasoning,
            "answer": got.answer,
            "tool_calls": [
                {"id": call.id, "name": call.name, "arguments": call.arguments}
                for call in got.tool_calls
            ],
            "truncated": got.truncated,
            "finish_reason": got.finish_reason,
            "usage": counts
            and [counts.prompt_tokens, counts.completion_tokens, counts.cached_tokens],
            "detail": got.detail,
            "fingerprint": stream.fingerprint,
            "server_model": stream.server_model,
        } == expected
        assert all(call.executable for call in got.tool_calls)


# The corpus: streams from bug reports about servers.

STREAMS = json.loads(
    (Path(__file__).parents[1] / "corpus" / "streams.json").read_text("utf-8")
)


@pytest.mark.parametrize("row", STREAMS, ids=lambda row: row["name"])
def test_every_stream_of_the_corpus_is_read_right_in_every_chunking(
    row: dict[str, Any],
) -> None:
    data = row["body"].encode()
    cuttings = [[data], [data[at : at + 1] for at in range(len(data))]]
    cuttings += [list(random_cuts(data, seed)) for seed in range(8)]
    for pieces in cuttings:
        got = collect(read(pieces, ChatStream(tools=row["tools"])))
        counts = got.usage
        assert {
            "reasoning": got.reasoning,
            "answer": got.answer,
            "tool_calls": [[call.name, call.arguments] for call in got.tool_calls],
            "finish_reason": got.finish_reason,
            "truncated": got.truncated,
            "detail": got.detail,
            "usage": counts
            and [counts.prompt_tokens, counts.completion_tokens, counts.cached_tokens],
        } == {key: row[key] for key in row if key not in ("name", "body", "tools")}
        assert all(call.executable for call in got.tool_calls)


# The shape of a stream.


def test_each_token_comes_in_the_feed_that_brought_it() -> None:
    stream = ChatStream()
    for token in ("<|channel|>", "analysis", "<|message|>"):
        assert stream.feed(text(token)) == []
    assert stream.feed(text("Hm")) == [ReasoningDelta("Hm")]
    stream.feed(
        text("<|end|>") + text("<|start|>") + text("assistant") + text("<|channel|>")
    )
    stream.feed(text("final") + text("<|message|>"))
    assert stream.feed(text("Hi")) == [AnswerDelta("Hi")]


def test_keepalive_comments_are_progress_and_other_comments_are_ignored() -> None:
    stream = ChatStream()
    assert stream.feed(b": keepalive 67/68\n\n") == [Progress(67, 68)]
    assert stream.feed(b": OPENROUTER PROCESSING\n\n:keepalive x/1\n\n") == []


def test_no_progress_follows_the_finish() -> None:
    stream = ChatStream(stop=["end"])
    stream.feed(text("a"))  # the records that follow are alike
    events = stream.feed(text("b") + text("end") + b": keepalive 1/2\n\n")
    assert isinstance(events[-1], Finish)


def test_the_finish_waits_for_the_usage_after_it() -> None:
    stream = ChatStream()
    stream.feed(text("Hi"))
    assert stream.feed(chunk({}, "stop")) == []
    assert not stream.finished
    assert stream.feed(usage(3, 4)) == [Usage(3, 4), Finish("stop")]
    assert stream.finished


def test_the_finish_comes_without_usage_too() -> None:
    assert read(deltas("Hi"))[1:] == [Finish("stop")]
    assert read([text("Hi"), chunk({}, "length")])[1:] == [
        Finish("length", truncated=True)
    ]


def test_usage_in_every_chunk_is_told_once_and_last() -> None:
    def counted(count: int, finish_reason: str | None) -> bytes:
        counts = {"prompt_tokens": 5, "completion_tokens": count}
        choice = {"index": 0, "delta": {"content": "x"}, "finish_reason": finish_reason}
        return sse({"choices": [choice], "usage": counts})

    events = read([counted(1, None), counted(2, "stop"), DONE])
    assert events[2:] == [Usage(5, 2), Finish("stop")]


def test_usage_without_choices_after_a_finish_reason_is_the_end() -> None:
    stream = ChatStream()
    stream.feed(chunk({}, "stop") + usage(3, 4))
    assert stream.finished
    assert stream.feed(text("late")) == []


def test_text_after_a_finish_reason_takes_it_back() -> None:
    stream = ChatStream()
    stream.feed(text("Hi"))
    assert not stream.whole
    stream.feed(chunk({}, "stop"))
    assert stream.whole
    stream.feed(text(" there"))
    assert not stream.whole
    assert collect(stream.close()).finish_reason == "interrupted"


@pytest.mark.parametrize("template", [[], [text("a"), text("b")]])
def test_empty_text_after_a_finish_reason_leaves_it(template: list[bytes]) -> None:
    got = answer_of(*template, chunk({}, "length"), text(""), text(None))
    assert got.finish_reason == "length"


def test_a_line_past_the_limit_is_an_error_that_names_the_limit() -> None:
    line = [b"data: ", *[b"x" * 65_536] * (MAX_SSE_EVENT // 65_536), b"\n\n"]
    events = read([text("Hi"), *line, text("lost"), DONE])
    assert events[0] == AnswerDelta("Hi")
    assert isinstance(events[-1], Finish)
    assert (events[-1].reason, len(events)) == ("error", 2)
    assert "16 MiB" in events[-1].detail


def test_an_event_of_many_lines_takes_bounded_work() -> None:
    event = b"data:[\n" * (3 * MAX_EVENT_LINES) + b"\n"
    assert answer_of(text("Hi"), event, text(" there"), DONE).answer == "Hi there"


def test_a_cut_end_mark_is_not_an_error() -> None:
    assert answer_of(text("a"), b"data: [D").finish_reason == "interrupted"


def test_an_end_mark_without_a_finish_reason_is_an_end() -> None:
    assert answer_of(text("Hi"), DONE).finish_reason == "stop"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "content_filter"),
        ("error", "error"),
        ("abort", "interrupted"),
        ("eos", "stop"),
        ("tool_calls", "stop"),
    ],
)
def test_finish_reasons_have_one_spelling(said: str, meant: str) -> None:
    got = answer_of(*deltas("Hi", finish_reason=said))
    assert (got.finish_reason, got.truncated) == (meant, meant != "stop")


def test_an_empty_or_odd_finish_reason_does_not_end_the_reply() -> None:
    first = sse(
        {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": ""}]}
    )
    second = sse(
        {"choices": [{"index": 0, "delta": {"content": "b"}, "finish_reason": False}]}
    )
    assert answer_of(first, second, *deltas("c")).answer == "abc"


def test_malformed_choices_are_skipped() -> None:
    odd: list[object] = [None, [], "x", [1], [{}], {}]
    pieces = [sse({"choices": choices}) for choices in odd]
    pieces += [
        sse({"choices": [{"index": 0, "delta": delta}]}) for delta in (None, [], "x", 5)
    ]
    pieces += [b"data: null\n\n", b"data: [1]\n\n", b'data: "x"\n\n', b"data:\n\n"]
    assert answer_of(*pieces, *deltas("yes")).answer == "yes"


def test_content_may_be_empty_or_null_or_not_a_text() -> None:
    assert answer_of(*deltas("a", None, "", [], 5, {"text": "x"}, "c")).answer == "ac"


def test_a_message_may_stand_in_place_of_the_delta() -> None:
    message = sse({"choices": [{"index": 0, "message": {"content": "a"}}]})
    assert answer_of(message, DONE).answer == "a"


def test_a_byte_order_mark_before_the_first_event_is_skipped() -> None:
    for mark in ([b"\xef\xbb\xbf"], [b"\xef", b"\xbb", b"\xbf"]):
        assert answer_of(*mark, *deltas("a")).answer == "a"


def test_chunks_without_blank_lines_between_them_are_read_one_by_one() -> None:
    pieces = [piece.removesuffix(b"\n") for piece in deltas("a", "b")]
    assert answer_of(*pieces) == answer_of(*deltas("a", "b"))


def test_json_of_several_data_lines_and_with_blanks_around_it_is_read() -> None:
    spread = b'data:  {"choices": [{"index": 0, "delta": {"content": "a"}}]} \n\n'
    assert answer_of(spread, DONE).answer == "a"
    pretty = json.dumps(
        {"choices": [{"index": 0, "delta": {"content": "a"}}]}, indent=1
    )
    lines = "".join(f"data: {line}\n" for line in pretty.split("\n"))
    assert answer_of(lines.encode(), b"\n", DONE).answer == "a"


def test_the_fingerprint_and_the_model_of_the_server_are_kept() -> None:
    stream = ChatStream()
    read(reply("Hi")[1:], stream)
    assert stream.fingerprint.startswith("0.32.2-")
    assert (stream.server_model, stream.deltas) == ("default_model", 1)


def test_deltas_that_carry_text_are_counted() -> None:
    stream = ChatStream()
    read(
        [
            chunk({"reasoning": "a", "content": "b"}),
            chunk({"content": ""}),
            *deltas("c", None),
        ],
        stream,
    )
    assert stream.deltas == 2


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4}, Usage(3, 4)),
        (
            {
                "prompt_tokens": 3,
                "completion_tokens": "4",
                "prompt_tokens_details": None,
            },
            Usage(3, 0),
        ),
        (
            {"prompt_tokens": 10**400, "completion_tokens": 10**12},
            Usage(0, 10**12),
        ),
        (
            {"prompt_tokens": -1, "prompt_tokens_details": {"cached_tokens": 2}},
            Usage(0, 0, 2),
        ),
        (
            {
                "prompt_tokens": float("nan"),
                "completion_tokens": [],
                "prompt_tokens_details": [],
            },
            Usage(0, 0),
        ),
        ({}, None),
        ("x", None),
    ],
)
def test_malformed_usage_keeps_its_valid_counts(
    counts: object, expected: Usage | None
) -> None:
    pieces = [
        text("Hi"),
        chunk({}, "stop"),
        sse({"choices": [], "usage": counts}),
        DONE,
    ]
    assert answer_of(*pieces).usage == expected


# Endings.


def test_a_cut_stream_is_interrupted() -> None:
    got = answer_of(text("Hi"))
    assert (got.answer, got.outcome, got.truncated) == ("Hi", "interrupted", True)


def test_an_empty_body_is_interrupted() -> None:
    assert (
        read([])
        == read([b""])
        == read([b"\r\n \n"])
        == [Finish("interrupted", truncated=True)]
    )


def test_keepalives_alone_are_interrupted() -> None:
    assert read([b": keepalive 1/2\n\n"])[-1] == Finish("interrupted", truncated=True)


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        (b'data: {"error": "out of memory"}\n\n', "out of memory"),
        (b'data: {"error": {"message": "boom", "code": 500}}\n\n', "boom"),
        (b'data: {"error": {"detail": "boom"}}\n\n', "boom"),
        (b'data: {"error": {"code": 500}}\n\n', '{"error": {"code": 500}}'),
        (b'data: {"error": true}\n\n', '{"error": true}'),
        (b'data: {"object": "error", "message": "boom"}\n\n', "boom"),
        (b'event: error\ndata: {"message": "boom"}\n\n', "boom"),
        (b"event: error\ndata: boom\n\n", "boom"),
        (b'data: {"detail": "boom"}\n\n', "boom"),
        (b'error: {"code":500,"message":"boom"}\n\n', "boom"),
        (b'{"error": "boom"}', "boom"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"error": {"message": "bad \\ud800"}}', "bad \ufffd"),
    ],
)
def test_an_error_ends_the_reply_with_the_servers_words(
    sent: bytes, detail: str
) -> None:
    assert read([sent])[-1] == Finish("error", truncated=True, detail=detail)


def test_an_error_after_text_keeps_the_text() -> None:
    got = answer_of(text("Hi"), sse({"error": "boom"}))
    assert (got.answer, got.finish_reason, got.detail, got.outcome) == (
        "Hi",
        "error",
        "boom",
        "failed",
    )


def test_an_error_field_that_is_null_is_ignored() -> None:
    assert (
        answer_of(
            sse({"error": None, "choices": [{"delta": {"content": "Hi"}}]}), DONE
        ).answer
        == "Hi"
    )


@pytest.mark.parametrize(
    "sent",
    [
        b"<!DOCTYPE html><h1>502 Bad Gateway</h1>",
        b"Not Found",
        b"[1, 2]",
        b'{"model": "x", "message": {"content": "a"}}\n{"done": true}\n',
    ],
)
def test_a_body_that_is_not_a_stream_is_reported_with_its_text(sent: bytes) -> None:
    for pieces in ([sent], [sent[:1], sent[1:]]):
        assert read(pieces) == [
            Finish("not_a_stream", truncated=True, detail=sent.decode().strip())
        ]


def test_data_in_plain_words_is_the_detail_of_an_error() -> None:
    words = b"data: upstream timed out\n\n"
    ending = Finish("error", truncated=True, detail="upstream timed out")
    assert read([words]) == [ending]
    assert read([text("Hi"), words]) == [AnswerDelta("Hi"), ending]
    assert answer_of(words, *deltas("Hi")).finish_reason == "stop"


def test_a_chunk_cut_by_the_end_does_not_count_as_plain_words() -> None:
    assert read([text("Hi")[:-9]]) == [Finish("interrupted", truncated=True)]


def test_a_detail_is_short() -> None:
    for page in (b"<" + b"x" * 9999, b"x" * 9999, b'{"error": "' + b"x" * 9999 + b'"}'):
        assert len(answer_of(page).detail) == 2000


@pytest.mark.parametrize("byte", [b"{", b"x"])
def test_a_body_without_an_end_is_given_up(byte: bytes) -> None:
    stream = ChatStream()
    events = [e for _ in range(16) for e in stream.feed(byte * (MAX_BODY // 16))]
    assert stream.finished
    assert collect(events).finish_reason == "not_a_stream"


def test_a_server_that_goes_on_without_chunks_is_given_up() -> None:
    stream = ChatStream()
    junk = b'data: {"a": 1}\n\n'
    events = [e for piece in (text("Hi"), *[junk] * 600) for e in stream.feed(piece)]
    assert stream.finished
    assert (answer := collect(events)).answer == "Hi"
    assert answer.finish_reason == "not_a_stream"


def test_records_between_chunks_are_forgiven() -> None:
    junk = b'data: {"a": 1}\n\n' * 300
    pieces = [junk, text("H"), junk, text("i"), junk, chunk({}, "stop"), DONE]
    assert answer_of(*pieces).answer == "Hi"


def test_a_completion_without_an_end_is_an_error_that_names_the_limit() -> None:
    start = b'{"choices": [{"message": {"content": "'
    stream, block = ChatStream(), b"x" * (MAX_BODY // 16)
    reply = collect([e for piece in (start, *[block] * 16) for e in stream.feed(piece)])
    assert stream.finished
    assert (reply.finish_reason, "16 MiB" in reply.detail) == ("error", True)


def test_nesting_that_exhausts_the_stack_does_not_raise() -> None:
    deep = b'{"a":' * 100_000
    assert answer_of(deep).finish_reason == "interrupted"
    assert answer_of(deep + b"}").finish_reason == "not_a_stream"
    assert answer_of(b"data: " + deep + b"\n\n").finish_reason == "interrupted"


@pytest.mark.parametrize("depth", [100, 900, 990, 2_000, 9_000])
def test_json_too_deep_to_be_written_does_not_raise(depth: int) -> None:
    deep = '{"a":' * depth + "1" + "}" * depth
    call = (
        '{"choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": '
        + deep
        + "}}]}}]}"
    )
    for sent in (
        b'data: {"error": ' + deep.encode() + b"}\n\n",
        b"data: " + call.encode() + b"\n\n" + DONE,
    ):
        read([sent])


# Whole replies.


def test_a_whole_completion_is_understood_like_a_stream() -> None:
    body = json.loads(completion({"role": "assistant", "content": RAW}))
    body["usage"] = {"prompt_tokens": 1, "completion_tokens": 2}
    data = json.dumps(body, indent=2).encode()
    for pieces in (
        [data],
        [data[at : at + 1] for at in range(len(data))],
        [b"\xef\xbb\xbf\n", data],
    ):
        got = collect(read(pieces))
        assert (got.reasoning, got.answer, got.finish_reason) == (
            "Think.",
            "Answer.",
            "stop",
        )
        assert got.usage == Usage(1, 2)


def test_a_whole_completion_with_separate_fields_passes_through() -> None:
    calls = [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]
    message = {"content": None, "reasoning": "Hm", "tool_calls": calls}
    got = answer_of(completion(message), tools=["f"])
    assert (got.reasoning, got.answer, summary(got)) == ("Hm", "", [("1", "f", "{}")])


def test_a_whole_completion_with_a_think_block_is_split() -> None:
    got = answer_of(completion({"content": "<think>\na\n</think>\n\nb"}))
    assert (got.reasoning, got.answer) == ("a\n", "b")


@pytest.mark.parametrize("reason", [None, "", "stop"])
def test_a_whole_completion_needs_no_finish_reason(
    reason: object,
) -> None:
    assert (
        answer_of(completion({"content": "a"}, finish_reason=reason)).finish_reason
        == "stop"
    )


@pytest.mark.parametrize("kept", [2, 60, -1])
def test_a_whole_completion_that_broke_off_is_interrupted(kept: int) -> None:
    assert answer_of(completion({"content": "a"})[:kept]).finish_reason == "interrupted"


def test_a_whole_completion_cut_by_length_says_so() -> None:
    got = answer_of(completion({"content": THINKING}, finish_reason="length"))
    assert (got.reasoning, got.outcome) == ("Think.", "cut_in_reasoning")


@pytest.mark.parametrize(
    ("contents", "finish_reason", "outcome"),
    [
        ([RAW], "stop", "answered"),
        ([RAW], "length", "cut"),
        ([THINKING], "length", "cut_in_reasoning"),
        ([THINKING], "stop", "only_reasoning"),
        ([], "stop", "empty"),
        (["<|channel|>"], "length", "cut"),
    ],
)
def test_each_kind_of_incomplete_reply_has_its_outcome(
    contents: list[str], finish_reason: str, outcome: str
) -> None:
    assert answer_of(*deltas(*contents, finish_reason=finish_reason)).outcome == outcome


def test_a_json_reply_without_an_answer_knows_that_it_had_thinking() -> None:
    cut = answer_of(*deltas(THINKING, finish_reason="length"), json_reply=True)
    stopped = answer_of(*deltas(THINKING), json_reply=True)
    assert (cut.reasoning, cut.outcome) == ("", "cut_in_reasoning")
    assert stopped.outcome == "only_reasoning"


# Properties.

WORDS = [
    "<|channel|>",
    "<|message|>",
    "<|end|>",
    "<|start|>",
    "<|call|>",
    "<|ret",
    "urn|>",
    "analysis",
    "final",
]
WORDS += [
    "commentary to=functions.f",
    "assistant",
    "<",
    "|",
    ">",
    " ",
    "{}",
    '"',
    "<think>",
    "</think>",
    "日🌸",
    "x",
]
CHUNKS = st.lists(
    st.sampled_from(WORDS).map(text)
    | st.sampled_from(["a", "", None]).map(lambda said: chunk({"reasoning": said}))
    | st.sampled_from(
        [chunk({"tool_calls": [call_piece("f", "{}", index=0)]}), usage(1, 2), DONE]
    )
    | st.sampled_from(
        [
            chunk({}, "stop"),
            chunk({}, "length"),
            sse({"error": "x"}),
            b": keepalive 1/2\n\n",
        ]
    )
    | st.sampled_from([b"data: x\n\n", b"\r\n", b"<html>", b"{", b"event: error\n"]),
    max_size=25,
)


@given(
    CHUNKS,
    st.integers(0, 999),
    st.booleans(),
    st.sampled_from([[], ["x", "{}"], ["日🌸<"]]),
)
def test_any_cuts_give_the_same_events(
    chunks: list[bytes], seed: int, json_reply: bool, stop: list[str]
) -> None:
    data = b"".join(chunks)

    def events(pieces: Iterable[bytes]) -> list[Event]:
        return merged(
            read(pieces, ChatStream(tools=["f"], stop=stop, json_reply=json_reply))
        )

    assert (
        events([data]) == events(random_cuts(data, seed, longest=40)) == events(chunks)
    )


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_random_bytes_never_raise(pieces: list[bytes]) -> None:
    read(pieces)


KEYS = [
    "choices",
    "delta",
    "message",
    "index",
    "content",
    "text",
    "reasoning",
    "reasoning_content",
    "id",
    "name",
]
KEYS += [
    "tool_calls",
    "function",
    "function_call",
    "arguments",
    "finish_reason",
    "usage",
    "prompt_tokens",
]
KEYS += [
    "completion_tokens",
    "prompt_tokens_details",
    "cached_tokens",
    "error",
    "object",
    "model",
]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=4), st.lists(JSON, max_size=4))
def test_random_json_never_raises_and_lets_no_surrogate_out(
    frames: list[object], deltas: list[object]
) -> None:
    pieces = [sse(frame) for frame in frames]
    pieces += [sse({"choices": [{"index": 0, "delta": delta}]}) for delta in deltas]
    for piece in (*pieces, b"".join(pieces), b"".join(pieces).removeprefix(b"data: ")):
        repr(read([piece])).encode()
        for event in read([piece]):
            for name in event.__slots__:  # type: ignore[attr-defined]
                str(getattr(event, name)).encode()


CALL_TOKENS = [
    *("<|channel|>", "comment", "ary", " to=f", " <|constrain|>", "json"),
    *("<|message|>", '{"a":1}', "<|call|>"),
]


@pytest.mark.parametrize(
    "behind",
    [
        ["<|start|>", "functions", ".f", " to=assistant", "<|channel|>"],
        [" We", " wait"],
    ],
)
def test_a_closed_call_ends_the_reply_if_no_message_follows(
    behind: list[str],
) -> None:
    stream = ChatStream(["f"])
    *_, events = (stream.feed(text(token)) for token in CALL_TOKENS)
    assert [type(event) for event in events] == [ToolCall]
    assert not stream.finished
    finish = [event for token in behind for event in stream.feed(text(token))]
    assert finish == [Finish("tool_calls")]
    assert stream.finished


def test_silence_after_a_closed_call_is_the_end_of_the_reply() -> None:
    stream = ChatStream(["f"])
    for token in CALL_TOKENS:
        assert not stream.whole
        stream.feed(text(token))
    assert stream.whole
    assert stream.close() == [Finish("tool_calls")]


def test_a_further_call_may_follow_a_closed_one() -> None:
    tokens = [*CALL_TOKENS, "<|start|>", "assistant", *CALL_TOKENS]
    got = answer_of(*deltas(*tokens), tools=["f"])
    assert [call.name for call in got.tool_calls] == ["f", "f"]

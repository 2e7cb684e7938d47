"""Tool calls in the field `tool_calls`, as different servers cut and number them."""

from __future__ import annotations

from harmony_core.chat import ChatStream
from harmony_core.events import AnswerDelta, Finish
from harmony_core.jsontext import Json
from harmony_core.native_calls import NativeCalls
from tests.core.streams import answer_of, call_piece, native_calls, summary
from tests.server.replies import DONE, chunk


def test_native_calls_are_put_together_by_index() -> None:
    got = native_calls(
        call_piece("f", "", index=0, id="a"),
        call_piece("g", '{"x"', index=1, id="b"),
        call_piece(arguments='{"y": ', index=0),
        call_piece(arguments=": 1}", index=1),
        call_piece(arguments="2}", index=0),
    )
    assert summary(got) == [("a", "f", '{"y": 2}'), ("b", "g", '{"x": 1}')]
    assert got.finish_reason == "tool_calls"


def test_native_calls_without_an_id_get_one() -> None:
    got = native_calls(
        call_piece("f", "{}", index=0), call_piece("g", "{}", index=1, id=None)
    )
    assert summary(got) == [("call_1_1", "f", "{}"), ("call_1_2", "g", "{}")]


def test_repeated_ids_of_the_server_become_unique() -> None:
    pieces = [call_piece("f", "{}", index=at, id="call_0") for at in range(3)]
    ids = [call.id for call in native_calls(*pieces).tool_calls]
    assert (ids[0], len(set(ids))) == ("call_0", 3)


def test_calls_of_the_text_and_of_a_field_never_share_an_id() -> None:
    marked = "<|channel|>commentary to=functions.f<|message|>{}<|call|>"
    native = chunk({"tool_calls": [call_piece("f", "{}", index=0)]})
    pieces = [chunk({"content": marked}), chunk({"reasoning": "Hm"})] * 2
    got = answer_of(*pieces, native, DONE, tools=["f"])
    assert len({call.id for call in got.tool_calls}) == len(got.tool_calls) == 3


def test_a_prefix_from_the_host_names_all_calls_whatever_the_server_sends() -> None:
    marked = "<|channel|>commentary to=functions.f<|message|>{}<|call|>"
    pieces = [call_piece("f", "{}", index=at, id="\ud800") for at in range(2)]
    native = [chunk({"tool_calls": [piece]}) for piece in pieces]
    got = answer_of(
        chunk({"content": marked}), *native, DONE, tools=["f"], call_prefix="ab"
    )
    assert [call.id for call in got.tool_calls] == ["ab_1", "ab_2", "ab_3"]


def test_a_call_to_the_user_is_streamed_as_answer() -> None:
    name = "<|constrain|>response"
    pieces = [call_piece(name, "Five", index=0), call_piece(arguments=".", index=0)]
    stream = ChatStream()
    events = [stream.feed(chunk({"tool_calls": [piece]})) for piece in pieces]
    assert events == [[AnswerDelta("Five")], [AnswerDelta(".")]]
    assert stream.close() == [Finish("interrupted", truncated=True)]


def test_native_calls_without_an_index_are_told_apart_by_id_and_name() -> None:
    got = native_calls(
        call_piece("f", '{"a"', id="1"),
        call_piece(arguments=": 1}"),
        call_piece("g", "{}", id="2"),
        call_piece("g", "{}"),
    )
    assert summary(got) == [
        ("1", "f", '{"a": 1}'),
        ("2", "g", "{}"),
        ("call_1_3", "g", "{}"),
    ]


def test_a_piece_without_an_index_goes_on_with_the_last_call() -> None:
    got = native_calls(
        call_piece("f", '{"a"', index=3, id="1"), call_piece(arguments=": 1}")
    )
    assert summary(got) == [("1", "f", '{"a": 1}')]


def test_a_repeated_name_does_not_begin_a_new_call() -> None:
    got = native_calls(
        call_piece("f", "{", index=0, id="1"), call_piece("f", "}", index=0, id="1")
    )
    assert summary(got) == [("1", "f", "{}")]


def test_an_id_or_a_name_may_come_late() -> None:
    got = native_calls(
        call_piece("f", '{"a": ', index=0, id=""),
        call_piece("f", "1}", index=0, id="x"),
        call_piece(None, "", index=1, id="y"),
        call_piece("g", "{}", index=1),
    )
    assert summary(got) == [("x", "f", '{"a": 1}'), ("y", "g", "{}")]


def test_native_arguments_may_be_an_object_or_missing() -> None:
    got = native_calls(
        call_piece("f", {"a": "é"}, index=0), call_piece("functions.g", index=1)
    )
    assert [call[1:] for call in summary(got)] == [("f", '{"a": "é"}'), ("g", "{}")]


def test_native_calls_that_may_not_be_executed_are_marked() -> None:
    got = native_calls(
        call_piece("rm", "{}", index=0), call_piece("f", "text", index=1)
    )
    assert [(call.declared, call.valid) for call in got.tool_calls] == [
        (False, True),
        (True, False),
    ]
    assert got.finish_reason == "stop"


def test_an_incomplete_native_call_is_dropped_and_a_complete_one_kept() -> None:
    got = native_calls(
        call_piece("f", "{}", index=0),
        call_piece("g", '{"a', index=1),
        finish_reason="length",
    )
    assert ([call.name for call in got.tool_calls], got.truncated) == (["f"], True)
    got = native_calls(call_piece("g", '{"a', index=0), finish_reason="tool_calls")
    assert (got.tool_calls, got.truncated, got.finish_reason) == ((), True, "stop")


def test_malformed_pieces_of_calls_are_skipped() -> None:
    odd = [
        None,
        5,
        "x",
        {},
        {"function": None},
        {"function": "f"},
        {"function": {"name": 5}, "index": []},
    ]
    got = native_calls(*odd, call_piece("f", "{}", index=0))
    assert [call.name for call in got.tool_calls if call.executable] == ["f"]
    assert answer_of(chunk({"tool_calls": "x"}), DONE).tool_calls == ()


def test_arguments_nested_too_deeply_to_be_written_are_incomplete() -> None:
    deep: Json = {}
    for _ in range(100_000):
        deep = {"a": deep}
    calls = NativeCalls(["f"])
    calls.add([{"function": {"name": "f", "arguments": deep}}])
    assert calls.close(cut=False, call_prefix="call") == ([], True)

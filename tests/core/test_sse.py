"""SseDecoder gives the same fields however the bytes are cut, and no bytes raise."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_core.events import Progress
from harmony_core.sse import (
    MAX_EVENT_LINES,
    MAX_SSE_EVENT,
    SseDecoder,
    SseField,
)


def decode(*pieces: bytes) -> list[SseField]:
    decoder = SseDecoder()
    fields = [field for piece in pieces for field in decoder.feed(piece)]
    return [*fields, *decoder.close()]


def each_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def test_an_event_comes_with_its_blank_line() -> None:
    decoder = SseDecoder()
    assert list(decoder.feed(b"data: hello\n")) == []
    assert list(decoder.feed(b"\n")) == [b"hello"]


def test_progress_comes_with_its_line() -> None:
    decoder = SseDecoder()
    assert list(decoder.feed(b": keepalive 1/2")) == []
    assert list(decoder.feed(b"\n")) == [Progress(1, 2)]


@pytest.mark.parametrize(
    "comment", [b":", b": ping", b":keepalive", b": keepalive 1/2 x", b": keepalive /2"]
)
def test_any_other_comment_only_shows_that_this_is_a_stream(comment: bytes) -> None:
    decoder = SseDecoder()
    assert list(decoder.feed(comment)) == []
    assert not decoder.is_stream
    assert list(decoder.feed(b"\n")) == []
    assert decoder.is_stream


def test_data_shows_that_this_is_a_stream_and_bare_lines_do_not() -> None:
    decoder = SseDecoder()
    assert list(decoder.feed(b"<html>\nid: 1\n\n")) == []
    assert not decoder.is_stream
    assert list(decoder.feed(b"data: a\n\n")) == [b"a"]
    assert decoder.is_stream


def test_all_three_line_breaks_are_line_breaks() -> None:
    for line_break in (b"\n", b"\r\n", b"\r"):
        data = line_break.join(
            [b"data: a", b"data: b", b"", b":keepalive 1/2", b"data: d", b"", b""]
        )
        expected = [b"a\nb", Progress(1, 2), b"d"]
        assert decode(data) == expected
        assert decode(*each_byte(data)) == expected


def test_a_line_break_cut_in_two_is_one_line_break() -> None:
    assert decode(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [b"a\nb"]


def test_an_empty_piece_changes_nothing() -> None:
    assert decode(b"data: a\r", b"", b"\n", b"", b"\r\n") == [b"a"]


def test_only_one_blank_after_the_colon_belongs_to_the_format() -> None:
    assert decode(b"data:a\n\ndata:  b\n\n") == [b"a", b" b"]


def test_data_without_a_colon_is_an_empty_line_of_data() -> None:
    assert decode(b"data\ndata\n\n") == [b"\n"]


def test_a_character_cut_in_two_arrives_whole() -> None:
    data = "data: 日本🌸\n\n".encode()
    assert decode(*each_byte(data)) == ["日本🌸".encode()]


def test_bytes_that_are_not_utf8_stay_as_they_are() -> None:
    assert decode(b": a\xff\xe3\x81\n\n") == []
    assert decode(b"data: a\xff\n\n") == [b"a\xff"]


def test_odd_fields_are_skipped() -> None:
    assert decode(
        b"id: 1\nretry: 5\nevent: x\nfoo\nDATA: x\n data: y\ndata: z\n\n"
    ) == [b"z"]


def test_a_field_named_error_is_data() -> None:
    assert decode(b'error: {"code":500}\n\n') == [b'{"code":500}']


def test_the_end_completes_a_line_and_an_event() -> None:
    assert decode(b"data: a") == [b"a"]
    assert decode(b"data: a\n") == [b"a"]
    assert decode(b": keepalive 3/4") == [Progress(3, 4)]


def test_a_whole_event_after_an_unfinished_one_belongs_to_it() -> None:
    assert decode(b"data: a\n", b"data: b\n\n") == [b"a\nb"]
    assert decode(b"da", b"ta: b\n\n") == [b"b"]
    assert decode(b"data: a\n\n", b"data: b\ndata: c\n\n") == [
        b"a",
        b"b\nc",
    ]


def test_a_line_feed_after_a_carriage_return_is_not_a_line() -> None:
    assert decode(b"data: a\r", b"\n", b"\ndata: b\r", b"\r") == [b"a", b"b"]
    assert decode(b"data: a\r\r", b"\n\ndata: b\n\n") == [b"a", b"b"]


def test_an_event_comes_with_the_carriage_return_that_ends_it() -> None:
    decoder = SseDecoder()
    assert list(decoder.feed(b"data: a\r")) == []
    assert list(decoder.feed(b"\r")) == [b"a"]


def test_a_line_of_bare_json_is_data() -> None:
    assert decode(b'data: a\n\n{"error": "b"}\n') == [b"a", b'{"error": "b"}']


@pytest.mark.parametrize("line", [b"data: ", b":", b"id: ", b""])
def test_nothing_comes_after_a_line_past_the_limit(line: bytes) -> None:
    block = b"x" * 65_536
    long = [line, *[block] * (MAX_SSE_EVENT // 65_536), b"x\n\ndata: next\n\n"]
    for pieces in (long, [b"".join(long)]):
        decoder = SseDecoder()
        fields = [list(decoder.feed(piece)) for piece in (b"data: a\n\n", *pieces)]
        assert [field for some in fields for field in some] == [b"a"]
        assert decoder.too_long
        assert list(decoder.close()) == []


def test_an_event_past_the_limit_is_too_long_as_well() -> None:
    decoder = SseDecoder()
    assert list(decoder.feed((b"data: " + b"x" * 1_048_570 + b"\n") * 17)) == []
    assert decoder.too_long


@pytest.mark.parametrize("open_data", [b"", b"data: a\n"])
def test_the_end_completes_nothing_after_a_line_past_the_limit(
    open_data: bytes,
) -> None:
    decoder = SseDecoder()
    fields = [*decoder.feed(open_data + b"x" * (MAX_SSE_EVENT + 1) + b"\ndata: b")]
    assert (fields, list(decoder.close())) == ([], [])


def test_an_event_of_very_many_lines_comes_in_parts() -> None:
    fields = decode(b"data:x\n" * (2 * MAX_EVENT_LINES + 1) + b"\n")
    whole = b"\n".join([b"x"] * MAX_EVENT_LINES)
    assert fields == [whole, whole, b"x"]


PIECES = st.lists(
    st.sampled_from(
        [
            *[
                b"data:",
                b"data: ",
                b"event: error",
                b"error:",
                b":",
                b": keepalive 1/",
                b"2",
                b"id",
                b" ",
                b"x",
                b"\n",
                b"\r",
                b"\r\n",
            ],
            *["日".encode(), "🌸".encode(), b"\xff", b"\xef\xbb\xbf"],
        ]
    ),
    max_size=40,
)


@given(PIECES, st.data())
def test_any_cuts_give_the_same_fields(
    pieces: list[bytes], draw: st.DataObject
) -> None:
    data = b"".join(pieces)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=10)))
    bounds = [0, *cuts, len(data)]
    cut = [data[start:end] for start, end in pairwise(bounds)]
    assert decode(data) == decode(*cut) == decode(*each_byte(data))


@given(st.binary())
def test_no_bytes_raise(data: bytes) -> None:
    assert all(isinstance(field, bytes | Progress) for field in decode(data))

"""SSE: the same events for every way to cut the bytes, and nothing that a server sends raises."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from harmony_core import sse
from harmony_core.sse import SseComment, SseData, SseDecoder, SseField


def decode(*pieces: bytes) -> list[SseField]:
    decoder = SseDecoder()
    fields = [field for piece in pieces for field in decoder.feed(piece)]
    return fields + decoder.close()


def each_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def test_an_event_comes_with_its_blank_line() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: hello\n") == []
    assert decoder.feed(b"\n") == [SseData("hello")]


def test_a_comment_comes_with_its_line() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b": keepalive 1/2") == []
    assert decoder.feed(b"\n") == [SseComment("keepalive 1/2")]


def test_both_line_breaks_are_line_breaks() -> None:
    for line_break in (b"\n", b"\r\n"):
        data = line_break.join(
            [b"data: a", b"data: b", b"", b":c", b"data: d", b"", b""]
        )
        expected = [SseData("a\nb"), SseComment("c"), SseData("d")]
        assert decode(data) == expected
        assert decode(*each_byte(data)) == expected


def test_a_line_break_cut_in_two_is_one_line_break() -> None:
    assert decode(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [SseData("a\nb")]


def test_an_empty_piece_changes_nothing() -> None:
    assert decode(b"data: a\r", b"", b"\n", b"", b"\r\n") == [SseData("a")]


def test_only_one_blank_behind_the_colon_belongs_to_the_format() -> None:
    assert decode(b"data:a\n\ndata:  b\n\n") == [SseData("a"), SseData(" b")]


def test_data_without_a_colon_is_an_empty_line_of_data() -> None:
    assert decode(b"data\ndata\n\n") == [SseData("\n")]


def test_a_character_cut_in_two_arrives_whole() -> None:
    data = "data: 日本🌸\n\n".encode()
    assert decode(*each_byte(data)) == [SseData("日本🌸")]


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    assert decode(b"data: a\xff\xe3\x81\n\n") == [SseData("a\ufffd\ufffd")]


def test_odd_fields_are_skipped() -> None:
    assert decode(
        b"id: 1\nretry: 5\nevent: x\nfoo\nDATA: x\n data: y\ndata: z\n\n"
    ) == [SseData("z")]


def test_a_field_named_error_is_data() -> None:
    assert decode(b'error: {"code":500}\n\n') == [SseData('{"code":500}')]


def test_the_end_completes_a_line_and_an_event() -> None:
    assert decode(b"data: a") == [SseData("a")]
    assert decode(b"data: a\n") == [SseData("a")]
    assert decode(b": c") == [SseComment("c")]


def test_a_whole_event_behind_an_unfinished_one_belongs_to_it() -> None:
    assert decode(b"data: a\n", b"data: b\n\n") == [SseData("a\nb")]
    assert decode(b"da", b"ta: b\n\n") == [SseData("b")]
    assert decode(b"data: a\n\n", b"data: b\ndata: c\n\n") == [
        SseData("a"),
        SseData("b\nc"),
    ]


def test_a_line_past_the_limit_loses_its_end_only() -> None:
    limit = sse.MAX_SSE_EVENT
    pieces = [
        b"data: ",
        *[b"x" * 65_536] * (limit // 65_536 + 3),
        b"\n\ndata: next\n\n",
    ]
    first, second = decode(*pieces)
    assert isinstance(first, SseData)
    assert first.text == "x" * (limit - len("data: "))
    assert second == SseData("next")


def test_an_event_without_an_end_is_given_out_at_the_limit() -> None:
    line = b"data: " + b"x" * 1_048_570 + b"\n"
    fields = SseDecoder().feed(line * 17)
    assert [len(field.text) for field in fields] == [16 * 1_048_570 + 1_048_570 + 16]


PIECES = st.lists(
    st.sampled_from(
        [
            *[
                b"data:",
                b"data: ",
                b"event: error",
                b"error:",
                b":",
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
def test_the_cuts_make_no_difference(pieces: list[bytes], draw: st.DataObject) -> None:
    data = b"".join(pieces)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=10)))
    bounds = [0, *cuts, len(data)]
    cut = [data[start:end] for start, end in pairwise(bounds)]
    assert decode(data) == decode(*cut) == decode(*each_byte(data))


@given(st.binary())
def test_no_bytes_raise(data: bytes) -> None:
    for field in decode(data):
        field.text.encode()

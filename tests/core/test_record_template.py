"""Records that a template reads give the same events as records that are read as JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_core import record_template
from harmony_core.chat import ChatStream
from harmony_core.events import AnswerDelta, Event
from harmony_core.record_template import RecordTemplate
from tests.core.streams import read
from tests.server.replies import DONE, text
from tests.support.chunking import random_cuts

HEAD = b'data: {"choices": [{"delta": {"content": "'
TAIL = b'"}}]}\n\n'


def with_and_without(pieces: list[bytes], stop: list[str]) -> list[list[Event]]:
    """The events of a stream read by templates, and of the same stream read as JSON only."""
    results = [read(pieces, ChatStream(["f"], stop))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_template, "MAX_UNUSED_TEMPLATES", 0)
        results.append(read(pieces, ChatStream(["f"], stop)))
    return results


def learned(record: bytes) -> RecordTemplate:
    template = RecordTemplate()
    template.learn(record[6:-2], json.loads(record[6:-2]))
    return template


def test_a_template_reads_all_records_that_fit() -> None:
    data = text("b") + text("日\n") + text("") + DONE
    texts, end = learned(text("a")).texts_at(data, 0)
    assert (texts, data[end:]) == (["b", "日\n", ""], DONE)


def test_a_template_reads_up_to_the_record_that_does_not_fit() -> None:
    data = text('say "x"') + text("b") + DONE + text("c")
    texts, end = learned(text("a")).texts_at(data, 0)
    assert (texts, data[end:]) == (['say "x"', "b"], DONE + text("c"))


@pytest.mark.parametrize(
    "body",
    [
        b'x", "content": "y',
        b'x"}}, {"delta": {"content": "y',
        b"x\\",
        b"\\u12",
        b"\\x",
        b"a\tb",
        b"a\x00",
        b"\xff",
        b"\xed\xa0\x80",
        b'"',
        b'","',
        b'a"] b',
        b"a\nb",
    ],
)
def test_a_body_that_is_not_one_string_is_read_as_json(body: bytes) -> None:
    template = learned(HEAD + b"a" + TAIL)
    odd, fit = HEAD + body + TAIL, HEAD + b"b" + TAIL
    assert template.texts_at(odd, 0) == ([], 0)
    assert template.texts_at(fit + odd + fit, 0) == (["b"], len(fit))


def test_bodies_whose_faults_cancel_out_are_read_as_json() -> None:
    bodies = [b"c\\", b",", b',"d']
    assert len(json.loads(b'["' + b'","'.join(bodies) + b'"]')) == len(bodies)
    data = b"".join(HEAD + body + TAIL for body in bodies)
    assert learned(HEAD + b"a" + TAIL).texts_at(data, 0) == ([], 0)


@pytest.mark.parametrize(
    "record",
    [
        b'{"choices": [{"delta": {"content": "a", "content": "b"}}]}',
        b'{"choices": [{"delta": {"content": "b"}}], "choices": []}',
        b'{"choices": [{"delta": {"content": "a", "tool_calls": [1]}}]}',
        b'{"choices": [{"delta": {"content": "a", "reasoning": "b"}}]}',
        b'{"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}',
        b'{"choices": [{"delta": {"content": "a"}}], "usage": {"x": 1}}',
        b'{"choices": [{"delta": {"content": "a"}}], "error": "x"}',
        b'{"choices":\n[{"delta": {"content": "a"}}]}',
        b'{"choices": [{"delta": {"content": ""}}]}',
        b'{"choices": [{"message": {"content": "a"}}]}',
    ],
)
def test_a_record_with_more_than_text_is_not_a_template(record: bytes) -> None:
    chunk = {**json.loads(record)}
    template = RecordTemplate()
    template.learn(record, chunk)
    assert template.texts_at(b"data: " + record + b"\n\n", 0) == ([], 0)


def test_a_record_nested_too_deeply_to_compare_is_not_a_template() -> None:
    deep = b'{"x": ' + b"[" * 900 + b"]" * 900 + b', "choices": [{"delta": {"content":'
    assert AnswerDelta("a") in read([b"data: " + deep + b' "a"}}]}\n\n', DONE])


def test_templates_that_never_fit_are_learned_a_few_times_only() -> None:
    template = RecordTemplate()
    for number in range(20):
        record = b'{"n": %d, "choices": [{"delta": {"content": "a"}}]}' % number
        template.learn(record, json.loads(record))
    assert template.texts_at(b"data: " + record + b"\n\n", 0) == ([], 0)


# Texts as servers write them, escaped or not, and bytes that no JSON string may hold.
SPELLINGS = [
    *[b"a", b" the", b"<|channel|>", b"final", b"<|message|>", b"<|call|>", b"STOP"],
    *["日本".encode(), b"\\u65e5", b"\\ud83c", b"\\udf38", b"\\n", b'\\"', b"\\\\"],
    *[b'"', b"\\", b"\\x", b"\t", b"\r", b"\n", b"\n\n", b"\x7f", b"\xff", b"", b"/"],
    *[b'", "content": "b', b'"}}]}\n\n' + HEAD, b'","', "\u2028".encode()],
]
BODIES = st.lists(st.sampled_from(SPELLINGS), max_size=4).map(b"".join)
FORMS = [
    b'{"choices": [{"delta": {"content": "%b"}}]}',
    b'{"choices": [{"delta": {"content": "%b"}}], "created": 7}',
    b'{"created": 8, "choices": [{"delta": {"content": "%b"}}]}',
    b'{"choices":[{"index":0,"delta":{"role":"assistant","content":"%b"}}]}',
    b'{"choices": [{"delta": {"reasoning": "%b", "content": null}}]}',
    b'{"choices": [{"delta": {"reasoning_content": "%b"}}]}',
    b'{"choices": [{"delta": {"content": "%b"}, "finish_reason": "length"}]}',
    b'{"choices": [{"delta": {"content": "%b"}}], "usage": {"prompt_tokens": 1}}',
    b'{"choices": [{"delta": {"content": "%b", "content": "c"}}]}',
    b'{"choices": [], "x": "%b", "usage": {"prompt_tokens": 2}}',
    b'{"error": "%b"}',
    b"%b",
]
WIRES = [b"data: %b\n\n"] * 6 + [b"data:%b\n\n", b"data: %b\r\n\r\n", b"data: %b\n"]
WIRES += [b": %b\n\n", b"data: %b\r\r", b"%b\n"]
RECORDS = st.builds(
    lambda wire, form, body: wire % (form % body),
    st.sampled_from(WIRES),
    st.sampled_from(FORMS) | st.just(FORMS[0]) | st.just(FORMS[4]),
    BODIES,
)


@given(
    st.lists(RECORDS, max_size=12),
    st.integers(0, 999),
    st.sampled_from([[], ["STOP"]]),
)
def test_templates_and_json_give_the_same_events_in_every_cut(
    records: list[bytes], seed: int, stop: list[str]
) -> None:
    data = b"".join([text("a"), text("b"), *records])
    for pieces in ([data], [text("a"), *records], list(random_cuts(data, seed))):
        ours, plain = with_and_without(pieces, stop)
        assert ours == plain


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=8), st.booleans())
def test_templates_and_json_give_the_same_events_for_any_text(
    texts: list[str], ascii_only: bool
) -> None:
    record = {"choices": [{"delta": {"content": "a"}}]}
    pieces = []
    for content in ["<|message|>x", *texts]:
        record["choices"][0]["delta"]["content"] = content
        said = json.dumps(record, ensure_ascii=ascii_only)
        pieces.append(f"data: {said}\n\n".encode())
    ours, plain = with_and_without([b"".join(pieces)], [])
    assert ours == plain

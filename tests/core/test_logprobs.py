"""How likely the tokens of the answer were: which a reader gets, and in which form."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_core import answer_filter
from harmony_core.chat import ChatStream
from harmony_core.events import Reply, collect
from harmony_core.jsontext import Json, JsonObject, objects_in
from harmony_core.request import ChatRequest
from tests.core.streams import completion, deltas, read
from tests.server.replies import DONE, chunk, harmony, sse, text
from tests.support.chunking import random_cuts


def entry(token: str) -> JsonObject:
    """What llama.cpp says of a token that it sent."""
    alternative: JsonObject = {"id": 7, "token": "!", "bytes": [33], "logprob": -2.5}
    own: JsonObject = {"id": 3, "token": token, "bytes": None, "logprob": -0.25}
    return own | {"top_logprobs": [alternative]}


def record(delta: JsonObject, *tokens: str) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    content = [entry(token) for token in tokens]
    return sse({"choices": [choice | {"logprobs": {"content": content}}]})


def said(*tokens: str) -> list[bytes]:
    """A stream with one record a token, as a server sends it that does not split channels."""
    return [record({"content": token}, token) for token in tokens]


def asked(
    pieces: Iterable[bytes], stop: tuple[str, ...] = ()
) -> tuple[Reply, list[Json]]:
    """A reply, and what was told of its tokens."""
    stream = ChatStream(["f"], stop)
    got = collect(read(pieces, stream))
    return got, stream.logprobs.found


def tokens_of(*pieces: bytes) -> list[object]:
    return [told["token"] for told in objects_in(asked([*pieces, DONE])[1])]


THOUGHT = record({"reasoning_content": "So"}, "So")


@pytest.mark.parametrize(
    ("stream", "answer"),
    [
        (said("Four", ".", " <", "b", ">"), ["Four", ".", " <", "b", ">"]),
        (said(*harmony("It is easy.", "Four.")), ["Four."]),
        ([THOUGHT, *said("Four", ".")], ["Four", "."]),
        ([THOUGHT, *said("a")], ["a"]),
        ([THOUGHT, *said("to", "day")], ["to", "day"]),
        ([*said("a"), chunk({"content": ""}, "stop")], ["a"]),
        ([record({"content": "Two at once"}, "Two", " at once")], ["Two", " at once"]),
        ([*said("Four"), text(" without"), *said(".")], ["Four", "."]),
        ([THOUGHT, record({"tool_calls": [{"index": 0}]}, "{"), *said("So")], ["So"]),
    ],
)
def test_the_tokens_of_the_answer_are_told_in_every_chunking(
    stream: list[bytes], answer: list[str]
) -> None:
    data = b"".join(stream) + DONE
    cuttings = [[data], [data[at : at + 1] for at in range(len(data))]]
    cuttings += [list(random_cuts(data, seed, longest=40)) for seed in range(8)]
    without = collect(read([data]))
    for pieces in cuttings:
        got, told = asked(pieces)
        assert told == [entry(token) for token in answer]
        assert (got.answer, got.reasoning) == (without.answer, without.reasoning)


def test_thinking_alone_and_calls_have_none() -> None:
    function: JsonObject = {"name": "f", "arguments": "{}"}
    call: JsonObject = {"index": 0, "id": "1", "function": function}
    assert tokens_of(THOUGHT, record({"tool_calls": [call]}, "{}")) == []


def test_equal_records_with_logprobs_are_all_told() -> None:
    assert tokens_of(*said("ha", "ha", "ha", "ha")) == ["ha"] * 4


def test_nothing_is_told_behind_a_stop_word() -> None:
    pieces = said("One", " two", " STOP", " three")
    got, told = asked(pieces, ("STOP",))
    assert got.answer == "One two "
    assert [token["token"] for token in objects_in(told)] == ["One", " two", " STOP"]


@pytest.mark.parametrize(
    "message",
    [
        {
            "content": "<|channel|>analysis<|message|>So<|end|><|channel|>final<|message|>Hi"
        },
        {"reasoning": "So", "content": "to"},
        {"content": "a"},
    ],
)
def test_of_a_whole_reply_all_is_told_as_the_server_sent_it(
    message: JsonObject,
) -> None:
    mlx_lm: list[JsonObject] = [
        {"id": 200005, "logprob": -0.5},
        {"id": 35, "logprob": 0},
    ]
    _, told = asked([completion(message, logprobs={"content": mlx_lm})])
    assert told == mlx_lm


def test_what_is_told_can_always_be_written_as_json() -> None:
    odd = {"token": "\ud83d", "logprob": -math.inf, "id": 10**40, "bytes": [240]}
    choice = {"delta": {"content": "Hi"}, "logprobs": {"content": [odd, "x", None]}}
    (told,) = asked([sse({"choices": [choice]}), DONE])[1]
    assert told == {"token": "\ufffd", "bytes": [240]}
    json.dumps(told, allow_nan=False).encode()


@pytest.mark.parametrize(
    "sent",
    [None, [], "x", {"content": None}, {"content": {}}, {"token_logprobs": [-1]}],
)
def test_an_odd_or_older_form_is_passed_over(sent: object) -> None:
    choice = {"delta": {"content": "Hi"}, "logprobs": sent}
    got, told = asked([sse({"choices": [choice]}), DONE])
    assert (got.answer, told) == ("Hi", [])


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["content", "token", "x"]), inner)
    ),
)


@given(ANY_JSON, ANY_JSON)
def test_whatever_is_told_nothing_raises(told: object, delta: object) -> None:
    choice = {"delta": delta, "logprobs": told}
    _, found = asked([sse({"choices": [choice]}), *said("Hi"), DONE])
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()


def test_the_tokens_of_text_that_is_held_back_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answer_filter, "CONTEXT_SIZE", 3)
    flood = [record({"content": " "}, *"abc")] * 5
    assert tokens_of(THOUGHT, *flood, *said("Hi")) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("extra", "sent"),
    [
        ({"logprobs": True}, {"logprobs": True}),
        (
            {"logprobs": True, "top_logprobs": 99},
            {"logprobs": True, "top_logprobs": 10},
        ),
        ({"logprobs": False}, {}),
        ({"logprobs": "true", "top_logprobs": 0}, {}),
        ({"logprobs": 5}, {}),
    ],
)
def test_a_request_asks_in_a_way_that_every_server_bears(
    extra: JsonObject, sent: JsonObject
) -> None:
    body = ChatRequest([], extra=extra).payload()
    assert {name: body[name] for name in body if "logprobs" in name} == sent


def test_usual_replies_are_read_as_before() -> None:
    assert asked(deltas("Hi", " there"))[1] == []


def test_a_server_cannot_fill_the_memory_with_logprobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answer_filter, "MAX_LOGPROBS", 1000)
    found = tokens_of(*said(*["a"] * 1000))
    assert 0 < len(found) < 20

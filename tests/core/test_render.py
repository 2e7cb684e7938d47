"""Thinking as text: each run of thinking is one closed block, whatever tags it holds."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_core.events import (
    AnswerDelta,
    Event,
    Finish,
    FurtherThought,
    Progress,
    ReasoningDelta,
    ToolCall,
    Usage,
)
from harmony_core.render import Renderer, Thinking

CALL = ToolCall("call_1", "f", "{}", valid=True, declared=True)
R, A, END = ReasoningDelta, AnswerDelta, Finish("stop")


def pieces(*events: Event, thinking: Thinking = "fold") -> list[str]:
    renderer = Renderer(thinking)
    return [
        piece for event in events for piece in renderer.feed(event)
    ] + renderer.close()


def shown(*events: Event, thinking: Thinking = "fold") -> str:
    return "".join(pieces(*events, thinking=thinking))


def test_each_tag_is_a_separate_piece() -> None:
    assert pieces(R("a"), R("b"), A("c"), END) == [
        "<think>\n",
        "a",
        "b",
        "\n</think>\n\n",
        "c",
    ]


@pytest.mark.parametrize(
    "end", [END, Finish("length", truncated=True), CALL], ids=["end", "length", "call"]
)
def test_a_block_is_closed_by_whatever_ends_the_thinking(end: Event) -> None:
    assert pieces(R("a"), end) == ["<think>\n", "a", "\n</think>\n\n"]


def test_a_block_is_closed_when_nothing_ends_the_thinking() -> None:
    assert pieces(R("a")) == ["<think>\n", "a", "\n</think>\n\n"]


@pytest.mark.parametrize(
    "between", [A(""), A("\n"), R(""), Progress(1, 2), Usage(1, 2)]
)
def test_an_empty_delta_does_not_split_a_block(between: Event) -> None:
    assert shown(R("a"), between, R("b"), A("c")).count("<think>") == 1


def test_a_blank_before_the_answer_belongs_to_the_answer() -> None:
    assert pieces(R("a"), A("\n"), A("b")) == [
        "<think>\n",
        "a",
        "\n</think>\n\n",
        "\nb",
    ]


def test_blank_thinking_does_not_open_a_block() -> None:
    assert shown(R(" \n"), A("b"), END) == "b"


def test_thinking_after_an_answer_is_a_new_block() -> None:
    assert (
        shown(R("a"), A("b"), R("c"), A("d"))
        == "<think>\na\n</think>\n\nb<think>\nc\n</think>\n\nd"
    )


def test_two_thoughts_of_one_block_are_separated_by_a_blank_line() -> None:
    events = R("a"), FurtherThought("b"), R("c"), A("d"), FurtherThought("e")
    assert shown(*events, thinking="show") == "a\n\nbc\n\nde\n\n"


def test_answers_keep_their_exact_text() -> None:
    assert pieces(A(" <think>x</think>"), A(""), A("\n")) == [" <think>x</think>", "\n"]


def test_hidden_thinking_leaves_no_trace() -> None:
    assert pieces(R("a"), A("\n"), A("b"), R("c"), CALL, END, thinking="hide") == [
        "\n",
        "b",
    ]


def test_shown_thinking_stands_plainly_before_the_answer() -> None:
    assert shown(R("see <think>"), A("b"), END, thinking="show") == "see <think>\n\nb"


@pytest.mark.parametrize(
    "tag", ["</think>", "</THINK >", "</details>", "<think>", "<Details open>"]
)
def test_a_tag_inside_the_thinking_is_defused_however_it_is_cut(tag: str) -> None:
    for cut in range(len(tag) + 1):
        text = shown(R(f"say {tag[:cut]}"), R(f"{tag[cut:]} twice"), A("b"))
        inside = text.removeprefix("<think>\n").partition("\n</think>\n\n")[0]
        assert not re.search(r"</?(think|details)", inside, re.IGNORECASE)
        assert inside.replace("\u200b", "") == f"say {tag} twice"


def test_text_that_only_begins_like_a_tag_is_not_changed() -> None:
    assert (
        shown(R("1 < 2 and a <thing"), R("> or </de"), END)
        == "<think>\n1 < 2 and a <thing> or </de\n</think>\n\n"
    )


@given(st.lists(st.text(alphabet="</thinkdeals> x")), st.text())
def test_any_thinking_is_one_block_whose_text_is_whole(
    thoughts: list[str], answer: str
) -> None:
    text = shown(*map(R, thoughts), A("|"), A(answer))
    block, _, rest = text.partition("|")
    assert rest == answer
    thought = "".join(thoughts)
    if not thought.strip():
        assert block == ""
        return
    inside = block.removeprefix("<think>\n").removesuffix("\n</think>\n\n")
    assert block == f"<think>\n{inside}\n</think>\n\n"
    assert inside.replace("\u200b", "").strip() == thought.strip()
    assert not re.search(r"</?(think|details)", inside, re.IGNORECASE)

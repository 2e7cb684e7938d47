"""Tags that a model only talks about: the host shows them, and they end no fold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from openwebui_pipe.tag_breaker import FOLD_TAGS, THINKING_TAGS, TagBreaker
from tests.pipe.fake_host import Host, joined
from tests.server import ScriptedServer, harmony, reply
from tests.support.chunking import random_cuts

JOINER = "\u2060"
ANSWER = "Write <think>, </THINK> and <|begin_of_thought|>, not <thin or <b>."
THINKING = "A fold ends at </details> or </think>."


@pytest.mark.parametrize(
    ("version", "hidden", "intact"),
    [
        ("0.6.20", False, False),
        ("0.12.4", False, True),
        ("0.12.4", True, False),
    ],
)
def test_tags_in_an_answer_are_broken_if_the_host_reads_them_as_thinking(
    host_with: Callable[..., Host],
    server: ScriptedServer,
    host_version: Callable[[str], None],
    version: str,
    hidden: bool,
    intact: bool,
) -> None:
    host_version(version)
    server.chat(reply(*harmony(THINKING, ANSWER)))
    chunks = host_with(THINKING="hide" if hidden else "fold").chat()
    assert joined(chunks).replace(JOINER, "") == ANSWER
    assert (joined(chunks) == ANSWER) is intact
    assert ("<think>" in joined(chunks)) is intact


@pytest.mark.parametrize(("version", "intact"), [("0.6.20", False), ("0.12.4", True)])
def test_tags_in_the_thinking_are_broken_if_they_end_its_fold(
    host: Host,
    server: ScriptedServer,
    host_version: Callable[[str], None],
    version: str,
    intact: bool,
) -> None:
    host_version(version)
    server.chat(reply(*harmony(THINKING, "So.")))
    thinking = joined(host.chat(), "reasoning_content")
    assert thinking.replace(JOINER, "") == THINKING
    assert (thinking == THINKING) is intact


def test_a_program_gets_tags_unchanged(
    host: Host, server: ScriptedServer, host_version: Callable[[str], None]
) -> None:
    host_version("0.6.20")
    server.chat(reply(ANSWER))
    assert joined(host.chat(__metadata__={"session_id": ""})) == ANSWER


@pytest.mark.parametrize(
    "text", [ANSWER, THINKING, "a <", "◁think▷ ◁/think▷ ◁", "<<think>"]
)
def test_a_tag_is_found_however_the_text_is_cut(text: str) -> None:
    whole = _broken([text])
    assert whole.replace(JOINER, "") == text
    assert _broken([*text]) == whole
    for seed in range(20):
        assert _broken([*random_cuts(text, seed)]) == whole


def test_only_the_start_of_a_tag_is_held_back() -> None:
    breaker = TagBreaker(THINKING_TAGS)
    assert breaker.feed("if a < b then <thi") == "if a < b then "
    assert breaker.feed("s>") == "<this>"


def _broken(pieces: list[str]) -> str:
    breaker = TagBreaker(FOLD_TAGS)
    return "".join(map(breaker.feed, pieces)) + breaker.close()

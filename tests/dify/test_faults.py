"""What Dify shows of every fault."""

from __future__ import annotations

import pytest

from dify_plugin_mlx.phrases import in_form_words
from harmony_core.problems import Problem
from tests.dify.sdk_driver import Shown, Talk
from tests.server import ScriptedServer
from tests.server.faults import FAULTS, LEFT, kinds_in
from tests.server.scripted import NOT_FOUND


def in_dify(sentences: str) -> str:
    """Sentences of the table, with the names of Dify's form."""
    return in_form_words(Problem("", "reply", sentences, "")).en


def shown_of(talk: Talk, leaves: bool) -> Shown:
    if not leaves:
        return talk.say()
    shown, chunks = Shown(), talk.chunks()
    while not shown.text:
        shown.chunks.append(next(chunks))
    chunks.close()
    return shown


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_told_and_what_came_is_kept(
    server: ScriptedServer, talk: Talk, name: str
) -> None:
    fault = FAULTS[name]
    server.chat(fault.script).models(NOT_FOUND)
    if fault.waits:
        talk.credentials |= {"first_token_timeout": "1", "idle_timeout": "1"}
    shown = shown_of(talk, name == LEFT)
    kinds = kinds_in(str(shown.error), in_dify) if shown.error else {""}
    assert shown.text.rpartition("</think>\n\n")[2] == fault.kept
    assert fault.kind in kinds

"""What Dify shows of every fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from dify_plugin.errors.model import CredentialsValidateFailedError

from dify_plugin_mlx.phrases import in_form_words
from harmony_core.problems import Problem
from tests.dify.sdk_driver import Shown, Talk
from tests.server import ScriptedServer
from tests.server.faults import (
    FAULTS,
    LEFT,
    LIST_FAULTS,
    TLS_FAULTS,
    kinds_in,
    playing,
    tells,
)
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


@pytest.mark.parametrize("name", LIST_FAULTS)
def test_the_form_tells_each_fault_of_the_list_that_matters(
    talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fault = LIST_FAULTS[name]
    if fault.waits:
        monkeypatch.setattr("dify_plugin_mlx.models.llm.llm.CHECK_LIMIT", 0.5)
    with playing(name, tmp_path) as server:
        talk.credentials["base_url"] = server.base_url
        told = ""
        try:
            talk.model().validate_credentials("gpt-oss-20b", talk.credentials)
        except CredentialsValidateFailedError as error:
            told = str(error)
    row = fault.kind_in_form
    assert tells(row, told, in_dify) if row else not told


@pytest.mark.parametrize("name", TLS_FAULTS)
def test_each_fault_of_https_is_told(talk: Talk, tmp_path: Path, name: str) -> None:
    fault = TLS_FAULTS[name]
    with playing(name, tmp_path) as server:
        talk.credentials["base_url"] = server.base_url
        shown = talk.say()
    assert tells(fault.kind, str(shown.error), in_dify)

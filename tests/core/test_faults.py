"""The kind of problem that the client, and so the command line, tells for each fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from harmony_core.client import Client, ServerError, Timeouts
from harmony_core.events import AnswerDelta
from harmony_core.request import ChatRequest
from tests.server import ScriptedServer
from tests.server.faults import FAULTS, LEFT, LIST_FAULTS, TLS_FAULTS, playing, tells

HELLO = ChatRequest([{"role": "user", "content": "Hi"}])
PATIENT = Timeouts(connect=60, first_byte=120, idle=120, short_answer=120)
SHORT_CONNECT = Timeouts(connect=1, first_byte=60, idle=60)
HURRIED = Timeouts(connect=60, first_byte=1, idle=1, short_answer=2)


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_told_and_what_came_is_kept(
    server: ScriptedServer, name: str
) -> None:
    fault = FAULTS[name]
    server.chat(fault.script)
    kept, kind = "", ""
    try:
        client = Client(server.base_url, timeouts=HURRIED if fault.waits else PATIENT)
        with client.open(HELLO) as stream:
            for event in stream:
                kept += event.text if isinstance(event, AnswerDelta) else ""
                if name == LEFT and kept:
                    break
            else:
                kind = stream.problem.kind if stream.problem else ""
    except ServerError as error:
        kind = error.problem.kind
    assert (kept, kind) == (fault.kept, fault.kind)


@pytest.mark.parametrize("name", LIST_FAULTS)
def test_each_fault_of_the_list_of_models_has_its_kind(
    tmp_path: Path, name: str
) -> None:
    fault = LIST_FAULTS[name]
    with playing(name, tmp_path) as server:
        client = Client(server.base_url, timeouts=HURRIED if fault.waits else PATIENT)
        with pytest.raises(ServerError) as caught:
            client.models()
    assert caught.value.problem.kind == fault.kind


@pytest.mark.parametrize("name", TLS_FAULTS)
def test_each_fault_of_https_is_told(tmp_path: Path, name: str) -> None:
    fault = TLS_FAULTS[name]
    with playing(name, tmp_path) as server:
        limits = SHORT_CONNECT if fault.waits else PATIENT
        with pytest.raises(ServerError) as caught:
            Client(server.base_url, timeouts=limits).open(HELLO)
    assert tells(fault.kind, str(caught.value))

"""What the client and with it the command line tell of every fault."""

from __future__ import annotations

import pytest

from harmony_core.client import Client, ServerError, Timeouts
from harmony_core.events import AnswerDelta
from harmony_core.request import ChatRequest
from tests.server import ScriptedServer
from tests.server.faults import FAULTS, LEFT

HELLO = ChatRequest([{"role": "user", "content": "Hi"}])
PATIENT = Timeouts(connect=10, first_byte=60, idle=60)
HURRIED = Timeouts(connect=10, first_byte=0.5, idle=0.5, short_answer=0.5)


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

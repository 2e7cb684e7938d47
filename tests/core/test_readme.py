"""The program in the READMEs that uses the core as a library."""

from __future__ import annotations

import json

import pytest

from harmony_core.markers import CONTROL_TOKENS
from tests.server import ScriptedServer, harmony, reply
from tests.support.documents import Block, blocks_run_by, page_of


@pytest.mark.parametrize("block", blocks_run_by("library"), ids=page_of)
def test_the_program_of_the_readme_runs_and_shows_what_it_says(
    block: Block, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer() as server:
        server.chat(reply(*harmony("Politely.", "Bonjour !")))
        address = "http://127.0.0.1:8585"
        assert address in block.code
        exec(block.code.replace(address, server.base_url), {})
    shown = capsys.readouterr().out
    assert shown.startswith("Hello! (A greeting.)\n[{'role': 'user'")
    assert "AnswerDelta(text=" in shown
    assert "Finish(reason='stop'" in shown
    assert not any(token in shown for token in CONTROL_TOKENS)
    sent = json.dumps(server.requests[0].json["messages"])
    assert "French" in sent
    assert not any(token in sent for token in CONTROL_TOKENS)

"""The README's program for users of the library."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harmony_core.markers import CONTROL_TOKENS
from tests.server import ScriptedServer, harmony, reply

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


def test_the_program_of_the_readme_runs_and_shows_what_it_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    [program] = re.findall(r"^```python\n(.+?)^```$", README, re.MULTILINE | re.DOTALL)
    with ScriptedServer() as server:
        server.chat(reply(*harmony("Politely.", "Bonjour !")))
        address = "http://127.0.0.1:8585"
        assert address in program
        exec(program.replace(address, server.base_url), {})
    shown = capsys.readouterr().out
    assert shown.startswith("Hello! (A greeting.)\n[{'role': 'user'")
    assert "AnswerDelta(text=" in shown
    assert "Finish(reason='stop'" in shown
    assert not any(token in shown for token in CONTROL_TOKENS)
    sent = json.dumps(server.requests[0].json["messages"])
    assert "French" in sent
    assert not any(token in sent for token in CONTROL_TOKENS)

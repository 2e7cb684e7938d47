"""`doctor` and the picture of the demo on real servers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harmony_core.cli.toy_server import toy_server
from harmony_core.compatibility import mlx_lm_range
from tests.e2e.conftest import LOSSY, NEWEST, WORKING, python_of
from tools.demo_picture import PICTURE, draw

MEASURED = ("reply", "second_turn", "tools", "json", "japanese", "stop", "parting")


def examined(version: str) -> dict[str, dict[str, object]]:
    """Return the steps of `doctor --json` on a real server, by name."""
    with toy_server([python_of(version), "-m", "mlx_lm.server"]) as server:
        line = [sys.executable, "-m", "harmony_core", "doctor", "--json"]
        line += ["--base-url", server.base_url, "--server-python", python_of(version)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert report["ok"] is (done.returncode == 0)
    return {step["name"]: step for step in report["steps"]}


@pytest.mark.parametrize(
    "version",
    [NEWEST, *(pytest.param(name, marks=pytest.mark.e2e) for name in WORKING)],
)
def test_doctor_reports_no_failure_of_a_working_server(version: str) -> None:
    steps = examined(version)
    assert {steps[name]["mark"] for name in MEASURED} == {"ok"}
    facts = steps["version"]["facts"]
    assert isinstance(facts, dict)
    major, minor, patch = map(int, str(facts["version"]).split("."))
    row = mlx_lm_range((major, minor, patch))
    assert steps["effort"]["mark"] == ("ok" if row.effort else "warning")
    assert steps["version"].get("kind", "") == row.fault
    assert steps["installation"]["mark"] == "ok"


@pytest.mark.e2e
def test_doctor_detects_the_lossy_server() -> None:
    steps = examined(LOSSY)
    assert steps["japanese"]["kind"] == "lossy_server"
    assert steps["second_turn"]["mark"] == "ok"


@pytest.mark.e2e
def test_the_picture_in_the_documents_is_what_the_demo_shows() -> None:
    assert draw(Path(python_of(NEWEST))) == PICTURE.read_text("utf-8")

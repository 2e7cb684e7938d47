"""What the tests of the command line share: a scripted server, and ways to run the commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harmony_core.cli.app import app


@dataclass(frozen=True)
class Outcome:
    """What a command wrote, and how it ended."""

    stdout: str
    stderr: str
    exit_code: int

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """English texts, no settings and no history, whatever the tests are run under."""
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("MLX_HARMONY_API_KEY", "MLX_HARMONY_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run() -> Run:
    """Run a command in this process; `input` is its standard input."""

    def invoke(*arguments: str, input: str = "") -> Outcome:
        result = CliRunner().invoke(
            app, list(arguments), input=input, catch_exceptions=False
        )
        return Outcome(result.stdout, result.stderr, result.exit_code)

    return invoke

"""What the tests of the command line share: a scripted server, and ways to run the commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    """English texts and no key, whatever the tests are run under."""
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("MLX_HARMONY_API_KEY", raising=False)


@pytest.fixture
def run() -> Run:
    """Run a command in this process; `input` is its standard input."""

    def invoke(*arguments: str, input: str = "") -> Outcome:
        result = CliRunner().invoke(
            app, list(arguments), input=input, catch_exceptions=False
        )
        return Outcome(result.stdout, result.stderr, result.exit_code)

    return invoke

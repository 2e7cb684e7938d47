"""Fixtures for the tests of the command line: a fixed environment, and a way to run a command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harmony_core.cli.app import app
from tests.server import ScriptedServer


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


def chat(run: Run, server: ScriptedServer, *options: str) -> Outcome:
    """Send the message “Hi” to a server."""
    return run("chat", "Hi", "--base-url", server.base_url, *options)


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Set English, a fixed width and an empty history, so that the tests do not depend on the environment."""
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("MLX_HARMONY_API_KEY", "MLX_HARMONY_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run() -> Run:
    """A function that runs a command in this process; `input` is its standard input."""

    def invoke(*arguments: str, input: str = "") -> Outcome:
        result = CliRunner().invoke(
            app, list(arguments), input=input, catch_exceptions=False
        )
        return Outcome(result.stdout, result.stderr, result.exit_code)

    return invoke

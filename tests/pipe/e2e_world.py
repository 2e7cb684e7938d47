"""The model's server, the toy's transcripts and bounded waits, for tests with a real Open WebUI."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harmony_core.cli.toy_server import ToyServer, toy_server
from tests.pipe.openwebui import CACHE, PATIENCE
from tests.support.ports import free_port
from toy.transcripts import Transcript, load_transcripts

MODEL = "mlx_harmony.default_model"
TRANSCRIPTS = {transcript.name: transcript for transcript in load_transcripts()}


class Mac:
    """The machine with the model. Its server can be switched off and on, and keeps its address."""

    def __init__(self) -> None:
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self._running = ExitStack()
        self._log = Path()

    def switch_on(self) -> ToyServer:
        command = [
            str(CACHE / "mlx-lm-newest" / "bin" / "python"),
            "-m",
            "mlx_lm.server",
        ]
        server = self._running.enter_context(
            toy_server(command, port=self.port, arguments=["--log-level", "DEBUG"])
        )
        self._log = server.log
        return server

    def switch_off(self) -> None:
        self._running.close()

    def chat_requests(self) -> list[Any]:
        """The requests since it was switched on, from its log, without those for titles and tags."""
        log = self._log.read_text("utf-8", "replace")
        bodies = log.split("Incoming Request Body: ")[1:]
        requests = [json.JSONDecoder().raw_decode(body)[0] for body in bodies]
        return [r for r in requests if not texts_of(r)[-1].startswith("### Task")]

    def connections(self) -> int:
        """How many clients the server is connected to at the moment (Linux)."""
        local, established = f":{self.port:04X}", "01"
        rows = [
            line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        ]
        return sum(row[1].endswith(local) and row[3] == established for row in rows)


def texts_of(request: Any) -> list[str]:
    """The texts of the messages of a chat request."""
    return [str(message.get("content")) for message in request["messages"]]


def tool_names(request: Any) -> set[str]:
    """The tools that a chat request offers."""
    return {tool["function"]["name"] for tool in request.get("tools", [])}


def prompt(name: str) -> str:
    return TRANSCRIPTS[name].prompt


def plain(transcript: Transcript) -> str:
    """The answer as the page shows it."""
    return transcript.answer.replace("**", "")


def until(condition: Callable[[], Any]) -> Any:
    """Wait until the condition gives a true value, and return it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("the condition never became true")

"""The plugin as a process, run in both ways of Dify's SDK: over HTTP and over pipes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from tests.support.ports import free_port

Message = dict[str, object]
"""What a session sends: {"type": "stream" | "error" | "end", "data": …}."""

START_LIMIT = 60  # seconds
STOP_LIMIT = 10


class Host:
    """Something that hands requests to the plugin."""

    def events(self, action: str, **data: object) -> Iterator[Message]:
        """Ask for an action and yield the session's messages as they come."""
        raise NotImplementedError

    def ask(self, action: str, **data: object) -> Message:
        """The one answer of an action that does not stream."""
        messages = list(self.events(action, **data))
        assert messages[-1] == {"type": "end", "data": {}}
        return messages[0]

    def chat(
        self,
        credentials: dict[str, object],
        messages: list[dict[str, object]],
        *,
        model: str = "gpt-oss-20b",
        tools: list[dict[str, object]] | None = None,
        stop: list[str] | None = None,
        stream: bool = True,
        **parameters: object,
    ) -> Iterator[Message]:
        """Invoke the model; yields the session's messages."""
        return self.events(
            "invoke_llm",
            model_type="llm",
            model=model,
            credentials=credentials,
            prompt_messages=messages,
            model_parameters=parameters,
            tools=tools,
            stop=stop,
            stream=stream,
        )


class Plugin(Host):
    """`python -m main` in a plugin's folder, started with the `with` block and ended after it."""

    environment: dict[str, str]
    answers_on_stdout = False

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self._folder = folder
        self._python = python
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [self._python, "-m", "main"],
            cwd=self._folder,
            env=os.environ | self.environment | {"PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if self.answers_on_stdout else self._log,
            stderr=self._log,
        )
        self._wait_until_ready()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.terminate()  # not killed: coverage saves what it counted
        try:
            self.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()

    def log(self) -> str:
        """What the process wrote to stderr."""
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")

    def _wait_until_ready(self) -> None:
        raise NotImplementedError


class ServerlessPlugin(Plugin):
    """The SDK's serverless mode: an HTTP server, where sessions may run side by side."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        super().__init__(folder, python)
        self._port = free_port()
        self.environment = {
            "INSTALL_METHOD": "serverless",
            "SERVERLESS_HOST": "127.0.0.1",
            "SERVERLESS_PORT": str(self._port),
        }

    def events(self, action: str, **data: object) -> Iterator[Message]:
        body = _request(action, data)
        with requests.post(
            self._url("/invoke"), json=body, stream=True, timeout=120
        ) as response:
            response.raise_for_status()
            for line in response.iter_lines(chunk_size=None):
                if line:
                    yield json.loads(line)["data"]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_LIMIT
        while not self._answers():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def _answers(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(self._url("/health"), timeout=5).ok
        return False

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{path}"


class PipedPlugin(Plugin):
    """The SDK's local mode, in which the plugin daemon runs plugins; here one session at a time."""

    environment = {"INSTALL_METHOD": "local"}  # noqa: RUF012 (never changed)
    answers_on_stdout = True

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        super().__init__(folder, python)
        self.logged: list[str] = []
        """What it wrote to the daemon's log."""

    def events(self, action: str, **data: object) -> Iterator[Message]:
        body = _request(action, data)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(body).encode() + b"\n")
        self.process.stdin.flush()
        for line in self._lines():
            if line.get("session_id") == body["session_id"]:
                message = line["data"]
                assert isinstance(message, dict)
                yield message
                if message["type"] == "end":
                    return

    def _wait_until_ready(self) -> None:
        self.manifest = next(self._lines())

    def _lines(self) -> Iterator[Message]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.strip():
                continue
            message = json.loads(line)
            if message.get("event") == "log":
                self.logged.append(message["data"]["message"])
            yield message
        raise AssertionError(f"the plugin ended: {self.log()}")


def _request(action: str, data: dict[str, object]) -> Message:
    return {
        "tenant_id": "t",
        "session_id": str(uuid.uuid4()),
        "conversation_id": None,
        "message_id": None,
        "app_id": None,
        "endpoint_id": None,
        "context": {},
        "event": "request",
        "data": {
            "user_id": "u",
            "type": "model",
            "action": action,
            "provider": "mlx_harmony",
            **data,
        },
    }

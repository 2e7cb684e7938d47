"""The plugin as the SDK runs it in serverless mode: a process of its own that answers over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

START_LIMIT = 60  # seconds


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class PluginProcess:
    """`python -m main` in a plugin's folder, started with the block and stopped after it."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self._folder = folder
        self._python = python
        self._port = free_port()
        self._log = folder / ".cache" / f"serverless-{self._port}.log"

    def __enter__(self) -> Self:
        self._log.parent.mkdir(exist_ok=True)
        environment = {**os.environ, "INSTALL_METHOD": "serverless", "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= {"SERVERLESS_HOST": "127.0.0.1", "SERVERLESS_PORT": str(self._port)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._python, "-m", "main"], cwd=self._folder, env=environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_LIMIT
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, f"the plugin did not start: {self._log.read_text()}"
            time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._log.unlink()

    def ask(self, action: str, **data: object) -> dict[str, object]:
        """The one answer of an action that does not stream."""
        events = list(self.events(action, **data))
        assert events[-1] == {"type": "end", "data": {}}
        return events[0]

    def events(self, action: str, **data: object) -> Iterator[dict[str, object]]:
        """The messages of one session, as they come: {"type": "stream" | "error" | "end", "data": …}."""
        body = {
            "tenant_id": "t",
            "session_id": str(uuid.uuid4()),
            "conversation_id": None,
            "message_id": None,
            "app_id": None,
            "endpoint_id": None,
            "context": {},
            "event": "request",
            "data": {"user_id": "u", "type": "model", "action": action, "provider": "mlx_harmony", **data},
        }
        with requests.post(self._url("/invoke"), json=body, stream=True, timeout=120) as response:
            response.raise_for_status()
            for line in response.iter_lines(chunk_size=1):
                if line:
                    yield json.loads(line)["data"]

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
    ) -> Iterator[dict[str, object]]:
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

    def _answers(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(self._url("/health"), timeout=5).ok
        return False

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{path}"

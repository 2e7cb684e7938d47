"""Dify's own plugin daemon with PostgreSQL and Redis beside it, in their own folder.

It needs what docs/spec/dify.md, "The plugin daemon", lists.
Everything listens on free ports of this machine and ends with the `with` block; no system service is used.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.dify.environments import base_python, variables_of_dify
from tests.dify.plugin_process import Host, Message
from tests.support.ports import free_port
from tests.support.postgres import postgres, system_postgres

DAEMON = os.environ.get("DIFY_DAEMON", "")
CLI = os.environ.get("DIFY_CLI", "")
PROGRAMS_MISSING = (
    "DIFY_DAEMON and DIFY_CLI do not name Dify's plugin daemon and its command line: "
    "take them from the releases of github.com/langgenius/dify-plugin-daemon"
)
KEY = "a-key-of-the-tests"
TENANT = str(uuid.UUID(int=1))
START_LIMIT = 120  # seconds
INSTALL_LIMIT = 300  # seconds: the daemon makes the plugin's environment
PATHS = {
    "invoke_llm": "/dispatch/llm/invoke",
    "get_llm_num_tokens": "/dispatch/llm/num_tokens",
    "validate_provider_credentials": "/dispatch/model/validate_provider_credentials",
    "validate_model_credentials": "/dispatch/model/validate_model_credentials",
    "get_ai_model_schemas": "/dispatch/model/schema",
}


def programs_are_there() -> bool:
    """Whether the two environment variables name programs."""
    return all(shutil.which(program) for program in (DAEMON, CLI))


@dataclass
class Daemon(Host):
    """The daemon's HTTP API, as Dify calls it; after `install`, a plugin to talk to (`Chat` takes one)."""

    base_url: str
    plugin_id: str = ""

    def install(self, package: Path) -> None:
        """Upload a package and wait until the daemon has installed it."""
        with package.open("rb") as file:
            answer = self._post(
                "/management/install/upload/package",
                files={"dify_pkg": file},
                data={"verify_signature": "false"},
            )
        identifier: str = answer["unique_identifier"]
        task = self._post(
            "/management/install/identifiers",
            json={
                "plugin_unique_identifiers": [identifier],
                "source": "package",
                "metas": [{}],
            },
        )
        _wait(
            lambda: self._is_installed(task["task_id"]),
            INSTALL_LIMIT,
            lambda: "the plugin was not installed",
        )
        self.plugin_id = identifier.partition(":")[0]

    def events(self, action: str, **data: object) -> Iterator[Message]:
        """The daemon's answer in the messages of a plugin's session."""
        body = {"user_id": "u", "data": {"provider": "mlx_harmony", **data}}
        headers = {
            "X-Api-Key": KEY,
            "X-Plugin-ID": self.plugin_id,
            "Content-Type": "application/json",
        }
        url = f"{self.base_url}/plugin/{TENANT}{PATHS[action]}"
        with requests.post(
            url, json=body, headers=headers, stream=True, timeout=120
        ) as response:
            for line in response.iter_lines(chunk_size=None):
                if line.startswith(b"data:"):
                    yield _message(json.loads(line.removeprefix(b"data:")))
        yield {"type": "end", "data": {}}

    def _is_installed(self, task_id: str) -> bool:
        answer = requests.get(
            f"{self.base_url}/plugin/{TENANT}/management/install/tasks/{task_id}",
            headers={"X-Api-Key": KEY},
            timeout=30,
        ).json()
        assert answer["code"] == 0, answer
        assert answer["data"]["status"] != "failed", answer
        return bool(answer["data"]["status"] == "success")

    def _post(self, path: str, **request: object) -> dict[str, str]:
        url = f"{self.base_url}/plugin/{TENANT}{path}"
        answer = requests.post(
            url, headers={"X-Api-Key": KEY}, timeout=120, **request
        ).json()  # type: ignore[arg-type]
        assert answer["code"] == 0, answer
        data: dict[str, str] = answer["data"]
        return data


def _message(answer: dict[str, object]) -> Message:
    if answer["code"] == 0:
        return {"type": "stream", "data": answer["data"]}
    return {"type": "error", "data": {"error_type": "", "message": answer["message"]}}


@contextlib.contextmanager
def running_daemon() -> Iterator[Daemon]:
    """The daemon, its tables made by `dify migrate`, on databases that are new and end with it."""
    with (
        postgres(system_postgres(), "dify") as database,
        redis() as cache,
        tempfile.TemporaryDirectory(prefix="dify-daemon-") as folder,
    ):
        port = free_port()
        environment = os.environ | _settings(Path(folder), port, database, cache)
        subprocess.run(
            [CLI, "migrate"],
            env=environment,
            cwd=folder,
            check=True,
        )
        with _process([DAEMON], Path(folder), environment) as log:
            _wait(lambda: _listens(port), START_LIMIT, log)
            yield Daemon(f"http://127.0.0.1:{port}")


@contextlib.contextmanager
def redis() -> Iterator[int]:
    """A Redis that writes nothing; yields its port."""
    port = free_port()
    options = [
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    with (
        tempfile.TemporaryDirectory(prefix="dify-redis-") as folder,
        _process(["redis-server", *options], Path(folder), dict(os.environ)) as log,
    ):
        _wait(lambda: _listens(port), START_LIMIT, log)
        yield port


def _settings(folder: Path, port: int, database: int, cache: int) -> dict[str, str]:
    values: dict[str, object] = {
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": port,
        "SERVER_KEY": KEY,
        "PLATFORM": "local",
        "GIN_MODE": "release",
        "DIFY_INNER_API_URL": "http://127.0.0.1:9",
        "DIFY_INNER_API_KEY": "never-called",
        "DB_TYPE": "postgresql",
        "DB_USERNAME": "dify",
        "DB_PASSWORD": "trusted",
        "DB_HOST": "127.0.0.1",
        "DB_PORT": database,
        "DB_DATABASE": "dify_plugin",
        "DB_SSL_MODE": "disable",
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": cache,
        "REDIS_PASSWORD": "",
        "PLUGIN_STORAGE_TYPE": "local",
        "PLUGIN_STORAGE_LOCAL_ROOT": folder / "storage",
        "PLUGIN_WORKING_PATH": folder / "working",
        "PLUGIN_INSTALLED_PATH": "plugin",
        "PLUGIN_REMOTE_INSTALLING_ENABLED": "false",
        "FORCE_VERIFYING_SIGNATURE": "false",
        "ENFORCE_LANGGENIUS_PLUGIN_SIGNATURES": "false",
        "PYTHON_INTERPRETER_PATH": base_python(),
        **variables_of_dify(),
        "PIP_MIRROR_AUTO_DETECT": "false",
        "SSL_CERT_FILE": os.environ.get(
            "SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"
        ),
    }
    return {name: str(value) for name, value in values.items()}


@contextlib.contextmanager
def _process(
    command: list[str], folder: Path, environment: dict[str, str]
) -> Iterator[Callable[[], str]]:
    """A process and its children, which end with the block; yields how to read its log."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield lambda: (folder / "log").read_text("utf-8", "replace")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait(
    ready: Callable[[], bool], limit: float, otherwise: Callable[[], str]
) -> None:
    deadline = time.monotonic() + limit
    while not ready():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.2)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False

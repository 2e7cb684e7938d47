"""A real Open WebUI: its process and its API."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import requests

from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
SHOTS = CACHE / "artefacts" / "openwebui"  # the pictures of the scenes
PATIENCE = 90.0  # seconds: an upper bound for every wait, never a measure
REQUIREMENTS = {"0.12.4": "openwebui", "0.6.20": "openwebui-legacy"}

# No sign-in, no other providers, nothing fetched from outside, settings from here and not from a database.
ENVIRONMENT = {
    "WEBUI_AUTH": "False",
    "OFFLINE_MODE": "True",
    "HF_HUB_OFFLINE": "1",
    "ENABLE_VERSION_UPDATE_CHECK": "False",
    "ENABLE_OLLAMA_API": "False",
    "ENABLE_OPENAI_API": "False",
    "RAG_EMBEDDING_ENGINE": "openai",
    "BYPASS_EMBEDDING_AND_RETRIEVAL": "True",
    "ENABLE_PERSISTENT_CONFIG": "False",
    "WEBUI_SECRET_KEY": "only for tests",
    "USE_SLIM_DOCKER": "True",  # 0.12: start without the document stack
    "VECTOR_DB": "opensearch",  # 0.6: the store with the lightest client; nothing is stored
    "OPENSEARCH_USERNAME": "none",
    "OPENSEARCH_PASSWORD": "none",
    "ENABLE_AUTOCOMPLETE_GENERATION": "False",
    "ANONYMIZED_TELEMETRY": "False",
    "DO_NOT_TRACK": "true",
}
# Without titles, tags and other tasks, so that only questions reach the server.
QUIET = {
    "ENABLE_TITLE_GENERATION": "False",
    "ENABLE_TAGS_GENERATION": "False",
    "ENABLE_FOLLOW_UP_GENERATION": "False",
    "ENABLE_RETRIEVAL_QUERY_GENERATION": "False",
}


def uv() -> str:
    """The uv that made this environment, or the one on the path."""
    found = (
        os.environ.get("UV")
        or shutil.which("uv")
        or shutil.which(ROOT / ".tools" / "bin" / "uv")
    )
    assert found, "uv is needed to install Open WebUI: run this through make, or set UV"
    return found


def install(version: str) -> Path:
    """The folder of an environment with that Open WebUI, made anew if its requirements changed.

    Open WebUI is installed without its dependencies. The files in requirements/ list those that it needs
    here, which saves gigabytes of torch.
    """
    home = CACHE / f"openwebui-{version}"
    name = REQUIREMENTS[version]
    files = [ROOT / "requirements" / f"{n}.txt" for n in (name, f"{name}-app")]
    wanted = sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    ready = home / "ready"  # holds the hash of its requirements
    if not ready.exists() or ready.read_text() != wanted:
        _make(home, files)
        ready.write_text(wanted)
    return home


def _make(home: Path, requirements: list[Path]) -> None:
    # Open WebUI wants a Python below 3.13.
    base = sys.executable if sys.version_info < (3, 13) else "3.12"
    subprocess.run(
        [uv(), "venv", "-q", "--clear", "--python", base, str(home)], check=True
    )
    pip = [uv(), "pip", "install", "-q", "--python", str(home / "bin" / "python")]
    for file in requirements:
        subprocess.run(
            [*pip, "--no-deps", "--require-hashes", "-r", str(file)], check=True
        )


class OpenWebUi:
    """A running Open WebUI, as a context manager. `base_url` is its address, `log_path` its log."""

    def __init__(self, version: str, data: Path, **environment: str) -> None:
        self.version = version
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.log_path = data / "openwebui.log"
        self._data = data
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self.key = ""  # for the API, known once it runs
        self._session = requests.Session()

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def __enter__(self) -> OpenWebUi:
        self._start()
        # Without this every page opens with the news of the release.
        self.post(
            "/api/v1/users/user/settings/update", {"ui": {"showChangelog": False}}
        )
        return self

    def restart(self) -> None:
        """Stop it and start it again, on the same data and the same port."""
        self._stop()
        self._start()

    def _start(self) -> None:
        home = install(self.version)
        self._data.mkdir(parents=True, exist_ok=True)
        keep = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "HOME", "LANG", "TMPDIR")
        }
        environment = (
            keep
            | ENVIRONMENT
            | {"DATA_DIR": str(self._data), "CORS_ALLOW_ORIGIN": self.base_url}
        )
        command = [
            str(home / "bin" / "open-webui"),
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        self._log = self.log_path.open("wb")
        self._process = subprocess.Popen(
            command,
            env=environment | self._environment,
            cwd=self._data,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._wait_until_healthy()
        answer = self.post(
            "/api/v1/auths/signin", {"email": "admin@localhost", "password": "any"}
        )
        self.key = str(answer["token"])
        self._session.headers["Authorization"] = f"Bearer {self.key}"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
        if self._log:
            self._log.close()

    def _wait_until_healthy(self) -> None:
        assert self._process
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if requests.get(self.base_url + "/health", timeout=2).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.3)
        raise AssertionError(
            f"Open WebUI did not start:\n{self.log_path.read_text('utf-8')[-3000:]}"
        )

    def get(self, path: str) -> Any:
        answer = self._session.get(self.base_url + path, timeout=PATIENCE)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: object = None) -> Any:
        answer = self._session.post(self.base_url + path, json=body, timeout=PATIENCE)
        assert answer.ok, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()

    def stream(self, body: dict[str, object]) -> requests.Response:
        """A chat request as API clients send it; read or close the answer."""
        return self._session.post(
            self.base_url + "/api/chat/completions",
            json=body,
            stream=True,
            timeout=PATIENCE,
        )

    def install_function(
        self, function_id: str, name: str, content: str, **valves: object
    ) -> None:
        """Save a function, switch it on and set its Valves, without a browser."""
        form = _function_form(function_id, name, content)
        self.post("/api/v1/functions/create", form)
        self.post(f"/api/v1/functions/id/{function_id}/toggle")
        self.set_valves(function_id, **valves)

    def update_function(self, function_id: str, name: str, content: str) -> None:
        """Save another text of a function, as its editor does."""
        form = _function_form(function_id, name, content)
        self.post(f"/api/v1/functions/id/{function_id}/update", form)

    def set_valves(self, function_id: str, **valves: object) -> None:
        self.post(f"/api/v1/functions/id/{function_id}/valves/update", valves)

    def valves(self, function_id: str) -> dict[str, object]:
        """The Valves that were set."""
        found: dict[str, object] = self.get(
            f"/api/v1/functions/id/{function_id}/valves"
        )
        return found

    def delete(self, path: str) -> None:
        self._session.delete(self.base_url + path, timeout=PATIENCE).raise_for_status()

    def add_user(self, name: str) -> str:
        """An ordinary user; returns the token that signs them in."""
        form = {
            "name": name,
            "email": f"{name}@localhost",
            "password": "any",
            "role": "user",
        }
        return str(self.post("/api/v1/auths/add", form)["token"])

    def publish_model(self, model: str) -> None:
        """Let everybody use a model, as *Access* on its page does."""
        everybody = {
            "principal_type": "user",
            "principal_id": "*",
            "permission": "read",
        }
        form = {"id": model, "name": self.models()[model], "meta": {}, "params": {}}
        self.post("/api/v1/models/create", form | {"access_grants": [everybody]})

    def models(self) -> dict[str, str]:
        """Ids and names of the models that the signed-in user sees."""
        return {
            model["id"]: model["name"]
            for model in self.get("/api/models?refresh=true")["data"]
        }

    def chats(self) -> list[Any]:
        """All chats, newest first, with their messages."""
        return [
            self.get(f"/api/v1/chats/{chat['id']}")
            for chat in self.get("/api/v1/chats/")
        ]


def _function_form(function_id: str, name: str, content: str) -> dict[str, object]:
    return {
        "id": function_id,
        "name": name,
        "content": content,
        "meta": {"description": name},
    }

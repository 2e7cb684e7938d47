"""Dify's own packager and its own plugin daemon: what a self-hosted Dify would do.

Skipped where `DIFY_DAEMON` and `DIFY_CLI` do not name them (CONTRIBUTING.md says where they come from).
"""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dify.daemon import (
    CLI,
    PROGRAMS_MISSING,
    Daemon,
    programs_are_there,
    running_daemon,
)
from tests.dify.environments import ROOT, variables_of_dify
from tests.dify.toy_chats import AGENT_RUNS, TRANSCRIPTS, Chat, real_server
from tests.support.ports import free_port
from tools.package import write_package

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not programs_are_there(), reason=PROGRAMS_MISSING),
]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("package") / "plugin.difypkg"
    write_package(ROOT, target)
    return target


@pytest.fixture(scope="module")
def daemon(package: Path) -> Iterator[Daemon]:
    with running_daemon() as running:
        running.install(package)
        yield running


def contents(package: Path) -> dict[str, bytes]:
    archive = zipfile.ZipFile(package)
    return {name: archive.read(name) for name in archive.namelist()}


def test_difys_packager_packs_the_same_files(package: Path, tmp_path: Path) -> None:
    official = tmp_path / "official.difypkg"
    subprocess.run(
        [CLI, "plugin", "package", ROOT, "-o", official],
        check=True,
    )
    assert contents(package) == contents(official)


def test_difys_command_line_runs_the_package(package: Path) -> None:
    port = free_port()
    known = TRANSCRIPTS["greeting"]
    request = {
        "invoke_id": "1",
        "type": "model",
        "action": "invoke_llm",
        "request": {
            "user_id": "u",
            "provider": "mlx_harmony",
            "model_type": "llm",
            "model": "gpt-oss-20b",
            "credentials": {"base_url": f"http://127.0.0.1:{port}"},
            "prompt_messages": [{"role": "user", "content": known.prompt}],
            "model_parameters": {"temperature": 0},
            "stop": None,
            "tools": None,
            "stream": True,
        },
    }
    command = [
        CLI,
        "plugin",
        "run",
        str(package),
        "--response-format",
        "json",
    ]
    said = ""
    with (
        real_server(port),
        subprocess.Popen(
            command,
            env=os.environ | variables_of_dify(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            assert event["type"] != "error", event
            if event["type"] == "plugin_ready":
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
            elif event["type"] == "plugin_response":
                said += event["response"]["delta"]["message"]["content"]
            elif event["type"] == "plugin_invoke_end":
                break
        process.terminate()
    assert said.endswith(known.answer)


def test_the_daemon_installs_the_package_and_runs_it_through_a_restart_of_the_model_server(
    daemon: Daemon,
) -> None:
    port = free_port()
    credentials: dict[str, object] = {"base_url": f"http://127.0.0.1:{port}"}
    chat = Chat(daemon, credentials)
    asked: dict[str, object] = {
        "model_type": "llm",
        "model": "gpt-oss-20b",
        "credentials": credentials,
    }
    known = TRANSCRIPTS["kyoto_ja"]
    with real_server(port):
        answer = daemon.ask("validate_model_credentials", **asked)
        assert answer["data"]["result"] is True, answer  # type: ignore[index]
        assert (
            chat.say(known.prompt).text
            == f"<think>\n{known.thinking}\n</think>\n\n{known.answer}"
        )
        for question, end in AGENT_RUNS.items():
            rounds = chat.run_agent(
                TRANSCRIPTS[question].prompt, content_is_dropped=True
            )
            assert rounds[-1].answer == TRANSCRIPTS[end].answer
    assert "InvokeConnectionError" in chat.say(known.prompt).error
    assert "host.docker.internal" in str(
        daemon.ask("validate_model_credentials", **asked)
    )
    with real_server(port):
        assert chat.say(known.prompt).answer == known.answer

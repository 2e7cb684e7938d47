"""The package as a file: what is in it, and that it installs and runs from itself alone."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.dify.environments import base_python, run, uv
from tests.dify.plugin_process import PipedPlugin
from tests.dify.toy_chats import TRANSCRIPTS, Chat, real_server
from tests.server import ScriptedServer, harmony, reply
from tests.support.ports import free_port
from tools.package import write_package

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("package") / "plugin.difypkg"
    write_package(ROOT, target)
    return target


@pytest.fixture(scope="module", params=["highest", "lowest-direct"])
def installed(
    package: Path,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[PipedPlugin]:
    """The plugin as the daemon would set it up: unpacked, with an environment made from its requirements.

    Once with the newest packages that these allow, and once with the oldest.
    """
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(package).extractall(folder)
    python = folder / ".venv" / "bin" / "python"
    run(uv(), "venv", "--quiet", "--python", base_python(), str(folder / ".venv"))
    install = [
        uv(),
        "pip",
        "install",
        "--quiet",
        "--python",
        str(python),
        "--resolution",
        request.param,
    ]
    run(*install, "-r", str(folder / "requirements.txt"))
    with PipedPlugin(folder, str(python)) as plugin:
        yield plugin


def names_in(package: Path) -> list[str]:
    return zipfile.ZipFile(package).namelist()


def test_the_package_holds_what_dify_looks_for_and_no_other_folder(
    package: Path,
) -> None:
    tops = {name.partition("/")[0] for name in names_in(package)}
    assert tops == {
        "LICENSE",
        "PRIVACY.md",
        "README.md",
        "_assets",
        "dify_plugin_mlx",
        "harmony_core",
        "main.py",
        "manifest.yaml",
        "readme",
        "requirements.txt",
    }


def test_the_package_leaves_the_command_line_out(package: Path) -> None:
    assert not [
        name for name in names_in(package) if name.startswith("harmony_core/cli/")
    ]


@pytest.mark.e2e
def test_the_installed_package_introduces_itself_with_its_manifest(
    installed: PipedPlugin,
) -> None:
    manifest = yaml.safe_load((ROOT / "manifest.yaml").read_text("utf-8"))
    assert installed.manifest["name"] == manifest["name"]
    assert installed.manifest["version"] == manifest["version"]


@pytest.mark.e2e
def test_the_installed_package_answers_over_the_daemons_pipes(
    installed: PipedPlugin, server: ScriptedServer
) -> None:
    server.chat(reply(*harmony("Hm", "Hello, 世界 🌍")))
    messages = list(
        installed.chat(
            {"base_url": server.base_url}, [{"role": "user", "content": "Hello"}]
        )
    )
    assert [message["type"] for message in messages][-1] == "end"
    pieces = [
        message["data"]["delta"]["message"]["content"] for message in messages[:-1]
    ]  # type: ignore[index]
    assert "".join(pieces) == "<think>\nHm\n</think>\n\nHello, 世界 🌍"


@pytest.mark.e2e
def test_the_installed_package_names_its_errors_to_dify(installed: PipedPlugin) -> None:
    question: list[dict[str, object]] = [{"role": "user", "content": "Hello"}]
    credentials: dict[str, object] = {
        "base_url": "http://127.0.0.1:9",
        "api_key": "sk-very-secret",
    }
    [error, _] = installed.chat(credentials, question)
    assert error["type"] == "error"
    assert error["data"]["error_type"] == "InvokeConnectionError"  # type: ignore[index]
    assert "sk-very-secret" not in json.dumps(error)


@pytest.mark.e2e
def test_the_installed_package_survives_a_restart_of_the_model_server(
    installed: PipedPlugin,
) -> None:
    port = free_port()
    chat = Chat(installed, {"base_url": f"http://127.0.0.1:{port}"})
    known = TRANSCRIPTS["greeting_ja"]
    with real_server(port):
        assert chat.say(known.prompt).answer == known.answer
        rounds = chat.run_agent(
            TRANSCRIPTS["tool_call"].prompt, content_is_dropped=True
        )
        assert rounds[-1].answer == TRANSCRIPTS["tool_answer"].answer
    assert chat.say(known.prompt).error.startswith("InvokeConnectionError: ")
    with real_server(port):
        assert chat.say(known.prompt).answer == known.answer

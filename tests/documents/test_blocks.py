"""The commands and files that the pages show do what the pages say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harmony_core.cli.app import DEFAULT_BASE_URL
from harmony_core.cli.exit_codes import USAGE
from openwebui_pipe.servers import named_addresses
from tests.dify.environments import uv
from tests.server import ScriptedServer, harmony, models, reply
from tests.support.documents import ROOT, Block, blocks_run_by, page_of, read

COMMAND = Path(sys.executable).with_name("mlx-harmony")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
REQUIREMENT = f"mlx-harmony[cli] @ git+{REPOSITORY}"


def run(*command: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command; `settings` are added to its environment."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | settings,
        input="Hello!\n",
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("block", blocks_run_by("make"), ids=page_of)
def test_every_target_of_make_exists(block: Block) -> None:
    lines = [line.partition("#")[0].split() for line in block.code.splitlines()]
    targets: list[str] = []
    for words in lines:
        match words:
            case ["make", *named]:
                targets += named
            case ["git", "clone", address]:
                assert address == REPOSITORY
            case ["cd", folder]:
                assert folder == REPOSITORY.rpartition("/")[2]
            case [path]:
                assert os.access(ROOT / path, os.X_OK)
            case _:
                pytest.fail(f"What is {words}?")
    done = run("make", "--dry-run", *targets)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    return next(folder.glob("*.whl"))


@pytest.mark.parametrize("block", blocks_run_by("install"), ids=page_of)
def test_every_way_to_install_the_command_names_the_repository(block: Block) -> None:
    for line in block.code.splitlines():
        assert shlex.split(line)[-1] == REQUIREMENT


@pytest.mark.e2e  # it asks a registry for the packages
@pytest.mark.parametrize("block", blocks_run_by("install"), ids=page_of)
def test_the_command_can_be_installed_with_uv_and_in_a_venv(
    block: Block, wheel: Path, tmp_path: Path
) -> None:
    ways = [line for line in block.code.splitlines() if not line.startswith("pipx")]
    assert len(ways) == 2
    for line in ways:
        there = line.replace(f"git+{REPOSITORY}", wheel.as_uri())
        there = there.replace("~/harmony", str(tmp_path / "harmony"))
        there = re.sub("^uv ", f"{uv()} ", there)
        settings = {
            "UV_TOOL_DIR": str(tmp_path / "tools"),
            "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
        }
        done = run("bash", "-c", there, **settings)
        assert done.returncode == 0, done.stderr
    for folder in ("bin", "harmony/bin"):
        help_page = run(tmp_path / folder / "mlx-harmony", "--help")
        assert "doctor" in help_page.stdout


@pytest.mark.parametrize("block", blocks_run_by("terminal"), ids=page_of)
def test_every_command_of_the_terminal_reaches_the_server(block: Block) -> None:
    for line in block.code.splitlines():
        name, *arguments = shlex.split(line)
        assert name == COMMAND.name
        with ScriptedServer() as server:
            server.models(models("gpt-oss-20b"))
            server.chat(reply(*harmony("Politely.", "Bonjour !")))
            done = run(COMMAND, *arguments, MLX_HARMONY_BASE_URL=server.base_url)
            assert server.requests_to(server.CHAT)
        assert done.returncode != USAGE, done.stderr
        if arguments[0] == "chat":
            assert done.returncode == 0, done.stderr
            assert "Bonjour !" in done.stdout


@pytest.mark.parametrize("page", ["README.md", "readme/README_ja_JP.md"])
def test_the_server_is_started_where_the_command_looks_for_it(page: str) -> None:
    text = read(page)
    assert f"--port {DEFAULT_BASE_URL.rpartition(':')[2]}\n" in text
    assert f"`{DEFAULT_BASE_URL}`" in text


@pytest.mark.parametrize("block", blocks_run_by("servers"), ids=page_of)
def test_the_list_of_servers_is_what_the_pipe_reads(block: Block) -> None:
    assert named_addresses(block.code) == [
        ("Mac Studio", "http://studio.local:8585"),
        ("Mini", "http://mini.local:8585"),
    ]

"""The wheel: what is in it, and what it does in a fresh environment with and without its extras."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

from harmony_core import __version__
from tests.dify.environments import run, uv

ROOT = Path(__file__).parents[2]
MLX_PYTHON = ROOT / ".cache" / "mlx-lm-newest" / "bin" / "python"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run([*command, "-d", str(folder)], cwd=ROOT, check=True)
    return next(folder.glob("*.whl"))


def new_environment(folder: Path) -> Path:
    """The folder of the programs of a fresh environment."""
    run(uv(), "venv", "--quiet", "--python", sys.executable, str(folder))
    return folder / "bin"


def install(programs: Path, *arguments: str) -> None:
    target = str(programs / "python")
    run(uv(), "pip", "install", "--quiet", "--offline", "--python", target, *arguments)


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the package as `pip install mlx-harmony` leaves it."""
    programs = new_environment(tmp_path_factory.mktemp("bare"))
    install(programs, str(wheel))
    return programs


@pytest.fixture(scope="module")
def full(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the extra `cli`, from the packages that this one was made of."""
    programs = new_environment(tmp_path_factory.mktemp("full"))
    pinned = str(ROOT / "requirements" / "core.txt")
    install(programs, "--no-deps", "--require-hashes", "--requirement", pinned)
    install(programs, f"mlx-harmony[cli] @ {wheel.as_uri()}")
    return programs


def call(
    folder: Path, *command: str | Path, locale: str = "en_US.UTF-8"
) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder without a checkout."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": locale, "PYTHONUTF8": "1"}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_the_wheel_holds_the_core_the_command_line_and_the_toy_model(
    wheel: Path,
) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"harmony_core", f"mlx_harmony-{__version__}.dist-info"}
    toy = {path.name for path in (ROOT / "toy" / "model").iterdir()}
    assert {f"harmony_core/cli/toy_model/{name}" for name in toy} <= names
    assert "harmony_core/py.typed" in names
    assert wheel.stat().st_size < 5_000_000


def test_the_package_needs_no_other_unless_an_extra_is_asked_for(wheel: Path) -> None:
    folder = f"mlx_harmony-{__version__}.dist-info"
    text = zipfile.ZipFile(wheel).read(f"{folder}/METADATA").decode("utf-8")
    needed = HeaderParser().parsestr(text).get_all("Requires-Dist", [])
    assert needed
    assert all("extra ==" in requirement for requirement in needed)


def test_one_package_is_installed_and_it_parses(bare: Path, tmp_path: Path) -> None:
    program = (
        "from importlib.metadata import distributions\n"
        "from harmony_core import ChatStream, HarmonyParser, clean_history, parse\n"
        "print([found.name for found in distributions()])\n"
        "print(parse('<|channel|>final<|message|>Hello!').answer)"
    )
    done = call(tmp_path, bare / "python", "-c", program)
    assert done.stdout == "['mlx-harmony']\nHello!\n", done.stderr


def test_the_client_names_the_extra_that_it_needs(bare: Path, tmp_path: Path) -> None:
    done = call(tmp_path, bare / "python", "-c", "from harmony_core import Client")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: Client needs requests, which is not installed. "
        'Install it with `pip install "mlx-harmony[client]"`.'
    )


@pytest.mark.parametrize(
    ("locale", "sentence"),
    [
        ("en_US.UTF-8", "The command needs typer, which is not installed. "),
        ("ja_JP.UTF-8", "このコマンドに必要な typer がインストールされていません。"),
    ],
)
@pytest.mark.parametrize("arguments", [[], ["--version"], ["chat", "Hello!"]])
def test_the_command_names_the_extra_that_it_needs_in_one_line(
    bare: Path, tmp_path: Path, locale: str, sentence: str, arguments: list[str]
) -> None:
    done = call(tmp_path, bare / "mlx-harmony", *arguments, locale=locale)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(sentence)
    assert '`pip install "mlx-harmony[cli]"`' in done.stderr
    assert done.stderr.count("\n") == 1
    module = [bare / "python", "-m", "harmony_core", *arguments]
    assert call(tmp_path, *module, locale=locale).stderr == done.stderr


def test_with_the_extra_the_command_tells_its_version(
    full: Path, tmp_path: Path
) -> None:
    done = call(tmp_path, full / "mlx-harmony", "--version")
    assert done.stdout == f"mlx-harmony {__version__}\n", done.stderr


def test_the_demo_runs_without_a_checkout(full: Path, tmp_path: Path) -> None:
    demo = [full / "mlx-harmony", "demo", "--server-python", MLX_PYTHON]
    done = call(tmp_path, *demo)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("✓") == 6


def test_the_package_command_says_that_it_needs_a_checkout(
    full: Path, tmp_path: Path
) -> None:
    done = call(tmp_path, full / "mlx-harmony", "package")
    assert done.returncode == 2
    assert "Run this in a checkout of the repository." in done.stderr

"""The error that names the extra to install if a library is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = "from harmony_core.cli import main; main()"


def run_without(
    library: str, program: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a program in a new process in which a library cannot be imported."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.modules[{library!r}] = None; {program}",
            *arguments,
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("library", "arguments"),
    [
        ("typer", ["--help"]),
        ("requests", ["chat", "Hello!"]),
        ("markdown_it.token", ["chat", "Hello!"]),
        ("rich.table", ["demo"]),
    ],
)
def test_the_command_names_the_library_and_the_extra_in_one_line(
    library: str, arguments: list[str]
) -> None:
    done = run_without(library, COMMAND, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"The command needs {library.partition('.')[0]}, which is not installed. "
        'Install everything that it needs with `pip install "mlx-harmony[cli]"`.\n'
    )


@pytest.mark.parametrize("library", ["requests", "urllib3"])
def test_the_client_names_the_library_and_the_extra(library: str) -> None:
    done = run_without(library, "from harmony_core import Client")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: Client needs {library}, which is not installed. "
        'Install it with `pip install "mlx-harmony[client]"`.'
    )


@pytest.mark.parametrize(
    ("missing", "program"),
    [
        ("harmony_core.cli.app", COMMAND),
        ("harmony_core.client", "from harmony_core import Client"),
    ],
)
def test_a_missing_module_of_ours_is_not_mistaken_for_a_library(
    missing: str, program: str
) -> None:
    done = run_without(missing, program, "parse")
    assert done.returncode == 1
    assert f"ModuleNotFoundError: import of {missing} halted" in done.stderr

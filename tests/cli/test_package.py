"""`package`, which works only in a checkout of the repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run

PROJECT = '[project]\nname = "mlx-harmony"\nversion = "1.2.3"\n'
NEEDED = {
    "manifest.yaml": "",
    "pyproject.toml": PROJECT,
    "tools/package.py": "raise SystemExit(7)",
}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that passes for a checkout."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "__init__.py").touch()
    for name, text in NEEDED.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        *(lambda root, name=name: (root / name).unlink() for name in NEEDED),
        lambda root: (root / "pyproject.toml").write_text("[tool.x]"),
        lambda root: (root / "pyproject.toml").write_text("[[project]]"),
        lambda root: (root / "pyproject.toml").write_text(PROJECT.replace("mlx", "x")),
        lambda root: (root / "pyproject.toml").write_bytes(b"\xff"),
    ],
)
def test_another_folder_is_refused_in_one_sentence(
    run: Run, checkout: Path, change: Callable[[Path], object]
) -> None:
    change(checkout)
    result = run("package")
    assert result.exit_code == 2
    assert "Run this in a checkout" in result.stderr
    assert result.output.count("\n") == 1


@pytest.mark.usefixtures("checkout")
def test_the_exit_code_is_that_of_the_packager(run: Run) -> None:
    assert run("package").exit_code == 7

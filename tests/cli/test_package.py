"""The writer of the `.difypkg`: the same tree gives the same bytes, and ignored files stay out."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harmony_core.cli.app import app
from harmony_core.cli.package import write_package

TREE = {
    ".difyignore": "# what stays out\n.*\n*.log\n/docs/\nbuild/\n!keep.log\n",
    ".env": "KEY=1",
    "manifest.yaml": "version: 1.2.3",
    "pyproject.toml": '[project]\nname = "x"\nversion = "1.2.3"\n',
    "main.py": "print()",
    "keep.log": "",
    "docs/a.md": "",
    "inner/docs/b.md": "b",
    "inner/build/c.py": "",
    "inner/.hidden/d.py": "",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name, text in TREE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_ignored_files_stay_out_and_reincludes_do_nothing_as_in_difys_packager(
    tree: Path, tmp_path: Path
) -> None:
    target = tmp_path / "x.difypkg"
    assert write_package(tree, target) == 4
    names = zipfile.ZipFile(target).namelist()
    assert names == ["inner/docs/b.md", "main.py", "manifest.yaml", "pyproject.toml"]


def test_contents_are_those_of_the_files(tree: Path, tmp_path: Path) -> None:
    write_package(tree, tmp_path / "x.difypkg")
    archive = zipfile.ZipFile(tmp_path / "x.difypkg")
    assert archive.testzip() is None
    assert {name: archive.read(name).decode() for name in archive.namelist()} == {
        name: TREE[name] for name in archive.namelist()
    }


def test_the_same_tree_gives_the_same_bytes_whatever_its_dates_and_modes(
    tree: Path, tmp_path: Path
) -> None:
    write_package(tree, tmp_path / "first.difypkg")
    os.utime(tree / "main.py", (1, 1))
    (tree / "main.py").chmod(0o700)
    write_package(tree, tmp_path / "second.difypkg")
    assert (tmp_path / "first.difypkg").read_bytes() == (
        tmp_path / "second.difypkg"
    ).read_bytes()


def test_the_command_names_the_file_after_the_version(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    result = CliRunner().invoke(app, ["package"])
    assert result.exit_code == 0, result.output
    assert "mlx-harmony-1.2.3.difypkg: 4 files" in result.output
    assert (tree / "mlx-harmony-1.2.3.difypkg").is_file()


def test_an_older_package_at_the_same_place_stays_out(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    for _ in range(2):
        result = CliRunner().invoke(app, ["package", "-o", "p.zip"])
        assert "p.zip: 4 files" in result.output


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "pyproject.toml").unlink(),
        lambda tree: (tree / ".difyignore").unlink(),
        lambda tree: (tree / "pyproject.toml").write_text("[tool.x]"),
        lambda tree: (tree / "pyproject.toml").write_text("[[project]]"),
        lambda tree: (tree / "pyproject.toml").write_bytes(b"\xff"),
    ],
)
def test_another_plugins_folder_is_refused_in_a_sentence(
    tree: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    change(tree)
    monkeypatch.chdir(tree)
    result = CliRunner().invoke(app, ["package"], catch_exceptions=False)
    assert result.exit_code == 2
    assert "Run this in a checkout" in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize("place", ["nowhere/x.difypkg", "."])
def test_a_place_that_cannot_be_written_is_told_in_a_sentence(
    tree: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tree)
    result = CliRunner().invoke(app, ["package", "-o", place], catch_exceptions=False)
    assert result.exit_code == 2
    assert f"cannot be written ({place}: " in result.output
    assert result.output.count("\n") == 1


def test_the_command_says_where_it_has_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["package"])
    assert result.exit_code == 2
    assert "checkout" in result.output

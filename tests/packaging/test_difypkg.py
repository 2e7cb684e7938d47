"""The writer of the `.difypkg`: the same tree gives the same bytes, and ignored files stay out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harmony_core import __version__
from tools.package import CHECKOUT, main, write_package

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


def test_an_older_package_at_the_same_place_stays_out(tree: Path) -> None:
    assert [write_package(tree, tree / "p.zip") for _ in range(2)] == [4, 4]


def test_the_file_is_named_after_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    name = f"mlx-harmony-{__version__}.difypkg"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    size = (tmp_path / name).stat().st_size
    assert re.fullmatch(
        rf"{re.escape(name)}: \d+ files, {size:,} bytes\n", capsys.readouterr().out
    )


@pytest.mark.parametrize("place", ["nowhere/x.difypkg", "."])
def test_a_place_that_cannot_be_written_is_told_in_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    assert main(["-o", place]) == 2
    complaint = capsys.readouterr().err
    assert f"cannot be written ({place}: " in complaint
    assert complaint.count("\n") == 1


def test_the_command_of_the_installed_package_writes_the_same_in_a_checkout(
    tmp_path: Path,
) -> None:
    write_package(CHECKOUT, tmp_path / "tool.difypkg")
    target = tmp_path / "command.difypkg"
    done = subprocess.run(
        [sys.executable, "-m", "harmony_core", "package", "-o", str(target)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"{target}: ")
    assert target.read_bytes() == (tmp_path / "tool.difypkg").read_bytes()

"""The writer of the `.difypkg`: a list of files, the same bytes for the same tree, and the owner's names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harmony_core import __version__
from tools.owner import Owner
from tools.package import CHECKOUT, main, write_package

STRAYS = (
    "secrets.txt",
    ".env",
    "notes.md",
    "_assets/draft.svg",
    "dify_plugin_mlx/secrets.yaml",
    "dify_plugin_mlx/models/llm/token.txt",
    "dify_plugin_mlx/__pycache__/x.cpython-312.pyc",
    "harmony_core/cli/app.py",
    "harmony_core/.key",
    "old.difypkg",
    "server.log",
)
ME = Owner("https://github.com/me/p", "me", "me@b.org")
AS_ME = ["--author", ME.author, "--repo", ME.repository, "--contact", ME.contact]


def names_in(package: Path) -> list[str]:
    return zipfile.ZipFile(package).namelist()


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("packed") / "x.difypkg"
    write_package(CHECKOUT, target)
    return target


@pytest.fixture
def tree(packed: Path, tmp_path: Path) -> Path:
    """What is packed, unpacked, with files beside it that somebody left lying around."""
    root = tmp_path / "tree"
    zipfile.ZipFile(packed).extractall(root)
    for name in STRAYS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("KEY=1")
    return root


def test_files_that_nobody_listed_are_left_out(
    packed: Path, tree: Path, tmp_path: Path
) -> None:
    target = tmp_path / "x.difypkg"
    assert write_package(tree, target) == len(names_in(packed))
    assert names_in(target) == names_in(packed)


def test_git_knows_every_file_of_the_package(packed: Path) -> None:
    if shutil.which("git") is None or not (CHECKOUT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    known = subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert set(names_in(packed)) <= set(known.stdout.splitlines())


def test_contents_are_those_of_the_files(packed: Path) -> None:
    archive = zipfile.ZipFile(packed)
    assert archive.testzip() is None
    for name in archive.namelist():
        assert archive.read(name) == (CHECKOUT / name).read_bytes()


def test_the_package_is_compressed(packed: Path) -> None:
    size = sum(entry.file_size for entry in zipfile.ZipFile(packed).infolist())
    assert packed.stat().st_size < size / 2


def test_the_same_tree_gives_the_same_bytes_whatever_its_dates_and_modes(
    packed: Path, tree: Path, tmp_path: Path
) -> None:
    os.utime(tree / "main.py", (1, 1))
    (tree / "main.py").chmod(0o700)
    write_package(tree, tmp_path / "second.difypkg")
    assert (tmp_path / "second.difypkg").read_bytes() == packed.read_bytes()


def test_a_listed_file_that_is_missing_is_named(tree: Path, tmp_path: Path) -> None:
    (tree / "PRIVACY.md").unlink()
    with pytest.raises(FileNotFoundError, match=re.escape("PRIVACY.md")):
        write_package(tree, tmp_path / "x.difypkg")


def test_the_owner_stands_wherever_the_package_names_one(tmp_path: Path) -> None:
    target = tmp_path / "x.difypkg"
    assert main(["-o", str(target), "--release", *AS_ME]) == 0
    archive = zipfile.ZipFile(target)
    manifest = archive.read("manifest.yaml").decode()
    assert f"\nauthor: {ME.author}\n" in manifest
    assert f"\nrepo: {ME.repository}\ncontact: {ME.contact}\n" in manifest
    for name in archive.namelist():
        assert b"github.com/mlx-harmony/" not in archive.read(name)


def test_what_is_given_stands_instead_of_the_owner_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.package.owner", lambda: ME)
    target = tmp_path / "x.difypkg"
    assert main(["-o", str(target), "--author", "someone"]) == 0
    manifest = zipfile.ZipFile(target).read("manifest.yaml").decode()
    assert "\nauthor: someone\n" in manifest
    assert f"\nrepo: {ME.repository}\ncontact: {ME.contact}\n" in manifest


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("author", "langgenius"),
        ("author", "my-dify-plugins"),
        ("author", "Me"),
        ("author", "me\nname: x"),
        ("repo", "http://github.com/me/p"),
        ("repo", "https://me.org/p"),
        ("contact", "me"),
        ("contact", "me@home"),
    ],
)
def test_an_owner_that_the_marketplace_refuses_is_refused_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    target = tmp_path / "x.difypkg"
    assert main(["-o", str(target), *AS_ME, f"--{name}", value]) == 2
    complaint = capsys.readouterr().err
    assert f"does not take the {name}" in complaint
    assert f"{name.upper()}=" in complaint
    assert not target.exists()


def test_the_command_tells_what_it_wrote_and_names_it_after_the_version(
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


def test_a_release_refuses_an_owner_that_is_an_example(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "x.difypkg"
    example = ["-o", str(target), *AS_ME, "--contact", "me@home.example"]
    assert main(["--release", *example]) == 2
    assert "is an example" in capsys.readouterr().err
    assert not target.exists()
    assert main(example) == 0


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
    packed: Path, tmp_path: Path
) -> None:
    target = tmp_path / "command.difypkg"
    done = subprocess.run(
        [sys.executable, "-m", "harmony_core", "package", "-o", str(target)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"{target}: ")
    assert target.read_bytes() == packed.read_bytes()

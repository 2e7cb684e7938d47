"""Versions, requirements and addresses agree, and no private path is in the repository."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from harmony_core import __version__
from harmony_core.cli import _LIBRARIES
from tests.architecture.test_imports import (
    CORE,
    HTTP_LIBRARIES,
    absolute_imports,
    top_level,
)

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
VERSION = PROJECT["version"]
MANIFEST = yaml.safe_load((ROOT / "manifest.yaml").read_text("utf-8"))


def test_the_library_has_the_version_of_the_project() -> None:
    assert __version__ == VERSION


def test_the_manifest_has_the_version_of_the_project() -> None:
    assert MANIFEST["version"] == VERSION


def test_the_project_and_the_manifest_name_the_same_repository_and_author() -> None:
    repository = MANIFEST["repo"]
    assert PROJECT["urls"]["Repository"] == repository
    assert all(url.startswith(repository) for url in PROJECT["urls"].values())
    author = {"name": MANIFEST["author"], "email": MANIFEST["contact"]}
    assert PROJECT["authors"] == [author]


IMPORTED_AS = {"markdown_it_py": "markdown_it"}


def names_of(requirements: list[str]) -> set[str]:
    """The import names of the packages that requirements name, without our own."""
    names = {re.split(r"[^\w.-]", line)[0].replace("-", "_") for line in requirements}
    names = {IMPORTED_AS.get(name, name) for name in names}
    return names - {"mlx_harmony"}


def test_the_extras_install_the_imports_of_the_code_and_the_core_needs_nothing() -> (
    None
):
    extras = PROJECT["optional-dependencies"]
    client = names_of(extras["client"])
    assert PROJECT["dependencies"] == []
    assert "mlx-harmony[client]" in extras["cli"]
    assert client == HTTP_LIBRARIES
    assert client | names_of(extras["cli"]) == libraries(CORE.rglob("*.py"))


def libraries(paths: Iterable[Path]) -> set[str]:
    """The third-party packages that these files import."""
    names = {name for path in paths for name in top_level(absolute_imports(path))}
    names -= {"_typeshed"}  # only type checkers read it
    return names - sys.stdlib_module_names


def test_the_command_knows_every_library_that_an_extra_installs() -> None:
    assert libraries(CORE.rglob("*.py")) == _LIBRARIES


@pytest.mark.parametrize("name", ["core", "dev"])
def test_each_requirement_of_the_project_is_written_once(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.in").read_text("utf-8")
    lines = [line for line in text.splitlines() if re.match(r"\w", line)]
    assert lines
    assert not names_of(lines) & _LIBRARIES


def test_the_pipe_has_the_version_of_the_project() -> None:
    pipe = (ROOT / "openwebui_pipe" / "mlx_harmony_pipe.py").read_text("utf-8")
    assert re.search(r"^version: (.+)$", pipe, re.MULTILINE)[1] == VERSION  # type: ignore[index]


def test_the_newest_release_of_the_changelog_is_the_version_of_the_project() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.search(r"^## (\d\S*)", changelog, re.MULTILINE)[1] == VERSION  # type: ignore[index]


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_no_file_names_a_registry_host_or_a_path_of_a_machine() -> None:
    forbidden = re.compile(
        r"(?:pypi|pythonhosted|npmjs|golang|debian)\.(?:org|com)|(?<![\w.~-])/(?:root|work)/"
    )
    for path in tracked_files():
        if (
            path.suffix in {".png", ".safetensors"}
            or path == Path(__file__)
            or not path.is_file()
        ):
            continue
        found = forbidden.search(path.read_text("utf-8", errors="replace"))
        assert not found, f"{path.relative_to(ROOT)}: {found[0] if found else ''}"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "requirements").glob("*.in")), ids=lambda path: path.name
)
def test_every_requirement_is_pinned_with_hashes(path: Path) -> None:
    pinned = path.with_suffix(".txt").read_text("utf-8")
    assert "--hash=sha256:" in pinned
    assert "index-url" not in pinned
    assert not re.search(r"^(torch|nvidia-\S+)==", pinned, re.MULTILINE)

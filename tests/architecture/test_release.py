"""What a release must agree on, and what must never be in the repository."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "version"
]


def test_the_manifest_has_the_version_of_the_project() -> None:
    manifest = yaml.safe_load((ROOT / "manifest.yaml").read_text("utf-8"))
    assert manifest["version"] == VERSION


def test_the_pipe_has_the_version_of_the_project() -> None:
    pipe = (ROOT / "openwebui_pipe" / "mlx_harmony_pipe.py").read_text("utf-8")
    assert re.search(r"^version: (.+)$", pipe, re.MULTILINE)[1] == VERSION  # type: ignore[index]


def test_the_changelog_begins_with_the_version_of_the_project() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.search(r"^## (\S+)", changelog, re.MULTILINE)[1] == VERSION  # type: ignore[index]


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

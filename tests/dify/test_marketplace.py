"""What Dify's marketplace checks in a submitted package (docs/spec/dify.md, The marketplace)."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path, PurePosixPath

import pytest
import yaml
from packaging.requirements import Requirement

from tools.owner import Owner
from tools.package import CHECKOUT, write_package

OWNER = Owner("https://github.com/someone/mlx-harmony", "someone", "me@someone.org")
FORGES = r"https?://(?:www\.)?(?:github\.com|gitlab\.com|codeberg\.org|gitee\.com)/\S+"
REQUIRED = (
    "author name version type icon plugins privacy repo contact label.en_US description.en_US "
    "meta.version meta.arch meta.runner.language meta.runner.version meta.runner.entrypoint "
    "meta.minimum_dify_version"
)
REFUSED_FOLDERS = (
    ".git .hg .svn .venv venv env __pycache__ .pytest_cache .ruff_cache .mypy_cache .tox .nox "
    ".idea .vscode node_modules build dist"
)
REFUSED_ENDINGS = ".key .pem .p12 .pfx .pyc .pyo .log .tmp .swp .bak .zip .tar .gz"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    target = tmp_path_factory.mktemp("package") / "plugin.difypkg"
    write_package(CHECKOUT, target, OWNER)
    return zipfile.ZipFile(target)


@pytest.fixture(scope="module")
def folder(archive: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("unpacked")
    archive.extractall(root)
    return root


@pytest.fixture(scope="module")
def manifest(folder: Path) -> dict[str, object]:
    loaded = yaml.safe_load((folder / "manifest.yaml").read_text("utf-8"))
    assert isinstance(loaded, dict)
    return loaded


@pytest.mark.parametrize("field", REQUIRED.split())
def test_the_manifest_has_every_field_that_is_required(
    manifest: dict[str, object], field: str
) -> None:
    value: object = manifest
    for name in field.split("."):
        assert isinstance(value, dict)
        value = value.get(name)
    assert value


def test_author_repository_and_contact_are_accepted(
    manifest: dict[str, object],
) -> None:
    assert re.fullmatch(r"[a-z0-9_-]{1,64}", str(manifest["author"]))
    assert not re.search("dify|langgenius", str(manifest["author"]))
    assert re.fullmatch(r"[a-z0-9_-]{1,128}", str(manifest["name"]))
    assert re.fullmatch(r"\d+\.\d+\.\d+", str(manifest["version"]))
    assert manifest["type"] == "plugin"
    assert re.fullmatch(FORGES, str(manifest["repo"]))
    assert re.fullmatch(r"[^@\s]+@[\w-]+(\.[\w-]+)+", str(manifest["contact"]))


def test_the_privacy_policy_is_in_the_package_and_says_what_is_kept(
    folder: Path, manifest: dict[str, object]
) -> None:
    policy = (folder / str(manifest["privacy"])).read_text("utf-8").lower()
    assert "please fill in the privacy policy" not in policy
    assert "collect" in policy
    assert "log" in policy


def test_the_readme_is_english_and_names_the_source(folder: Path) -> None:
    readme = (folder / "README.md").read_text("utf-8")
    assert re.search(FORGES, readme)
    outside_code = re.sub(r"(?s)```.*?```", "", readme)
    assert re.findall("[\u3400-\u4dbf\u4e00-\u9fff]", outside_code) == []
    for words in ("install", "use", "api key|token", "connect|host|network"):
        assert re.search(words, readme, re.IGNORECASE)


def test_nothing_of_a_working_directory_is_in_the_package(
    archive: zipfile.ZipFile,
) -> None:
    for name in map(PurePosixPath, archive.namelist()):
        assert not set(REFUSED_FOLDERS.split()) & set(name.parts)
        assert name.suffix not in REFUSED_ENDINGS.split()
        assert not name.name.startswith(".")


def test_the_package_is_small(archive: zipfile.ZipFile) -> None:
    assert sum(entry.file_size for entry in archive.infolist()) < 1_000_000
    assert len(archive.namelist()) < 200


def test_there_is_no_second_list_of_requirements(archive: zipfile.ZipFile) -> None:
    assert "requirements.txt" in archive.namelist()
    assert "pyproject.toml" not in archive.namelist()  # it would win


def test_every_requirement_has_both_bounds_and_comes_from_the_registry(
    folder: Path,
) -> None:
    lines = (folder / "requirements.txt").read_text("utf-8").splitlines()
    found = {item.name: item for item in map(Requirement, filter(None, lines))}
    for item in found.values():
        assert item.url is None
        assert {">=", "<"} <= {part.operator for part in item.specifier}
    assert not found["dify_plugin"].specifier.contains("0.8.9")
    assert found["dify_plugin"].specifier.contains("0.9.0")


def test_no_address_is_contacted_but_the_one_that_the_user_enters(
    archive: zipfile.ZipFile,
) -> None:
    code = [name for name in archive.namelist() if name.endswith(".py")]
    hosts = {
        host
        for name in code
        for host in re.findall(r"https?://([\w.-]+\.\w+)", archive.read(name).decode())
    }
    assert hosts <= {"127.0.0.1", "host.docker.internal"}


def test_no_command_or_code_is_run_from_a_text(archive: zipfile.ZipFile) -> None:
    runs = r"\bsubprocess\b|\bos\.(?:system|popen|exec)|(?<![\w.])(?:eval|exec|__import__)\("
    for name in archive.namelist():
        if name.endswith(".py"):
            assert not re.search(runs, archive.read(name).decode()), name

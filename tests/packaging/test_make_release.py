"""What `make release` writes, and the owner that it refuses."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from harmony_core import __version__
from tests.architecture.test_release import tracked_files
from tools.owner import Owner, owner, owner_until_now, put_everywhere, with_owner
from tools.release import CHECKSUMS, main, reason_against, write_release

ME = Owner("https://github.com/someone/mlx-harmony", "someone", "me@someone.org")
EXAMPLE = Owner("https://github.com/a/b", "a", "maintainers@a.example")
FILES = {
    f"mlx_harmony-{__version__}-py3-none-any.whl",
    f"mlx-harmony-{__version__}.difypkg",
    "mlx_harmony_pipe.json",
    "mlx_harmony_pipe.py",
}


def test_a_release_holds_four_files_and_their_checksums_and_is_the_same_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--trial", "--output", str(tmp_path / "dist")]) == 0
    sums = dict(
        reversed(line.split("  ")) for line in capsys.readouterr().out.splitlines()
    )
    assert set(sums) == FILES
    for name, checksum in sums.items():
        content = (tmp_path / "dist" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == checksum
    assert write_release(tmp_path / "again").split() == (
        (tmp_path / "dist" / CHECKSUMS).read_text().split()
    )


def test_an_owner_that_ends_in_example_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "example" in EXAMPLE.reason_against(release=True)
    assert not EXAMPLE.reason_against(release=False)
    assert not ME.reason_against(release=True)
    if owner().reason_against(release=True):
        assert main(["--output", str(tmp_path / "dist")]) == 1
        assert "tools/owner.toml" in capsys.readouterr().err
        assert not (tmp_path / "dist").exists()


def test_a_tag_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("owner", "owner_until_now"):
        monkeypatch.setattr(f"tools.release.{name}", lambda: ME)
    assert reason_against(f"v{__version__}") == ""
    assert "v9.9.9" in reason_against("v9.9.9")


def test_every_file_names_the_owner_of_the_file() -> None:
    assert owner() == owner_until_now()
    # `my-name` stands for the reader's own in examples.
    hosts = r"https://github\.com/(?!my-name)[\w-]+/mlx-harmony(?![\w-])"
    here = Path(__file__)
    for path in tracked_files():
        if path.suffix in {".md", ".toml", ".yaml", ".yml"} and path != here:
            found = set(re.findall(hosts, path.read_text("utf-8")))
            assert found <= {owner().repository}, path


def test_a_new_owner_is_put_where_the_old_one_was() -> None:
    text = (
        "author: mlx-harmony\nname: mlx-harmony\n"
        'authors = [{ name = "mlx-harmony", email = "maintainers@mlx-harmony.example" }]\n'
        "repo: https://github.com/mlx-harmony/mlx-harmony/issues\n"
    )
    old = Owner(
        "https://github.com/mlx-harmony/mlx-harmony",
        "mlx-harmony",
        "maintainers@mlx-harmony.example",
    )
    assert with_owner(text, ME, old) == (
        "author: someone\nname: mlx-harmony\n"
        'authors = [{ name = "someone", email = "me@someone.org" }]\n'
        "repo: https://github.com/someone/mlx-harmony/issues\n"
    )
    assert with_owner(with_owner(text, ME, old), ME, old) == with_owner(text, ME, old)


def test_nothing_is_written_where_the_owner_stays_the_same() -> None:
    assert put_everywhere(owner(), owner_until_now()) == []

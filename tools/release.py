"""`python -m tools.release`: writes the files of a release to dist/, as the workflow does for a tag.

These are the wheel, the Dify package, the pipe as one file and as JSON, and their checksums. Everything is
built twice, and both builds must be the same, byte by byte.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools.owner import owner, owner_until_now
from tools.package import write_package

ROOT: Final = Path(__file__).resolve().parents[1]
CHECKSUMS: Final = "SHA256SUMS"
_PIPE: Final = ("mlx_harmony_pipe.py", "mlx_harmony_pipe.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the release, or print why it is refused; returns the exit code."""
    parser = argparse.ArgumentParser(prog="tools.release", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "dist")
    parser.add_argument("--tag", help="The tag, which must name the version.")
    parser.add_argument("--trial", action="store_true", help="For an example owner.")
    options = parser.parse_args(arguments)
    reason = "" if options.trial else reason_against(options.tag)
    if reason:
        print(reason, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as again:
        shutil.rmtree(options.output, ignore_errors=True)
        sums, sums_again = write_release(options.output), write_release(Path(again))
    if sums != sums_again:
        print(f"Not the same twice:\n{sums}\n{sums_again}", file=sys.stderr)
        return 1
    print(sums, end="")
    return 0


def reason_against(tag: str | None) -> str:
    """Return why this checkout cannot be released, or "" if it can."""
    if reason := owner().reason_against(release=True):
        return reason
    if owner() != owner_until_now():
        return "Run python -m tools.owner first: not every file names the owner."
    if tag and tag != f"v{version()}":
        return f"The tag {tag} is not that of version {version()}."
    return ""


def version() -> str:
    """Return the version in pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    return str(tomllib.loads(text)["project"]["version"])


def write_release(folder: Path) -> str:
    """Write all files of a release, with their checksums; returns the checksums."""
    folder.mkdir(parents=True, exist_ok=True)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d"]
    subprocess.run([*build, str(folder)], cwd=ROOT, check=True, capture_output=True)
    write_package(ROOT, folder / f"mlx-harmony-{version()}.difypkg")
    for name in _PIPE:
        shutil.copyfile(ROOT / "openwebui_pipe" / name, folder / name)
    files = sorted(path for path in folder.iterdir() if path.name != CHECKSUMS)
    sums = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in files
    )
    (folder / CHECKSUMS).write_text(sums, "utf-8")
    return sums


if __name__ == "__main__":
    sys.exit(main())

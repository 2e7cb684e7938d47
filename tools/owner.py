"""`python -m tools.owner`: puts the owner of tools/owner.toml into every file that names the owner.

`pyproject.toml` names the owner until now. The pasted pipe file is made from these files, so run
`python -m openwebui_pipe.bundle` afterwards.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
OWNER_FILE: Final = "tools/owner.toml"
MARKETPLACE_RULES: Final = {
    "author": (r"(?!.*(?:dify|langgenius))[a-z0-9_-]{1,64}", "AUTHOR=my-name"),
    "repository": (
        r"https://(?:github\.com|gitlab\.com|codeberg\.org|bitbucket\.org|gitee\.com)/\S+",
        "REPO=https://github.com/my-name/mlx-harmony",
    ),
    "contact": (r"[^@\s]+@[\w-]+(?:\.[\w-]+)+", "CONTACT=me@my-domain.org"),
}
"""What Dify's marketplace accepts (docs/spec/dify.md), and an example for `make package`."""

TEXTS: Final = {".json", ".md", ".py", ".toml", ".yaml", ".yml"}


@dataclass(frozen=True, slots=True)
class Owner:
    """Who publishes the project."""

    repository: str
    author: str
    contact: str

    def reason_against(self, *, release: bool) -> str:
        """Return why this owner cannot publish, or "". An example address is refused only for a release."""
        for name, (rule, variable) in MARKETPLACE_RULES.items():
            value: str = getattr(self, name)
            advice = (
                f"Write your own into {OWNER_FILE}, or give it: make package {variable}"
            )
            if not re.fullmatch(rule, value):
                return (
                    f"Dify's marketplace does not take the {name} “{value}”. {advice}"
                )
            if release and re.search(r"\.example(?![\w.-])", value):
                return f"The {name} “{value}” is an example. {advice}"
        return ""


def owner(root: Path = ROOT) -> Owner:
    """Read the owner from tools/owner.toml."""
    return Owner(**tomllib.loads((root / OWNER_FILE).read_text("utf-8")))


def owner_until_now(root: Path = ROOT) -> Owner:
    """Read the owner that pyproject.toml names."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    author = project["authors"][0]
    return Owner(project["urls"]["Repository"], author["name"], author["email"])


def put_everywhere(new: Owner, old: Owner, root: Path = ROOT) -> list[str]:
    """Write the new owner into every tracked file that names the old one; returns the changed files."""
    changed = []
    for name in _tracked_texts(root):
        path = root / name
        text = path.read_text("utf-8")
        written = with_owner(text, new, old)
        if written != text:
            path.write_text(written, "utf-8")
            changed.append(name)
    return changed


def with_owner(text: str, new: Owner, old: Owner) -> str:
    """Replace the owner in a text. The author is replaced only in the author field of a manifest."""
    text = text.replace(old.repository, new.repository)
    text = text.replace(old.contact, new.contact)
    author = re.escape(old.author)
    text = re.sub(rf"(?m)^(author: ){author}$", rf"\g<1>{new.author}", text)
    return re.sub(
        rf'(?m)^(authors = \[\{{ name = "){author}"', rf'\g<1>{new.author}"', text
    )


def main() -> int:
    """Put the owner everywhere; returns the exit code."""
    changed = put_everywhere(owner(), owner_until_now())
    print("\n".join(changed) or "Everything names this owner already.")
    return 0


def _tracked_texts(root: Path) -> Iterator[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split("\0"):
        if Path(name).suffix in TEXTS and name != OWNER_FILE:
            yield name


if __name__ == "__main__":
    sys.exit(main())

"""`make audit`: checks the pinned releases against the advisories that the package index lists.

The index is the one that pip and uv use here: UV_DEFAULT_INDEX, UV_INDEX_URL or PIP_INDEX_URL, else pip's
configuration or default. Its JSON API, `/pypi/NAME/VERSION/json`, is asked once for each release; not every
index has one. The exit code is 1 if a release has an advisory, and 2 if the index could not be asked.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import requests

from harmony_core.jsontext import as_object, load_json, objects_in

ROOT: Final = Path(__file__).resolve().parents[1]
PIP: Final = ROOT / ".tools" / "bin" / "pip"
FILES: Final = ("core", "dev", "bench", "fuzz")
"""What the project is built and tested with. Old hosts and servers are pinned to old releases on purpose."""

_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_VARIABLES: Final = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
_PARALLEL_REQUESTS: Final = 4
_TIMEOUT: Final = 60  # seconds

Release = tuple[str, str]


class AuditError(Exception):
    """The package index cannot be asked. The text says why."""


def index_url() -> str:
    """Return the simple index that the package clients of this machine use; raises AuditError."""
    for variable in _VARIABLES:
        if url := os.environ.get(variable):
            return url
    configured = _output_of(str(PIP), "config", "get", "global.index-url").strip()
    if configured:
        return configured
    found = re.search(
        r"default\s+(https?://\S+?)\)", _output_of(str(PIP), "install", "--help")
    )
    if found is None:
        raise AuditError("pip names no index: set PIP_INDEX_URL")
    return found[1]


def _output_of(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise AuditError(f"{command[0]} does not run: {error}") from None
    return done.stdout


def pinned(names: tuple[str, ...] = FILES) -> list[Release]:
    """Return name and version of each release in the files, without repeats."""
    texts = (
        (ROOT / "requirements" / f"{name}.txt").read_text("utf-8") for name in names
    )
    return sorted({(pin[1], pin[2]) for text in texts for pin in _PIN.finditer(text)})


def json_url(index: str, name: str, version: str) -> str:
    """Return the address at which the JSON API of a simple index describes a release."""
    parts = urlsplit(index)
    folder = parts.path.rstrip("/").removesuffix("/simple")
    return urlunsplit(
        (parts.scheme, parts.netloc, f"{folder}/pypi/{name}/{version}/json", "", "")
    )


def advisories_in(body: bytes) -> Iterator[str]:
    """Yield the advisories of a release that were not withdrawn, one line each; raises AuditError."""
    release = as_object(load_json(body))
    if "vulnerabilities" not in release:
        raise AuditError("the package index lists no advisories")
    for found in objects_in(release["vulnerabilities"]):
        if not found.get("withdrawn"):
            fixed = found.get("fixed_in")
            versions = ", ".join(map(str, fixed)) if isinstance(fixed, list) else ""
            yield f"{found.get('id')}, fixed in {versions or 'no release'}: {found.get('link')}"


def advisories_of(index: str, release: Release) -> list[str]:
    """Ask the index for the advisories of one release; raises AuditError."""
    try:
        answer = requests.get(json_url(index, *release), timeout=_TIMEOUT)
        if answer.status_code == 404:
            raise AuditError(
                "the package index lists no advisories (it has no JSON API)"
            )
        answer.raise_for_status()
        return list(advisories_in(answer.content))
    except (requests.RequestException, ValueError) as error:
        raise AuditError(
            f"asked for {'=='.join(release)}, the package index did not answer ({type(error).__name__})"
        ) from None


def main() -> None:
    releases = pinned()
    try:
        index = index_url()
        with ThreadPoolExecutor(_PARALLEL_REQUESTS) as pool:
            found = list(pool.map(lambda one: advisories_of(index, one), releases))
    except AuditError as error:
        print(f"Nothing was checked: {error}.", file=sys.stderr)
        sys.exit(2)
    for (name, version), advisories in zip(releases, found, strict=True):
        for advisory in advisories:
            print(f"{name} {version}: {advisory}")
    print(f"{len(releases)} releases, {sum(map(len, found))} advisories")
    sys.exit(any(found))


if __name__ == "__main__":
    main()

"""Which Open WebUI this is, because its versions differ in what they accept."""

from __future__ import annotations

import importlib


def host_version() -> tuple[int, int] | None:
    """The first two numbers of the version of the running Open WebUI; None elsewhere."""
    try:
        version = str(importlib.import_module("open_webui.env").VERSION)
        major, minor = (int(part) for part in version.split(".")[:2])
    except (ImportError, AttributeError, ValueError):
        return None
    return major, minor


def at_least(major: int, minor: int) -> bool:
    """Whether the host is known to be that version or a newer one."""
    version = host_version()
    return version is not None and version >= (major, minor)

"""Findings about this machine that explain a server on it: a container around us, a Mac's memory."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .examined_server import ExaminedServer
from .finding import Finding, ok, warning
from .installation import find_python, judge_installation, probe_installation
from .model_choice import listed_gpt_oss
from .phrases import phrase

_LOCAL = re.compile(r"//(localhost|127\.[\d.]+|\[::1\]|0\.0\.0\.0)(?=[:/]|$)", re.I)
_GB = 1_000_000_000
_MIB = 1 << 20
_CONTAINER_MARKS = (".dockerenv", "run/.containerenv")
# By default macOS lets the GPU wire two thirds of a small memory, and three quarters of a large one.
_SMALL_MAC = 36 << 30
_MEMORY_PER_WEIGHTS = 1.1  # the weights' share, plus a conversation's cache and buffers
_RESERVED_FOR_MACOS = 6 * 1024  # MiB


@dataclass(frozen=True, slots=True)
class Memory:
    """Sizes in bytes: a Mac's memory, the GPU's wired limit (0 for macOS's default), a model's weights."""

    total: int
    wired_limit: int
    model: int

    @property
    def limit(self) -> int:
        """The most that the GPU may use."""
        share = (2, 3) if self.total <= _SMALL_MAC else (3, 4)
        return self.wired_limit or self.total * share[0] // share[1]


def inspect_machine(
    server: ExaminedServer, server_python: str = ""
) -> Iterator[Finding]:
    """Yield findings about this machine if the server runs on it; about a container only if no reply came."""
    if not _LOCAL.search(server.url):
        return
    replied = server.hello is not None
    if not replied and in_container():
        text = phrase("in_container", url=server.url, inside=_from_inside(server.url))
        yield Finding("container", "warning", text)
    python = find_python(server_python)
    installation = probe_installation(python) if python else None
    if installation is not None:
        version = server.hello.version if server.hello else None
        yield judge_installation(installation, ".".join(map(str, version or ())))
    if platform.system() == "Darwin" and (memory := _mac_memory(server)):
        yield judge_memory(memory)


def in_container(root: Path = Path("/")) -> bool:
    """Whether this process runs in a container of Docker or Podman."""
    return any((root / mark).exists() for mark in _CONTAINER_MARKS)


def _from_inside(url: str) -> str:
    return _LOCAL.sub("//host.docker.internal", url)


def judge_memory(memory: Memory) -> Finding:
    """Judge whether a model fits into the memory that the GPU may use."""
    needed = int(memory.model * _MEMORY_PER_WEIGHTS)
    model, limit, total = (
        f"{size / _GB:.0f}" for size in (needed, memory.limit, memory.total)
    )
    if needed <= memory.limit:
        return ok("memory", "memory_ok", model=model, limit=limit)
    highest_limit = memory.total // _MIB - _RESERVED_FOR_MACOS
    if needed > highest_limit * _MIB:
        return warning("memory", "memory_small", model=model, total=total)
    return warning(
        "memory", "memory_limit", model=model, limit=limit, megabytes=highest_limit
    )


def model_size(model: str, cache: Path) -> int:
    """Return the bytes of a model's weights: a folder, or an id in the Hugging Face cache; 0 if not found."""
    folder = Path(model)
    if not folder.is_dir():
        snapshots = cache / f"models--{model.replace('/', '--')}" / "snapshots"
        found = sorted(snapshots.glob("*"), key=lambda path: path.stat().st_mtime)
        if not found:
            return 0
        folder = found[-1]
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _mac_memory(server: ExaminedServer) -> Memory | None:
    model = server.model or listed_gpt_oss(server.models or ())
    size = model_size(model, _hugging_face_cache()) if model else 0
    total, limit = _sysctl("hw.memsize"), _sysctl("iogpu.wired_limit_mb") * _MIB
    return Memory(total, limit, size) if size and total else None


def _hugging_face_cache() -> Path:
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or f"{home}/hub").expanduser()


def _sysctl(name: str) -> int:
    try:
        done = subprocess.run(
            ["sysctl", "-n", name], capture_output=True, text=True, timeout=10
        )
        return int(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return 0

"""This machine, as far as it explains how a server on it fares: a container around us, a Mac's memory."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .finding import Finding, ok, warning
from .installation import find_python, judge_installation, probe_installation
from .model_choice import listed_gpt_oss
from .patient import Patient
from .phrases import phrase

_LOCAL = re.compile(r"//(localhost|127\.[\d.]+|\[::1\]|0\.0\.0\.0)(?=[:/]|$)", re.I)
_GB = 1_000_000_000
_MIB = 1 << 20
_CONTAINER_MARKS = (".dockerenv", "run/.containerenv")
# Unless told otherwise, macOS lets the GPU wire two thirds of a smaller memory and three quarters of a
# larger one.
_SMALL_MAC = 36 << 30
_ROOM_BESIDE_WEIGHTS = 1.1  # the cache of a conversation and the buffers come on top
_LEFT_TO_MACOS = 6 * 1024  # MiB


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: a Mac's memory, what the GPU may wire of it (0 for macOS's own choice), a model's weights."""

    total: int
    wired_limit: int
    model: int

    @property
    def limit(self) -> int:
        """What the GPU may use."""
        share = (2, 3) if self.total <= _SMALL_MAC else (3, 4)
        return self.wired_limit or self.total * share[0] // share[1]


def look_around(patient: Patient, server_python: str = "") -> Iterator[Finding]:
    """What this machine has to do with it, where the server runs on it; little if the server replied."""
    if not _LOCAL.search(patient.url):
        return
    replied = patient.hello is not None
    if not replied and in_container():
        text = phrase("in_container", url=patient.url, inside=_from_inside(patient.url))
        yield Finding("container", "warning", text)
    python = find_python(server_python)
    installation = probe_installation(python) if python else None
    if installation is not None:
        version = patient.hello.version if patient.hello else None
        yield judge_installation(installation, ".".join(map(str, version or ())))
    if platform.system() == "Darwin" and (memory := _mac_memory(patient)):
        yield judge_memory(memory)


def in_container(root: Path = Path("/")) -> bool:
    """Whether this process runs in a container of Docker or Podman."""
    return any((root / mark).exists() for mark in _CONTAINER_MARKS)


def _from_inside(url: str) -> str:
    return _LOCAL.sub("//host.docker.internal", url)


def judge_memory(memory: Memory) -> Finding:
    """Whether a model's weights fit into what the GPU may use."""
    needed = int(memory.model * _ROOM_BESIDE_WEIGHTS)
    model, limit, total = (
        f"{size / _GB:.0f}" for size in (needed, memory.limit, memory.total)
    )
    if needed <= memory.limit:
        return ok("memory", "memory_ok", model=model, limit=limit)
    most = memory.total // _MIB - _LEFT_TO_MACOS
    if needed > most * _MIB:
        return warning("memory", "memory_small", model=model, total=total)
    return warning("memory", "memory_limit", model=model, limit=limit, megabytes=most)


def model_size(model: str, cache: Path) -> int:
    """Bytes of a model's weights: a folder, or an id in the Hugging Face cache; 0 where there are none."""
    folder = Path(model)
    if not folder.is_dir():
        snapshots = cache / f"models--{model.replace('/', '--')}" / "snapshots"
        found = sorted(snapshots.glob("*"), key=lambda path: path.stat().st_mtime)
        if not found:
            return 0
        folder = found[-1]
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _mac_memory(patient: Patient) -> Memory | None:
    model = patient.model or listed_gpt_oss(patient.models or ())
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

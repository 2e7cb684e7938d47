"""Starts a PostgreSQL server for one test, on a free port."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.ports import free_port


def system_postgres() -> Path:
    """Return the folder that holds the `bin` of Debian's newest PostgreSQL; raises ValueError without one."""
    return max(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda path: float(path.parent.name),
    ).parent


@contextlib.contextmanager
def postgres(home: Path, role: str) -> Iterator[int]:
    """Run the PostgreSQL of `home` with a role that may create databases; yields its port."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        as_owner: list[str] = []
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(folder, "postgres")
            as_owner = ["runuser", "-u", "postgres", "--"]
        port, data = free_port(), f"{folder}/data"
        control = [*as_owner, f"{home}/bin/pg_ctl", "-D", data]
        options = f"-p {port} -k {folder} -h 127.0.0.1 -c fsync=off"
        made = f"-U {role} --auth=trust --encoding=UTF8"
        _run(*control, "init", "-o", made)
        _run(*control, "-o", options, "-l", f"{folder}/log", "-w", "start")
        try:
            yield port
        finally:
            _run(*control, "-m", "immediate", "stop")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr

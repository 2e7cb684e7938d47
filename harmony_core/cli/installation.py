"""The mlx-lm that is installed on this machine, and why its server may not start.

`probe_installation` asks the interpreter that has mlx-lm. `judge_installation` needs only the answer, so that
tests run on any machine.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..compatibility import ADVISED_MLX_LM, mlx_lm_range
from ..jsontext import JsonObject, as_object, load_json
from .finding import Finding, ok, warning
from .phrases import phrase
from .problem_words import fault_text

_PROBE_TIMEOUT = 60.0  # seconds; the first import of MLX takes long on a slow disk
_PROBE = """
import importlib.metadata as metadata, json, platform
versions, needs, error = {}, "", ""
for name in ("mlx-lm", "mlx", "mlx-metal"):
    try:
        versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
if "mlx-lm" in versions:
    needs = next((n for n in metadata.requires("mlx-lm") or () if n.startswith("mlx>")), "")
try:
    import mlx.core
except Exception as failure:
    error = str(failure)
print(json.dumps({"system": platform.system(), "versions": versions, "needs": needs, "error": error}))
"""
_NUMBER = re.compile(r"\d+(?:\.\d+)*")


@dataclass(frozen=True, slots=True)
class Installation:
    """What an interpreter reports about its mlx-lm.

    `needs` is mlx-lm's requirement for MLX, and `error` the message of a failed `import mlx.core`.
    """

    python: str
    system: str
    versions: Mapping[str, str] = field(default_factory=dict)
    needs: str = ""
    error: str = ""


def find_python(wanted: str = "") -> str:
    """Return the interpreter with mlx-lm: the wanted one, this one, or that of mlx_lm.server on the path."""
    if wanted or importlib.util.find_spec("mlx_lm"):
        return wanted or sys.executable
    script = shutil.which("mlx_lm.server")
    if script is None:
        return ""
    with open(script, encoding="utf-8", errors="replace") as file:
        python = file.readline().removeprefix("#!").strip()
    return python if Path(python).is_file() else ""


def probe_installation(python: str) -> Installation | None:
    """Ask an interpreter about its mlx-lm; returns None if it has none or does not answer."""
    try:
        done = subprocess.run(
            [python, "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT,
        )
        facts = as_object(load_json(done.stdout))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    versions = {
        name: str(number) for name, number in as_object(facts.get("versions")).items()
    }
    if "mlx-lm" not in versions:
        return None
    system, needs, error = (str(facts.get(k)) for k in ("system", "needs", "error"))
    return Installation(python, system, versions, needs, error)


def judge_installation(found: Installation, served: str = "") -> Finding:
    """Judge whether the parts fit together, and name the commands that fix it.

    `served` is the version of the server that replied. Its faults were reported before.
    """
    name, versions = "installation", found.versions
    mlx_lm, mlx = versions["mlx-lm"], versions.get("mlx", "")
    metal = versions.get("mlx-metal", mlx)
    pip = f"{found.python} -m pip"
    facts: JsonObject = {"python": found.python, "versions": {**versions}}
    facts["error"] = found.error
    fault = mlx_lm_range(_version(mlx_lm)).fault
    if "libmlx" in found.error or metal != mlx:
        library = "libmlx.dylib" if found.system == "Darwin" else "libmlx.so"
        key = "install_library" if "libmlx" in found.error else "install_metal"
        finding = warning(name, key, library=library, mlx=mlx, metal=metal, pip=pip)
    elif found.error or not _is_new_enough(mlx, found.needs):
        reason = f"MLX {mlx}" if mlx and not found.error else found.error
        finding = warning(
            name, "install_misfit", version=mlx_lm, reason=reason, pip=pip
        )
    elif fault and mlx_lm != served:
        text = phrase(
            "install_fault",
            version=mlx_lm,
            fault=fault_text(fault),
            advised=ADVISED_MLX_LM,
            pip=pip,
        )
        finding = Finding(name, "warning", text)
    else:
        finding = ok(name, "install_ok", version=mlx_lm, mlx=mlx)
    return replace(finding, facts=facts)


def _is_new_enough(mlx: str, needs: str) -> bool:
    """Whether MLX is as new as mlx-lm requires; True if mlx-lm requires no version."""
    least = _NUMBER.search(needs.partition(">=")[2])
    return least is None or _version(mlx) >= _version(least[0])


def _version(text: str) -> tuple[int, int, int]:
    numbers = [int(part) for part in re.findall(r"\d+", text)[:3]]
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return major, minor, patch

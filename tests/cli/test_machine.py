"""What `doctor` says about the machine that it runs on. The tests give it the facts of other machines."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harmony_core.cli import machine
from harmony_core.cli.installation import (
    Installation,
    find_python,
    judge_installation,
    probe_installation,
)
from harmony_core.cli.machine import Memory, in_container, judge_memory, model_size
from tests.cli.conftest import Run
from tests.cli.servers import mlx_lm, play
from tests.server import ScriptedServer

FITS = Installation(
    "/venv/bin/python",
    "Darwin",
    {"mlx-lm": "0.32.2", "mlx": "0.32.4", "mlx-metal": "0.32.4"},
    'mlx>=0.32.2; platform_system == "Darwin"',
)
NO_LIBRARY = (
    "dlopen(/venv/lib/python3.12/site-packages/mlx/core.cpython-312-darwin.so, 0x0002): "
    "Library not loaded: @rpath/libmlx.dylib … (no such file)"
)
FIXES = (
    "`/venv/bin/python -m pip uninstall -y mlx mlx-metal`, "
    "then `/venv/bin/python -m pip install -U mlx mlx-lm`"
)


def with_versions(**versions: str) -> Installation:
    changed = {name.replace("_", "-"): number for name, number in versions.items()}
    return replace(FITS, versions={**FITS.versions, **changed})


def test_parts_that_fit_together_are_ok() -> None:
    finding = judge_installation(FITS)
    assert finding.mark == "ok"
    assert finding.facts["versions"] == FITS.versions


def test_a_missing_library_is_reported_with_the_commands_that_fix_it() -> None:
    finding = judge_installation(replace(FITS, error=NO_LIBRARY))
    assert finding.mark == "warning"
    assert "its library libmlx.dylib is missing" in finding.text
    assert finding.text.endswith(FIXES)


def test_mlx_and_mlx_metal_must_have_the_same_version() -> None:
    finding = judge_installation(with_versions(mlx_metal="0.29.1"))
    assert finding.text.startswith(
        "The versions of MLX 0.32.4 and mlx-metal 0.29.1 differ here."
    )
    assert finding.text.endswith(FIXES)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (with_versions(mlx="0.29.1", mlx_metal="0.29.1"), "(MLX 0.29.1)"),
        (replace(FITS, error="No module named 'mlx'"), "(No module named 'mlx')"),
    ],
)
def test_an_mlx_that_is_too_old_or_missing_is_reported(
    found: Installation, reason: str
) -> None:
    finding = judge_installation(found)
    assert finding.mark == "warning"
    assert reason in finding.text
    assert "`/venv/bin/python -m pip install -U mlx mlx-lm`" in finding.text


def test_a_faulty_version_is_reported_unless_the_server_runs_it() -> None:
    old = with_versions(mlx_lm="0.26.2")
    assert "Model type gpt_oss not supported" in judge_installation(old).text
    assert judge_installation(old, served="0.26.2").mark == "ok"


def test_an_interpreter_without_mlx_lm_gives_no_installation(tmp_path: Path) -> None:
    assert probe_installation(str(tmp_path / "none")) is None
    assert probe_installation(sys.executable) is None


def test_an_interpreter_with_mlx_lm_is_asked(tmp_path: Path) -> None:
    """The probe reads package metadata, so a folder of it stands in for mlx-lm; MLX is missing."""
    for name, extra in (("mlx_lm", "Requires-Dist: mlx>=0.32.2\n"), ("mlx", "")):
        folder = tmp_path / f"{name}-0.32.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.32.2\n{extra}"
        )
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nPYTHONPATH="{tmp_path}" exec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    found = probe_installation(str(python))
    assert found is not None
    assert found.versions == {"mlx-lm": "0.32.2", "mlx": "0.32.2"}
    assert found.needs == "mlx>=0.32.2"
    assert found.error == "No module named 'mlx'"


def test_the_interpreter_is_that_of_the_command_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_python() == ""
    script = tmp_path / "mlx_lm.server"
    script.write_text(f"#!{sys.executable}\n")
    script.chmod(0o755)
    assert find_python() == sys.executable
    script.write_text("#!/no/such/python\n")
    assert find_python() == ""
    assert find_python("wanted") == "wanted"


@pytest.mark.parametrize(
    ("memory", "mark", "words"),
    [
        (Memory(64 << 30, 0, 12 << 30), "ok", "of the 52 GB"),
        (Memory(16 << 30, 0, 12 << 30), "warning", "too much for this Mac's 17 GB"),
        (Memory(24 << 30, 0, 15 << 30), "warning", "iogpu.wired_limit_mb=18432"),
        (Memory(24 << 30, 18 << 30, 15 << 30), "ok", "of the 19 GB"),
    ],
)
def test_the_size_of_a_model_is_compared_with_the_memory_of_the_gpu(
    memory: Memory, mark: str, words: str
) -> None:
    finding = judge_memory(memory)
    assert finding.mark == mark
    assert words in finding.text


def test_the_size_of_a_model_is_that_of_its_newest_weights(tmp_path: Path) -> None:
    folder = tmp_path / "models--a--gpt-oss-20b" / "snapshots" / "1"
    folder.mkdir(parents=True)
    (folder / "model-1.safetensors").write_bytes(b"x" * 700)
    (folder / "config.json").write_bytes(b"{}")
    assert model_size("a/gpt-oss-20b", tmp_path) == 700
    assert model_size(str(folder), tmp_path) == 700
    assert model_size("a/another", tmp_path) == 0


def test_a_container_is_recognised_by_its_marks(tmp_path: Path) -> None:
    assert not in_container(tmp_path)
    (tmp_path / ".dockerenv").touch()
    assert in_container(tmp_path)


def test_a_refused_connection_in_a_container_is_explained(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "in_container", lambda: True)
    result = run("doctor", "--base-url", "http://127.0.0.1:1")
    assert (
        "! This runs in a container, where http://127.0.0.1:1 is the container itself: "
        "use http://host.docker.internal:1, and" in result.stdout
    )
    assert result.stdout.endswith(
        "was refused, perhaps because of this: the container.\n"
    )


def test_a_mac_says_whether_the_model_fits(
    run: Run, server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script stands in for `sysctl`, a folder for the model cache; only the system's name is patched."""
    weights = tmp_path / "models--a--gpt-oss-20b" / "snapshots" / "1"
    weights.mkdir(parents=True)
    (weights / "model.safetensors").write_bytes(b"x")
    (tmp_path / "sysctl").write_text(
        '#!/bin/sh\n[ "$2" = hw.memsize ] && echo 68719476736 || echo 0\n'
    )
    (tmp_path / "sysctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr(machine, "find_python", lambda wanted: wanted)
    result = run("doctor", "--base-url", play(server, mlx_lm()).base_url)
    assert (
        "✓ The model needs about 0 GB of the 52 GB that the GPU may use"
        in result.stdout
    )


def test_this_machine_is_not_inspected_for_a_remote_server(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "in_container", lambda: True)
    result = run("doctor", "--base-url", "http://no.such.host.invalid:1")
    assert "container" not in result.stdout

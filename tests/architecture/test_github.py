"""The workflows run what the Makefile has, on the Pythons that the project promises."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.architecture.test_release import PROJECT, ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def commands(path: Path) -> list[str]:
    jobs = load(path)["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_target_that_a_workflow_makes_exists(path: Path) -> None:
    made = [line.split()[1] for line in commands(path) if line.startswith("make ")]
    assert made
    dry = ["make", "--dry-run", *made]
    done = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_tests_run_on_every_python_that_the_project_names() -> None:
    matrix = load(GITHUB / "workflows" / "check.yml")["jobs"]["test"]["strategy"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert matrix["matrix"]["python"] == named
    assert matrix["matrix"]["os"] == ["ubuntu-latest", "macos-latest"]


def test_only_the_release_may_write_to_the_repository() -> None:
    for path in WORKFLOWS:
        workflow = load(path)
        assert workflow["permissions"] == {"contents": "read"}
        writers = [
            name for name, job in workflow["jobs"].items() if "permissions" in job
        ]
        assert writers == (["release"] if path.stem == "release" else [])


def test_the_issue_form_asks_for_the_report_of_doctor() -> None:
    form = load(GITHUB / "ISSUE_TEMPLATE" / "problem.yml")
    [doctor] = [field for field in form["body"] if field["id"] == "doctor"]
    assert "mlx-harmony doctor --json" in doctor["attributes"]["label"]
    assert doctor["validations"]["required"] is True


def test_every_pre_commit_hook_runs_a_program_of_the_repository() -> None:
    [local] = load(ROOT / ".pre-commit-config.yaml")["repos"]
    for hook in local["hooks"]:
        program, *rest = hook["entry"].split()
        assert (ROOT / program).exists()
        if rest[0] == "-m":
            assert (ROOT / rest[1].replace(".", "/")).with_suffix(".py").exists()

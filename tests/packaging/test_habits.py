"""CI and pre-commit call what a developer calls, and what they call exists."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_each_job_runs_make_targets_that_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    called = set()
    for file in WORKFLOWS:
        for job in yaml.safe_load(file.read_text())["jobs"].values():
            runs = [step["run"] for step in job["steps"] if "run" in step]
            assert runs
            assert all(run.startswith("make ") for run in runs)
            called |= {run.split()[1] for run in runs}
    assert {"lint", "test-unit", "test-broker", "test-spark"} <= called <= targets


def test_the_matrix_is_the_pythons_that_the_package_promises():
    job = yaml.safe_load(WORKFLOWS[0].read_text())["jobs"]["unit"]
    promised = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert job["strategy"]["matrix"]["python"] == promised


def test_programs_that_hooks_call_exist():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert len(hooks) >= 4
    for hook in hooks:
        program, *rest = hook["entry"].split()
        assert program.startswith(".venv/bin/")
        for word in rest:
            assert word.startswith("-") or "/" not in word or (ROOT / word).exists()

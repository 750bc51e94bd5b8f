"""CI and pre-commit call what a developer calls, and what they call exists."""

from __future__ import annotations

import re
import tomllib
import warnings
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
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
    assert {"lint", "test-unit", "test-broker", "test-spark", "coverage", "docs"} <= called <= targets


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


@pytest.mark.parametrize("category", [UserWarning, DeprecationWarning, RuntimeWarning, FutureWarning])
def test_a_warning_is_an_error(category):
    with pytest.raises(category, match="not to be overlooked"):
        warnings.warn("not to be overlooked", category, stacklevel=1)


def test_pytest_is_strict_and_each_exception_from_warnings_names_what_it_excepts():
    options = TOOLS["pytest"]["ini_options"]
    assert {"--strict-markers", "--strict-config"} <= set(options["addopts"].split())
    assert options["xfail_strict"] is True
    first, *exceptions = options["filterwarnings"]
    assert first == "error"
    for exception in exceptions:
        action, message, category, *module = exception.split(":")
        assert action in ("default", "ignore")
        assert category or message
        assert action == "default" or message or any(module), f"{exception}: name the message or the module"


def test_coverage_has_a_floor_that_its_run_keeps():
    assert TOOLS["coverage"]["report"]["fail_under"] >= 57
    assert set(TOOLS["coverage"]["run"]["source"]) == set(TOOLS["importlinter"]["root_packages"])
    recipe = (ROOT / "Makefile").read_text().split("\ncoverage:")[1].split("\n\n")[0]
    assert " --cov " in recipe
    assert "fail-under" not in recipe  # it would go before the floor in pyproject.toml

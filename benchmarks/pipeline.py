"""Claim: a pipeline of eight steps with nothing to do ends within 0.6 s; beside it, ``dvc repro`` of eight stages with nothing to do.

What is timed is the whole process on the wall, from its start: imports, keys of all steps (code, parameters, libraries, inputs), digests of all
outputs, and the rows in the database; ours and DVC in turn, so that other work on the machine meets both. The seconds of a core, which such work does
not lengthen as much, are in the notes. DVC is taken from DVC, or from the path; where it is absent the row has no reference.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from multitaskais.config import REGIONS
from multitaskais.simulate import SimulationSettings, simulate
from multitaskais.simulate.archive import write_parquet

from .harness import Result, figure, of_rates, require

GOAL_S = 0.6
ROUNDS, QUICK_ROUNDS = 7, 1
STEPS = 8
CONF = """
region = "brittany"
archive = ["archive"]
[train]
steps = 0
[calibrate]
detectors = ["drift", "speed"]
[evaluate]
per_kind = 1
[publish]
name = "small"
store = "models"
"""


def clocked(command: list[str], folder: Path) -> tuple[float, float, str]:
    """(seconds of a core, seconds on the wall, standard output) of a process and its children."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    require(done.returncode == 0, f"{command[:4]}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, took, done.stdout


def prepare_dvc(dvc: str, folder: Path, sources: Path) -> list[str]:
    """A chain of as many stages, each of which has copied the output of a step of ours; the command that has nothing to do."""
    folder.mkdir()
    clocked([dvc, "init", "--no-scm", "-q"], folder)
    stages, before = [], "archive"
    shutil.copytree(sources / "archive", folder / "archive")
    for number, output in enumerate(sorted((sources / "out" / "pipeline").glob("*/[!.]*[!.log]/"))[:STEPS]):
        shutil.copytree(output, folder / f"from{number}")
        stages.append(
            f"  s{number}:\n    cmd: cp -r from{number} o{number}\n    deps: [from{number}, {before}]\n    outs: [o{number}]\n"
        )
        before = f"o{number}"
    (folder / "dvc.yaml").write_text("stages:\n" + "".join(stages))
    clocked([dvc, "repro", "-q"], folder)
    return [dvc, "repro"]


def run(quick: bool = False) -> list[Result]:
    dvc = os.environ.get("DVC") or shutil.which("dvc")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = simulate(REGIONS["brittany"], SimulationSettings(vessels=50, abnormal=0), np.random.default_rng(3))
        (folder / "archive").mkdir()
        write_parquet(found.reports, folder / "archive" / "day.parquet")
        (folder / "conf.toml").write_text(CONF)
        ours = [sys.executable, "-m", "multitaskais", "pipeline", "run", "conf.toml", "--json"]
        clocked(ours, folder)
        theirs = prepare_dvc(dvc, folder / "dvc", folder) if dvc else None
        pairs, cores = [], []
        for _ in range(QUICK_ROUNDS if quick else ROUNDS):
            seconds, wall, out = clocked(ours, folder)
            states = [s["state"] for s in json.loads(out)["steps"]]
            require(states == ["skipped"] * STEPS, f"not all of {STEPS} steps were skipped: {states}")
            cores.append(seconds)
            if theirs is None:
                pairs.append((1 / wall, float("nan")))
                continue
            _, reference, out = clocked(theirs, folder / "dvc")
            require("Running stage" not in out, "DVC found something to do")
            pairs.append((1 / wall, 1 / reference))
    value = float(np.median([1 / mine for mine, _ in pairs]))
    notes = (
        f"{min(cores):.2f} to {max(cores):.2f} s of a core",
        "most of it is the start of Python and SQLAlchemy",
    )
    results = [
        figure(
            "pipeline/nothing_to_do", work=f"seconds on the wall of a pipeline of {STEPS} steps with nothing to do", unit="s",
            value=value, goal=None if quick else GOAL_S, notes=notes, figures={"seconds": value},
        )
    ]  # fmt: skip
    if theirs is not None:
        results.append(
            of_rates(
                "pipeline/dvc", pairs, work=f"pipelines of {STEPS} steps with nothing to do",
                reference=f"`dvc repro` of {STEPS} stages with the same outputs", unit="pipelines/s",
            )
        )  # fmt: skip
    return results

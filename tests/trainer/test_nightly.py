"""A week of nights: a model is trained each night on the newest day, and takes over when traffic has moved, not before."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import sqlalchemy as sa

from model_trainer.database import Database
from model_trainer.work import breaks_budget, verdict
from multitaskais.config import REGIONS
from multitaskais.model.objects import StoreSettings
from multitaskais.model.store import ModelStore
from multitaskais.simulate import SimulationSettings, simulate
from multitaskais.simulate.archive import write_parquet
from tests.support.s3proxy import ROOT

NIGHTS, SHIFT_AT, SHIFT_M = 7, 4, 3000.0  # the lanes move before the fourth day
START, DAY_S = 1_767_225_600.0, 86_400.0  # 2026-01-01
CONF = """
region = "brittany"
archive = ["{archive}/*.parquet"]
last_days = 1
[train]
steps = 0
[calibrate]
budget = 0.05
detectors = ["place", "cells", "speed"]
[evaluate]
per_kind = 2
[compare]
alerts = "{folder}/alerts.jsonl"
answers = "{folder}/answers.jsonl"
[publish]
name = "nightly"
when = "needed"
"""


def figures(flagged: float, auroc: float = 0.85, clean: int = 60, budget: float = 0.05) -> dict[str, float]:
    return {"auroc": auroc, "clean_flagged": flagged, "clean_tracks": clean, "budget": budget}


@pytest.mark.parametrize(
    ("latest", "new", "takes_over"),
    [
        (figures(0.05), figures(0.05), False),  # as before: nothing to do
        (figures(0.05), figures(0.0, auroc=0.95), False),  # better, and not needed
        (figures(0.10), figures(0.05), False),  # 6 of 60 where 3 were promised: chance
        (figures(0.20), figures(0.05), True),  # 12 of 60 are not
        (figures(0.20), figures(0.05, auroc=0.80), False),  # needed, and this one finds less
        (figures(0.20), figures(0.25), False),
        (None, figures(0.05), True),  # the first of its name
    ],
)
def test_when_needed_a_model_takes_over_where_the_latest_breaks_its_budget_and_it_is_better(latest, new, takes_over):
    conf = {"accept": {"auroc_min": 0.0, "clean_flagged_max": 1.0}, "publish": {"when": "needed"}}
    assert verdict(conf, new, latest)["better_than_latest"] is takes_over


@pytest.mark.parametrize("budget", [0.01, 0.05, 0.3])
def test_a_model_that_keeps_its_budget_breaks_it_by_chance_once_in_a_hundred_nights_at_most(budget):
    rng = np.random.default_rng(1)
    nights = rng.binomial(80, budget, 20_000) / 80
    told = np.unique(nights, return_inverse=True)
    broken = np.array([breaks_budget(figures(x, clean=80, budget=budget)) for x in told[0].tolist()])[told[1]]
    assert broken.mean() < 0.013


def days_of(n: int, first: int, lane_shift_m: float) -> list[np.ndarray]:
    """The reports of n days in a row, whose lanes lie where they lie."""
    start = START + first * DAY_S
    settings = SimulationSettings(start, n, vessels=150, abnormal=0, lane_shift_m=lane_shift_m)
    reports = simulate(REGIONS["brittany"], settings, np.random.default_rng(100 + first)).reports
    day = ((reports["t"] - start) // DAY_S).astype(int)
    return [reports[day == k] for k in range(n)]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_in_a_week_of_nights_with_a_shift_of_the_lanes_in_the_middle_a_model_takes_over_after_it_and_not_before(
    tmp_path,
):
    archive = tmp_path / "archive"
    archive.mkdir()
    (tmp_path / "conf.toml").write_text(CONF.format(archive=archive, folder=tmp_path))
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    env = {
        **os.environ,
        "DATABASE_URL": url,
        "STORE_URL": str(tmp_path / "store"),
        "STORE_CACHE": str(tmp_path / "cache"),
    }
    env |= {"WORK_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def trainer(*words: str) -> str:
        return run("model_trainer", *words)

    def run(*words: str) -> str:
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    alerts, answers = tmp_path / "alerts.jsonl", tmp_path / "answers.jsonl"
    alerts.touch()
    answers.touch()

    def officers_look(day: str) -> None:
        """Alerts of the latest version, on ships of which none is abnormal: each is answered so."""
        run("multitaskais", "detect", day, "--model", "store:nightly", "--out", str(tmp_path / "found"), "--json")
        told = (tmp_path / "found" / "alerts.jsonl").read_text()
        with alerts.open("a") as a, answers.open("a") as b:
            a.write(told)
            for line in told.splitlines():
                b.write(json.dumps({"alert_id": json.loads(line)["alert_id"], "answer": "normal_here"}) + "\n")

    store, database = ModelStore(StoreSettings(str(tmp_path / "store")), tmp_path / "cache"), Database(url)
    entries: list[int] = []
    agreed: list[float] = []  # of nights on which nothing changed
    days_of_week = [*days_of(SHIFT_AT - 1, 0, 0.0), *days_of(NIGHTS - SHIFT_AT + 1, SHIFT_AT - 1, SHIFT_M)]
    for night, day in enumerate(days_of_week, 1):
        write_parquet(day, archive / f"day{night}.parquet")
        if night == 1:
            trainer("submit", str(tmp_path / "conf.toml"), "--every", "24h")
        else:
            officers_look(str(archive / f"day{night}.parquet"))
            with database.transaction() as c:  # a day passes
                c.execute(sa.text("update schedule set next_at = next_at - 86400"))
        trainer("trainer", "--once")
        job = json.loads(trainer("jobs", "--json").splitlines()[0])
        assert job["state"] == "done", job["error"]
        entries.append(store.latest_number("nightly"))
        days = job["result"]["comparison"]
        print(night, entries[-1], job["result"]["figures"], job["result"]["figures_of_latest"], days, flush=True)
        if night == 1:
            continue
        assert 0 < days["agreement"] <= 1
        if entries[-1] > entries[-2]:
            assert days["normal_here_raised"] < days["normal_here_raised_by_latest"]
        else:
            agreed.append(days["agreement"])
    database.close()
    assert entries[: SHIFT_AT - 1] == [1] * (SHIFT_AT - 1)
    assert entries[-1] > 1
    assert min(agreed[: SHIFT_AT - 2]) > 0.8
    # Of the thirty clean tracks of one night a moved lane may flag too few to tell it from chance; two nights show it.
    assert entries[SHIFT_AT] > 1

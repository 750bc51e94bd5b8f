"""Claim: a job whose trainer is killed is taken over within a lease, a third of it and a second, and a job is queued within a millisecond; on SQLite, and on MariaDB and PostgreSQL where their servers are.

Trainers are processes of their own, killed by SIGKILL in the midst of a job while another one waits. Times are by the clock on the wall.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from model_trainer.database import Database
from model_trainer.jobs import Jobs
from tests.support import databases
from tests.support.s3proxy import ROOT

from .harness import Result, figure, require

LEASE_S = 3.0
GOAL_TAKEN_OVER_S = LEASE_S + LEASE_S / 3 + 1.0
GOAL_SUBMIT_MS = 1.0
KILLS, QUICK_KILLS = 10, 1
SUBMISSIONS, QUICK_SUBMISSIONS = 2000, 100
WITHIN_S = 120.0
TITLES = {"sqlite": "SQLite", "mariadb": "MariaDB", "postgresql": "PostgreSQL"}


def trainer(url: str, place: Path, owner: str) -> subprocess.Popen[bytes]:
    """A trainer that is ready to take jobs."""
    command = [sys.executable, "-m", "tests.support.job_worker", url, str(place / "store"), str(LEASE_S), owner, str(place / "ends")]  # fmt: skip
    with (place / "errors").open("ab") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def seen(jobs: Jobs, id: str, attempt: int) -> bool:
    """Whether that attempt at the job has begun, or will have within ``WITHIN_S``."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        job = jobs.get(id)
        if job is not None and job["attempt"] == attempt and job["state"] == "running":
            return True
        time.sleep(0.01)
    return False


def taken_over(jobs: Jobs, url: str, place: Path, number: int, pause_s: float) -> float:
    """Seconds from the kill of a trainer to the moment at which another has its job."""
    conf: dict[str, Any] = {"publish": {"name": "bench", "rollout": "latest"}, "seconds": 3600.0, "n": number}
    id, _ = jobs.submit("bench", conf)
    processes = [trainer(url, place, f"first{number}")]
    try:
        require(seen(jobs, id, 1), "the job has begun")
        processes.append(trainer(url, place, f"second{number}"))
        time.sleep(pause_s)
        processes[0].kill()
        began = time.monotonic()
        require(seen(jobs, id, 2), "the job was taken over")
        return time.monotonic() - began
    finally:
        jobs.cancel(id)
        for process in processes:
            with process:
                process.kill()


def submitted(jobs: Jobs, n: int) -> float:
    """Milliseconds of one submission."""
    began = time.monotonic()
    for k in range(n):
        jobs.submit("bench", {"publish": {"name": "bench"}, "n": -1 - k})
    return 1e3 * (time.monotonic() - began) / n


def of_database(kind: str, url: str, place: Path, quick: bool) -> list[Result]:
    jobs, rng = Jobs(Database(url), LEASE_S), random.Random(7)
    kills = QUICK_KILLS if quick else KILLS
    took = [taken_over(jobs, url, place, k, rng.uniform(0.0, LEASE_S)) for k in range(kills)]
    n = QUICK_SUBMISSIONS if quick else SUBMISSIONS
    each_ms = submitted(jobs, n)
    jobs.database.close()
    title = TITLES[kind]
    return [
        figure(
            f"jobs/taken over, {title}",
            work=f"the longest of {kills} take-overs of a job whose trainer was killed, {title}, a lease of {LEASE_S:g} s",
            unit="s",
            value=max(took),
            goal=GOAL_TAKEN_OVER_S,
            reference="the lease",
            notes=(f"median {statistics.median(took):.1f} s, shortest {min(took):.1f} s",),
        ),
        figure(
            f"jobs/submit, {title}",
            work=f"one of {n:,} submissions one after the other, {title}",
            unit="ms",
            value=each_ms,
            goal=GOAL_SUBMIT_MS if kind == "sqlite" else None,
            reference="the clock",
        ),
    ]


def run(quick: bool = False) -> list[Result]:
    results = []
    for kind in TITLES:
        if databases.missing(kind):
            continue
        with tempfile.TemporaryDirectory() as name, databases.running(kind, Path(name)) as url:
            results += of_database(kind, url, Path(name), quick)
    return results

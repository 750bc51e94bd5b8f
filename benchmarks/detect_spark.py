"""Claims: detection of built tracks in Spark costs little over the processes of one machine, and two cores do nearly twice what one does.

All sides judge the same tracks with the same model and write the same alerts; each is timed by the clock on the wall, in turns, Spark in a session
that has done it once. ``multitaskais detect --jobs 2`` is timed whole, with the start of its processes. Where the real day lies
beside the checkout its Gulf of Mexico is the traffic; seeded ships elsewhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from multitaskais.config import REGIONS
from multitaskais.model.samples import load_reports
from multitaskais.simulate.archive import write_parquet

from .harness import Result, of_rates, require
from .workload import shared_day, usual

GOAL_JOBS, GOAL_ONE = 0.6, 1.8
ROUNDS, QUICK_ROUNDS = 2, 1
LIMITS = {
    "detect_spark/jobs": "what Spark starts, shuffles and sorts once a job costs seconds whatever the archive's size; vessels with jumps and all ships together wait for one task each.",
    "detect_spark/one": "the task of vessels with jumps and that of all ships together are one each, and do not divide.",
}

_CHILD = """
import json, os, sys, time
from pyspark.sql import SparkSession
from multitaskais.config import REGIONS
from tracks_builder import detect, job

master, archive, region, folder = sys.argv[1:]
spark = SparkSession.builder.master(master).config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
spark = spark.config("spark.driver.memory", "1g").getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
tracks = f"{folder}/tracks"
if not os.path.isdir(tracks):
    job.run(spark, job.Job((archive,), REGIONS[region], tracks))
asked = detect.Detection(tracks, region, f"{folder}/{master}")
detect.run(spark, asked)
print("ready", flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    detect.run(spark, asked)
    print(time.perf_counter() - began, flush=True)
"""


class _Spark:
    """A session in a process of its own, which judges when it is asked to."""

    def __init__(self, master: str, archive: Path, region: str, folder: Path) -> None:
        self.out = folder / master
        command = [sys.executable, "-c", _CHILD, master, str(archive), region, str(folder)]
        env = {**os.environ, "PYSPARK_PYTHON": sys.executable}
        self._log = (folder / "log").open("w+")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=env
        )
        self._answer("ready")

    def seconds(self) -> float:
        """Of one whole job."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._answer(""))

    def _answer(self, wanted: str) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line or (wanted and line != wanted):
            self._log.seek(0)
            raise AssertionError(f"Spark ended: {self._log.read()[-3000:]}")
        return line

    def close(self) -> None:
        self._process.communicate()
        self._log.close()


def _jobs(tracks: Path, region: str, out: Path) -> float:
    command = [sys.executable, "-m", "multitaskais", "detect", str(tracks), "--model", region]
    began = time.perf_counter()
    subprocess.run([*command, "--out", str(out), "--jobs", "2", "--json"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def run(quick: bool = False) -> list[Result]:
    day = None if quick else shared_day()
    region = "brittany" if day is None else "gulf"
    reports = usual(60, 12.0, 60.0) if day is None else load_reports(day, REGIONS[region])[0]
    rows = len(reports)
    rounds = QUICK_ROUNDS if quick else ROUNDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = write_parquet(reports, folder / "day.parquet")
        del reports
        sides = [_Spark(master, archive, region, folder) for master in ("local[2]", "local[1]")]
        jobs: list[float] = []
        two: list[float] = []
        one: list[float] = []
        try:
            for _ in range(rounds):
                two.append(sides[0].seconds())
                jobs.append(_jobs(folder / "tracks", region, folder / "jobs"))
                one.append(sides[1].seconds())
            want = (folder / "jobs" / "alerts.jsonl").read_bytes()
            require(all((side.out / "alerts.jsonl").read_bytes() == want for side in sides), "alerts")
        finally:
            for side in sides:
                side.close()

    def rates(reference: list[float]) -> list[tuple[float, float]]:
        return [(rows / a, rows / b) for a, b in zip(two, reference, strict=True)]

    shared: dict[str, Any] = {
        "work": f"{rows:,} reports of built tracks, model {region}, Spark local[2]",
        "unit": "reports/s",
        "same": "every revision of every alert, byte for byte",
    }
    return [
        of_rates(
            "detect_spark/jobs",
            rates(jobs),
            reference="multitaskais detect --jobs 2",
            goal=None if quick else GOAL_JOBS,
            figures={"seconds_spark": two, "seconds_jobs": jobs},
            **shared,
        ),
        of_rates(
            "detect_spark/one",
            rates(one),
            reference="Spark local[1]",
            goal=None if quick else GOAL_ONE,
            figures={"seconds_two": two, "seconds_one": one},
            **shared,
        ),
    ]

"""Claim: archive -> Parquet tracks does not slow down with the size of the archive, nor does its memory grow with it; and an archive in
which one MMSI has a third of all lines ends.

    python -m benchmarks tracks_growth
    TRACKS_GROWTH_LINES=1000000,5000000,20000000 python -m benchmarks tracks_growth    # 20 million as well: 3 GB of input for a while

The job itself in ``local[2]`` with 1 GB for the JVM, which is what spark-submit gives when it is told nothing. One session does all; the rates are
medians of rounds over all archives. Memory is that of the first round, in which each archive is larger or harder than those before it: what
the Python workers keep from one is counted in the next, so growth would be overstated, never hidden.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .cdv_archive import Archive, write
from .harness import Result, figure, of_rates
from .tree_memory import Memory, PeakMemory

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SIZES, ROUNDS = (1_000_000, 5_000_000), 3  # lines
QUICK_SIZES, QUICK_ROUNDS = (20_000, 60_000), 1
SIZES_VARIABLE = "TRACKS_GROWTH_LINES"  # lines, with commas, ascending
VESSELS, MANY = 60, 3_000
QUICK_MANY = 150
SKEW = 1 / 3
JVM_MEMORY = "1g"
GOAL_RATE, GOAL_MEMORY = 0.8, 1.5
NOTHING = Memory()


@dataclass
class Case:
    """One archive and what was seen of it."""

    what: str
    archive: Archive
    rates: list[float] = field(default_factory=list)  # lines/s, of each round
    memory: Memory = NOTHING

    def note(self) -> str:
        jvm, python, worker = (f"{size / 1e6:,.0f} MB" for size in self.memory)
        rate = statistics.median(self.rates)
        return f"{self.what}: {rate:,.0f} lines/s; at most {jvm} JVM, {python} all Python workers, {worker} the largest"


def sizes_of(quick: bool) -> tuple[int, ...]:
    if quick:
        return QUICK_SIZES
    asked = os.environ.get(SIZES_VARIABLE)
    return tuple(sorted(int(n) for n in asked.split(","))) if asked else SIZES


def archives(folder: Path, quick: bool) -> list[Case]:
    """Even ones by size, then many vessels, then those in which one vessel has a third of the lines."""

    def case(name: str, what: str, lines: int, vessels: int = VESSELS, skew: float = 0.0) -> Case:
        archive = write(folder / name, lines=lines, vessels=vessels, skewed_share=skew)
        return Case(f"{archive.lines:,} lines of {what}", archive)

    sizes = sizes_of(quick)
    small, large, many = sizes[0], sizes[-1], QUICK_MANY if quick else MANY
    return [
        *(case(f"even-{n}", f"{VESSELS} vessels", n) for n in sizes),
        case("many", f"{many:,} vessels", small, many),
        case("skewed", f"{VESSELS} vessels, a third of one of them", small, skew=SKEW),
        *([] if quick else [case("skewed-large", f"{VESSELS} vessels, a third of one of them", large, skew=SKEW)]),
    ]


def build(spark: SparkSession, case: Case, output: Path) -> None:
    """Once more through the job. Raises AssertionError where a report is missing or one too many."""
    from multitaskais.config import REGIONS
    from tracks_builder import job

    summary = job.run(spark, job.Job((case.archive.glob,), REGIONS["brittany"], str(output)))
    lines, kept = case.archive.lines, case.archive.position_reports
    if (summary.lines_in, summary.kept) != (lines, kept):
        raise AssertionError(
            f"{case.what}: read {summary.lines_in}, kept {summary.kept}; written {lines}, of them reports {kept}"
        )
    case.rates.append(summary.lines_per_s)


def run(quick: bool = False) -> list[Result]:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark.sql import SparkSession

    folder = Path(tempfile.mkdtemp(prefix="tracks-growth-"))
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", JVM_MEMORY)
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    try:
        cases = archives(folder, quick)
        build(spark, cases[0], folder / "tracks")  # warms Spark up
        cases[0].rates.clear()
        for k in range(QUICK_ROUNDS if quick else ROUNDS):
            for case in cases:
                with PeakMemory() as peak:
                    build(spark, case, folder / "tracks")
                if not k:
                    case.memory = peak.most
    finally:
        spark.stop()
        shutil.rmtree(folder, ignore_errors=True)
    even = cases[: len(sizes_of(quick))]
    many, skewed, *skewed_large = cases[len(even) :]
    small, large = even[0], even[-1]

    def against(name: str, case: Case, first: Case, goal: float | None, notes: tuple[str, ...] = ()) -> Result:
        pairs = list(zip(case.rates, first.rates, strict=True))
        figures = {}
        if name == "size":
            figures = {
                "x": [c.archive.lines for c in even], "y": [statistics.median(c.rates) for c in even],
                "x_label": "lines of the archive", "y_label": "lines/s",
            }  # fmt: skip
        return of_rates(
            f"tracks_growth/{name}", pairs, work=case.what, reference=first.what, unit="lines/s", goal=goal,
            same="as many reports kept as the archive has, in each run", notes=notes, figures=figures,
        )  # fmt: skip

    return [
        against("size", large, small, None if quick else GOAL_RATE, tuple(c.note() for c in even)),
        against("vessels", many, small, None, (many.note(),)),
        against("skewed", skewed, small, None, (skewed.note(),)),
        *(against("skewed, large", case, large, None, (case.note(),)) for case in skewed_large),
        figure(
            "tracks_growth/memory",
            work=f"memory of the largest Python worker, {large.what} / {small.what}",
            unit="x",
            value=large.memory.worker / small.memory.worker,
            goal=None if quick else GOAL_MEMORY,
            notes=(f"the JVM may have {JVM_MEMORY} of heap and takes it before it collects: its figure says little",),
            figures={c.what: c.memory._asdict() for c in cases},
        ),
    ]

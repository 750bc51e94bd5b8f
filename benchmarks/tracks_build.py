"""Claim: archive -> Parquet tracks on two cores is at least 30 times as fast as an RDD with pyais and ``groupByKey``.

    python -m benchmarks.tracks_build [--quick]

Both sides run in the same Spark (``local[2]``), in turns; the reference on fewer lines of the same archive, as it is slow, and the ratio is of lines
a second. Before that both build the fewer lines and must write the same tracks.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .cdv_archive import Archive, write

FULL_LINES, FULL_REFERENCE_LINES, FULL_ROUNDS = 5_000_000, 200_000, 3
QUICK_LINES, QUICK_REFERENCE_LINES, QUICK_ROUNDS = 400_000, 20_000, 1
GOAL = 30.0
KEYS = ("track_id", "mmsi", "t", "lat", "lon")


def rows_of(folder: Path) -> list[tuple]:
    """What both sides must agree on."""
    import pyarrow.dataset as ds

    table = ds.dataset(str(folder), partitioning="hive").to_table(columns=list(KEYS))
    return sorted(zip(*(table[c].to_pylist() for c in KEYS), strict=True))


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def run(quick: bool = False) -> dict[str, Any]:
    """Median, least and greatest ratio over the rounds, and the lines a second of both sides."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark.sql import SparkSession

    from multitaskais.config import REGIONS
    from tracks_builder import job

    from .reference import rdd_tracks

    lines, few, rounds = (
        (QUICK_LINES, QUICK_REFERENCE_LINES, QUICK_ROUNDS) if quick else (FULL_LINES, FULL_REFERENCE_LINES, FULL_ROUNDS)
    )
    region = REGIONS["brittany"]
    box = (region.lat_min, region.lat_max, region.lon_min, region.lon_max)
    folder = Path(tempfile.mkdtemp(prefix="tracks-build-"))
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", "2g")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    try:
        large = write(folder / "large", lines=lines)
        small = write(folder / "small", lines=few, vessels=20)

        def ours(archive: Archive) -> None:
            job.run(spark, job.Job((archive.glob,), region, str(folder / "ours")))

        def reference() -> None:
            rdd_tracks.run(spark, small.glob, box, str(folder / "reference"))

        ours(small)  # also warms both sides up
        reference()
        if rows_of(folder / "ours") != rows_of(folder / "reference"):
            raise AssertionError("the two sides do not give the same tracks")
        rates: list[tuple[float, float]] = []
        for _ in range(rounds):
            rates.append((large.lines / seconds(lambda: ours(large)), small.lines / seconds(reference)))
    finally:
        spark.stop()
        shutil.rmtree(folder, ignore_errors=True)
    ratios = [ours_rate / reference_rate for ours_rate, reference_rate in rates]
    return {
        "name": "tracks_build",
        "claim": f"archive to Parquet tracks, {large.lines:,} lines, local[2]",
        "reference": f"RDD groupByKey with pyais, {small.lines:,} lines",
        "unit": "lines/s",
        "ours": statistics.median(r[0] for r in rates),
        "theirs": statistics.median(r[1] for r in rates),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "goal": GOAL,
        "rounds": rounds,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracks_build", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few lines, one round")
    print(json.dumps(run(parser.parse_args().quick), indent=2))

"""Read, run, write, say what happened: archives of AIS -> Parquet tracks.

    read -> decode -> deal out and sort by vessel -> label tracks -> Parquet by year -> _summary.json, _rejects.jsonl

Running it again replaces the years that it writes and touches no other; the output folder itself is never removed.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from multitaskais.config import Region, TrackRules
from multitaskais.errors import ConfigError
from multitaskais.stamps import day

from . import read, transform
from .decode import Screening
from .files import require_writable, write_text
from .spark_errors import telling
from .tally import ByTask, Tallies, Tally, numbered, total

DEFAULT_OUTPUT = "/tmp/trajectories"
DAY_S = 86_400.0
# Splits of the input are made of these two alone, not of the number of cores: so laptop and cluster read the same blocks.
SPLIT_BYTES = 32 * 1024 * 1024
SPLITS = {"spark.sql.files.maxPartitionBytes": str(SPLIT_BYTES), "spark.sql.files.minPartitionNum": "8"}
# Set where the user did not (spark-submit --conf): see docs/tracks.md.
DEFAULTS = {
    **SPLITS,
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
    "spark.sql.execution.arrow.maxBytesPerBatch": "16m",
    # A file for each year that a task meets, open at once: the rows need no second sort, and keep the order of the first.
    "spark.sql.maxConcurrentOutputFileWriters": "64",
    "spark.sql.parquet.compression.codec": "zstd",
}
BYTES_PER_PARTITION = 64 * 1024 * 1024  # of input, for each task of the second half
PARTITIONS = (1, 4096)


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked for. ``year``: write that year alone (one day beyond it is read on both sides)."""

    globs: tuple[str, ...]
    region: Region
    output: str = DEFAULT_OUTPUT
    archive_format: str | None = None
    year: int | None = None
    partitions: int | None = None
    rules: TrackRules = field(default_factory=TrackRules)
    columns: dict[str, str] = field(default_factory=dict)  # of tables: our field -> its column

    def __post_init__(self) -> None:
        if not self.globs:
            raise ConfigError("no input: give at least one file, folder or pattern before the profile")
        if self.partitions is not None and self.partitions < 1:
            raise ConfigError(f"--partitions {self.partitions}: it must be at least 1")
        if self.year is not None and not 1990 <= self.year < 2100:
            raise ConfigError(f"--year {self.year}: it must lie between 1990 and 2099")

    @property
    def period(self) -> tuple[float, float]:
        """Unix s [from, to) of the reports that are looked at."""
        if self.year is None:
            return (-math.inf, math.inf)
        start, end = (datetime(y, 1, 1, tzinfo=UTC).timestamp() for y in (self.year, self.year + 1))
        return (start - DAY_S, end + DAY_S)

    @property
    def suffix(self) -> str:
        return "" if self.year is None else f"-{self.year}"


@dataclass(frozen=True, slots=True)
class Summary:
    """``lines_in = kept + sum(rejected)``: each line or row gave a report of a track, or has one reason why not."""

    globs: tuple[str, ...]
    profile: str
    output: str
    year: int | None
    lines_in: int
    kept: int
    rejected: dict[str, int]
    tracks: int
    by_year: dict[str, dict[str, int]]  # of the tracks' starts: kept, tracks
    seconds: float
    cores: int
    lines_per_s: float
    stamps: tuple[str, ...] = ()  # what is said of them, a line each
    first: str | None = None  # UTC of the first and the last stamp; None without any
    last: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "last": self.last,
            "in": self.lines_in,
            "kept": self.kept,
            "rejected": self.rejected,
            "tracks": self.tracks,
            "by_year": self.by_year,
            "seconds": round(self.seconds, 3),
            "cores": self.cores,
            "lines_per_s": round(self.lines_per_s, 1),
            "profile": self.profile,
            "year": self.year,
            "stamps": list(self.stamps),
            "inputs": list(self.globs),
            "output": self.output,
        }

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Summary:
        """The inverse of ``as_dict``."""
        return cls(
            globs=tuple(d["inputs"]),
            lines_in=d["in"],
            stamps=tuple(d.get("stamps", ())),
            first=d.get("first"),
            last=d.get("last"),
            **{f: d[f] for f in ("kept", "rejected", "tracks", "by_year", "seconds", "cores", "lines_per_s")},
            **{f: d[f] for f in ("profile", "year", "output")},
        )

    def __str__(self) -> str:
        rows = [("lines in", self.lines_in), ("reports kept", self.kept), ("rejected", sum(self.rejected.values()))]
        rows += [(f"  {reason}", n) for reason, n in self.rejected.items()]
        rows += [("tracks", self.tracks)]
        if len(self.by_year) > 1:
            rows += [(f"  that begin in {year}", n["tracks"]) for year, n in self.by_year.items()]
        text = "\n".join([*(f"{name:24} {n:>14,}" for name, n in rows), *self.stamps])
        return (
            f"{text}\n{'seconds':24} {self.seconds:>14.1f}\n{'cores':24} {self.cores:>14}\n"
            f"{'lines a second':24} {self.lines_per_s:>14,.0f}\ntracks are in {self.output}"
        )


@telling()
def run(spark: SparkSession, job: Job, clock: Callable[[], float] = time.perf_counter) -> Summary:
    """The whole job. Raises InputError for input that matches nothing or cannot be read, and for output that cannot be written."""
    began = clock()
    set_defaults(spark)
    tallies = spark.sparkContext.accumulator({}, ByTask())
    tracks = plan(spark, job, tallies.add)
    require_writable(spark, job.output)
    write(tracks, job.output)
    tally = total(tallies.value)
    seconds = clock() - began
    summary = summarise(job, tally, seconds, spark.sparkContext.defaultParallelism)
    write_text(spark, f"{job.output}/_summary{job.suffix}.json", json.dumps(summary.as_dict(), indent=2) + "\n")
    rejects = (dict(zip(("file", "line", "reason", "text"), r, strict=True)) for r in numbered(tally))
    write_text(spark, f"{job.output}/_rejects{job.suffix}.jsonl", "".join(json.dumps(r) + "\n" for r in rejects))
    return summary


def set_defaults(spark: SparkSession) -> None:
    """Settings of Spark that the jobs of this package want, where the user has not said otherwise."""
    for name, value in DEFAULTS.items():
        if not spark.sparkContext.getConf().contains(name):
            spark.conf.set(name, value)


def plan(spark: SparkSession, job: Job, report: Callable[[Tallies], None]) -> DataFrame:
    """The tracks as a DataFrame; nothing has run yet."""
    # The whole world has no border: the box of the global profile would leave the date line out.
    region = None if job.region.name == "global" else job.region
    screening = Screening(region, job.rules, job.period)
    rows, size = read.decoded(spark, list(job.globs), job.archive_format, screening, report, job.columns)
    partitions = job.partitions or _partitions(spark, size)
    if job.year is not None and (before := read.tracks_of_year(spark, job.output, job.year - 1)) is not None:
        rows = rows.unionAll(transform.written_to(before))
    return transform.label(transform.by_vessel(rows, partitions), job.rules, job.year, report)


def write(tracks: DataFrame, output: str) -> None:
    """Parquet by year. Only the years that are among the tracks are replaced."""
    frame = tracks.write.mode("overwrite").option("partitionOverwriteMode", "dynamic")
    frame.partitionBy("year").parquet(output)


def summarise(job: Job, tally: Tally, seconds: float, cores: int) -> Summary:
    """What the tasks counted as the job's summary. ``seconds``: wall clock."""
    kept, tracks = tally.of("kept"), tally.of("tracks")
    lines = tally.of("lines").get("in", 0)
    return Summary(
        globs=job.globs,
        profile=job.region.name,
        output=job.output,
        year=job.year,
        lines_in=lines,
        kept=sum(kept.values()),
        rejected=tally.of("rejected"),
        tracks=sum(tracks.values()),
        by_year={year: {"kept": kept[year], "tracks": tracks.get(year, 0)} for year in sorted(kept)},
        seconds=seconds,
        cores=cores,
        lines_per_s=lines / seconds if seconds > 0 else 0.0,
        stamps=tuple(tally.stamps.told()),
        first=day(tally.stamps.first) if tally.stamps.reports else None,
        last=day(tally.stamps.last) if tally.stamps.reports else None,
    )


def _partitions(spark: SparkSession, size: int) -> int:
    """By the size of the input, and never fewer than the cores."""
    needed = math.ceil(size / BYTES_PER_PARTITION)
    low, high = PARTITIONS
    cores: int = spark.sparkContext.defaultParallelism
    return min(high, max(low, needed, cores))

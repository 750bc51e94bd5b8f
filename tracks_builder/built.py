"""Built tracks as the input of the jobs that go on from them: their reports, by vessel and time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from multitaskais.ais.tables.columns import to_reports
from multitaskais.errors import ConfigError, InputError
from multitaskais.records import REPORT_DTYPE, Counts
from multitaskais.types import Reports

from .spark_errors import telling

# Those that the core's reader of tables takes of tracks; ``mmsi`` and ``t`` first, and then what puts equal times of a vessel into one
# order on every node.
REPORT_COLUMNS = tuple(name for name in REPORT_DTYPE.names or () if name not in ("second", "station"))
VESSEL_ORDER = REPORT_COLUMNS
ROWS_PER_TASK = 4_000_000  # reports of the vessels of one task


@telling()
def tracks_of(spark: SparkSession, folder: str) -> DataFrame:
    """Reports of built tracks. Raises ``InputError`` where there are none."""
    try:
        tracks = spark.read.parquet(folder)
    except AnalysisException as e:
        raise InputError(f"{folder}: no built tracks ({e.getCondition()}); give the --output of main.py") from None
    if missing := sorted({*REPORT_COLUMNS, "track_id"} - set(tracks.columns)):
        raise InputError(f"{folder}: no column {missing[0]!r}; give the folder of tracks that main.py has written")
    return tracks.select(*REPORT_COLUMNS)


def period_of(reports: DataFrame) -> tuple[float, float]:
    """Unix s of the first and the last report; infinite where there is none."""
    row = reports.agg(F.min("t").alias("first"), F.max("t").alias("last")).collect()[0]
    return (math.inf, -math.inf) if row["first"] is None else (float(row["first"]), float(row["last"]))


def reports_of(batches: Iterator[pa.RecordBatch], counts: Counts) -> Iterator[Reports]:
    """``REPORT_DTYPE`` of each batch, by the reader of tables that all commands have; ``counts`` of all rows."""
    for rows in batches:
        reports, of = to_reports({name: rows.column(name) for name in REPORT_COLUMNS}, "tracks")
        counts.add(of)
        yield reports


def require_apart(folder: str, output: str) -> None:
    """Raises ``ConfigError`` where the output would lie among the tracks, which then could not be read any more."""
    if f"{output}/".startswith(f"{folder.rstrip('/')}/"):
        raise ConfigError(f"--output {output}: it lies in the folder of the tracks; give another")


def tasks_for(spark: SparkSession, reports: DataFrame) -> int:
    """How many tasks share the vessels out: one a core at least, and none with much more than ``ROWS_PER_TASK``."""
    cores: int = spark.sparkContext.defaultParallelism
    rows: int = reports.count()
    return max(cores, -(-rows // ROWS_PER_TASK))

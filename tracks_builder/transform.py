"""DataFrames in, DataFrames out: lines -> rows -> sorted rows -> tracks. Nothing is read, written or counted here.

    lines (value, file, start) --decode--> STREAM_SCHEMA --by_vessel--> the same, sorted --label--> TRACKS_SCHEMA

Python sees whole Arrow batches, never a row. One shuffle: rows are dealt out by vessel and sorted by Spark, which spills to disk;
so no vessel is ever held in memory, also when one MMSI has a third of all lines.
"""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from multitaskais.ais.tables.layout import Layout
from multitaskais.config import TrackRules

from .decode import Screening, line_task
from .label import label_task
from .schemas import KEY_MMSI_SHIFT, STREAM_ORDER, STREAM_SCHEMA, TRACKS_SCHEMA, WRITTEN_TO
from .tables import Unit, csv_task, parquet_task, unit_task
from .tally import Tallies

Report = Callable[[Tallies], None]


def decode_lines(lines: DataFrame, line_format: str | None, screening: Screening, report: Report) -> DataFrame:
    """Sentences; ``line_format`` None: each line shows its own."""
    return lines.mapInArrow(line_task(line_format, screening, report), STREAM_SCHEMA)


def decode_csv(lines: DataFrame, layout: Layout, header: bytes, screening: Screening, report: Report) -> DataFrame:
    """Lines of CSV files with one header."""
    return lines.mapInArrow(csv_task(layout, header, screening, report), STREAM_SCHEMA)


def decode_table(table: DataFrame, layout: Layout, screening: Screening, report: Report) -> DataFrame:
    """Columns of a decoded archive."""
    chosen = table.select(*(F.col(f"`{column}`") for column in dict.fromkeys(layout.fields.values())))
    return chosen.mapInArrow(parquet_task(layout, screening, report), STREAM_SCHEMA)


def decode_units(
    spark: SparkSession,
    units: list[Unit],
    archive_format: str | None,
    columns: dict[str, str],
    screening: Screening,
    report: Report,
) -> DataFrame:
    """Files in containers and tables, each by the core's own reader."""
    tasks = spark.range(0, len(units), 1, len(units))
    return tasks.mapInArrow(unit_task(units, archive_format, columns, screening, report), STREAM_SCHEMA)


def written_to(tracks: DataFrame) -> DataFrame:
    """Rows that tell how far the tracks of the year before reach: a track that began then goes on into this year, and the
    24 h cuts of a vessel that never pauses hang on where its last track began."""
    last = tracks.groupBy("mmsi").agg(F.max("t").alias("t"))
    made = {
        "key": F.shiftleft("mmsi", KEY_MMSI_SHIFT),
        "t": F.col("t"),
        "what": F.lit(WRITTEN_TO),
        "ship_type": F.lit(-1),
    }
    return last.select(*(made.get(c.name, F.lit(None)).cast(c.dataType).alias(c.name) for c in STREAM_SCHEMA))


def by_vessel(rows: DataFrame, partitions: int) -> DataFrame:
    """All rows of a vessel in one partition: what it said of itself, then its reports hour by hour."""
    return rows.repartition(partitions, F.shiftright("key", KEY_MMSI_SHIFT)).sortWithinPartitions(*STREAM_ORDER)


def label(rows: DataFrame, rules: TrackRules, year: int | None, report: Report) -> DataFrame:
    """Tracks of sorted rows; with ``year`` those that begin in it."""
    return rows.mapInArrow(label_task(rules, year, report), TRACKS_SCHEMA)

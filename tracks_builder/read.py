"""Paths of any file system that Spark knows -> the DataFrame of decoded rows, whatever stands in the files.

Files are told apart by the ending of their names (``.parquet``, ``.zip``, all else is text, also gzip), text by its first lines.
"""

from __future__ import annotations

from collections import defaultdict
from functools import reduce
from pathlib import PurePosixPath

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from multitaskais.ais.archives import FORMATS, recognise
from multitaskais.ais.framing import LINE_FORMATS
from multitaskais.ais.tables import TABLE_FORMATS, columns_of, format_of
from multitaskais.errors import FormatError, InputError

from . import local, transform
from .decode import Screening
from .schemas import TRACKS_SCHEMA
from .transform import Report

HEAD_LINES = 50  # looked at to tell sentences from a table


def decoded(
    spark: SparkSession, globs: list[str], archive_format: str | None, screening: Screening, report: Report
) -> tuple[DataFrame, int]:
    """Rows of ``STREAM_SCHEMA`` of all files that match, and the bytes of these files.

    Raises InputError for a path or pattern that matches nothing, FormatError for an unknown format or a table without the
    columns of a report.
    """
    if archive_format is not None and archive_format not in FORMATS:
        raise FormatError(f"unknown format {archive_format!r}: give one of {', '.join(FORMATS)}")
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for path in globs:
        groups[_kind(path)].append(path)
    parts = []
    for kind, paths in groups.items():
        try:
            first = _first_file(spark, paths)
            if kind == "text":  # a folder, or a pattern that says nothing: its first file tells
                kind = _kind(first)
            parts.append(_read(spark, kind, paths, first, archive_format, screening, report))
        except AnalysisException as e:
            if e.getCondition() == "PATH_NOT_FOUND":
                path = (e.getMessageParameters() or {}).get("path", ", ".join(paths))
                raise InputError(f"{path}: no such file, and as a pattern it matches nothing") from None
            raise InputError(f"{', '.join(paths[:3])}: {str(e).splitlines()[0]}") from None
    return reduce(DataFrame.unionAll, (frame for frame, _ in parts)), sum(n for _, n in parts)


def tracks_of_year(spark: SparkSession, output: str, year: int) -> DataFrame | None:
    """What an earlier run wrote; None where there is nothing."""
    try:
        return spark.read.schema(TRACKS_SCHEMA).parquet(f"{output.rstrip('/')}/year={year}")
    except AnalysisException as e:
        if e.getCondition() == "PATH_NOT_FOUND":
            return None
        raise


def _sized(frame: DataFrame) -> tuple[DataFrame, int]:
    """With the size of the files behind a DataFrame, as Spark's planner knows it; no file is opened."""
    leaves = frame._jdf.queryExecution().optimizedPlan().collectLeaves()
    return frame, sum(int(leaves.apply(i).stats().sizeInBytes()) for i in range(leaves.size()))


def _kind(path: str) -> str:
    suffix = PurePosixPath(path).suffix.lower()
    return {".parquet": "parquet", ".zip": "zip"}.get(suffix, "text")


def _first_file(spark: SparkSession, paths: list[str]) -> str:
    files = spark.read.format("binaryFile").option("recursiveFileLookup", True).load(paths)
    row = files.filter("length > 0").select("path").limit(1).first()
    if row is None:
        raise InputError(f"{', '.join(paths[:3])}: no file with anything in it")
    return row["path"]


def _read(
    spark: SparkSession,
    kind: str,
    paths: list[str],
    first: str,
    archive_format: str | None,
    screening: Screening,
    report: Report,
) -> tuple[DataFrame, int]:
    if kind == "zip":
        files = spark.read.format("binaryFile").option("recursiveFileLookup", True).load(paths)
        return _sized(transform.decode_packed(files, archive_format, screening, report))
    if kind == "parquet":
        table = spark.read.option("recursiveFileLookup", True).parquet(*paths)
        found = format_of(table.columns)
        if found is None or (archive_format is not None and archive_format not in TABLE_FORMATS):
            raise FormatError(
                f"{first}: a Parquet file without mmsi, time, lat and lon columns, or not a {archive_format}"
            )
        return _sized(
            transform.decode_table(table, columns_of(table.columns), archive_format or found, screening, report)
        )
    head = [bytes(row[0]) for row in _lines(spark, [first]).select("value").limit(HEAD_LINES).collect()]
    text_format = archive_format or recognise(b"\n".join(head) + b"\n")
    lines = _lines(spark, paths)
    if text_format in LINE_FORMATS:
        # Unless it was asked for, each line may show its time in its own way.
        if local.readable(files := lines.inputFiles()):
            tasks = local.pieces(spark, files)
            size = sum(piece.end - piece.start for task in tasks for piece in task)
            return local.decode(spark, tasks, archive_format, screening, report), size
        return _sized(transform.decode_lines(lines, archive_format, screening, report))
    header = head[0] if head else b""
    if not {"mmsi", "t", "lat", "lon"} <= columns_of(header.decode("utf-8", "replace").split(",")).keys():
        raise FormatError(f"{first}: line 1 has no columns for mmsi, time, lat and lon; it is no {text_format} table")
    return _sized(transform.decode_csv(lines, text_format, header, screening, report))


def _lines(spark: SparkSession, paths: list[str]) -> DataFrame:
    """Lines as bytes, with the file and the block of it (start in bytes) that they come from."""
    text = spark.read.option("recursiveFileLookup", True).text(paths)
    return text.select(
        F.col("value").cast("binary").alias("value"),
        F.col("_metadata.file_path").alias("file"),
        F.col("_metadata.file_block_start").alias("start"),
    )

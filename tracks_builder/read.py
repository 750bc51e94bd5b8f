"""Paths of any file system that Spark knows -> the DataFrame of decoded rows, whatever stands in the files.

Files of this machine (and what is mounted on it) are listed and recognised by the core, as in every other command, and Spark is told
which they are: sentences are read in pieces, what is packed or a table a file at a time. Of other file systems Spark lists them: there they
are told apart by the ending of their names (``.parquet``, all else is text, also gzip), text by its first lines.
"""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from functools import reduce
from pathlib import Path, PurePosixPath

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from multitaskais.ais.archives import FORMATS, is_parquet, is_plain_lines, list_files
from multitaskais.ais.containers import readable
from multitaskais.ais.framing import LINE_FORMATS
from multitaskais.ais.tables.layout import TABLE_FORMATS, layout_of, parquet_layout
from multitaskais.errors import FormatError, InputError

from . import local, transform
from .decode import Screening
from .schemas import TRACKS_SCHEMA
from .tables import units_of
from .tally import plain_path
from .transform import Report

HEAD_LINES = 50  # looked at to tell sentences from a table
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def decoded(
    spark: SparkSession,
    globs: list[str],
    archive_format: str | None,
    screening: Screening,
    report: Report,
    columns: dict[str, str] | None = None,
) -> tuple[DataFrame, int]:
    """Rows of ``STREAM_SCHEMA`` of all files that match, and the bytes of these files.

    Raises InputError for a path or pattern that matches nothing, FormatError for an unknown format or a table without the
    columns of a report.
    """
    if archive_format is not None and archive_format not in FORMATS:
        raise FormatError(f"unknown format {archive_format!r}: give one of {', '.join(FORMATS)}")
    columns = columns or {}
    here = [plain_path(g) if g.startswith("file:") else g for g in globs if not _is_remote(g)]
    parts = _of_this_machine(spark, here, archive_format, columns, screening, report) if here else []
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for path in globs:
        if _is_remote(path):
            groups[_kind(path)].append(path)
    for kind, paths in groups.items():
        try:
            first = _first_file(spark, paths)
            if kind == "text":  # a folder, or a pattern that says nothing: its first file decides
                kind = _kind(first)
            parts.append(_read(spark, kind, paths, first, archive_format, columns, screening, report))
        except AnalysisException as e:
            if e.getCondition() == "PATH_NOT_FOUND":
                path = (e.getMessageParameters() or {}).get("path", ", ".join(paths))
                raise InputError(f"{path}: no such file, and as a pattern it matches nothing") from None
            raise InputError(f"{', '.join(paths[:3])}: {str(e).splitlines()[0]}") from None
    return reduce(DataFrame.unionAll, (frame for frame, _ in parts)), sum(n for _, n in parts)


def _is_remote(path: str) -> bool:
    return bool(_SCHEME.match(path)) and not path.startswith("file:")


def _of_this_machine(
    spark: SparkSession,
    paths: list[str],
    archive_format: str | None,
    columns: dict[str, str],
    screening: Screening,
    report: Report,
) -> list[tuple[DataFrame, int]]:
    """Listed and recognised as in every other command; what is passed over is told."""
    files = list_files(paths)
    if told := files.told():
        print(told, file=sys.stderr)
    plain: list[str] = []
    others: list[str] = []
    size = os.path.getsize
    for path in (os.path.abspath(p) for p in files.paths):
        with readable(path):
            if size(path):
                (plain if is_plain_lines(path, archive_format, columns) else others).append(path)
    if not plain and not others:
        raise InputError(f"{', '.join(paths[:3])}: no file with anything in it")
    out = []
    if plain:
        tasks = local.pieces(spark, [Path(p).as_uri() for p in plain])
        # Unless a format was asked for, each line may show its time in its own way.
        frame = local.decode(spark, tasks, archive_format, screening, report)
        out.append((frame, sum(map(size, plain))))
    if others:
        units = [unit for p in others for unit in units_of(p, is_parquet(p))]
        frame = transform.decode_units(spark, units, archive_format, columns, screening, report)
        out.append((frame, sum(map(size, others))))
    return out


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
    return {".parquet": "parquet", ".zip": "packed", ".zst": "packed", ".lz4": "packed", ".xz": "packed"}.get(
        suffix, "text"
    )


def _first_file(spark: SparkSession, paths: list[str]) -> str:
    files = spark.read.format("binaryFile").option("recursiveFileLookup", True).load(paths)
    row = files.filter("length > 0").select("path").limit(1).first()
    if row is None:
        raise InputError(f"{', '.join(paths[:3])}: no file with anything in it")
    path: str = row["path"]
    return path


def _read(
    spark: SparkSession,
    kind: str,
    paths: list[str],
    first: str,
    archive_format: str | None,
    columns: dict[str, str],
    screening: Screening,
    report: Report,
) -> tuple[DataFrame, int]:
    if kind == "packed":
        raise InputError(f"{first}: such files are read from mounted folders alone; unpack it, or pack it with gzip")
    if kind == "parquet":
        table = spark.read.option("recursiveFileLookup", True).parquet(*paths)
        if archive_format is not None and archive_format not in TABLE_FORMATS:
            raise FormatError(f"{first}: a Parquet file is a table and no {archive_format}; leave --format out")
        layout = parquet_layout(first, table.columns, archive_format, columns)
        return _sized(transform.decode_table(table, layout, screening, report))
    head = [bytes(row[0]) for row in _lines(spark, [first]).select("value").limit(HEAD_LINES).collect()]
    lines = _lines(spark, paths)
    text = b"\n".join(head) + b"\n"
    layout_found = None if archive_format in LINE_FORMATS else layout_of(text, first, archive_format, columns)
    if layout_found is None:
        return _sized(transform.decode_lines(lines, archive_format, screening, report))
    return _sized(transform.decode_csv(lines, layout_found, head[layout_found.lines_before - 1], screening, report))


def _lines(spark: SparkSession, paths: list[str]) -> DataFrame:
    """Lines as bytes, with the file and the block of it (start in bytes) that they come from."""
    text = spark.read.option("recursiveFileLookup", True).text(paths)
    return text.select(
        F.col("value").cast("binary").alias("value"),
        F.col("_metadata.file_path").alias("file"),
        F.col("_metadata.file_block_start").alias("start"),
    )

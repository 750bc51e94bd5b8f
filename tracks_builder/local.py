"""Archives of lines on a mounted file system: each task reads its own blocks of the files, and no line passes through Java.

Blocks are those that Spark's own reader would make (``FilePartition``), and so are their lines: a line belongs to the block in which
the byte before its first one lies.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from multitaskais.ais.archives import BYTES_PER_LINE, CHUNK_LINES
from multitaskais.ais.decoder import LINE_MAX
from multitaskais.errors import InputError

from .decode import LineTask, Screening, task_number
from .schemas import STREAM_SCHEMA
from .tally import Tallies, plain_path

CODECS = {
    ".gz",
    ".bz2",
    ".deflate",
    ".snappy",
    ".lz4",
    ".zst",
    ".zstd",
    ".lzo",
    ".xz",
}  # Hadoop unpacks these, or refuses them
CHUNK_BYTES = CHUNK_LINES * BYTES_PER_LINE


class Piece(NamedTuple):
    """A block of a file: bytes [start, end)."""

    uri: str
    start: int
    end: int


def readable(uris: Sequence[str]) -> bool:
    """All of them are plain files of a mounted file system."""
    return all(plain_path(u) != u and PurePosixPath(u).suffix.lower() not in CODECS for u in uris)


def pieces(spark: SparkSession, uris: Sequence[str]) -> list[list[Piece]]:
    """The blocks of each task, by Spark's own settings and rule: the greatest first, as many in one task as fit."""
    conf = spark._jsparkSession.sessionState().conf()
    open_cost, low = int(conf.filesOpenCostInBytes()), conf.filesMinPartitionNum()
    tasks = int(low.get()) if low.isDefined() else spark.sparkContext.defaultParallelism
    sizes = [_size(uri) for uri in uris]
    share = (sum(sizes) + open_cost * len(sizes)) // tasks
    most = min(int(conf.filesMaxPartitionBytes()), max(open_cost, share))
    blocks = [
        Piece(uri, at, min(at + most, size))
        for uri, size in zip(uris, sizes, strict=True)
        for at in range(0, size, most)
    ]
    out: list[list[Piece]] = []
    filled = most
    for piece in sorted(blocks, key=lambda p: p.start - p.end):
        if not out or filled + piece.end - piece.start > most:
            out.append([])
            filled = 0
        out[-1].append(piece)
        filled += piece.end - piece.start + open_cost
    return out


def _size(uri: str) -> int:
    try:
        return os.path.getsize(plain_path(uri))
    except OSError as e:
        raise InputError(f"{plain_path(uri)}: cannot be read ({e.strerror})") from None


def lines_of(piece: Piece) -> Iterator[bytes]:
    """Whole lines, some megabytes together. Of an enormous line only the first bytes are kept."""
    path = plain_path(piece.uri)
    try:
        with open(path, "rb") as f:
            f.seek(piece.start)
            if piece.start:
                _rest_of_line(f.readline)
            while (at := f.tell()) <= piece.end:
                data = f.read(min(CHUNK_BYTES, piece.end - at + 1))
                if not data:
                    break
                yield data if data.endswith(b"\n") else data + _rest_of_line(f.readline)
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror})") from None


def _rest_of_line(readline: Callable[[int], bytes]) -> bytes:
    """What follows up to the end of the line, of which more than a line of AIS can hold is passed over."""
    kept = piece = readline(LINE_MAX + 1)
    while piece and not piece.endswith(b"\n"):
        piece = readline(CHUNK_BYTES)
    return kept if kept.endswith(b"\n") or not kept else kept + b"\n"


def decode(
    spark: SparkSession,
    tasks: list[list[Piece]],
    line_format: str | None,
    screening: Screening,
    report: Callable[[Tallies], None],
) -> DataFrame:
    """Rows of ``STREAM_SCHEMA``."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        task = LineTask(line_format, screening)
        for batch in batches:
            for number in batch.column("id").to_pylist():
                for piece in tasks[number]:
                    task.begin(piece.uri, piece.start)
                    for lines in lines_of(piece):
                        yield from task.decode(lines)
        task.close()
        report({("decode", task_number()): task.tally})

    return spark.range(0, len(tasks), 1, len(tasks)).mapInArrow(run, STREAM_SCHEMA)

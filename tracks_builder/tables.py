"""Decoded archives -> rows of ``STREAM_SCHEMA``: CSV lines, Parquet columns, members of zip files.

What the columns mean is the core's business (``multitaskais.ais.tables``); here is how Spark's batches come to it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from multitaskais.ais.archives import CHUNK_LINES, open_archive
from multitaskais.ais.positions import StaticData, StaticMemory
from multitaskais.ais.tables import columns_of, csv_reports, to_reports
from multitaskais.errors import InputError
from multitaskais.records import Counts

from .decode import Screening, pass_screen, rows_of_reports, rows_of_statics, task_number
from .tally import Tallies, Tally, plain_path

Batches = Iterator[pa.RecordBatch]
Task = Callable[[Batches], Batches]


class TableTask:
    """Reports that are decoded already: screened and counted."""

    def __init__(self, screening: Screening) -> None:
        self._screening = screening
        self.tally = Tally()

    def rows(self, reports: NDArray[np.void], counts: Counts) -> Batches:
        for reason, n in counts.rejected.items():
            self.tally.counts["rejected", str(reason)] += n
        self.tally.counts["lines", "in"] += counts.received
        passed, _ = pass_screen(reports, self._screening, self.tally)
        if len(passed):
            yield rows_of_reports(passed)
        if (statics := rows_of_statics(said_in(passed))) is not None:
            yield statics


def said_in(reports: NDArray[np.void]) -> list[StaticData]:
    """What the vessels say of themselves in their reports: of each the newest row that says something."""
    telling = np.flatnonzero((reports["ship_type"] > 0) | (reports["ship_name"] != b""))
    by_time = telling[np.argsort(reports["t"][telling], kind="stable")]
    _, last = np.unique(reports["mmsi"][by_time][::-1], return_index=True)
    newest = reports[by_time[len(by_time) - 1 - last]]
    return [
        StaticData(mmsi, t, -1, name or None, ship_type, None, -1, -1, -1, -1, -1)
        for mmsi, t, name, ship_type in zip(
            *(newest[c].tolist() for c in ("mmsi", "t", "ship_name", "ship_type")), strict=True
        )
    ]


def csv_task(archive_format: str, header: bytes, screening: Screening, report: Callable[[Tallies], None]) -> Task:
    """Lines of CSV files that all have the same ``header``."""

    def run(batches: Batches) -> Batches:
        task = TableTask(screening)
        for batch in batches:
            lines = batch.column("value")
            files, starts = batch.column("file"), batch.column("start")
            _same_header(lines, files, starts, header)
            body = lines.filter(pc.not_equal(lines, pa.scalar(header, pa.binary())))
            if not len(body):
                continue
            joined = pc.binary_join(_as_one_list(body), b"\n")[0].as_buffer()
            text = io.BytesIO(header + b"\n" + memoryview(joined) + b"\n")
            for reports, counts in csv_reports(text, archive_format, files[0].as_py(), len(body)):
                yield from task.rows(reports, counts)
        report({("decode", task_number()): task.tally})

    return run


def _as_one_list(values: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values)


def _same_header(lines: pa.Array, files: pa.Array, starts: pa.Array, header: bytes) -> None:
    """The first line of each file that begins in this batch must be the header that was found in the first file."""
    begins = np.flatnonzero(starts.to_numpy() == 0)
    if not len(begins):
        return
    at_start = files.take(pa.array(begins))
    for file in pc.unique(at_start).to_pylist():
        if not pc.any(pc.equal(lines.filter(pc.equal(files, file)), pa.scalar(header, pa.binary()))).as_py():
            first = lines[int(begins[pc.index(at_start, file).as_py()])].as_py()
            if columns_of(first.decode("utf-8", "replace").split(",")).keys() >= {"mmsi", "lat", "lon"}:
                raise InputError(
                    f"{file}: its columns differ from those of the first file; build it in a run of its own"
                )


def parquet_task(
    fields: dict[str, str], archive_format: str, screening: Screening, report: Callable[[Tallies], None]
) -> Task:
    """Columns of Parquet files; ``fields``: our field -> the column."""

    def run(batches: Batches) -> Batches:
        task = TableTask(screening)
        for batch in batches:
            yield from task.rows(*to_reports({f: batch.column(c) for f, c in fields.items()}, archive_format))
        report({("decode", task_number()): task.tally})

    return run


def packed_task(line_format: str | None, screening: Screening, report: Callable[[Tallies], None]) -> Task:
    """Paths of zip files in the column ``path``; each member is lines or CSV, as its first bytes show."""

    def run(batches: Batches) -> Batches:
        task = TableTask(screening)
        for batch in batches:
            for uri in batch.column("path").to_pylist():
                memory = StaticMemory()
                if (path := plain_path(uri)) == uri:
                    raise InputError(
                        f"{uri}: zip files are read from mounted folders alone; unpack it, or pack it with gzip"
                    )
                for archive in open_archive(path, line_format):
                    for reports, counts in archive.batches(None, CHUNK_LINES, memory):
                        yield from task.rows(reports, counts)
        report({("decode", task_number()): task.tally})

    return run

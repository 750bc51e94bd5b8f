"""Archives -> rows of ``STREAM_SCHEMA``: CSV lines, Parquet columns, and whole files by the core's own reader.

What the columns mean is the core's business (``multitaskais.ais.tables``); here is how Spark's batches come to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from multitaskais.ais.archives import BYTES_PER_LINE, CHUNK_LINES, open_archive
from multitaskais.ais.positions import StaticData, StaticMemory
from multitaskais.ais.tables.columns import to_reports
from multitaskais.ais.tables.layout import Layout, columns_of
from multitaskais.ais.tables.reading import csv_reports, parquet_reports
from multitaskais.errors import InputError
from multitaskais.records import Counts
from multitaskais.types import Reports

from .decode import LineTask, Screening, pass_screen, rows_of_reports, rows_of_statics, task_number
from .tally import Tallies, Tally

Batches = Iterator[pa.RecordBatch]
Task = Callable[[Batches], Batches]


class TableTask:
    """Reports that are decoded already: screened and counted."""

    def __init__(self, screening: Screening) -> None:
        self._screening = screening
        self.tally = Tally()

    def rows(self, reports: Reports, counts: Counts) -> Batches:
        for reason, n in counts.rejected.items():
            self.tally.counts["rejected", str(reason)] += n
        self.tally.stamps.add(counts.stamps)
        self.tally.counts["lines", "in"] += counts.received
        passed, _ = pass_screen(reports, self._screening, self.tally)
        if len(passed):
            yield rows_of_reports(passed)
        if (statics := rows_of_statics(said_in(passed))) is not None:
            yield statics


def said_in(reports: Reports) -> list[StaticData]:
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


def csv_task(layout: Layout, header: bytes, screening: Screening, report: Callable[[Tallies], None]) -> Task:
    """Lines of CSV files that all have the same ``header``."""

    def run(batches: Batches) -> Batches:
        task = TableTask(screening)
        rows = layout._replace(lines_before=0)
        for batch in batches:
            lines = batch.column("value")
            files, starts = batch.column("file"), batch.column("start")
            _same_header(lines, files, starts, header, layout)
            body = lines.filter(pc.not_equal(lines, pa.scalar(header, pa.binary())))
            if not len(body):
                continue
            joined = pc.binary_join(_as_one_list(body), b"\n")[0].as_buffer()
            text = bytes(memoryview(joined)) + b"\n"
            for reports, counts in csv_reports([text], rows, files[0].as_py(), len(body)):
                yield from task.rows(reports, counts)
        report({("decode csv", task_number()): task.tally})

    return run


def _as_one_list(values: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values)


def _same_header(lines: pa.Array, files: pa.Array, starts: pa.Array, header: bytes, layout: Layout) -> None:
    """The first line of each file that begins in this batch must be the header that was found in the first file."""
    begins = np.flatnonzero(starts.to_numpy() == 0)
    if not len(begins):
        return
    at_start = files.take(pa.array(begins))
    for file in pc.unique(at_start).to_pylist():
        if not pc.any(pc.equal(lines.filter(pc.equal(files, file)), pa.scalar(header, pa.binary()))).as_py():
            first = lines[int(begins[pc.index(at_start, file).as_py()])].as_py()
            if columns_of(first.decode("utf-8", "replace").split(layout.delimiter)).keys() >= {"mmsi", "lat", "lon"}:
                raise InputError(
                    f"{file}: its columns differ from those of the first file; build it in a run of its own"
                )


def parquet_task(layout: Layout, screening: Screening, report: Callable[[Tallies], None]) -> Task:
    """Columns of Parquet files."""

    def run(batches: Batches) -> Batches:
        task = TableTask(screening)
        for batch in batches:
            columns = {f: batch.column(c) for f, c in layout.fields.items()}
            yield from task.rows(*to_reports(columns, layout.format, layout.day_first, factors=layout.factors))
        report({("decode parquet", task_number()): task.tally})

    return run


class Unit(NamedTuple):
    """What one task reads by the core's own reader: a whole file, or some row groups of a Parquet file."""

    path: str
    row_groups: tuple[int, ...] | None = None


def units_of(path: str, is_parquet: bool) -> list[Unit]:
    """One for each row group of a Parquet file, else the file."""
    if not is_parquet:
        return [Unit(path)]
    try:
        with pq.ParquetFile(path) as f:
            n = f.num_row_groups
    except (pa.ArrowException, OSError) as e:
        raise InputError(f"{path}: not readable as Parquet ({str(e).splitlines()[0]})") from None
    return [Unit(path, (i,)) for i in range(n)] or [Unit(path)]


def unit_task(
    units: list[Unit],
    archive_format: str | None,
    columns: dict[str, str],
    screening: Screening,
    report: Callable[[Tallies], None],
) -> Task:
    """Numbers of ``units`` in the column ``id``: files in containers and tables, by the reader of all commands."""

    def run(batches: Batches) -> Batches:
        lines = LineTask(archive_format, screening)
        table = TableTask(screening)
        table.tally = lines.tally
        for batch in batches:
            for number in batch.column("id").to_pylist():
                unit = units[number]
                if unit.row_groups is not None:
                    parts = parquet_reports(
                        unit.path, archive_format, CHUNK_LINES, columns=columns, row_groups=unit.row_groups
                    )
                    for reports, counts in parts:
                        yield from table.rows(reports, counts)
                    continue
                memory = StaticMemory()
                for archive in open_archive(unit.path, archive_format, columns):
                    if archive.is_table:
                        for reports, counts in archive.batches(None, CHUNK_LINES, memory):
                            yield from table.rows(reports, counts)
                        continue
                    lines.begin(archive.path, 0, archive.has_coarse_stamps, archive.year)
                    for block in archive.line_blocks(CHUNK_LINES * BYTES_PER_LINE):
                        yield from lines.decode(block)
                    lines.close()
        report({("decode files", task_number()): lines.tally})

    return run

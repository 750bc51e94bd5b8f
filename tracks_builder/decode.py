"""Lines of an archive -> rows of ``STREAM_SCHEMA``: what a task does with the Arrow batches that it reads.

Each block of a file (what Spark gives to one task of it) is decoded on its own: a message whose parts lie on both sides of a
block's border is counted as ``incomplete``, so the result does not depend on which task reads which block. Blocks do not
depend on the number of cores either (``job.SPLITS``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark import TaskContext

from multitaskais.ais.log_clock import Year
from multitaskais.ais.positions import StaticData
from multitaskais.ais.vectorized.block import ACCEPTED, WAITING, BlockDecoder, reason_of
from multitaskais.config import Region, TrackRules
from multitaskais.records import Counts, Reason
from multitaskais.tracks.quality import REASONS, screen
from multitaskais.types import Reports

from .schemas import HOUR_S, PACKED, PACKED_DTYPE, STATIC, STREAM_ARROW, stream_keys
from .tally import Block, Tallies, Tally

OTHER_YEAR = "other_year"  # read because a year begins and ends within tracks; belongs to the year before or after
# Shown in the sample only where the line itself is at fault: the others are what most archives are full of.
_UNREMARKABLE = {Reason.NOT_A_POSITION, Reason.OUT_OF_REGION, Reason.DUPLICATE}


class Screening(NamedTuple):
    """Which reports a task lets through; ``period`` in Unix s, half open."""

    region: Region | None
    rules: TrackRules
    period: tuple[float, float] = (-np.inf, np.inf)


def rows_of_reports(reports: Reports) -> pa.RecordBatch:
    """Rows of kind 1 of (n,) screened reports of ``REPORT_DTYPE``: one for each vessel and hour among them."""
    second = np.floor(reports["t"]).astype(np.int64)
    keys = stream_keys(reports["mmsi"].astype(np.int64), second - second % HOUR_S, is_report=True)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    packed = np.empty(len(reports), PACKED_DTYPE)
    for name in PACKED_DTYPE.names or ():
        column = reports[name][order]
        packed[name] = column + 0.0 if column.dtype.kind == "f" else column  # no zero keeps a sign
    n = len(begins)
    offsets = (np.append(begins, len(reports)) * PACKED_DTYPE.itemsize).astype(np.int32)
    columns = [
        pa.array(keys[begins]),
        pa.array(np.zeros(n)),
        pa.array(np.full(n, PACKED, np.int8)),
        pa.array(np.full(n, -1, np.int16)),
        pa.nulls(n, pa.binary()),
        pa.Array.from_buffers(pa.binary(), n, [None, pa.py_buffer(offsets), pa.py_buffer(packed)]),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=STREAM_ARROW)


def rows_of_statics(statics: Iterable[StaticData]) -> pa.RecordBatch | None:
    """Rows of kind 0: of each vessel the last name and the last type in ``statics``; None where nothing was said."""
    heard: dict[int, tuple[float, int, bytes]] = {}
    for s in statics:
        _, ship_type, name = heard.get(s.mmsi, (0.0, -1, b""))
        heard[s.mmsi] = (
            s.t if s.t == s.t else 0.0,
            s.ship_type if s.ship_type > 0 else ship_type,
            s.name or name,
        )
    known = [(mmsi, *rest) for mmsi, rest in heard.items() if rest[1] > 0 or rest[2]]
    if not known:
        return None
    columns_in = list(zip(*known, strict=True))
    n = len(known)
    when = np.array(columns_in[1], np.float64)
    mmsi, second = np.array(columns_in[0], np.int64), np.floor(when).astype(np.int64)
    columns = [
        pa.array(stream_keys(mmsi, second, is_report=False)),
        pa.array(when),
        pa.array(np.full(n, STATIC, np.int8)),
        pa.array(columns_in[2], pa.int16()),
        pa.array(columns_in[3], pa.binary()),
        pa.nulls(n, pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=STREAM_ARROW)


def pass_screen(reports: Reports, screening: Screening, tally: Tally) -> tuple[Reports, NDArray[np.uint8]]:
    """The reports that go on, and the screen's code of each that came; what is left out is counted."""
    codes = screen(reports, screening.region, screening.rules)
    for code, n in enumerate(np.bincount(codes, minlength=len(REASONS))):
        if code and n:
            tally.counts["rejected", str(REASONS[code])] += int(n)
    keep = codes == 0
    start, end = screening.period
    if np.isfinite(start) or np.isfinite(end):
        in_period = (reports["t"] >= start) & (reports["t"] < end)
        tally.counts["rejected", OTHER_YEAR] += int((keep & ~in_period).sum())
        keep &= in_period
    return reports if keep.all() else reports[keep], codes  # rows are wide: no copy where nothing is left out


class LineTask:
    """One task's state: the decoder of the block that is being read, and the tally."""

    def __init__(self, line_format: str | None, screening: Screening) -> None:
        self._format = line_format
        self._screening = screening
        self._decoder: BlockDecoder | None = None
        self._file = ""
        self._start = -1
        self._lines = 0
        self.tally = Tally()

    def rows(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Rows of one batch with the columns ``value`` (binary), ``file`` and ``start`` (of the block, in bytes)."""
        values = batch.column("value")
        files, starts = batch.column("file"), batch.column("start")
        ends = np.union1d(pc.run_end_encode(files).run_ends, pc.run_end_encode(starts).run_ends)
        begin = 0
        for end in ends.tolist():
            file, start = files[begin].as_py(), starts[begin].as_py()
            if (file, start) != (self._file, self._start):
                self.begin(file, start)
            yield from self.decode(values.slice(begin, end - begin))
            begin = end

    def begin(self, file: str, start: int, by_second: bool = False, year: Year | None = None) -> None:
        """What follows are the lines of the block of ``file`` that begins at byte ``start``; ``by_second``: dated by the ships' own seconds;
        ``year``: of stamps that have none."""
        self.close()
        self._decoder = BlockDecoder(self._format, by_second=by_second, year=year)
        self._file, self._start, self._lines = file, start, 0

    def decode(self, values: bytes | pa.Array) -> Iterator[pa.RecordBatch]:
        """Rows of some whole lines of the block: as they stand in the file, or as an array of lines without their ends."""
        assert self._decoder is not None
        block = self._decoder.decode(values)
        self._count(block.counts)
        passed, screened = pass_screen(block.reports, self._screening, self.tally)
        self._show(values, block.codes, block.line, screened)
        self._lines += len(block.codes)
        self.tally.counts["lines", "in"] += len(block.codes)
        if len(passed):
            yield rows_of_reports(passed)
        if (statics := rows_of_statics(block.statics)) is not None:
            yield statics

    def _count(self, counts: Counts) -> None:
        self.tally.stamps.add(counts.stamps)
        for reason, n in counts.rejected.items():
            self.tally.counts["rejected", str(reason)] += n

    def _show(
        self, values: bytes | pa.Array, codes: NDArray[np.uint8], at: NDArray[np.int64], screened: NDArray[np.uint8]
    ) -> None:
        """Keep some of the rejected lines for the sample."""
        bad = np.flatnonzero((codes != ACCEPTED) & (codes != WAITING))
        found = [(i, reason_of(int(codes[i]))) for i in _first_of_each(codes[bad], bad)]
        bad = np.flatnonzero(screened)
        found += [(int(at[i]), REASONS[screened[i]]) for i in _first_of_each(screened[bad], bad)]
        shown = [(i, reason) for i, reason in found if reason is not None and reason not in _UNREMARKABLE]
        lines = values.split(b"\n") if shown and isinstance(values, bytes) else []
        for i, reason in shown:
            line = lines[i].removesuffix(b"\r") if isinstance(values, bytes) else values[i].as_py() or b""
            self.tally.sample(str(reason), self._file, self._start, self._lines + i + 1, line)

    def close(self) -> None:
        """The block is at its end: parts that still wait are incomplete."""
        if self._decoder is not None:
            self._count(self._decoder.finish())
            self.tally.blocks.append(Block(self._file, self._start, self._lines))
            self._decoder = None


def _first_of_each(codes: NDArray[np.uint8], index: NDArray[np.int64], n: int = 3) -> list[int]:
    """Up to n of ``index`` for each code."""
    out: list[int] = []
    for code in np.unique(codes):
        out += index[codes == code][:n].tolist()
    return out


def line_task(
    line_format: str | None, screening: Screening, report: Callable[[Tallies], None]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What ``mapInArrow`` runs: lines in, rows out, the tally to ``report`` when the task is at its end."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        task = LineTask(line_format, screening)
        for batch in batches:
            yield from task.rows(batch)
        task.close()
        report({("decode", task_number()): task.tally})

    return run


def task_number() -> int:
    context = TaskContext.get()
    return 0 if context is None else context.partitionId()

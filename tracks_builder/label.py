"""Sorted rows of ``STREAM_SCHEMA`` -> rows of ``TRACKS_SCHEMA``: what a task does with the vessels dealt to it.

The rules are the core's (``multitaskais.tracks``); here is only how they meet batches. A batch ends anywhere in a vessel, so the
reports of its last vessel wait for the next batch. What a task holds is bounded by one batch and ``PENDING_MAX`` reports of one
vessel, however many reports a vessel has: a longer one is handed over in pieces, see ``segments``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from multitaskais.config import TrackRules
from multitaskais.records import REPORT_DTYPE, Reason

from .decode import OTHER_YEAR, task_number
from .schemas import KEY_MMSI_SHIFT, KEY_REPORT_BIT, TRACKS_ARROW, WRITTEN_TO
from .segments import DISPLACED, Labels, Segmenter, track_ids
from .tally import Tallies, Tally

PENDING_MAX = 400_000  # reports of one vessel that wait for the rest of it: 35 MB
ROWS_OUT = 65_536  # rows of a batch that goes back to Spark
NOTHING_HEARD = (-1, b"")


def reports_of(batch: pa.RecordBatch) -> NDArray[np.void]:
    """(n,) of ``REPORT_DTYPE``; static rows stand among them with their names and types, at their key's MMSI."""
    out = np.zeros(batch.num_rows, REPORT_DTYPE)
    out["mmsi"] = batch.column("key").to_numpy() >> KEY_MMSI_SHIFT
    for name in ("t", "lat", "lon", "sog", "cog", "heading", "nav_status", "msg_type"):
        out[name] = batch.column(name).to_numpy(zero_copy_only=False)  # null becomes NaN
    out["ship_type"] = -1
    return out


class LabelTask:
    """One task's state: the reports of the vessel at the end of the last batch, what it said of itself, and the tally."""

    def __init__(self, rules: TrackRules, year: int | None = None) -> None:
        self._year = year
        self._segmenter = Segmenter(rules)
        self._pending: list[NDArray[np.void]] = []
        self._waiting = 0
        self._heard: dict[int, tuple[int, bytes]] = {}
        self._written_to: dict[int, float] = {}
        self._vessel = -1
        self.tally = Tally()

    def rows(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """What is certain after one more batch."""
        reports = self._hear(batch)
        if not len(reports):
            return
        last = int(reports["mmsi"][-1])
        begin = int(np.searchsorted(reports["mmsi"], last))
        if begin or last != self._vessel:
            done = [*self._pending, reports[:begin]]
            yield from self._finish(np.concatenate(done))
            self._pending, self._waiting = [], 0
            self._heard = {mmsi: said for mmsi, said in self._heard.items() if mmsi >= last}
            self._vessel = last
        self._pending.append(reports[begin:])
        self._waiting += len(reports) - begin
        if self._waiting > PENDING_MAX:
            pending = np.concatenate(self._pending)
            labels, done_to = self._segmenter.piece(pending)
            yield from self._out(pending[:done_to], labels)
            self._pending, self._waiting = [pending[done_to:]], len(pending) - done_to

    def close(self) -> Iterator[pa.RecordBatch]:
        """No more batches."""
        if self._pending:
            yield from self._finish(np.concatenate(self._pending))
        self._pending, self._waiting = [], 0

    def _hear(self, batch: pa.RecordBatch) -> NDArray[np.void]:
        """Take out the rows that come before a vessel's reports; what was said last holds. The reports among the rows."""
        is_report = (batch.column("key").to_numpy() & KEY_REPORT_BIT) != 0
        rows = reports_of(batch)
        for i in np.flatnonzero(~is_report).tolist():
            mmsi = int(rows["mmsi"][i])
            if rows["msg_type"][i] == WRITTEN_TO:
                self._written_to[mmsi] = float(rows["t"][i])
                continue
            ship_type, name = self._heard.get(mmsi, NOTHING_HEARD)
            new_type, new_name = batch.column("ship_type")[i].as_py(), batch.column("ship_name")[i].as_py()
            self._heard[mmsi] = (new_type if new_type > 0 else ship_type, new_name or name)
        return self._not_written(rows[is_report])

    def _not_written(self, reports: NDArray[np.void]) -> NDArray[np.void]:
        """Without those that the year before has already."""
        if not self._written_to or not len(reports):
            return reports
        vessels, which = np.unique(reports["mmsi"], return_inverse=True)
        to = np.array([self._written_to.get(v, -np.inf) for v in vessels.tolist()])
        self._written_to = {mmsi: t for mmsi, t in self._written_to.items() if mmsi >= vessels[-1]}
        new = reports["t"] > to[which]
        self.tally.counts["rejected", OTHER_YEAR] += int((~new).sum())
        return reports[new]

    def _finish(self, reports: NDArray[np.void]) -> Iterator[pa.RecordBatch]:
        """Whole vessels (the first of which may have been begun in pieces)."""
        if len(reports):
            yield from self._out(reports, self._segmenter.whole(reports))

    def _out(self, reports: NDArray[np.void], labels: Labels) -> Iterator[pa.RecordBatch]:
        counts = self.tally.counts
        keep = labels.rows["code"] == 0
        evidence = labels.rows["code"] == DISPLACED
        wanted = keep | evidence
        counts["rejected", "duplicate"] += int((~wanted).sum())
        years = _years(labels.rows["start"])
        if self._year is not None:
            mine = years == self._year
            counts["rejected", OTHER_YEAR] += int((wanted & ~mine).sum())
            wanted &= mine
        counts["rejected", "displaced"] += int((wanted & evidence).sum())
        kept = wanted & keep
        for year, n in zip(*np.unique(years[kept], return_counts=True), strict=True):
            counts["kept", str(year)] += int(n)
        for year, n in zip(*np.unique(years[kept & labels.is_first], return_counts=True), strict=True):
            counts["tracks", str(year)] += int(n)
        index = np.flatnonzero(wanted)
        for begin in range(0, len(index), ROWS_OUT):
            part = index[begin : begin + ROWS_OUT]
            yield self._batch(reports[part], labels.take(part), years[part])

    def _batch(self, reports: NDArray[np.void], labels: Labels, years: NDArray[np.int32]) -> pa.RecordBatch:
        types, names = self._said(reports["mmsi"])
        displaced = labels.rows["code"] == DISPLACED
        columns = [
            track_ids(reports["mmsi"], labels.rows),
            pa.array(np.ascontiguousarray(reports["mmsi"])),
            pa.array(np.ascontiguousarray(labels.rows["line"])),
            *(pa.array(np.ascontiguousarray(reports[name])) for name in ("t", "lat", "lon", "sog")),
            *(pa.array(np.ascontiguousarray(reports[name]), from_pandas=True) for name in ("cog", "heading")),
            *(pa.array(np.ascontiguousarray(reports[name])) for name in ("nav_status", "msg_type")),
            types,
            names,
            pa.array([str(Reason.DISPLACED)]).take(pa.array(np.zeros(len(reports), np.int32), mask=~displaced)),
            pa.array(years),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=TRACKS_ARROW)

    def _said(self, mmsi: NDArray[np.int64]) -> tuple[pa.Array, pa.Array]:
        vessels, which = np.unique(mmsi, return_inverse=True)
        said = [self._heard.get(v, NOTHING_HEARD) for v in vessels.tolist()]
        at = pa.array(which)
        names = pa.array([name.decode("ascii", "replace") for _, name in said], pa.string())
        return pa.array([ship_type for ship_type, _ in said], pa.int16()).take(at), names.take(at)


def _years(t: NDArray[np.float64]) -> NDArray[np.int32]:
    """UTC years of Unix seconds."""
    return (np.floor(t).astype("datetime64[s]").astype("datetime64[Y]").astype(np.int64) + 1970).astype(np.int32)


def label_task(
    rules: TrackRules, year: int | None, report: Callable[[Tallies], None]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What ``mapInArrow`` runs: sorted rows in, tracks out, the tally to ``report`` when the task is at its end."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        task = LabelTask(rules, year)
        for batch in batches:
            yield from task.rows(batch)
        yield from task.close()
        report({("label", task_number()): task.tally})

    return run

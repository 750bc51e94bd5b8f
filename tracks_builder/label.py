"""Sorted rows of ``STREAM_SCHEMA`` -> rows of ``TRACKS_SCHEMA``: what a task does with the vessels dealt to it.

The rules are the core's (``multitaskais.tracks``); here is only how they meet batches. A batch ends anywhere in a vessel, so the
reports of its last vessel wait for the next batch. What a task holds is bounded by one batch and ``PENDING_MAX`` reports of one
vessel, however many reports a vessel has: a longer one is handed over in pieces, see ``segments``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from multitaskais.config import TrackRules
from multitaskais.records import REPORT_DTYPE, Reason
from multitaskais.tracks.copies import late_copies
from multitaskais.tracks.quality import REASONS
from multitaskais.types import Reports

from .decode import OTHER_YEAR, task_number
from .schemas import HOUR_S, KEY_MMSI_SHIFT, PACKED, PACKED_DTYPE, TRACKS_ARROW, WRITTEN_TO
from .segments import DISPLACED, Labels, Segmenter, track_ids
from .tally import Tallies, Tally

PENDING_MAX = 400_000  # reports of one vessel that wait for the rest of it: 35 MB
ROWS_OUT = 65_536  # rows of a batch that goes back to Spark
ROWS_AT_ONCE = 16_384  # reports of whole vessels that are labelled together, at least
NOTHING_HEARD = (-1, b"")


_ORDER = ("msg_type", "nav_status", "heading", "cog", "sog", "lon", "lat")  # of equal times, the last first


def reports_of(batch: pa.RecordBatch) -> Reports:
    """(n,) of ``REPORT_DTYPE``: all packed reports of a batch, by vessel and hour, in any order within the hour."""
    rows = batch.column("reports")
    lengths = pc.fill_null(pc.binary_length(rows), 0).to_numpy() // PACKED_DTYPE.itemsize
    out = np.zeros(int(lengths.sum()), REPORT_DTYPE)
    if not len(out):
        return out
    # Nulls have no bytes: the buffer holds the reports end to end.
    first = np.frombuffer(rows.buffers()[1], np.int32)[rows.offset]
    packed = np.frombuffer(rows.buffers()[2], PACKED_DTYPE, len(out), first)
    out["mmsi"] = np.repeat(batch.column("key").to_numpy() >> KEY_MMSI_SHIFT, lengths)
    for name in PACKED_DTYPE.names or ():
        out[name] = packed[name]
    out["ship_type"] = -1
    return out


def in_order(reports: Reports) -> Reports:
    """Sorted by vessel and time, equal times by all else, what is missing first: the order in which the tracker releases reports
    (``tracks.tracker.content_key``), so that no tie hangs on which node was faster."""
    mmsi, t = np.ascontiguousarray(reports["mmsi"]), np.ascontiguousarray(reports["t"])
    step, dt = np.diff(mmsi), np.diff(t)
    if ((step > 0) | ((step == 0) & (dt > 0))).all():
        return reports
    if not ((step > 0) | ((step == 0) & (dt >= 0))).all():
        reports = reports[np.lexsort((t, mmsi))]
        dt = np.diff(reports["t"])
    equal = (dt == 0) & (np.diff(reports["mmsi"]) == 0)
    tied = np.flatnonzero(np.concatenate([[False], equal]) | np.concatenate([equal, [False]]))
    if len(tied):
        rows = reports[tied]
        keys: list[NDArray[np.generic]] = []
        for name in _ORDER:
            column = rows[name]
            keys += [np.nan_to_num(column), ~np.isnan(column)] if column.dtype.kind == "f" else [column]
        reports = reports.copy()
        reports[tied] = rows[np.lexsort((*keys, rows["t"], rows["mmsi"]))]
    return reports


class LabelTask:
    """One task's state: the reports of the vessel at the end of the last batch, what it said of itself, and the tally."""

    def __init__(self, rules: TrackRules, year: int | None = None) -> None:
        self._year = year
        self._rules = rules
        self._segmenter = Segmenter(rules)
        self._pending: list[Reports] = []
        self._waiting = 0
        self._heard: dict[int, tuple[int, bytes]] = {}
        self._written_to: dict[int, float] = {}
        self._vessel = -1
        self._hour = np.zeros(0, REPORT_DTYPE)  # reports of the last vessel and hour of the last batch
        self.tally = Tally()

    def rows(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """What is certain after one more batch."""
        yield from self._split(self._whole_hours(batch))

    def _split(self, reports: Reports) -> Iterator[pa.RecordBatch]:
        """Hand over the vessels that have ended; the last one waits."""
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
        if len(self._hour):
            reports, self._hour = self._not_written(in_order(self._hour)), self._hour[:0]
            yield from self._split(reports)
        if self._pending:
            yield from self._finish(np.concatenate(self._pending))
        self._pending, self._waiting = [], 0

    def _whole_hours(self, batch: pa.RecordBatch) -> Reports:
        """Reports in order; those of the batch's last vessel and hour wait for the next batch, which may have more of them."""
        self._hear(batch)
        reports = np.concatenate([self._hour, reports_of(batch)])
        if not len(reports):
            return reports
        hour = np.floor(reports["t"] / HOUR_S)
        others = np.flatnonzero((reports["mmsi"] != reports["mmsi"][-1]) | (hour != hour[-1]))
        end = int(others[-1]) + 1 if len(others) else 0
        self._hour = reports[end:]
        return self._not_written(in_order(reports[:end]))

    def _hear(self, batch: pa.RecordBatch) -> None:
        """The rows that come before a vessel's reports; what was said last holds."""
        what = batch.column("what").to_numpy()
        mmsis = batch.column("key").to_numpy() >> KEY_MMSI_SHIFT
        for i in np.flatnonzero(what != PACKED).tolist():
            mmsi = int(mmsis[i])
            if what[i] == WRITTEN_TO:
                self._written_to[mmsi] = batch.column("t")[i].as_py()
                continue
            ship_type, name = self._heard.get(mmsi, NOTHING_HEARD)
            new_type, new_name = batch.column("ship_type")[i].as_py(), batch.column("ship_name")[i].as_py()
            self._heard[mmsi] = (new_type if new_type > 0 else ship_type, new_name or name)

    def _not_written(self, reports: Reports) -> Reports:
        """Without those that the year before has already."""
        if not self._written_to or not len(reports):
            return reports
        vessels, which = np.unique(reports["mmsi"], return_inverse=True)
        to = np.array([self._written_to.get(v, -np.inf) for v in vessels.tolist()])
        self._written_to = {mmsi: t for mmsi, t in self._written_to.items() if mmsi >= vessels[-1]}
        new = reports["t"] > to[which]
        self.tally.counts["rejected", OTHER_YEAR] += int((~new).sum())
        return reports[new]

    def _finish(self, reports: Reports) -> Iterator[pa.RecordBatch]:
        """Whole vessels (the first of which may have been begun in pieces); some at a time, so that their columns stay in the cache."""
        reports = self._without_copies(reports)
        mmsi = np.ascontiguousarray(reports["mmsi"])
        ends = [*(np.flatnonzero(np.diff(mmsi)) + 1).tolist(), len(reports)]
        begin = 0
        for end in ends:
            if end - begin >= ROWS_AT_ONCE or (end == len(reports) and end > begin):
                part = reports[begin:end]
                yield from self._out(part, self._segmenter.whole(part))
                begin = end

    def _without_copies(self, reports: Reports) -> Reports:
        """One transmission that came again later counts once; a vessel that was begun in pieces is left as it is."""
        late = late_copies(reports, self._rules)
        if self._segmenter.has_begun:
            late &= reports["mmsi"] != reports["mmsi"][0]
        if not late.any():
            return reports
        self.tally.counts["rejected", str(Reason.DUPLICATE)] += int(late.sum())
        return reports[~late]

    def _out(self, reports: Reports, labels: Labels) -> Iterator[pa.RecordBatch]:
        counts = self.tally.counts
        keep = labels.rows["code"] == 0
        evidence = labels.rows["code"] == DISPLACED
        wanted = keep | evidence
        for code, n in zip(*np.unique(labels.rows["code"][~wanted], return_counts=True), strict=True):
            counts["rejected", str(REASONS[code])] += int(n)
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

    def _batch(self, reports: Reports, labels: Labels, years: NDArray[np.int32]) -> pa.RecordBatch:
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

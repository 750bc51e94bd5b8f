"""The core's track rules over sorted reports, also for a vessel that comes in pieces.

``whole`` labels complete vessels (``tracks.segment``). ``piece`` labels the certain beginning of one vessel whose end is not here
yet: up to its last gap where it has one, else report by report through a ``VesselTracker``, the value that the live operator
keeps for the vessel. Either way the answer is the tracker's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from multitaskais.config import TrackRules
from multitaskais.records import REPORT_DTYPE, Reason
from multitaskais.tracks.quality import CODE
from multitaskais.tracks.segmentation import LABEL_DTYPE, segment
from multitaskais.tracks.tracker import Accepted, Rejected, TrackEvent, VesselTracker, track_name
from multitaskais.types import LabelRows, Reports

DISPLACED = CODE[Reason.DISPLACED]
DUPLICATE = CODE[Reason.DUPLICATE]
_INDEX = len(REPORT_DTYPE.names or ())  # a report's number in its vessel stands behind the fields of the report
LabelFields = tuple[float, ...]  # one row of LABEL_DTYPE; of a report in no track only its first field


class Labels(NamedTuple):
    """Of n reports. A displaced report has line and track of the last report before it that belongs to one."""

    rows: LabelRows
    is_first: NDArray[np.bool_]  # (n,) first report of its track

    def take(self, index: NDArray[np.int64]) -> Labels:
        return Labels(self.rows[index], self.is_first[index])


def track_ids(mmsi: NDArray[np.int64], rows: LabelRows) -> pa.Array:
    """(n,) strings; named once for each run of reports of the same track."""
    start, suffix = rows["start"], rows["suffix"]
    new = np.ones(len(rows), bool)
    new[1:] = (mmsi[1:] != mmsi[:-1]) | (start[1:] != start[:-1]) | (suffix[1:] != suffix[:-1])
    at = np.flatnonzero(new)
    names: dict[tuple[int, float, int], str] = {}
    runs = []
    for key in zip(mmsi[at].tolist(), start[at].tolist(), suffix[at].tolist(), strict=True):
        if key not in names:
            names[key] = track_name(*key)
        runs.append(names[key])
    return pa.array(runs, pa.string()).take(pa.array(np.cumsum(new) - 1))


class _Fold:
    """One vessel through the live tracker, with the labels of the reports that are not handed out yet."""

    def __init__(self, rules: TrackRules, target: int = 0, track: int = 0) -> None:
        self._rules = rules
        self._tracker = VesselTracker(next_target=target)
        self._next_track = track
        self._offered = self._done = 0
        self._labels: dict[int, tuple[LabelFields, bool]] = {}  # by number: whether it is the first of its track too
        self._open: dict[int, tuple[str, LabelFields]] = {}  # by line: id of its present track, its label
        self._last: LabelFields = (0, target, track, math.nan, 1)

    def offer(self, reports: Reports) -> None:
        """Take those of the vessel's waiting ``reports`` that were not seen before."""
        for report in reports[self._offered - self._done :].tolist():
            self._apply(self._tracker.offer((*report, self._offered), self._rules))
            self._offered += 1

    def end(self) -> None:
        """The vessel's last report was offered."""
        self._apply(self._tracker.flush(self._rules, math.inf))

    def _apply(self, events: Sequence[TrackEvent]) -> None:
        for event in events:
            if isinstance(event, Rejected):
                self._labels[event.report[_INDEX]] = ((CODE[event.reason],), False)
            elif isinstance(event, Accepted):
                track_id, label = self._open.get(event.target, ("", ()))
                first = event.new_target or track_id != event.track_id
                if first:
                    suffix = int(event.track_id.rpartition("Z")[2].lstrip("-") or 1)
                    label = (0, event.target, self._next_track, event.report[1], suffix)
                    self._open[event.target] = (event.track_id, label)
                    self._next_track += 1
                self._labels[event.report[_INDEX]] = (label, first)

    def take(self) -> Labels:
        """Labels of the reports from the first that was not handed out to the first that is not certain."""
        rows, firsts = [], []
        while (known := self._labels.pop(self._done, None)) is not None:
            label, first = known
            if label[0]:
                label = (label[0], *self._last[1:])
            else:
                self._last = label
            rows.append(label)
            firsts.append(first)
            self._done += 1
        return Labels(np.array(rows, LABEL_DTYPE), np.array(firsts, np.bool_))


class Segmenter:
    """Labels vessels one after another; remembers the one that was begun in pieces."""

    def __init__(self, rules: TrackRules) -> None:
        self._rules = rules
        self._fold: _Fold | None = None
        self._line = self._track = 0  # numbers that the vessel's next line and track have

    @property
    def has_begun(self) -> bool:
        """Whether the next vessel was begun in pieces."""
        return self._fold is not None or bool(self._track)

    def piece(self, reports: Reports) -> tuple[Labels, int]:
        """Labels of the certain beginning of the waiting reports of one vessel, and how many these are."""
        if self._fold is None:
            # After so long a silence nothing that was before matters.
            gaps = np.flatnonzero(np.diff(reports["t"]) > self._rules.gap_max_s)
            if len(gaps):
                done = int(gaps[-1]) + 1
                labels = self._numbered(segment_filled(reports[:done], self._rules))
                self._line = int(labels.rows["line"].max()) + 1
                self._track = int(labels.rows["track"].max()) + 1
                return labels, done
            self._fold = _Fold(self._rules, self._line, self._track)
        self._fold.offer(reports)
        labels = self._fold.take()
        return labels, len(labels.rows)

    def whole(self, reports: Reports) -> Labels:
        """Labels of complete vessels; of the first one only the rest, where it was begun in pieces."""
        begun = 0
        parts = []
        if self._fold is not None or self._track:
            begun = int(np.searchsorted(reports["mmsi"], reports["mmsi"][0], side="right"))
            if self._fold is None:
                parts.append(self._numbered(segment_filled(reports[:begun], self._rules)))
            else:
                self._fold.offer(reports[:begun])
                self._fold.end()
                parts.append(self._fold.take())
            self._fold, self._line, self._track = None, 0, 0
        if begun < len(reports):
            parts.append(segment_filled(reports[begun:], self._rules))
        if len(parts) == 1:
            return parts[0]
        return Labels(np.concatenate([p.rows for p in parts]), np.concatenate([p.is_first for p in parts]))

    def _numbered(self, labels: Labels) -> Labels:
        labels.rows["line"] += self._line
        labels.rows["track"] += self._track
        return labels


def segment_filled(reports: Reports, rules: TrackRules) -> Labels:
    """``segment``, with line and track of displaced reports filled in."""
    rows = segment(reports, rules)
    accepted = rows["code"] == 0
    # A vessel's first report is always accepted: what is filled in is never another vessel's.
    source = np.maximum.accumulate(np.where(accepted, np.arange(len(rows)), 0))
    for name in ("line", "track", "start", "suffix"):
        rows[name] = rows[name][source]
    # Tracks are numbered as they begin, so a track's first report is the first that has its number.
    is_first = np.zeros(len(rows), bool)
    at = np.flatnonzero(accepted)
    pairs = reports["mmsi"][at].astype(np.int64) << 32 | rows["track"][at]
    is_first[at[np.unique(pairs, return_index=True)[1]]] = True
    return Labels(rows, is_first)

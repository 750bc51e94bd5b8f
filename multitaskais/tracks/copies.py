"""One transmission that an archive holds again minutes later: by another station, a network that repeats, a log that was merged twice.

Live, a report equal to one of a moving ship within ``TrackRules.copy_s`` is a ``duplicate``; nothing older is remembered. A whole archive shows the
others: same position to 1/10000 minute, speed, course, heading, status and type, and the same own second. A ship that moves does not
repeat that within a day.

Of an archive that is read in order of time and not held, ``CopyMemory`` finds the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import TrackRules
from ..records import REPORT_DTYPE
from ..types import Reports
from .displacement import COPY_GRID, COPY_KNOTS, is_copy

WITHIN_S, HOUR_S = 86_400.0, 3600.0
KEPT_MAX = 4_000_000  # contents that are remembered, some 400 MB; of more the older half is forgotten
_T, _SECOND = 1, (REPORT_DTYPE.names or ()).index("second")
_EQUAL = ("mmsi", "lat", "lon", "sog", "cog", "heading", "second", "nav_status", "msg_type")
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio: odd, its bits without a pattern


def late_copies(reports: Reports, rules: TrackRules) -> NDArray[np.bool_]:
    """(n,) whether a report of ``REPORT_DTYPE`` (any vessels, any order) repeats one that is more than ``rules.copy_s`` older.

    Only reports that carry their own second are looked at, so tables without it have no late copies.
    """
    late = np.zeros(len(reports), bool)
    y, x = reports["lat"] * COPY_GRID, reports["lon"] * COPY_GRID
    fine = (np.abs(y - np.rint(y)) > 1e-6) | (np.abs(x - np.rint(x)) > 1e-6)
    moves = np.flatnonzero((reports["second"] >= 0) & (reports["sog"] >= COPY_KNOTS) & fine)
    if len(moves) < 2:
        return late
    rows = reports[moves]
    columns = [_bits(rows[name]) for name in _EQUAL]
    key = np.zeros(len(rows), np.uint64)
    for column in columns:
        key = (key ^ column) * _MIX
        key ^= key >> np.uint64(29)
    order = np.lexsort((rows["t"], key))
    same = key[order[1:]] == key[order[:-1]]
    if not same.any():
        return late
    for column in columns:
        same &= column[order[1:]] == column[order[:-1]]
    t = rows["t"][order]
    first = np.maximum.accumulate(np.where(np.concatenate([[True], ~same]), np.arange(len(t)), 0))
    after = t - t[first]
    late[moves[order[(after > rules.copy_s) & (after <= WITHIN_S)]]] = True
    return late


class CopyMemory:
    """``late_copies`` of reports that come one after the other, nearly in order of time."""

    def __init__(self, rules: TrackRules) -> None:
        self._rules = rules
        self._first: dict[int, float] = {}  # hash of the content -> when it was first heard, Unix s
        self._hour = 0

    def is_late_copy(self, report: tuple[Any, ...]) -> bool:
        """Whether a report (in the field order of ``REPORT_DTYPE``) repeats one of the last day that is more than ``rules.copy_s`` older."""
        if report[_SECOND] < 0 or not is_copy(report):
            return False
        t: float = report[_T]
        content = hash(tuple(x if x == x else None for x in (report[0], *report[2:9], report[_SECOND])))
        first = self._first.get(content)
        if first is not None and t - first <= WITHIN_S:
            return t - first > self._rules.copy_s
        self._first[content] = t
        hour = int(t // HOUR_S)
        if hour > self._hour or len(self._first) > KEPT_MAX:
            self._hour = max(hour, self._hour)
            self._forget(t)
        return False

    def _forget(self, now: float) -> None:
        kept = [(content, t) for content, t in self._first.items() if t >= now - WITHIN_S]
        self._first = dict(kept[-KEPT_MAX // 2 :] if len(kept) > KEPT_MAX else kept)


def _bits(column: NDArray[np.number]) -> NDArray[np.uint64]:
    if column.dtype.kind == "f":
        return np.ascontiguousarray(column + 0.0, np.float64).view(np.uint64)
    return column.astype(np.int64).view(np.uint64)

"""One transmission that an archive holds again minutes later: by another station, a network that repeats, a log that was merged twice.

Live, a report equal to one of a moving ship within ``TrackRules.copy_s`` is a ``duplicate``; nothing older is remembered. A whole archive shows the
others: same position to 1/10000 minute, speed, course, heading, status and type, and the same own second. A ship that moves does not
repeat that within a day.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..config import TrackRules
from ..types import Reports
from .displacement import COPY_GRID, COPY_KNOTS

WITHIN_S = 86_400.0
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


def _bits(column: NDArray[np.number]) -> NDArray[np.uint64]:
    if column.dtype.kind == "f":
        return np.ascontiguousarray(column + 0.0, np.float64).view(np.uint64)
    return column.astype(np.int64).view(np.uint64)

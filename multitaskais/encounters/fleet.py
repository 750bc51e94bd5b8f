"""The present state of all vessels: the last accepted report of each, and where each is at a moment.

Reports come in spans of time that never overlap (``absorb`` after ``absorb``, later and later); within a span their order does not
matter. So what is held after a span depends on the set of reports alone, not on how they arrived.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..types import Reports, ShipRows
from ..units import KNOT_MPS, M_PER_DEG_CM
from .metric import cos_latitude, distance_m, east_degrees

VESSEL_DTYPE = np.dtype(
    [
        ("mmsi", "i8"),
        ("t", "f8"),  # of its last accepted report, Unix s
        ("lat", "f8"),  # deg
        ("lon", "f8"),
        ("sog", "f8"),  # knots
        ("nav_status", "i1"),
        ("ship_type", "i2"),  # last heard, -1 unknown
        ("ship_name", "S20"),
        ("base_t", "f8"),  # an earlier report, of another span where there is one: velocity is made good since then
        ("base_lat", "f8"),
        ("base_lon", "f8"),
        ("under_way_t", "f8"),  # last time that it made more than UNDER_WAY_KNOTS; -inf never
        ("first_t", "f8"),  # since when it is heard
        ("odd_t", "f8"),  # a report that needs an impossible speed, believed when the next agrees with it; NaN without
        ("odd_lat", "f8"),
        ("odd_lon", "f8"),
        ("deadline", "f8"),  # when its silence is a matter; inf while it is not watched
    ]
)

UNDER_WAY_KNOTS = 3.0
IMPOSSIBLE_MPS = 60.0 * KNOT_MPS  # twice what any report may say (TrackRules.speed_max_knots)
IMPOSSIBLE_MIN_M = 1000.0  # nearer than this it is the positions that are not exact
FRESH_S = 600.0  # an older report says no more where a ship is
STILL_KNOTS = 2.0  # slower, a ship is taken to be where it was last heard


class FleetTable:
    """The vessels, one row each, ascending by MMSI. A mutable value: ``to_bytes`` and ``from_bytes`` change nothing."""

    def __init__(self, rows: ShipRows | None = None) -> None:
        self.rows = np.zeros(0, VESSEL_DTYPE) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def find(self, mmsi: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) MMSIs -> rows; -1 where a vessel is not held."""
        at = np.searchsorted(self.rows["mmsi"], mmsi)
        at = np.minimum(at, max(len(self.rows) - 1, 0))
        return np.where(self.rows["mmsi"][at] == mmsi, at, -1) if len(self.rows) else np.full(len(mmsi), -1)

    def absorb(self, reports: Reports) -> Reports:
        """Take the reports of a span that is later than all before; return those that were accepted, by MMSI and time.

        A vessel's equal times count once; a report that needs more than 60 kn over more than 1 km is left out until a second one
        agrees with it.
        """
        if not len(reports):
            return reports
        # All fields that a decision may rest on: equal times fall in one order whatever order they came in.
        keys = ("ship_name", "ship_type", "nav_status", "sog", "lon", "lat", "t", "mmsi")
        reports = reports[np.lexsort([reports[name] for name in keys])]
        mmsi = reports["mmsi"]
        keep = np.ones(len(reports), bool)
        keep[1:] = (mmsi[1:] != mmsi[:-1]) | (reports["t"][1:] != reports["t"][:-1])
        reports = reports[keep]
        self._open(reports)
        mmsi = reports["mmsi"]
        row = np.searchsorted(self.rows["mmsi"], mmsi)
        first = np.concatenate([[True], mmsi[1:] != mmsi[:-1]])
        starts = np.flatnonzero(first)
        before_t, before_lat, before_lon = self._before(reports, row, first)
        dt = reports["t"] - before_t
        metres = distance_m(before_lat, before_lon, reports["lat"], reports["lon"])
        odd = (metres > IMPOSSIBLE_MIN_M) & (metres > dt * IMPOSSIBLE_MPS)
        suspect = np.logical_or.reduceat(odd, starts) | ~np.isnan(self.rows["odd_t"][row[starts]])
        accepted = np.ones(len(reports), bool)
        ends = np.append(starts[1:], len(reports))
        for k in np.flatnonzero(suspect).tolist():
            a, b = int(starts[k]), int(ends[k])
            accepted[a:b] = self._one_by_one(self.rows[row[a]], reports[a:b])
        reports = reports[accepted]
        self._update(reports)
        return reports

    def _open(self, reports: Reports) -> None:
        fresh = np.unique(reports["mmsi"][self.find(reports["mmsi"]) < 0])
        if not len(fresh):
            return
        new = np.zeros(len(fresh), VESSEL_DTYPE)
        new["mmsi"] = fresh
        new["t"] = new["base_t"] = new["under_way_t"] = -math.inf
        new["odd_t"] = np.nan
        new["ship_type"] = new["nav_status"] = -1
        new["deadline"] = math.inf
        at = np.searchsorted(reports["mmsi"], fresh)
        new["first_t"] = reports["t"][at]
        rows = np.concatenate([self.rows, new])
        self.rows = rows[np.argsort(rows["mmsi"], kind="stable")]

    def _before(
        self, reports: Reports, row: NDArray[np.int64], first: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Time and place of what came before each report of the same vessel; of its own where it is the vessel's first."""
        out = []
        known = np.isfinite(self.rows["t"][row])
        for name in ("t", "lat", "lon"):
            value = reports[name]
            shifted = np.concatenate([value[:1], value[:-1]])
            held = np.where(known, self.rows[name][row], value)
            out.append(np.where(first, held, shifted))
        return out[0], out[1], out[2]

    @staticmethod
    def _one_by_one(vessel: np.void, reports: Reports) -> NDArray[np.bool_]:
        """Which reports of one vessel are accepted; ``vessel`` keeps the odd one that waits for a second."""
        accepted = np.zeros(len(reports), bool)
        last = (float(vessel["t"]), float(vessel["lat"]), float(vessel["lon"])) if vessel["t"] > -math.inf else None
        odd: tuple[float, float, float] | None = None
        if not np.isnan(vessel["odd_t"]):
            odd = float(vessel["odd_t"]), float(vessel["odd_lat"]), float(vessel["odd_lon"])
        for i, (t, lat, lon) in enumerate(zip(*(reports[n].tolist() for n in ("t", "lat", "lon")), strict=True)):
            if last is None or _possible(last, t, lat, lon) or (odd is not None and _possible(odd, t, lat, lon)):
                last, odd = (t, lat, lon), None
                accepted[i] = True
            else:
                odd = (t, lat, lon)
        vessel["odd_t"], vessel["odd_lat"], vessel["odd_lon"] = odd or (np.nan, 0.0, 0.0)
        return accepted

    def _update(self, reports: Reports) -> None:
        if not len(reports):
            return
        mmsi = reports["mmsi"]
        starts = np.flatnonzero(np.concatenate([[True], mmsi[1:] != mmsi[:-1]]))
        ends = np.append(starts[1:], len(reports)) - 1
        row = np.searchsorted(self.rows["mmsi"], mmsi[starts])
        held = self.rows[row]
        has_before = np.isfinite(held["t"])
        opening = reports[starts]
        for name in ("t", "lat", "lon"):
            held[f"base_{name}"] = np.where(has_before, held[name], opening[name])
        last = reports[ends]
        for name in ("t", "lat", "lon", "sog", "nav_status"):
            held[name] = last[name]
        fast = np.where(reports["sog"] > UNDER_WAY_KNOTS, reports["t"], -math.inf)
        held["under_way_t"] = np.maximum(held["under_way_t"], np.maximum.reduceat(fast, starts))
        _last_known(held, "ship_type", reports, reports["ship_type"] >= 0, starts, ends)
        _last_known(held, "ship_name", reports, reports["ship_name"] != b"", starts, ends)
        self.rows[row] = held

    def at(self, t: float) -> ShipRows:
        """(m,) of ``SLOT_DTYPE``: who was heard within ``FRESH_S`` before ``t``, and where it is then.

        A ship under way is carried on by the velocity that it made good; a slow one is where it was heard.
        """
        use = np.flatnonzero((t - self.rows["t"] <= FRESH_S) & (self.rows["t"] <= t))
        rows = self.rows[use]
        out = np.zeros(len(use), SLOT_DTYPE)
        for name in ("mmsi", "sog", "ship_type", "under_way_t"):
            out[name] = rows[name]
        age = t - rows["t"]
        span = rows["t"] - rows["base_t"]
        usable = (rows["sog"] >= STILL_KNOTS) & (span >= 1.0) & (span <= FRESH_S)
        share = np.where(usable, age / np.where(usable, span, 1.0), 0.0)
        out["lat"] = rows["lat"] + (rows["lat"] - rows["base_lat"]) * share
        out["lon"] = rows["lon"] + east_degrees(rows["base_lon"], rows["lon"]) * share
        out["north_mps"] = np.where(
            usable, (rows["lat"] - rows["base_lat"]) * M_PER_DEG_CM / np.maximum(span, 1.0), 0.0
        )
        east = east_degrees(rows["base_lon"], rows["lon"]) * cos_latitude(rows["lat"]) * M_PER_DEG_CM
        out["east_mps"] = np.where(usable, east / np.maximum(span, 1.0), 0.0)
        out["row"] = use
        return out

    def forget(self, before: float) -> None:
        """Drop the vessels that were last heard before a moment."""
        keep = self.rows["t"] >= before
        if not keep.all():
            self.rows = self.rows[keep]


SLOT_DTYPE = np.dtype(
    [
        ("mmsi", "i8"),
        ("lat", "f8"),
        ("lon", "f8"),
        ("sog", "f8"),
        ("east_mps", "f8"),  # velocity made good; 0 for a slow ship
        ("north_mps", "f8"),
        ("ship_type", "i2"),
        ("under_way_t", "f8"),
        ("row", "i8"),
    ]
)


def _possible(last: tuple[float, float, float], t: float, lat: float, lon: float) -> bool:
    metres = distance_m(last[1], last[2], lat, lon)
    return metres <= IMPOSSIBLE_MIN_M or metres <= (t - last[0]) * IMPOSSIBLE_MPS


def _last_known(
    held: ShipRows,
    name: str,
    reports: Reports,
    known: NDArray[np.bool_],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> None:
    """The last known value of a field of each vessel; what was held where none is known."""
    index = np.where(known, np.arange(len(reports)), -1)
    newest = np.maximum.reduceat(index, starts)
    held[name] = np.where(newest >= 0, reports[name][np.maximum(newest, 0)], held[name])

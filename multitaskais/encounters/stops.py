"""Where ships stop: cells of 1 km in which several vessels lay. Learnt from an archive; berths, anchorages, fishing harbours.

Cells are rows of 0.01 degree of latitude, cut into columns of about the same length, so a cell is about 1.1 km square anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import Reports
from ..units import M_PER_DEG_CM
from .metric import cos_latitude, distance_m, east_degrees

ROWS_PER_DEG = 100
_COLUMN_BASE = 1 << 20  # more than the 36,000 columns of the equator: a cell's key is row * base + column
LAY_KNOTS = 1.0  # slower than this a vessel lies
LAY_MIN_S = 300.0  # seen lying in one cell for at least so long
MIN_VESSELS = 3  # that lay in a cell make it a stopping place
NEAR_M = 2000.0  # who lies nearer than this to a stopping place lies at it


def cell_key(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) keys of the cells in which points lie (degrees)."""
    row = np.floor((lat + 90.0) * ROWS_PER_DEG).astype(np.int64)
    column = np.floor((lon + 180.0) * (ROWS_PER_DEG * _row_cosine(row))).astype(np.int64)
    return row * _COLUMN_BASE + column


def cell_centre(key: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n,) keys -> latitude and longitude of the cells' middles, degrees."""
    row, column = key // _COLUMN_BASE, key % _COLUMN_BASE
    lat = (row + 0.5) / ROWS_PER_DEG - 90.0
    return lat, (column + 0.5) / (ROWS_PER_DEG * _row_cosine(row)) - 180.0


def _row_cosine(row: NDArray[np.int64]) -> NDArray[np.float64]:
    return cos_latitude((row + 0.5) / ROWS_PER_DEG - 90.0)


@dataclass(frozen=True)
class StoppingPlaces:
    """Cells in which at least ``MIN_VESSELS`` vessels lay.

    Attributes:
        keys: (n,) int64, ascending.
        vessels: (n,) how many vessels lay there.
        days: days of the archive that they were learnt from.
    """

    keys: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    vessels: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    days: float = 0.0

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def _near(self) -> NDArray[np.int64]:
        """Keys, ascending, of all cells whose middle lies within ``NEAR_M`` of the middle of a stopping place."""
        if not len(self.keys):
            return np.zeros(0, np.int64)
        lat, lon = cell_centre(self.keys)
        reach = int(NEAR_M / M_PER_DEG_CM * ROWS_PER_DEG) + 2
        found = [self.keys]
        scale = 1.0 / (ROWS_PER_DEG * cos_latitude(lat))
        for rows in range(-reach, reach + 1):
            for columns in range(-reach, reach + 1):
                around_lat = lat + rows / ROWS_PER_DEG
                around_lon = lon + columns * scale
                inside = (np.abs(around_lat) < 90.0) & (np.abs(around_lon) < 180.0)
                key = cell_key(around_lat[inside], around_lon[inside])
                centre_lat, centre_lon = cell_centre(key)
                close = distance_m(lat[inside], lon[inside], centre_lat, centre_lon) <= NEAR_M
                found.append(key[close])
        return np.unique(np.concatenate(found))

    def near(self, lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(n,) whether points lie in a cell within 2 km of a stopping place."""
        if not len(self.keys):
            return np.zeros(len(lat), bool)
        key = cell_key(lat, lon)
        at = np.minimum(np.searchsorted(self._near, key), len(self._near) - 1)
        there: NDArray[np.bool_] = self._near[at] == key
        return there

    def distance_m(self, lat: float, lon: float) -> float:
        """Metres to the nearest stopping place; infinite without any."""
        if not len(self.keys):
            return float("inf")
        stop_lat, stop_lon = cell_centre(self.keys)
        north = np.abs(stop_lat - lat)
        east = np.abs(east_degrees(stop_lon, np.full(len(stop_lon), lon)))
        order = np.argsort(north + east, kind="stable")[:4000]  # the nearest by the flat sum is among them
        full = np.full(len(order), lat), np.full(len(order), lon)
        return float(distance_m(*full, stop_lat[order], stop_lon[order]).min())

    def to_arrays(self) -> dict[str, Any]:
        return {"stop_keys": self.keys, "stop_vessels": self.vessels, "stop_days": np.float64(self.days)}

    @classmethod
    def from_arrays(cls, arrays: Any) -> StoppingPlaces:
        return cls(arrays["stop_keys"], arrays["stop_vessels"], float(arrays["stop_days"]))


LainRows = NDArray[np.void]  # (n,) of ``_LAIN_DTYPE``
# One vessel in one cell; the times are of its first and last slow report there, Unix s.
_LAIN_DTYPE = np.dtype([("key", "i8"), ("mmsi", "i8"), ("first", "f8"), ("last", "f8")])


class StopsTally:
    """Stopping places of reports that come a part at a time, in any order. A mutable value; it grows with vessels and the cells they lie in."""

    def __init__(self) -> None:
        self._first, self._last = np.inf, -np.inf
        self._lain = np.zeros(0, _LAIN_DTYPE)
        self._waiting: list[LainRows] = []

    def add(self, reports: Reports) -> None:
        """Take (n,) reports of ``REPORT_DTYPE``."""
        t = reports["t"][~np.isnan(reports["t"])]
        if len(t):
            self._first, self._last = min(self._first, float(t.min())), max(self._last, float(t.max()))
        lay = reports[(reports["sog"] < LAY_KNOTS) & np.isfinite(reports["lat"]) & np.isfinite(reports["lon"])]
        rows = np.zeros(len(lay), _LAIN_DTYPE)
        rows["key"], rows["mmsi"] = cell_key(lay["lat"], lay["lon"]), lay["mmsi"]
        rows["first"] = rows["last"] = lay["t"]
        self._waiting.append(_merged(rows))
        if sum(map(len, self._waiting)) > len(self._lain):
            self._merge()

    def close(self) -> StoppingPlaces:
        """Where ``MIN_VESSELS`` lay for ``LAY_MIN_S`` each."""
        self._merge()
        days = (self._last - self._first) / 86400.0 if self._last >= self._first else 0.0
        lain = self._lain["last"] - self._lain["first"] >= LAY_MIN_S
        cells, vessels = np.unique(self._lain["key"][lain], return_counts=True)
        enough = vessels >= MIN_VESSELS
        return StoppingPlaces(cells[enough], vessels[enough].astype(np.int32), days)

    def _merge(self) -> None:
        self._lain = _merged(np.concatenate([self._lain, *self._waiting]))
        self._waiting = []


def _merged(rows: LainRows) -> LainRows:
    """One row a vessel and cell."""
    if not len(rows):
        return rows
    rows = rows[np.lexsort((rows["mmsi"], rows["key"]))]
    start = np.flatnonzero(np.concatenate([[True], (np.diff(rows["key"]) != 0) | (np.diff(rows["mmsi"]) != 0)]))
    out = rows[start]
    out["first"], out["last"] = np.minimum.reduceat(rows["first"], start), np.maximum.reduceat(rows["last"], start)
    return out


def learn(reports: Reports) -> StoppingPlaces:
    """Stopping places of (n,) reports of ``REPORT_DTYPE`` in any order."""
    tally = StopsTally()
    tally.add(reports)
    return tally.close()

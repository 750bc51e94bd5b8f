"""Where there is a normal: near to where ships were received, and beside it where no ship is lost (docs/method.md#low-coverage).

Next to water that was heard lies water of two kinds. In one a ship would be heard, and none goes there: who does is out of place. In the
other nothing is heard, or nothing was when the model was made: the edge of reception, a border of what was recorded, the far side of a
cape. Ships tell them apart: where they are first heard, or heard no more, while they are under way and head from or to that water, there
is water beyond that the receivers do not show; where ships pass alongside and none is lost, nobody goes there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..exact import functions, scalars
from ..types import Samples
from ..units import KM_PER_DEG_TRAINED
from .grid import CellGrid
from .offline import lines_of

_KEYS_AT_ONCE = 1_000_000  # cells around vessels that are sorted together: 8 MB


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceptionRules:
    """Distances between centres of cells, km; chosen on development vessels beside borders (docs/studies/budget.md).

    Attributes:
        parts: each cell of the calibration is divided into so many a side.
        near_km: where a ship was received so near, a normal is known.
        reach_km: and so far, where no ship is lost: a ship off a lane is still in its surroundings.
        lost_km: so far around the way on which a ship was lost.
        lost_share: of the ships within ``reach_km``; more were lost, and nothing is known. One in twenty may fail or stop.
        ahead_km: a ship that is lost went on so far on its course.
        under_way_knots: a slower one may have stopped.
        archive_edge_s: a line that ends so near to the end of the archive was not lost (``TrackRules.gap_max_s``).
    """

    parts: int = 4
    near_km: float = 4.0
    reach_km: float = 12.0
    lost_km: float = 6.0
    lost_share: float = 0.05
    ahead_km: float = 12.0
    under_way_knots: float = 3.0
    archive_edge_s: float = 7200.0


@dataclass(frozen=True, slots=True)
class _Around:
    """(n_cells,) how many different vessels were around each cell; (p,) ascending keys ``vessel's number * n_cells + cell`` of who."""

    numbers: NDArray[np.int64]
    keys: NDArray[np.int64]


def vessels_around(grid: CellGrid, cell: NDArray[np.int64], number: NDArray[np.int64], km: float) -> _Around:
    """Which vessels were in a cell, or in one whose centre lies within ``km``.

    Args:
        cell, number: (m,) >= 0, of the samples: their cells and the numbers of their vessels.
    """
    pairs = np.unique(number * grid.n_cells + cell)
    number, at = np.divmod(pairs, grid.n_cells)
    row, col = np.divmod(at, grid.n_lon)
    d_row, d_col = _steps_within(grid, km)
    keys: list[NDArray[np.int64]] = []
    first = 0
    while first < len(pairs):
        # Whole vessels at a time: no key of theirs comes again later.
        last = min(first + max(1, _KEYS_AT_ONCE // len(d_row)), len(pairs))
        last = int(np.searchsorted(number, number[last - 1], side="right"))
        r, c = row[first:last, None] + d_row, col[first:last, None] + d_col
        inside = (r >= 0) & (r < grid.n_lat) & (c >= 0) & (c < grid.n_lon)
        keys.append(np.unique((number[first:last, None] * grid.n_cells + r * grid.n_lon + c)[inside]))
        first = last
    found = np.concatenate(keys) if keys else pairs
    return _Around(np.bincount(found % grid.n_cells, minlength=grid.n_cells), found)


def _steps_within(grid: CellGrid, km: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(k,) rows and columns to the cells whose centres lie within ``km``, its own among them, at the grid's middle latitude."""
    km_north = grid.cell_deg * KM_PER_DEG_TRAINED
    km_east = km_north * scalars.cos(grid.lat_min + 0.5 * grid.n_lat * grid.cell_deg)
    rows, cols = int(km / km_north), min(int(km / max(km_east, 1e-6)), grid.n_lon)
    steps = [
        (r, c)
        for r in range(-rows, rows + 1)
        for c in range(-cols, cols + 1)
        if scalars.hypot(r * km_north, c * km_east) <= km
    ]
    d_row, d_col = np.array(steps, np.int64).T
    return d_row, d_col


def lost_on(samples: Samples, grid: CellGrid, rules: ReceptionRules) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(k,) cells ahead of ships when they were last heard, or behind them when they were first heard, and (k,) their MMSIs.

    Of (m,) samples sorted by line. A ship counts when it was under way, and the archive goes on for longer than a track may be silent.
    """
    if not len(samples):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    start, _ = lines_of(samples)
    end = np.append(start[1:], len(samples)) - 1
    t = samples["t"]
    step_km = 0.5 * grid.cell_deg * KM_PER_DEG_TRAINED
    cells, vessels = [], []
    for at, onward in (
        (end[t[end] < t.max() - rules.archive_edge_s], 1.0),
        (start[t[start] > t.min() + rules.archive_edge_s], -1.0),
    ):
        s = samples[at]
        s = s[(s["sog"] >= rules.under_way_knots) & np.isfinite(s["cog"])]
        here, (east, north) = grid.index(s["lat"], s["lon"]), functions.sin_cos(s["cog"])
        s, east, north, here = s[here >= 0], east[here >= 0], north[here >= 0], here[here >= 0]
        for km in np.arange(step_km, rules.ahead_km + 0.5 * step_km, step_km):
            degrees = onward * km / KM_PER_DEG_TRAINED
            lat = s["lat"] + degrees * north
            lon = s["lon"] + degrees * east / functions.cos(s["lat"])
            cell = grid.index(lat, lon)
            ahead = (cell >= 0) & (cell != here)
            cells.append(cell[ahead])
            vessels.append(s["mmsi"][ahead])
    return np.concatenate(cells), np.concatenate(vessels).astype(np.int64)


class Reception:
    """What samples show of where ships are received.

    Args:
        samples: (m,) of all tracks, short ones too, sorted by line.
        grid: of the calibration.
    """

    def __init__(self, samples: Samples, grid: CellGrid, rules: ReceptionRules | None = None) -> None:
        self.rules = rules = rules or ReceptionRules()
        self.grid = grid = grid.divided(rules.parts)
        cell = grid.index(samples["lat"], samples["lon"])
        self._names = np.unique(samples["mmsi"][cell >= 0])
        number = np.searchsorted(self._names, samples["mmsi"][cell >= 0])
        cell = cell[cell >= 0]
        self._near = vessels_around(grid, cell, number, rules.near_km)
        self._beside = vessels_around(grid, cell, number, rules.reach_km)
        lost, mmsi = lost_on(samples, grid, rules)
        self._lost = vessels_around(grid, lost, np.searchsorted(self._names, mmsi), rules.lost_km)

    def covered(self) -> NDArray[np.bool_]:
        """(n,) of the cells of ``self.grid``, whether a normal is known there."""
        return self._known(self._near.numbers, self._beside.numbers, self._lost.numbers)

    def covered_by_others(self, samples: Samples) -> NDArray[np.bool_]:
        """(k,) the same of the places of samples, each without what its own vessel has shown."""
        n_cells = self.grid.n_cells
        cell = self.grid.index(samples["lat"], samples["lon"])
        at = np.searchsorted(self._names, samples["mmsi"])
        named = (at < len(self._names)) & (self._names[np.minimum(at, len(self._names) - 1)] == samples["mmsi"])
        here = np.maximum(cell, 0)

        def others(around: _Around) -> NDArray[np.int64]:
            own = named & np.isin(at * n_cells + here, around.keys)
            left: NDArray[np.int64] = around.numbers[here] - own
            return left

        return (cell >= 0) & self._known(others(self._near), others(self._beside), others(self._lost))

    def _known(self, near: NDArray[np.int64], beside: NDArray[np.int64], lost: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) numbers of different vessels near a place, beside it, and lost around it."""
        known: NDArray[np.bool_] = (near > 0) | ((beside > 0) & (lost <= self.rules.lost_share * beside))
        return known

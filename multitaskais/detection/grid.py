"""The calibration cells of a region, and groups of cells at coarser levels (docs/method.md#calibration and #departures-from-the-prototype: cells back off to larger ones)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..config import Region
from ..exact import scalars
from ..units import KM_PER_DEG_TRAINED

LEVELS = (
    1,
    3,
    10,
)  # docs/method.md#measured-decisions: 0.1 -> 0.3 -> 1 degree, in cells of 0.1 degree; the region comes last


@dataclass(frozen=True)
class CellGrid:
    """Square cells of ``cell_deg`` over a region's box; cells are numbered row by row from the south-west."""

    lat_min: float
    lon_min: float
    cell_deg: float
    n_lat: int
    n_lon: int

    @classmethod
    def of(cls, region: Region) -> CellGrid:
        """Cells of ``region.cell_deg`` that cover the region's box; the last row and column may reach beyond it."""

        def count(span: float) -> int:
            return max(1, math.ceil(span / region.cell_deg - 1e-9))

        return cls(
            region.lat_min,
            region.lon_min,
            region.cell_deg,
            count(region.lat_max - region.lat_min),
            count(region.lon_max - region.lon_min),
        )

    @property
    def n_cells(self) -> int:
        return self.n_lat * self.n_lon

    def index(self, lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.int64]:
        """(n,) degrees -> (n,) cell, -1 outside the box or where the position is missing."""
        row = (lat - self.lat_min) / self.cell_deg
        col = (lon - self.lon_min) / self.cell_deg
        inside = (row >= 0) & (row < self.n_lat) & (col >= 0) & (col < self.n_lon)  # False for NaN
        row = np.where(inside, row, 0).astype(np.int64)
        col = np.where(inside, col, 0).astype(np.int64)
        return np.where(inside, row * self.n_lon + col, -1)

    @cached_property
    def groups(self) -> tuple[NDArray[np.int64], ...]:
        """For each level of ``LEVELS``, (n_cells,) number of the group that a cell belongs to."""
        row, col = np.divmod(np.arange(self.n_cells), self.n_lon)
        return tuple((row // f) * math.ceil(self.n_lon / f) + col // f for f in LEVELS)


def distinct_vessels(
    grid: CellGrid, level: int, cell: NDArray[np.int64], vessel: NDArray[np.int64]
) -> NDArray[np.int32]:
    """(n_cells,) number of different vessels seen in the group of ``LEVELS[level]`` that each cell belongs to.

    ``cell`` (m,) >= 0 and ``vessel`` (m,) any integers are those of the samples.
    """
    group = grid.groups[level]
    pairs = np.unique(np.stack([group[cell], np.asarray(vessel, np.int64)], 1), axis=0)
    return np.bincount(pairs[:, 0], minlength=int(group.max()) + 1)[group].astype(np.int32)


# between cell centres: the cell itself and its neighbours; ships off a lane are still in its surroundings
COVERAGE_KM = 12.0


def vessels_received(
    grid: CellGrid, cell: NDArray[np.int64], vessel: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """How many different vessels were received around each cell, and around which cells each vessel was.

    Around: in a cell whose centre lies within ``COVERAGE_KM``; the cell itself always counts.

    Args:
        cell, vessel: (m,) of the samples; ``cell`` >= 0, ``vessel`` any integers.

    Returns:
        (n_cells,) numbers, and (p,) sorted keys ``vessel number * n_cells + cell`` of the pairs, where the number of a vessel is its
        place among the sorted vessels.
    """
    _, number = np.unique(vessel, return_inverse=True)
    pairs = np.unique(number.ravel() * grid.n_cells + cell)
    number, at = np.divmod(pairs, grid.n_cells)
    row, col = np.divmod(at, grid.n_lon)
    found = [pairs]
    for d_row, d_col in _steps_within(grid, COVERAGE_KM):
        r, c = row + d_row, col + d_col
        inside = (r >= 0) & (r < grid.n_lat) & (c >= 0) & (c < grid.n_lon)
        found.append((number * grid.n_cells + r * grid.n_lon + c)[inside])
    keys = np.unique(np.concatenate(found))
    return np.bincount(keys % grid.n_cells, minlength=grid.n_cells).astype(np.int32), keys


def _steps_within(grid: CellGrid, km: float) -> list[tuple[int, int]]:
    """(rows, columns) to the other cells whose centres lie within ``km``, at the grid's middle latitude."""
    km_north = grid.cell_deg * KM_PER_DEG_TRAINED
    km_east = km_north * scalars.cos(grid.lat_min + 0.5 * grid.n_lat * grid.cell_deg)
    rows, cols = int(km / km_north), min(int(km / max(km_east, 1e-6)), grid.n_lon)
    return [
        (r, c)
        for r in range(-rows, rows + 1)
        for c in range(-cols, cols + 1)
        if (r or c) and scalars.hypot(r * km_north, c * km_east) <= km
    ]

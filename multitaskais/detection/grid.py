"""The calibration cells of a region, and groups of cells at coarser levels (docs/method.md#calibration and #departures-from-the-prototype: cells back off to larger ones)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..config import Region

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

    def divided(self, parts: int) -> CellGrid:
        """The same area in cells of which ``parts`` by ``parts`` make one of these."""
        return CellGrid(self.lat_min, self.lon_min, self.cell_deg / parts, self.n_lat * parts, self.n_lon * parts)

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

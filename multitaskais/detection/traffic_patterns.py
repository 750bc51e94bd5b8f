"""What ships do here: the usual courses and speeds of each cell, and where ships pass at all.

Stored with the calibration and read only to explain an alert; no score rests on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from ..exact import scalars
from ..types import Samples
from ..units import M_PER_DEG
from .grid import LEVELS, CellGrid

SECTOR_DEG = 15.0
N_SECTORS = int(360 / SECTOR_DEG)
MIN_VESSELS = 5  # fewer vessels show no custom; the larger cell is asked
MIN_SAMPLES = 20
MIN_COURSE_SHARE = 0.12  # of the cell's samples within a sector and its neighbours: a usual course (even spread: 0.125)
FINE = 5  # places where ships pass are kept at cell / FINE: 0.02 degree
MIN_PASSES = 2  # vessels; where one alone has passed is no usual place
STEERED_MIN_KNOTS = 1.0  # slower, a course says nothing
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Custom(NamedTuple):
    """Of a cell: speeds in knots, courses in degrees true (the sector's middle), and the vessels that it rests on."""

    sog_low: float
    sog_q1: float
    sog_median: float
    sog_q3: float
    sog_high: float
    courses: tuple[float, ...]  # the commonest first; empty where ships go all ways
    course_share: NDArray[np.float64]  # (N_SECTORS,) share of samples within each sector and its two neighbours
    n_vessels: int


@dataclass(frozen=True)
class CellStatistics:
    """Attributes of each level's groups of cells (``CellGrid.groups``), and of the fine grid.

    sog: per level (n_groups, 5) quantiles 5, 25, 50, 75, 95 % in knots; courses: per level (n_groups, N_SECTORS) counts;
    vessels, samples: per level (n_groups,); nearest: (2, rows, cols) fine cell where ships pass that is nearest to each fine cell.
    """

    grid: CellGrid
    sog: tuple[NDArray[np.float32], ...]
    courses: tuple[NDArray[np.int32], ...]
    vessels: tuple[NDArray[np.int32], ...]
    samples: tuple[NDArray[np.int32], ...]
    passes: NDArray[np.uint8]
    nearest: NDArray[np.int32]
    _customs: dict[tuple[int, int], Custom] = field(default_factory=dict, init=False, repr=False, compare=False)

    def custom(self, lat: float, lon: float) -> Custom | None:
        """What ships do there: of the smallest cell that enough vessels have crossed; None where there is none."""
        cell = int(self.grid.index(np.array([lat]), np.array([lon]))[0])
        if cell < 0:
            return None
        for level, group in enumerate(self.grid.groups):
            g = int(group[cell])
            if self.vessels[level][g] >= MIN_VESSELS and self.samples[level][g] >= MIN_SAMPLES:
                if (level, g) not in self._customs:  # an abnormal track asks for the same ones with each report
                    self._customs[level, g] = self._custom(level, g)
                return self._customs[level, g]
        return None

    def _custom(self, level: int, g: int) -> Custom:
        counts = self.courses[level][g].astype(np.float64)
        total = counts.sum()
        share = (np.roll(counts, 1) + counts + np.roll(counts, -1)) / total if total else np.zeros(N_SECTORS)
        low, q1, median, q3, high = self.sog[level][g].tolist()
        return Custom(low, q1, median, q3, high, _peaks(share), share, int(self.vessels[level][g]))

    def distance_to_usual(self, lat: float, lon: float) -> tuple[float, float] | None:
        """Metres and bearing (deg true) from the nearest place where ships usually pass; None outside the box or without such places."""
        row, col = self._fine(np.array([lat]), np.array([lon]))
        if not (0 <= row[0] < self.passes.shape[0] and 0 <= col[0] < self.passes.shape[1]) or not self.passes.any():
            return None
        r, c = self.nearest[:, row[0], col[0]]
        if (r, c) == (row[0], col[0]):
            return 0.0, 0.0
        step = self.grid.cell_deg / FINE
        north = (lat - (self.grid.lat_min + (r + 0.5) * step)) * M_PER_DEG
        east = (lon - (self.grid.lon_min + (c + 0.5) * step)) * M_PER_DEG * scalars.cos(lat)
        return scalars.hypot(north, east), scalars.atan2(east, north) % 360.0

    def _fine(self, lat: NDArray[np.float64], lon: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        step = self.grid.cell_deg / FINE
        return (
            np.floor((lat - self.grid.lat_min) / step).astype(np.int64),
            np.floor((lon - self.grid.lon_min) / step).astype(np.int64),
        )

    def save(self, file: Path) -> None:
        """Write the ``.npz`` that ``load`` reads."""
        g = self.grid
        arrays: dict[str, Any] = {
            "grid": np.array([g.lat_min, g.lon_min, g.cell_deg, g.n_lat, g.n_lon]),
            "passes": self.passes,
        }
        for k in range(len(LEVELS)):
            arrays |= {
                f"sog{k}": self.sog[k],
                f"courses{k}": self.courses[k],
                f"vessels{k}": self.vessels[k],
                f"samples{k}": self.samples[k],
            }
        np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, file: Path) -> CellStatistics:
        """Read what ``save`` wrote."""
        with np.load(file, allow_pickle=False) as f:
            lat_min, lon_min, cell_deg, n_lat, n_lon = f["grid"].tolist()
            levels = range(len(LEVELS))
            return cls(
                CellGrid(lat_min, lon_min, cell_deg, int(n_lat), int(n_lon)),
                tuple(f[f"sog{k}"] for k in levels),
                tuple(f[f"courses{k}"] for k in levels),
                tuple(f[f"vessels{k}"] for k in levels),
                tuple(f[f"samples{k}"] for k in levels),
                f["passes"],
                _nearest(f["passes"], cell_deg, lat_min),
            )

    @classmethod
    def fit(cls, samples: Samples, grid: CellGrid) -> CellStatistics:
        """From (m,) samples of normal tracks, sorted by line."""
        cell = grid.index(samples["lat"], samples["lon"])
        use = (cell >= 0) & ~samples["moored"] & np.isfinite(samples["sog"])
        s, c = samples[use], cell[use]
        vessel = np.unique(s["mmsi"], return_inverse=True)[1]
        sector = np.where(np.isfinite(s["cog"]), s["cog"] // SECTOR_DEG, 0).astype(np.int64) % N_SECTORS
        steered = np.isfinite(s["cog"]) & (s["sog"] >= STEERED_MIN_KNOTS)
        sog, courses, vessels, counts = [], [], [], []
        for group in grid.groups:
            n_groups = int(group.max()) + 1
            g = group[c]
            quantiles = np.full((n_groups, len(_QUANTILES)), np.nan, np.float32)
            order = np.argsort(g, kind="stable")
            keys, starts = np.unique(g[order], return_index=True)
            for key, values in zip(keys, np.split(s["sog"][order], starts[1:]), strict=len(keys) > 0):
                quantiles[key] = np.quantile(values, _QUANTILES)
            sog.append(quantiles)
            flat = np.bincount(g[steered] * N_SECTORS + sector[steered], minlength=n_groups * N_SECTORS)
            courses.append(flat.reshape(n_groups, N_SECTORS).astype(np.int32))
            pairs = np.unique(np.stack([g, vessel], 1), axis=0)
            vessels.append(np.bincount(pairs[:, 0], minlength=n_groups).astype(np.int32))
            counts.append(np.bincount(g, minlength=n_groups).astype(np.int32))
        passes = _passes(samples, grid)
        return cls(
            grid,
            tuple(sog),
            tuple(courses),
            tuple(vessels),
            tuple(counts),
            passes,
            _nearest(passes, grid.cell_deg, grid.lat_min),
        )


def _peaks(share: NDArray[np.float64]) -> tuple[float, ...]:
    """The middles of at most three sectors that stand out, the commonest first."""
    peak = (
        (share >= np.roll(share, 1))
        & (share > np.roll(share, -1))
        & (share >= max(MIN_COURSE_SHARE, 2 * 3 / N_SECTORS))
    )
    order = sorted(np.flatnonzero(peak), key=lambda k: -share[k])[:3]
    return tuple((k + 0.5) * SECTOR_DEG for k in order)


def _passes(samples: Samples, grid: CellGrid) -> NDArray[np.uint8]:
    """(rows, cols) number of vessels (up to 255) that passed each fine cell, along straight lines between samples."""
    step = grid.cell_deg / FINE
    shape = (grid.n_lat * FINE, grid.n_lon * FINE)
    under_way = ~samples["moored"]
    joined = (
        (samples["mmsi"][1:] == samples["mmsi"][:-1])
        & (samples["n"][1:] == samples["n"][:-1] + 1)
        & (under_way[1:] | under_way[:-1])
    )
    a, b = samples[:-1][joined], samples[1:][joined]
    vessel = np.unique(a["mmsi"], return_inverse=True)[1]
    reach = np.maximum(np.abs(b["lat"] - a["lat"]), np.abs(b["lon"] - a["lon"])) / step
    seen = []
    for k in range(int(np.ceil(2 * reach.max(initial=0.0))) + 1):
        go = k <= np.ceil(2 * reach)  # two points a fine cell
        w = k / np.maximum(np.ceil(2 * reach[go]), 1)
        row = np.floor((a["lat"][go] * (1 - w) + b["lat"][go] * w - grid.lat_min) / step).astype(np.int64)
        col = np.floor((a["lon"][go] * (1 - w) + b["lon"][go] * w - grid.lon_min) / step).astype(np.int64)
        inside = (row >= 0) & (row < shape[0]) & (col >= 0) & (col < shape[1])
        seen.append(np.stack([row[inside] * shape[1] + col[inside], vessel[go][inside]], 1))
    pairs = np.unique(np.concatenate(seen), axis=0) if seen else np.zeros((0, 2), np.int64)
    return np.minimum(np.bincount(pairs[:, 0], minlength=shape[0] * shape[1]), 255).reshape(shape).astype(np.uint8)


def _nearest(passes: NDArray[np.uint8], cell_deg: float, lat_min: float) -> NDArray[np.int32]:
    usual = passes >= MIN_PASSES
    if not usual.any():
        return np.zeros((2, *passes.shape), np.int32)
    middle = lat_min + passes.shape[0] * cell_deg / FINE / 2
    nearest: NDArray[np.int32] = distance_transform_edt(
        ~usual, sampling=(1.0, max(0.1, scalars.cos(middle))), return_distances=False, return_indices=True
    ).astype(np.int32)
    return nearest

"""How usual are this speed and course in this cell? A histogram of SOG x COG with back-off (docs/method.md#measured-decisions).

    p_level = (n(cell, bin) + 20 p_larger) / (n(cell) + 20),   score = -ln p at the smallest cell

from the whole region through cells of 1, 0.3 and 0.1 degrees down to 0.05. n counts vessels, not samples: a ferry that passes
a hundred times says no more than one ship. Bins are 1 kn by 15 degrees; a vessel counts 0.4 in its bin, the rest in the eight
bins around.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..config import DetectionRules, Region
from ..detection.protocol import Scores, Traits
from ..errors import ModelCorrupt, WrongRegion
from ..exact import functions
from ..records import AlertType, NotJudged
from ..types import Rows, Samples
from .reference import NOBODY, LeaveOneVesselOut, ReferenceSet, velocity

FILE = "cells.npz"
FORMAT_VERSION = 1
FACTORS = (10.0, 3.0, 1.0, 0.5)  # cells of each level, in the region's cell_deg
N_SOG, SOG_BIN_KNOTS = 30, 1.0
N_COG = 24
N_BINS = N_SOG * N_COG
BACK_OFF = 20.0  # vessels that the larger cell counts for
# (SOG bins, COG bins, weight): a speed of 9.9 kn is no more anomalous than 10.1
SMEAR = (
    (0, 0, 0.4),
    (1, 0, 0.1),
    (-1, 0, 0.1),
    (0, 1, 0.1),
    (0, -1, 0.1),
    (1, 1, 0.05),
    (1, -1, 0.05),
    (-1, 1, 0.05),
    (-1, -1, 0.05),
)


class Level(NamedTuple):
    """Vessels at one cell size: sorted keys ``cell * N_BINS + bin`` and how many vessels each has, and the same by cell."""

    key: NDArray[np.int64]
    vessels: NDArray[np.int64]
    cell: NDArray[np.int64]
    total: NDArray[np.int64]

    @classmethod
    def of(cls, key: NDArray[np.int64], count: NDArray[np.int64]) -> Level:
        cell, of = np.unique(key // N_BINS, return_inverse=True)
        return cls(key, count, cell, np.bincount(of, count, len(cell)).astype(np.int64))


class CellsDetector(LeaveOneVesselOut):
    """Score: -ln p of speed and course in the cell, nats."""

    name = "cells"
    # The weight adds to what goes the wrong way or too fast, and costs where it counts as much as place.
    traits = Traits(alert_type=AlertType.ABNORMAL, location_based=True, weight=0.1)
    state_dtype = np.dtype([("seen", "?")])

    def __init__(self, region: Region, levels: list[Level]) -> None:
        self.region, self.levels = region, levels
        self._row_of, self._surprise = _tables(region, levels)
        self._traffic: ReferenceSet | None = None
        self._own: list[Level] = []  # keys with the vessel's number, only in the process that learned

    def initial(self, n: int) -> Rows:
        return np.zeros(n, self.state_dtype)

    def steps(self, state: Rows, samples: Samples) -> tuple[Rows, Scores]:
        new = state.copy()
        new["seen"] = True
        uv = velocity(samples["sog"], samples["cog"])
        known = np.isfinite(uv).all(axis=1) & np.isfinite(samples["lat"]) & np.isfinite(samples["lon"])
        reason = np.where(samples["moored"], NotJudged.MOORED, np.where(known, 0, NotJudged.NO_DATA)).astype(np.uint8)
        use = np.flatnonzero(reason == 0)
        score = np.full(len(samples), np.nan)
        if len(use):
            lat, lon, uv = samples["lat"][use], samples["lon"][use], uv[use]
            if self.own_excluded and self._traffic is not None:
                score[use] = self._score(lat, lon, uv, self._traffic.numbers_of(samples["mmsi"][use]))
            else:
                sog, cog = _bins(uv)
                cell = np.minimum(_cell(self.region, len(FACTORS), lat, lon), len(self._row_of) - 1)
                score[use] = self._surprise[self._row_of[cell], sog * N_COG + cog]
        return new, Scores(score, reason)

    step = steps

    def _score(
        self, lat: NDArray[np.float64], lon: NDArray[np.float64], uv: NDArray[np.float64], own: NDArray[np.int32] | None
    ) -> NDArray[np.float64]:
        """What the tables say, computed from the counts; vessels may be left out."""
        sog, cog = _bins(uv)
        p = np.full(len(lat), 1.0 / N_BINS)
        for k, level in enumerate(self.levels):
            cell = _cell(self.region, k, lat, lon)
            total = _look_up(level.cell, level.total, cell).astype(np.float64)
            if own is not None:
                total -= _look_up(self._own[k].cell, self._own[k].total, _with(cell, own))
            count = np.zeros(len(lat))
            for d_sog, d_cog, weight in SMEAR:
                key = cell * N_BINS + np.clip(sog + d_sog, 0, N_SOG - 1) * N_COG + (cog + d_cog) % N_COG
                n = _look_up(level.key, level.vessels, key)
                if own is not None:
                    n = n - _look_up(self._own[k].key, self._own[k].vessels, _with(key, own))
                count += weight * n
            p = (count + BACK_OFF * p) / (total + BACK_OFF)
        return -functions.log(p)

    @classmethod
    def fit(cls, samples: Samples, region: Region, rules: DetectionRules, seed: int = 0) -> Self:
        traffic = ReferenceSet.of(samples, region, np.random.default_rng(seed))
        lat = region.lat_min + traffic.xy[:, 1] / traffic.plane.km_north
        lon = region.lon_min + traffic.xy[:, 0] / traffic.plane.km_east
        sog, cog = _bins(traffic.uv)
        levels, own = [], []
        for k in range(len(FACTORS) + 1):
            cell = _cell(region, k, lat, lon)
            pair = np.unique(_with(cell * N_BINS + sog * N_COG + cog, traffic.vessel))
            key, count = np.unique(pair // _MOST_VESSELS, return_counts=True)
            levels.append(Level.of(key, count))
            vessel = pair % _MOST_VESSELS
            cells, totals = np.unique(_with(pair // _MOST_VESSELS // N_BINS, vessel), return_counts=True)
            own.append(Level(pair, np.ones(len(pair), np.int64), cells, totals))
        made = cls(region, levels)
        made._traffic, made._own = traffic, own
        return made

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        r = self.region
        arrays: dict[str, NDArray[np.generic]] = {
            "format": np.array(FORMAT_VERSION),
            "box": np.array([r.lat_min, r.lat_max, r.lon_min, r.lon_max, r.cell_deg]),
        }
        for k, level in enumerate(self.levels):
            arrays[f"step_{k}"] = np.diff(level.key, prepend=0)  # small numbers compress well
            arrays[f"count_{k}"] = level.vessels.astype(np.int32)
        np.savez_compressed(folder / FILE, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, folder: Path, region: Region, rules: DetectionRules) -> Self:
        file = folder / FILE
        try:
            with np.load(file, allow_pickle=False) as f:
                version, box = int(f["format"]), f["box"].tolist()
                levels = [
                    Level.of(np.cumsum(f[f"step_{k}"]), f[f"count_{k}"].astype(np.int64))
                    for k in range(len(FACTORS) + 1)
                ]
        except (OSError, ValueError, KeyError, EOFError) as e:
            raise ModelCorrupt(f"{file} cannot be read ({e}): copy the whole model folder again") from None
        if version != FORMAT_VERSION:
            raise ModelCorrupt(f"{file} has format {version}, this version reads {FORMAT_VERSION}: train it again")
        if box != [region.lat_min, region.lat_max, region.lon_min, region.lon_max, region.cell_deg]:
            raise WrongRegion(f"{file} has cells of {box}, not of region {region.name!r}: use its own model")
        return cls(region, levels)


def _tables(region: Region, levels: list[Level]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """All scores: of each smallest cell the row of the smallest cell around it that has traffic; (rows, N_BINS) -ln p."""
    lat, lon = _centres(region)
    row_of, rows = np.zeros(len(lat), np.int64), np.full((1, N_BINS), 1.0 / N_BINS)
    for k, level in enumerate(levels):
        if not len(level.cell):
            continue
        count = np.zeros((len(level.cell), N_SOG, N_COG))
        count.reshape(-1)[np.searchsorted(level.cell, level.key // N_BINS) * N_BINS + level.key % N_BINS] = (
            level.vessels
        )
        smeared = np.zeros_like(count)
        for d_sog, d_cog, weight in SMEAR:
            at = np.clip(np.arange(N_SOG) + d_sog, 0, N_SOG - 1)
            smeared += weight * np.roll(count[:, at], -d_cog, axis=2)
        cell = _cell(region, k, lat, lon)
        at = np.minimum(np.searchsorted(level.cell, cell), len(level.cell) - 1)
        inside = np.flatnonzero(level.cell[at] == cell)
        # Cells of 0.3 degrees may lie in two of 1 degree: a row for each that there is.
        pair, which = np.unique(at[inside] * len(rows) + row_of[inside], return_inverse=True)
        own, larger = np.divmod(pair, len(rows))
        total = level.total[own, None].astype(np.float64)
        row_of[inside] = len(rows) + which
        rows = np.concatenate([rows, (smeared.reshape(-1, N_BINS)[own] + BACK_OFF * rows[larger]) / (total + BACK_OFF)])
    return row_of, -functions.log(rows).astype(np.float32)


def _centres(region: Region) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(m,) latitude and longitude of all smallest cells, in the order of ``_cell``."""
    size = region.cell_deg * FACTORS[-1]
    rows = int((region.lat_max - region.lat_min) / size) + 2
    row, column = np.divmod(np.arange(rows * _columns(region, size)), _columns(region, size))
    return region.lat_min + (row + 0.5) * size, region.lon_min + (column + 0.5) * size


_MOST_VESSELS = 1 << 20


def _with(key: NDArray[np.int64], vessel: NDArray[np.integer]) -> NDArray[np.int64]:
    """One number of a key and a vessel; ``NOBODY`` gives a number that no vessel has."""
    return key * _MOST_VESSELS + np.where(vessel == NOBODY, _MOST_VESSELS - 1, vessel)


def _bins(uv: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    sog = np.minimum(functions.hypot(uv[:, 0], uv[:, 1]) / SOG_BIN_KNOTS, N_SOG - 1).astype(np.int64)
    cog = (functions.atan2(uv[:, 0], uv[:, 1]) % 360.0 * (N_COG / 360.0)).astype(np.int64) % N_COG
    return sog, cog


def _cell(region: Region, level: int, lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) cell of a level; level 0 is the whole region."""
    if level == 0:
        return np.zeros(len(lat), np.int64)
    size = region.cell_deg * FACTORS[level - 1]
    columns = _columns(region, size)
    row = np.floor((lat - region.lat_min) / size).astype(np.int64)
    return np.maximum(row, 0) * columns + np.maximum(np.floor((lon - region.lon_min) / size).astype(np.int64), 0)


def _columns(region: Region, size: float) -> int:
    return int((region.lon_max - region.lon_min) / size) + 2


def _look_up(keys: NDArray[np.int64], values: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) the values of keys (sorted), 0 where a key is not there."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)

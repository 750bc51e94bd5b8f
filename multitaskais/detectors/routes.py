"""Has any other ship gone on from here as this one does? A graph of waypoints and how many vessels took each turn in it.

Waypoints are the squares of ``SQUARE_KM`` that ships pass; an edge leads to one of the eight squares around.

    p(out | square)       = (n(square, out) + BACK_OFF / 8) / (n(square) + BACK_OFF)
    p(out | square, into) = (n(square, into, out) + BACK_OFF p(out | square)) / (n(square, into) + BACK_OFF)
    score                 = -ln p(out | square, into) of the last edge that the ship took

n counts vessels, not passages; ``into`` is the edge by which the ship came. Transition counts of a port-to-port graph, on a plain grid.
Whole numbers all the way, so that a score has the same bits everywhere. What it adds to the panel: docs/studies/routes.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..config import DetectionRules, Region
from ..detection import offline
from ..detection.protocol import Scores, Traits
from ..errors import ModelCorrupt
from ..exact import functions
from ..records import AlertType, NotJudged
from ..types import Rows, Samples
from .reference import NOBODY, LeaveOneVesselOut, Plane

FILE = "routes.npz"
SQUARE_KM = 5.0
BACK_OFF = 5.0  # vessels that the coarser distribution counts for
EDGES = 9  # to the eight squares around, in the order of (north, east); the one in the middle is "not known"
UNKNOWN = 4
NONE = -1  # no square yet
TABLES = (
    "in_out",
    "in",
    "out",
    "all",
)  # vessels by square with both edges, with the one that led in, the one that leads out, neither


class Tally(NamedTuple):
    """Sorted keys and how many (edges of) vessels each has."""

    key: NDArray[np.int64]
    vessels: NDArray[np.int64]

    @classmethod
    def of(cls, keys: NDArray[np.int64]) -> Tally:
        key, count = np.unique(keys, return_counts=True)
        return cls(key, count.astype(np.int64))

    def of_keys(self, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) 0 where a key is not there."""
        if not len(self.key):
            return np.zeros(len(wanted), np.int64)
        at = np.minimum(np.searchsorted(self.key, wanted), len(self.key) - 1)
        return np.where(self.key[at] == wanted, self.vessels[at], 0)


class RoutesDetector(LeaveOneVesselOut):
    """Score: how rare the ship's turns in the graph are, nats."""

    name = "routes"
    traits = Traits(alert_type=AlertType.ABNORMAL, location_based=True, weight=0.1, by_default=False)
    state_dtype = np.dtype([("square", "i8"), ("into", "i8"), ("score", "f8")])

    def __init__(self, region: Region, tables: dict[str, Tally]) -> None:
        self.region, self.tables = region, tables
        self._plane = Plane(region)
        self._n_east = int((region.lon_max - region.lon_min) * self._plane.km_east / SQUARE_KM) + 2
        self._mmsi: NDArray[np.int64] = np.zeros(
            0, np.int64
        )  # of the vessels that it learned from, only in that process
        self._own: dict[str, Tally] = {}

    def initial(self, n: int) -> Rows:
        state = np.zeros(n, self.state_dtype)
        state["square"], state["into"], state["score"] = NONE, UNKNOWN, np.nan
        return state

    def step(self, state: Rows, samples: Samples) -> tuple[Rows, Scores]:
        new = state.copy()
        square, edge = self._moved(state["square"], samples)
        went = np.flatnonzero(edge != UNKNOWN)
        known = square != NONE
        new["square"] = np.where(known, square, state["square"])
        if len(went):
            own = self._numbers(samples["mmsi"][went]) if self.own_excluded else np.full(len(went), NOBODY, np.int64)
            new["score"][went] = self._score(state["square"][went], state["into"][went], edge[went], own)
            new["into"][went] = edge[went]
        score = new["score"]
        return new, Scores.where(
            score,
            {
                NotJudged.TOO_SHORT: np.isnan(score),
                NotJudged.NO_DATA: ~known,
                NotJudged.MOORED: samples["moored"],
            },
        )

    def _moved(self, before: NDArray[np.int64], samples: Samples) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(n,) square of each sample, ``NONE`` without a position in the box, and the edge that led there, ``UNKNOWN`` for none."""
        lat, lon, r = samples["lat"], samples["lon"], self.region
        inside = (lat >= r.lat_min) & (lat < r.lat_max) & (lon >= r.lon_min) & (lon < r.lon_max)
        xy = self._plane.xy(np.where(inside, lat, r.lat_min), np.where(inside, lon, r.lon_min)) / SQUARE_KM
        north, east = xy[:, 1].astype(np.int64), xy[:, 0].astype(np.int64)
        moves = inside & (before != NONE)
        north_before, east_before = before // self._n_east, before % self._n_east
        edge = 3 * (np.sign(north - north_before) + 1) + np.sign(east - east_before) + 1
        return np.where(inside, north * self._n_east + east, NONE), np.where(moves, edge, UNKNOWN)

    def _score(
        self, square: NDArray[np.int64], into: NDArray[np.int64], out: NDArray[np.int64], own: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        n = {}
        for name, key in zip(TABLES, _keys(square, into, out), strict=True):
            n[name] = self.tables[name].of_keys(key).astype(np.float64)
            if self._own:
                n[name] -= np.where(own == NOBODY, 0, self._own[name].of_keys(key * self._most() + np.maximum(own, 0)))
        p = (n["out"] + BACK_OFF / (EDGES - 1)) / (n["all"] + BACK_OFF)
        p = (n["in_out"] + BACK_OFF * p) / (n["in"] + BACK_OFF)
        return -functions.log(p)

    def _most(self) -> int:
        return max(len(self._mmsi), 1)

    def _numbers(self, mmsi: NDArray[np.int64]) -> NDArray[np.int64]:
        if not len(self._mmsi):
            return np.full(len(mmsi), NOBODY, np.int64)
        at = np.minimum(np.searchsorted(self._mmsi, mmsi), len(self._mmsi) - 1)
        return np.where(self._mmsi[at] == mmsi, at, NOBODY)

    @classmethod
    def fit(cls, samples: Samples, region: Region, rules: DetectionRules) -> Self:
        made = cls(region, {name: Tally.of(np.zeros(0, np.int64)) for name in TABLES})
        made._mmsi = np.unique(samples["mmsi"])
        state = made.initial(len(offline.lines_of(samples)[0]))
        seen = []
        for lines, at in offline.batches(samples):
            here = samples[at]
            square, edge = made._moved(state["square"][lines], here)
            went = (edge != UNKNOWN) & ~here["moored"]
            row = np.stack([state["square"][lines], state["into"][lines], edge, made._numbers(here["mmsi"])], axis=1)
            seen.append(row[went])
            state["square"][lines] = np.where(square != NONE, square, state["square"][lines])
            state["into"][lines] = np.where(edge != UNKNOWN, edge, state["into"][lines])
        edges = np.unique(np.concatenate([np.zeros((0, 4), np.int64), *seen]), axis=0)  # one a vessel
        keys = _keys(edges[:, 0], edges[:, 1], edges[:, 2])
        made.tables = {name: Tally.of(key) for name, key in zip(TABLES, keys, strict=True)}
        made._own = {name: Tally.of(key * made._most() + edges[:, 3]) for name, key in zip(TABLES, keys, strict=True)}
        return made

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        r = self.region
        arrays = {f"{name}_{part}": getattr(t, part) for name, t in self.tables.items() for part in Tally._fields}
        np.savez_compressed(
            folder / FILE, allow_pickle=False, box=np.array([r.lat_min, r.lat_max, r.lon_min, r.lon_max]), **arrays
        )

    @classmethod
    def load(cls, folder: Path, region: Region, rules: DetectionRules) -> Self:
        try:
            with np.load(folder / FILE, allow_pickle=False) as f:
                tables = {name: Tally(f[f"{name}_key"], f[f"{name}_vessels"]) for name in TABLES}
                box = f["box"].tolist()
        except (OSError, ValueError, KeyError, EOFError) as e:
            raise ModelCorrupt(f"{folder / FILE} cannot be read ({e}): copy the whole model folder again") from None
        if box != [region.lat_min, region.lat_max, region.lon_min, region.lon_max]:
            raise ModelCorrupt(f"{folder / FILE} is of another box: copy the whole model folder again")
        return cls(region, tables)


def _keys(square: NDArray[np.int64], into: NDArray[np.int64], out: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """In the order of ``TABLES``."""
    return (square * EDGES + into) * EDGES + out, square * EDGES + into, square * EDGES + out, square

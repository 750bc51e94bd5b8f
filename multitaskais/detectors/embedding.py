"""Which other ship moved like this one, here? Nearest neighbour in the joint space of position and the motion network's state.

    e      = [east, north / PLACE_KM; COMPONENTS whitened principal components of the state of ``residual``'s LSTM]
    score  = ln(distance from e to the nearest remembered e of another vessel + SOFTEN)

The state of the LSTM says how the ship has moved up to now (its speed, turns and class, no place), so that a neighbour is a ship that
came by here and moved alike. Alone it is as good as ``place``, and the panel gains nothing by it (docs/studies/routes.md):
it is not in a panel unless it is named.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..config import DetectionRules, Region
from ..detection import offline
from ..detection.protocol import Scores, Traits
from ..detection.ship_classes import vessel_class
from ..errors import InputError, ModelCorrupt
from ..exact import functions
from ..exact.products import on_grid
from ..networks.motion import OUTPUT, ResidualScorer, ResidualWeights
from ..networks.threads import OneThread
from ..records import AlertType, NotJudged
from ..types import Rows, Samples
from .reference import NOBODY, LeaveOneVesselOut, Plane, Tree, nearest_other
from .residual import SHIPPED, WARMUP_SAMPLES, WEIGHTS_FILE

FILE = "embedding.npz"
PLACE_KM = 3.0  # so far apart counts as one deviation of a component
COMPONENTS = 8
SOFTEN = 0.05
MOST_POINTS = 80_000  # that are remembered; more are left out at random


class EmbeddingDetector(LeaveOneVesselOut):
    """Score: ln of the distance to the nearest remembered state of another vessel."""

    name = "embedding"
    traits = Traits(
        alert_type=AlertType.ABNORMAL, warmup_samples=WARMUP_SAMPLES, location_based=True, weight=0.1, by_default=False
    )

    def __init__(
        self,
        region: Region,
        weights: ResidualWeights,
        projection: NDArray[np.float64],
        points: NDArray[np.float32],
        vessel: NDArray[np.int32],
    ) -> None:
        """projection: (hidden, COMPONENTS) state -> components; points: (m, 2 + COMPONENTS) remembered, of these vessels (m,)."""
        self.region, self.weights, self.projection, self.points, self.vessel = (
            region,
            weights,
            projection,
            points,
            vessel,
        )
        self._plane = Plane(region)
        self._scorer = ResidualScorer(weights)
        self._components = on_grid(projection, OUTPUT)
        self._one_thread = OneThread()
        self._tree = Tree(points.astype(np.float64))
        self._mmsi: NDArray[np.int64] = np.zeros(0, np.int64)  # in the process that learned alone
        self._number: NDArray[np.int32] = np.zeros(0, np.int32)
        self.state_dtype: np.dtype[Any] = self._scorer.state_dtype

    def initial(self, n: int) -> Rows:
        return self._scorer.initial(n)

    def step(self, state: Rows, samples: Samples) -> tuple[Rows, Scores]:
        unscored = np.zeros(len(samples), bool)
        new, _ = self._scorer.step(state, samples, vessel_class(samples["ship_type"]), unscored)
        point = self._embed(new["h"], samples)
        known = np.isfinite(point).all(axis=1) & np.isfinite(samples["sog"])
        use = np.flatnonzero(known & ~samples["moored"])
        score = np.full(len(samples), np.nan)
        if len(use):
            own = self._numbers(samples["mmsi"][use]) if self.own_excluded else np.full(len(use), NOBODY, np.int32)
            distance = nearest_other(self._tree, self.vessel, point[use], own)
            score[use] = functions.log(np.minimum(distance, 1e4) + SOFTEN)
        return new, Scores.where(
            score,
            {
                NotJudged.NO_DATA: np.isnan(score),
                NotJudged.TOO_SHORT: state["seen"] < self.traits.warmup_samples,
                NotJudged.MOORED: samples["moored"],
            },
        )

    def _embed(self, h: NDArray[np.float32], samples: Samples) -> NDArray[np.float64]:
        """(n, 2 + COMPONENTS); NaN without a position."""
        state = np.empty(h.shape)
        OUTPUT.symmetric(h.astype(np.float64), state)
        with self._one_thread():
            components = state @ self._components  # exact: both on their grids
        return np.concatenate([self._plane.xy(samples["lat"], samples["lon"]) / PLACE_KM, components], axis=1)

    def embeddings(self, samples: Samples) -> NDArray[np.float64]:
        """(m,) samples sorted by line (``mmsi``, ``n``) -> (m, 2 + COMPONENTS) where each lies among the remembered ones; NaN where it is not
        judged: without a position or speed, moored, or among the first ``traits.warmup_samples`` of its line."""
        h, seen = _states(self._scorer, samples)
        points = np.full((len(samples), 2 + self.projection.shape[1]), np.nan)
        use = np.flatnonzero(_usable(samples, seen))
        points[use] = self._embed(h[use], samples[use])
        return points

    def _numbers(self, mmsi: NDArray[np.int64]) -> NDArray[np.int32]:
        if not len(self._mmsi):
            return np.full(len(mmsi), NOBODY, np.int32)
        at = np.minimum(np.searchsorted(self._mmsi, mmsi), len(self._mmsi) - 1)
        return np.where(self._mmsi[at] == mmsi, self._number[at], NOBODY).astype(np.int32)

    @classmethod
    def fit(cls, samples: Samples, region: Region, rules: DetectionRules, seed: int = 0) -> Self:
        rng = np.random.default_rng(seed)
        weights = ResidualWeights.load(SHIPPED)
        h, seen = _states(ResidualScorer(weights), samples)
        use = _usable(samples, seen)
        if not use.any():
            raise InputError(f"no sample under way inside the box of region {region.name!r}: nothing to learn from")
        kept = rng.permutation(np.flatnonzero(use))[:MOST_POINTS]
        spread, axes = np.linalg.eigh(np.atleast_2d(np.cov(h[use].astype(np.float64), rowvar=False, bias=True)))
        best = np.argsort(spread)[::-1][:COMPONENTS]
        # Axes with hardly any spread say nothing: whitened, they would be noise.
        deviation = np.sqrt(np.maximum(spread[best], 1e-6 * max(float(spread.max()), 1e-12)))
        names, index = np.unique(samples["mmsi"][kept], return_inverse=True)
        number = rng.permutation(len(names)).astype(np.int32)
        width = 2 + COMPONENTS
        made = cls(region, weights, axes[:, best] / deviation, np.zeros((1, width), np.float32), np.zeros(1, np.int32))
        points = made._embed(h[kept], samples[kept]).astype(np.float32)
        found = cls(region, weights, made.projection, points, number[index])
        found._mmsi, found._number = names, number
        return found

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.weights.save(folder / WEIGHTS_FILE)
        r = self.region
        np.savez_compressed(
            folder / FILE,
            allow_pickle=False,
            box=np.array([r.lat_min, r.lat_max, r.lon_min, r.lon_max]),
            projection=self.projection,
            points=self.points,
            vessel=self.vessel,
        )

    @classmethod
    def load(cls, folder: Path, region: Region, rules: DetectionRules) -> Self:
        weights = ResidualWeights.load(folder / WEIGHTS_FILE)
        try:
            with np.load(folder / FILE, allow_pickle=False) as f:
                box, projection, points, vessel = f["box"].tolist(), f["projection"], f["points"], f["vessel"]
        except (OSError, ValueError, KeyError, EOFError) as e:
            raise ModelCorrupt(f"{folder / FILE} cannot be read ({e}): copy the whole model folder again") from None
        shapes = len(projection) == len(weights.lstm_h) and points.shape == (len(vessel), 2 + projection.shape[1])
        if box != [region.lat_min, region.lat_max, region.lon_min, region.lon_max] or not shapes:
            raise ModelCorrupt(f"{folder / FILE} is of another box or network: copy the whole model folder again")
        return cls(region, weights, projection, points, vessel)


def _states(scorer: ResidualScorer, samples: Samples) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(m,) samples sorted by line -> (m, hidden) the network's state after each, and (m,) how many it had seen of the line before."""
    h = np.zeros((len(samples), scorer.hidden), np.float32)
    seen = np.zeros(len(samples), np.int64)
    rows = scorer.initial(len(offline.lines_of(samples)[0]))
    for lines, at in offline.batches(samples):
        seen[at] = rows["seen"][lines]
        rows[lines], _ = scorer.step(rows[lines], samples[at], vessel_class(samples["ship_type"][at]))
        h[at] = rows["h"][lines]
    return h, seen


def _usable(samples: Samples, seen: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(m,) whether a sample has an embedding that says something."""
    use: NDArray[np.bool_] = ~samples["moored"] & (seen >= WARMUP_SAMPLES)
    use &= np.isfinite(samples["lat"]) & np.isfinite(samples["lon"]) & np.isfinite(samples["sog"])
    return use

"""Has any other ship been here, going this way at this speed?

    d     distance from the sample to the nearest remembered point of another vessel, in km, where 4 kn count as 1 km
    far   ln(d + 0.1 km) - the same of the remembered traffic around: 2 km is far beside a river, near on the open sea
    way   ln(km + 50 m) to the nearest point of another vessel on about this course, whatever its speed
    raw   (far + way / 2) / 1.5, each less its mean; far alone where a ship is too slow to have a course
    score raw - what this vessel's own past (more than an hour ago) has made usual for it

The first line is the distance to other vessels (docs/method.md#measured-decisions); the second is a local outlier factor (Breunig et al., SIGMOD 2000) with the
context taken in position only; the third sees a ship beside its lane, where d is mostly the spread of speeds; the last keeps
a ship that always works off the lanes from being strange for ever.
Above the region's greatest speed nothing is remembered: there ``far`` would tell of the speed and not of the place, so ``way`` stands alone.
Choices were made on development vessels (``docs/studies/panel.md``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..config import DetectionRules, Region
from ..detection.protocol import Scores, Traits
from ..detection.rings import history, newest, oldest_before, summed
from ..exact import functions
from ..records import AlertType, NotJudged
from ..types import Rows, Samples
from .lanes import Lanes, course_of
from .reference import (
    NOBODY,
    LeaveOneVesselOut,
    ReferenceSet,
    Tree,
    mean_of,
    nearest_other,
    nearest_others,
    velocity,
)

FILE = "place.npz"
KM_PER_KNOT = 0.25
SOFTEN_KM = 0.1  # closer than this is all the same: reports are that precise in time
WAY_SOFTEN_KM = 0.05
WAY_WEIGHT = 0.5  # of `way` beside `far`; 0.5 to 1 are alike, 2 is worse
NEIGHBOURS = 20  # of the context
RECENT_STEPS = 6  # the last hour is not yet the vessel's past
TERMS_AT_ONCE = 10_000  # samples whose neighbours are looked for together while it learns
HABIT_PRIOR_STEPS = 6.0  # so many samples of nothing strange are taken for granted before a past counts
UNIT = 1e-3  # of the stored logarithms


class PlaceDetector(LeaveOneVesselOut):
    """Score: ln of distances in km to other vessels' points, less what is usual around."""

    name = "place"
    traits = Traits(alert_type=AlertType.ABNORMAL, location_based=True, any_speed=True)
    state_dtype = np.dtype([("recent", "f8", (RECENT_STEPS,)), ("sum", "f8"), ("count", "f8")])

    def __init__(
        self,
        traffic: ReferenceSet,
        usual: NDArray[np.int16],
        typical: float,
        typical_way: float,
        context: NDArray[np.int16] | None = None,
    ) -> None:
        """usual: (m,) ln distance of each memory point to the nearest of another vessel, in ``UNIT``; typical: means of ``far`` and ``way``.

        context: (m,) mean ``usual`` around each point, which is that of all samples whose nearest point it is; computed where it is not given.
        """
        self.traffic, self.usual, self.typical, self.typical_way = traffic, usual, typical, typical_way
        self._lanes = Lanes(traffic.xy, traffic.uv, traffic.vessel)
        self._tree = Tree(_scaled(traffic.xy, traffic.uv))
        self._around = Tree(traffic.xy)
        self._usual = usual.astype(np.float64) * UNIT
        if context is None:
            mean, _ = self._around_of(traffic.xy, np.full(len(traffic), NOBODY, np.int32))
            context = np.round(mean / UNIT).astype(np.int16)
        self.context = context
        self._context = context.astype(np.float64) * UNIT

    def initial(self, n: int) -> Rows:
        state = np.zeros(n, self.state_dtype)
        state["recent"] = np.nan
        return state

    def steps(self, state: Rows, samples: Samples) -> tuple[Rows, Scores]:
        n, raw = len(state), self.raw(samples)
        recent = history(state["recent"], raw)
        old = oldest_before(recent, RECENT_STEPS)
        past = np.isfinite(old)
        total = summed(state["sum"], np.where(past, old, 0.0))
        count = summed(state["count"], past.astype(np.float64))
        new = state.copy()
        new["recent"], new["sum"], new["count"] = newest(recent, RECENT_STEPS), total[-n:], count[-n:]
        score = raw - total / (count + HABIT_PRIOR_STEPS)
        return new, Scores.where(score, {NotJudged.NO_DATA: np.isnan(raw), NotJudged.MOORED: samples["moored"]})

    step = steps

    def raw(self, samples: Samples) -> NDArray[np.float64]:
        """(n,) ``raw`` of the module's text; NaN for moored samples and where position or velocity is missing."""
        far, way = self._terms(samples)
        far = far - self.typical
        way = way - self.typical_way
        of_both = np.where(np.isfinite(way), (far + WAY_WEIGHT * way) / (1.0 + WAY_WEIGHT), far)
        return np.where(samples["sog"] > self.traffic.region.sog_max_knots, way, of_both)

    def _terms(self, samples: Samples) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n,) ``far`` and ``way``, NaN where there is none."""
        xy = self.traffic.plane.xy(samples["lat"], samples["lon"])
        uv = velocity(samples["sog"], samples["cog"])
        use = np.flatnonzero(~samples["moored"] & np.isfinite(uv).all(axis=1) & np.isfinite(xy).all(axis=1))
        own = (
            self.traffic.numbers_of(samples["mmsi"][use]) if self.own_excluded else np.full(len(use), NOBODY, np.int32)
        )
        far, way = np.full(len(samples), np.nan), np.full(len(samples), np.nan)
        if len(use):
            far[use] = self._far(xy[use], uv[use], own)
            way[use] = functions.log(self._lanes.nearest(xy[use], course_of(uv[use]), own) + WAY_SOFTEN_KM)
        return far, way

    def _far(self, xy: NDArray[np.float64], uv: NDArray[np.float64], own: NDArray[np.int32]) -> NDArray[np.float64]:
        far = _log(nearest_other(self._tree, self.traffic.vessel, _scaled(xy, uv), own))
        if not self.own_excluded:
            further: NDArray[np.float64] = far - self._context[self._around.query(xy)[1]]
            return further
        context, number = self._around_of(xy, own)
        return np.where(number > 0, far - context, np.nan)

    def _around_of(
        self, xy: NDArray[np.float64], own: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean ``usual`` of the ``NEIGHBOURS`` nearest points of vessels other than ``own`` around (n, 2) places, and their number."""
        at, counts = nearest_others(self._around, self.traffic.vessel, xy, own, NEIGHBOURS)
        return mean_of(self._usual[at], counts)

    @classmethod
    def fit(cls, samples: Samples, region: Region, rules: DetectionRules, seed: int = 0) -> Self:
        traffic = ReferenceSet.of(samples, region, np.random.default_rng(seed))
        points = _scaled(traffic.xy, traffic.uv)
        far = _log(nearest_other(Tree(points), traffic.vessel, points, traffic.vessel))
        usual = np.round(np.clip(far, -32.0, 32.0) / UNIT).astype(np.int16)
        made = cls(traffic, usual, 0.0, 0.0)
        with made.excluding_own():
            parts = (samples[k : k + TERMS_AT_ONCE] for k in range(0, len(samples), TERMS_AT_ONCE))
            terms = np.concatenate([np.zeros((2, 0)), *(np.stack(made._terms(part)) for part in parts)], axis=1)
            made.typical, made.typical_way = (_mean(term) for term in terms)
        return made

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            folder / FILE,
            allow_pickle=False,
            **self.traffic.arrays(),
            usual=self.usual,
            typical=np.array([self.typical, self.typical_way]),
            context=self.context,
        )

    @classmethod
    def load(cls, folder: Path, region: Region, rules: DetectionRules) -> Self:
        traffic, rest = ReferenceSet.from_file(folder / FILE, region)
        typical, typical_way = rest["typical"].tolist()
        return cls(traffic, rest["usual"], typical, typical_way, rest["context"])


def _scaled(xy: NDArray[np.float64], uv: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([xy, KM_PER_KNOT * uv], axis=1)


def _mean(x: NDArray[np.float64]) -> float:
    x = x[np.isfinite(x)]
    return float(np.mean(x)) if len(x) else 0.0


def _log(km: NDArray[np.float64]) -> NDArray[np.float64]:
    return functions.log(np.minimum(km, 1e4) + SOFTEN_KM)  # one vessel alone in the memory: as far as it gets

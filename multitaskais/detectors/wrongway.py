"""Do ships that go this way pass farther from here than ships that go the other way?

    same  mean ln(distance + 50 m) to the three nearest other vessels that went on about this course
    back  the same of vessels that went on the opposite course
    score same - back, at most 2 either way, z in the cell, mean of two hours

Where ships keep to one side, or lanes are one-way, a ship that goes against the traffic passes close to where the others come
from, for hours. Both distances grow together off the lanes, so that a ship that is merely elsewhere scores near zero: that is
``place``'s question. Found where two ways of a river are told apart by some hundred metres (``docs/studies/panel.md``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..config import DetectionRules, Region
from ..detection.protocol import Scores, Traits
from ..exact import functions
from ..records import AlertType, Cause, NotJudged
from ..types import Rows, Samples
from .lanes import COURSE_MIN_KNOTS, Lanes, course_of
from .reference import NOBODY, LeaveOneVesselOut, ReferenceSet, velocity

FILE = "wrongway.npz"
VESSELS = 3  # one alone may have been on the wrong side itself
SOFTEN_KM = 0.05
MOST = 2.0  # seven times as far: more says only that few ships pass here


class WrongwayDetector(LeaveOneVesselOut):
    """Score: difference of two mean ln distances, without unit, at most 2 either way."""

    name = "wrongway"
    traits = Traits(
        alert_type=AlertType.ABNORMAL,
        location_based=True,
        weight=0.2,  # of 0.05 to 0.3: finds the reversed, costs the others nothing
        cause=Cause.COURSE,
    )
    state_dtype = np.dtype([("seen", "?")])

    def __init__(self, traffic: ReferenceSet) -> None:
        self.traffic = traffic
        self._lanes = Lanes(traffic.xy, traffic.uv, traffic.vessel)

    def initial(self, n: int) -> Rows:
        return np.zeros(n, self.state_dtype)

    def steps(self, state: Rows, samples: Samples) -> tuple[Rows, Scores]:
        new = state.copy()
        new["seen"] = True
        course = course_of(velocity(samples["sog"], samples["cog"]))
        score = np.full(len(samples), np.nan)
        use = np.flatnonzero(~samples["moored"] & ~np.isnan(course) & np.isfinite(samples["lat"] + samples["lon"]))
        if len(use):
            xy = self.traffic.plane.xy(samples["lat"][use], samples["lon"][use])
            own = (
                self.traffic.numbers_of(samples["mmsi"][use])
                if self.own_excluded
                else np.full(len(use), NOBODY, np.int32)
            )
            there, back = course[use], (course[use] + 180.0) % 360.0
            # Both at once: a search costs little more for two.
            log = self._log(np.concatenate([xy, xy]), np.concatenate([there, back]), np.concatenate([own, own]))
            score[use] = np.clip(log[: len(use)] - log[len(use) :], -MOST, MOST)
        return new, Scores.where(score, {NotJudged.NO_DATA: np.isnan(score), NotJudged.MOORED: samples["moored"]})

    step = steps

    def _log(self, xy: NDArray[np.float64], course: NDArray[np.float64], own: NDArray[np.int32]) -> NDArray[np.float64]:
        """(n,) ``same`` of the module's text."""
        log = functions.log(self._lanes.nearest_vessels(xy, course, own, VESSELS) + SOFTEN_KM)
        total = np.zeros(len(xy))
        for k in range(VESSELS):
            total += log[:, k]
        return total / VESSELS

    @classmethod
    def fit(cls, samples: Samples, region: Region, rules: DetectionRules, seed: int = 0) -> Self:
        return cls(ReferenceSet.of(samples, region, np.random.default_rng(seed), sog_min=COURSE_MIN_KNOTS))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(folder / FILE, allow_pickle=False, **self.traffic.arrays())

    @classmethod
    def load(cls, folder: Path, region: Region, rules: DetectionRules) -> Self:
        return cls(ReferenceSet.from_file(folder / FILE, region)[0])

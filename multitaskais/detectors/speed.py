"""Faster or slower than the ships around on the same course, and than the vessel itself has been (docs/method.md#rules-of-motion).

    l      ln(SOG + 1 kn)
    zn     (l - mean of neighbours) / sd of neighbours: remembered points of other vessels within 3 km and 40 degrees of course.
           Means are kept with the memory: a sample takes those of the nearest point
    zo     (l - mean of own past) / its sd: the vessel's own samples under way more than an hour ago
    signed sign * sqrt(zn * zo) when both say the same, else 0, both limited to +-2
    score  |sum of the last 12 signed| / 12: neither a fast boat among tows nor a tow that leaves port is enough alone

Only samples above 2 kn count: a ship that waits, shunts or comes to anchor is not slow, and stops in the window lower the
score. Limits are narrow on purpose: two hours of a moderate change are to weigh more than one sample of a large one.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..config import DetectionRules, Region
from ..detection.protocol import Scores, Traits
from ..detection.rings import after_each, before_each, counted, history, newest, oldest_before, summed
from ..exact import functions, scalars
from ..records import AlertType, NotJudged
from ..types import Rows, Samples
from .reference import NOBODY, LeaveOneVesselOut, ReferenceSet, Tree, mean_of, nearest_others, velocity

FILE = "speed.npz"
NEAR_KM = 3.0
COURSE_DEG = 40.0
WITHIN = 1.2  # of the two together: hypot(km / 3, chord of the course / chord of 40 degrees)
NEIGHBOURS, NEIGHBOURS_MIN = 40, 5
JUDGED_MIN_KNOTS = 2.0
SD_FLOOR = 0.2  # of ln(SOG + 1): a fifth of the speed is no change at all
LIMIT = 2.0
STEPS, STEPS_MIN = 12, 6
RECENT_STEPS = 6
PAST_MIN = 6  # samples under way before a vessel has a past
FEW = 5.0  # neighbours' z is taken n / (n + 5) of its worth
UNIT = 1e-3  # of the stored logarithms


class Around(NamedTuple):
    """What others do around each memory point, or around samples: of the ``NEIGHBOURS`` nearest, ``NEIGHBOURS`` at most."""

    mean: NDArray[np.float64]  # of ln(SOG + 1)
    sd: NDArray[np.float64]
    n: NDArray[np.float64]

    def rounded(self) -> Around:
        """As it comes back from a file."""
        return Around(np.round(self.mean / UNIT) * UNIT, np.round(self.sd / UNIT) * UNIT, self.n)


class SpeedDetector(LeaveOneVesselOut):
    """Score: standard deviations of ln speed from the ships around, and from the vessel's own past."""

    name = "speed"
    traits = Traits(
        alert_type=AlertType.SPEED,
        warmup_samples=STEPS,
        location_based=True,
        calibration="global",
        smoothing_samples=1,
        support_samples=STEPS,
    )
    state_dtype = np.dtype(
        [
            ("seen", "i4"),
            ("signed", "f8", (STEPS,)),
            ("recent", "f8", (RECENT_STEPS,)),
            ("n", "f8"),
            ("sum", "f8"),
            ("squares", "f8"),
        ]
    )

    def __init__(self, traffic: ReferenceSet, around: Around | None = None) -> None:
        """around: of each memory point; computed where it is not given."""
        self.traffic = traffic
        speed = functions.hypot(traffic.uv[:, 0], traffic.uv[:, 1])
        self._tree = Tree(_features(traffic.xy, traffic.uv, speed))
        self._log = functions.log(speed + 1.0)
        self._around = around or self._others(self._tree.data, np.full(len(traffic), NOBODY, np.int32)).rounded()

    def initial(self, n: int) -> Rows:
        state = np.zeros(n, self.state_dtype)
        state["recent"] = np.nan
        state["signed"] = np.nan
        return state

    def steps(self, state: Rows, samples: Samples) -> tuple[Rows, Scores]:
        n = len(state)
        sog = np.ascontiguousarray(samples["sog"])
        under_way = (sog > JUDGED_MIN_KNOTS) & ~samples["moored"]
        log = np.where(under_way, functions.log(np.maximum(sog, 0.0) + 1.0), np.nan)
        recent = history(state["recent"], log)
        old = oldest_before(recent, RECENT_STEPS)
        past = np.isfinite(old)
        gone = np.where(past, old, 0.0)
        many, total = summed(state["n"], past.astype(np.float64)), summed(state["sum"], gone)
        squares = summed(state["squares"], gone * gone)
        seen = counted(state["seen"], len(samples), STEPS + 1)

        at_least_one = np.maximum(many, 1.0)
        mean = total / at_least_one
        sd = np.sqrt(np.maximum(squares / at_least_one - mean * mean, 0.0))
        own = np.where(many >= PAST_MIN, (log - mean) / functions.hypot(sd, SD_FLOOR), np.nan)
        others = self._against_neighbours(samples, log)
        own, others = np.clip(own, -LIMIT, LIMIT), np.clip(others, -LIMIT, LIMIT)
        both = own * others
        signed = np.where(np.isnan(both), np.nan, np.sign(others) * np.sqrt(np.maximum(both, 0.0)))
        ring = history(state["signed"], signed)
        new = state.copy()
        new["n"], new["sum"], new["squares"] = many[-n:], total[-n:], squares[-n:]
        new["recent"], new["signed"], new["seen"] = newest(recent, RECENT_STEPS), newest(ring, STEPS), seen[-n:]

        change, number = np.zeros(len(samples)), np.zeros(len(samples))
        for value in after_each(ring, STEPS):
            there = np.isfinite(value)
            change += np.where(there, value, 0.0)
            number += there
        score = np.abs(change) / STEPS
        return new, Scores.where(
            score,
            {
                NotJudged.LITTLE_KNOWN: (number < STEPS_MIN) | np.isnan(signed),
                NotJudged.NO_DATA: np.isnan(sog),
                NotJudged.TOO_SHORT: before_each(state["seen"], seen) < self.traits.warmup_samples,
                NotJudged.MOORED: samples["moored"],
            },
        )

    step = steps

    def _against_neighbours(self, samples: Samples, log: NDArray[np.float64]) -> NDArray[np.float64]:
        xy = self.traffic.plane.xy(samples["lat"], samples["lon"])
        uv = velocity(samples["sog"], samples["cog"])
        use = np.flatnonzero(np.isfinite(log) & np.isfinite(uv).all(axis=1) & np.isfinite(xy).all(axis=1))
        out = np.full(len(samples), np.nan)
        if not len(use):
            return out
        points = _features(xy[use], uv[use], functions.hypot(uv[use, 0], uv[use, 1]))
        if self.own_excluded:
            around = self._others(points, self.traffic.numbers_of(samples["mmsi"][use]))
        else:
            distance, at = self._tree.query(points, distance_upper_bound=WITHIN)
            near = np.isfinite(distance)
            around = Around(*(column[np.where(near, at, 0)] for column in self._around))
            around = around._replace(n=np.where(near, around.n, 0.0))
        z = (log[use] - around.mean) / functions.hypot(around.sd, SD_FLOOR) * around.n / (around.n + FEW)
        out[use] = np.where(around.n >= NEIGHBOURS_MIN, z, np.nan)
        return out

    def _others(self, points: NDArray[np.float64], own: NDArray[np.int32]) -> Around:
        """What vessels other than ``own`` do around (n, 4) points."""
        at, counts = nearest_others(self._tree, self.traffic.vessel, points, own, NEIGHBOURS, WITHIN)
        mean, n = mean_of(self._log[at], counts)
        square, _ = mean_of(self._log[at] * self._log[at], counts)
        return Around(mean, np.sqrt(np.maximum(square - mean * mean, 0.0)), n)

    @classmethod
    def fit(cls, samples: Samples, region: Region, rules: DetectionRules, seed: int = 0) -> Self:
        return cls(ReferenceSet.of(samples, region, np.random.default_rng(seed), fill=1, sog_min=JUDGED_MIN_KNOTS))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        mean, sd, n = self._around
        np.savez_compressed(
            folder / FILE,
            allow_pickle=False,
            **self.traffic.arrays(),
            mean=np.round(mean / UNIT).astype(np.int16),
            sd=np.round(sd / UNIT).astype(np.int16),
            n=n.astype(np.uint8),
        )

    @classmethod
    def load(cls, folder: Path, region: Region, rules: DetectionRules) -> Self:
        traffic, rest = ReferenceSet.from_file(folder / FILE, region)
        return cls(traffic, Around(rest["mean"] * UNIT, rest["sd"] * UNIT, rest["n"].astype(np.float64)))


def _features(xy: NDArray[np.float64], uv: NDArray[np.float64], speed: NDArray[np.float64]) -> NDArray[np.float64]:
    chord = 2.0 * scalars.sin(COURSE_DEG / 2.0)
    return np.concatenate([xy / NEAR_KM, uv / np.maximum(speed, 1e-9)[:, None] / chord], axis=1)

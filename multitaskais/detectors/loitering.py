"""Going round and round: a long way made in a small space (docs/method.md#rules-of-motion).

    way    sum of the distances between the last samples, km, over 90 min
    extent diagonal of the box around them, km
    score  ln((way + 1) / (extent + 1)) * steady

A straight way has way = extent; a ferry that turns back has at most twice; loops have more. ``steady`` is the slowest speed
of the 90 min, at most 2 kn, over 2 kn: a ship that shunts in a harbour stops between, one that waits outside keeps moving.
Windows with a moored sample are not judged.
"""

from __future__ import annotations

import numpy as np

from ..detection.protocol import Scores, Traits
from ..detection.rings import after_each, before_each, counted, history, newest
from ..exact import functions
from ..records import AlertType, NotJudged
from ..types import Rows, Samples
from ..units import KM_PER_DEG_TRAINED
from .stateless import NothingLearnt

STEPS = 9
SOFTEN_KM = 1.0  # small movements make no ratio
STEADY_KNOTS = 2.0


class LoiteringDetector(NothingLearnt):
    """Score: ln of way by extent, without unit."""

    name = "loitering"
    traits = Traits(
        alert_type=AlertType.LOITERING,
        warmup_samples=STEPS,
        calibration="global",
        smoothing_samples=1,
        support_samples=STEPS,
    )
    state_dtype = np.dtype(
        [
            ("seen", "i4"),
            ("lat", "f8", (STEPS + 1,)),
            ("lon", "f8", (STEPS + 1,)),
            ("sog", "f4", (STEPS,)),
            ("moored", "?", (STEPS,)),
        ]
    )

    def initial(self, n: int) -> Rows:
        return np.zeros(n, self.state_dtype)

    def steps(self, state: Rows, samples: Samples) -> tuple[Rows, Scores]:
        n = len(state)
        seen = counted(state["seen"], len(samples), STEPS + 1)
        new = state.copy()
        new["seen"] = seen[-n:]
        rings = {}  # of the ring after each sample the oldest value, ... and the newest
        for name in ("lat", "lon", "sog", "moored"):
            values, width = history(state[name], samples[name]), state[name].shape[1]
            new[name], rings[name] = newest(values, width), after_each(values, width)
        lat, lon = (np.ascontiguousarray(samples[name]) for name in ("lat", "lon"))
        km_east = KM_PER_DEG_TRAINED * functions.cos(lat)
        north = np.array([(before - lat) * KM_PER_DEG_TRAINED for before in rings["lat"]])
        east = np.array([(before - lon) * km_east for before in rings["lon"]])
        way = np.zeros(len(samples))
        for k in range(STEPS):
            way += functions.hypot(east[k + 1] - east[k], north[k + 1] - north[k])
        extent = functions.hypot(east.max(axis=0) - east.min(axis=0), north.max(axis=0) - north.min(axis=0))
        slowest = np.fmin.reduce(np.array(rings["sog"], np.float64), axis=0)
        steady = np.minimum(slowest, STEADY_KNOTS) / STEADY_KNOTS
        score = functions.log((way + SOFTEN_KM) / (extent + SOFTEN_KM)) * steady
        return new, Scores.where(
            score,
            {
                NotJudged.NO_DATA: np.isnan(score),
                NotJudged.TOO_SHORT: before_each(state["seen"], seen) < self.traits.warmup_samples,
                NotJudged.MOORED: np.logical_or.reduce(rings["moored"], axis=0),
            },
        )

    step = steps

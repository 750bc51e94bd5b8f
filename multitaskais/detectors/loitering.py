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
from ..detection.rings import before_each, counted, rings_after
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
        rings = {name: rings_after(state[name], samples[name]) for name in ("lat", "lon", "sog", "moored")}
        seen = counted(state["seen"], len(samples), STEPS + 1)
        new = state.copy()
        for name, ring in rings.items():
            new[name] = ring[-n:]
        new["seen"] = seen[-n:]
        north = (rings["lat"] - samples["lat"][:, None]) * KM_PER_DEG_TRAINED
        east = (rings["lon"] - samples["lon"][:, None]) * (KM_PER_DEG_TRAINED * functions.cos(samples["lat"]))[:, None]
        way = np.zeros(len(samples))
        for k in range(STEPS):
            way += functions.hypot(east[:, k + 1] - east[:, k], north[:, k + 1] - north[:, k])
        extent = functions.hypot(east.max(axis=1) - east.min(axis=1), north.max(axis=1) - north.min(axis=1))
        steady = np.minimum(np.fmin.reduce(rings["sog"].astype(np.float64), axis=1), STEADY_KNOTS) / STEADY_KNOTS
        score = functions.log((way + SOFTEN_KM) / (extent + SOFTEN_KM)) * steady
        return new, Scores.where(
            score,
            {
                NotJudged.NO_DATA: np.isnan(score),
                NotJudged.TOO_SHORT: before_each(state["seen"], seen) < self.traits.warmup_samples,
                NotJudged.MOORED: np.logical_or.reduce(rings["moored"], axis=1),
            },
        )

    step = steps

"""Moving, but hardly: the share of the last 90 minutes below 2.5 kn and not at rest (docs/method.md#rules-of-motion).

    slow  0.4 kn < SOG < 2.5 kn and not moored
    score share of the last 9 samples that were slow + 0.01 x their mean speed in knots - 0.5 x share of all before them
          + 0.05 x km made good in two hours, at most 5, x that share

The second term orders tracks with equal shares: of two, the one that is carried off faster is the more anomalous. The third is
the vessel's own habit: who has been slow all day works there. Before it has a past, 5 % are taken for granted with the
weight of an hour. The last separates a ship that is carried off from one that waits for a lock or works on the spot, and keeps
scores apart that would else all reach the greatest share. A ship at anchor swings below 0.4 kn.
"""

from __future__ import annotations

import numpy as np

from ..detection.protocol import Scores, Traits
from ..detection.rings import push
from ..exact import functions
from ..records import AlertType, NotJudged
from ..types import Rows, Samples
from ..units import KM_PER_DEG_TRAINED
from .stateless import NothingLearnt

STEPS = 9
SLOW_MIN_KNOTS, SLOW_MAX_KNOTS = 0.4, 2.5
TIE = 0.01
HABIT = 0.5
CARRIED_STEPS, CARRIED_PER_KM, CARRIED_MAX_KM = 12, 0.05, 5.0
PRIOR_STEPS, PRIOR_SHARE = 6.0, 0.05


class DriftDetector(NothingLearnt):
    name = "drift"
    traits = Traits(
        alert_type=AlertType.DRIFT,
        warmup_samples=STEPS - 1,
        calibration="global",
        smoothing_samples=1,
        support_samples=STEPS,
    )
    state_dtype = np.dtype(
        [
            ("seen", "i4"),
            ("slow", "f4", (STEPS,)),  # SOG where slow, else 0
            ("before", "i4"),  # samples that have left the window
            ("slow_before", "i4"),
            ("lat", "f4", (CARRIED_STEPS + 1,)),
            ("lon", "f4", (CARRIED_STEPS + 1,)),
        ]
    )

    def initial(self, n: int) -> Rows:
        return np.zeros(n, self.state_dtype)

    def step(self, state: Rows, samples: Samples) -> tuple[Rows, Scores]:
        sog = samples["sog"]
        slow = (sog > SLOW_MIN_KNOTS) & (sog < SLOW_MAX_KNOTS) & ~samples["moored"]
        new = state.copy()
        new["slow"] = push(state["slow"], np.where(slow, sog, 0.0).astype(np.float32))
        new["seen"] = np.minimum(state["seen"] + 1, STEPS)
        new["before"] = state["before"] + (state["seen"] == STEPS)
        new["slow_before"] = state["slow_before"] + (state["slow"][:, 0] > 0)
        first = (state["seen"] == 0)[:, None]
        for name in ("lat", "lon"):
            here = samples[name].astype(np.float32)
            new[name] = np.where(first, here[:, None], push(state[name], here))
        share, speed = np.zeros(len(samples)), np.zeros(len(samples))
        for k in range(STEPS):
            share += new["slow"][:, k] > 0
            speed += new["slow"][:, k]
        past = (new["slow_before"] + PRIOR_STEPS * PRIOR_SHARE) / (new["before"] + PRIOR_STEPS)
        north = (samples["lat"] - new["lat"][:, 0]) * KM_PER_DEG_TRAINED
        east = (samples["lon"] - new["lon"][:, 0]) * KM_PER_DEG_TRAINED * functions.cos(samples["lat"])
        carried = CARRIED_PER_KM * np.minimum(functions.hypot(east, north), CARRIED_MAX_KM)
        score = share / STEPS * (1.0 + np.nan_to_num(carried)) + TIE * speed / STEPS - HABIT * past
        return new, Scores.where(
            score,
            {
                NotJudged.NO_DATA: np.isnan(sog),
                NotJudged.TOO_SHORT: state["seen"] < self.traits.warmup_samples,
                NotJudged.MOORED: samples["moored"],
            },
        )

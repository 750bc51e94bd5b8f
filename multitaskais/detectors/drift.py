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
from ..detection.rings import after_each, before_each, counted, history, newest, oldest_before, summed
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
    """Score: share of slow samples, without unit; near 1 for a ship that drifts."""

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

    def steps(self, state: Rows, samples: Samples) -> tuple[Rows, Scores]:
        n, sog = len(state), samples["sog"]
        slow = (sog > SLOW_MIN_KNOTS) & (sog < SLOW_MAX_KNOTS) & ~samples["moored"]
        ring = history(state["slow"], np.where(slow, sog, 0.0).astype(np.float32))
        seen = counted(state["seen"], len(samples), STEPS)
        seen_before = before_each(state["seen"], seen)
        left = summed(state["before"], (seen_before == STEPS).astype(np.int32))
        slow_left = summed(state["slow_before"], (oldest_before(ring, STEPS) > 0).astype(np.int32))
        first = (state["seen"] == 0)[:, None]
        new = state.copy()
        oldest = {}
        for name in ("lat", "lon"):
            here = samples[name].astype(np.float32)
            places = history(np.where(first, here[:n, None], state[name]), here)
            new[name], oldest[name] = newest(places, CARRIED_STEPS + 1), after_each(places, CARRIED_STEPS + 1)[0]
        new["slow"], new["seen"] = newest(ring, STEPS), seen[-n:]
        new["before"], new["slow_before"] = left[-n:], slow_left[-n:]
        share, speed = np.zeros(len(samples)), np.zeros(len(samples))
        for value in after_each(ring, STEPS):
            share += value > 0
            speed += value
        past = (slow_left + PRIOR_STEPS * PRIOR_SHARE) / (left + PRIOR_STEPS)
        north = (samples["lat"] - oldest["lat"]) * KM_PER_DEG_TRAINED
        east = (samples["lon"] - oldest["lon"]) * KM_PER_DEG_TRAINED * functions.cos(samples["lat"])
        carried = CARRIED_PER_KM * np.minimum(functions.hypot(east, north), CARRIED_MAX_KM)
        score = share / STEPS * (1.0 + np.nan_to_num(carried)) + TIE * speed / STEPS - HABIT * past
        return new, Scores.where(
            score,
            {
                NotJudged.NO_DATA: np.isnan(sog),
                NotJudged.TOO_SHORT: seen_before < self.traits.warmup_samples,
                NotJudged.MOORED: samples["moored"],
            },
        )

    step = steps

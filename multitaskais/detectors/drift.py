"""Moving, but hardly: the share of the last 90 minutes below 2.5 kn and not at rest (METHOD 10.7).

    slow  0.4 kn < SOG < 2.5 kn and not moored
    score share of the last 9 samples that were slow + 0.01 x their mean speed in knots - 0.5 x share of all before them

The second term orders tracks with equal shares: of two, the one that is carried off faster is the stranger. The third is
the vessel's own habit: who has been slow all day works there. Before it has a past, 5 % are taken for granted with the
weight of an hour. A ship at anchor swings below 0.4 kn; a tow that waits for a lock is this detector's false alarm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..detection.protocol import Scores
from ..detection.windows import push
from ..records import AlertType, NotJudged
from .stateless import NothingLearnt

STEPS = 9
SLOW_MIN_KNOTS, SLOW_MAX_KNOTS = 0.4, 2.5
TIE = 0.01
HABIT = 0.5
PRIOR_STEPS, PRIOR_SHARE = 6.0, 0.05


class DriftDetector(NothingLearnt):
    name = "drift"
    alert_type = AlertType.DRIFT
    warmup_samples = STEPS - 1
    rests_on_place = False
    cell_calibrated = False
    window_steps = 1
    span_samples = STEPS
    state_dtype = np.dtype([("seen", "i4"), ("slow", "f4", (STEPS,)), ("before", "i4"), ("slow_before", "i4")])
    # slow: SOG where slow, else 0; before: samples that have left the window

    def initial(self, n: int) -> NDArray[np.void]:
        return np.zeros(n, self.state_dtype)

    def step(self, state: NDArray[np.void], samples: NDArray[np.void]) -> tuple[NDArray[np.void], Scores]:
        sog = samples["sog"]
        slow = (sog > SLOW_MIN_KNOTS) & (sog < SLOW_MAX_KNOTS) & ~samples["moored"]
        new = state.copy()
        new["slow"] = push(state["slow"], np.where(slow, sog, 0.0).astype(np.float32))
        new["seen"] = np.minimum(state["seen"] + 1, STEPS)
        new["before"] = state["before"] + (state["seen"] == STEPS)
        new["slow_before"] = state["slow_before"] + (state["slow"][:, 0] > 0)
        share, speed = np.zeros(len(samples)), np.zeros(len(samples))
        for k in range(STEPS):
            share += new["slow"][:, k] > 0
            speed += new["slow"][:, k]
        past = (new["slow_before"] + PRIOR_STEPS * PRIOR_SHARE) / (new["before"] + PRIOR_STEPS)
        score = share / STEPS + TIE * speed / STEPS - HABIT * past
        reason = np.zeros(len(samples), np.uint8)
        reason[np.isnan(sog)] = NotJudged.NO_DATA
        reason[state["seen"] < self.warmup_samples] = NotJudged.TOO_SHORT
        reason[samples["moored"]] = NotJudged.MOORED
        return new, Scores(np.where(reason == 0, score, np.nan), reason)

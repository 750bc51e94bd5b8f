"""The velocity that is reported against the velocity that is made good (METHOD 10.4).

Each sample carries the median difference of the two over the report pairs of its 10-minute slot. The score is the fifth
largest of the last six, in knots: above 2.5 exactly when five slots of an hour contradict by more than 2.5 kn. METHOD asks for
four; that took twice as many clean tracks, crew boats between platforms and clocks gone wrong for half an hour.
Slots without report pairs count as no contradiction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..detection.protocol import Scores
from ..detection.rings import push
from ..records import AlertType, NotJudged
from .stateless import NothingLearnt

SLOTS = 6
OF_THEM = 5


class ContradictionDetector(NothingLearnt):
    name = "contradiction"
    report_level = True
    alert_at = 2.5  # knots, METHOD 10.4: less is tide, interpolation and clocks
    span_samples = SLOTS
    alert_type = AlertType.CONTRADICTION
    warmup_samples = OF_THEM - 1
    rests_on_place = False
    cell_calibrated = False  # knots mean the same everywhere
    window_steps = 1
    state_dtype = np.dtype([("seen", "i4"), ("mismatch", "f8", (SLOTS,))])

    def initial(self, n: int) -> NDArray[np.void]:
        return np.zeros(n, self.state_dtype)

    def step(self, state: NDArray[np.void], samples: NDArray[np.void]) -> tuple[NDArray[np.void], Scores]:
        new = state.copy()
        new["mismatch"] = push(state["mismatch"], np.nan_to_num(samples["mismatch"]))
        new["seen"] = np.minimum(state["seen"] + 1, SLOTS)
        score = np.sort(new["mismatch"], axis=1)[:, SLOTS - OF_THEM]
        early = state["seen"] < self.warmup_samples
        reason = np.where(early, NotJudged.TOO_SHORT, 0).astype(np.uint8)
        return new, Scores(np.where(early, np.nan, score), reason)

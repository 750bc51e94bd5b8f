"""The velocity that is reported against the velocity that is made good (docs/method.md#jump-and-contradiction).

Each sample carries the median difference of the two over the report pairs of its 10-minute slot. The score is the fifth
largest of the last six, in knots: above 2.5 exactly when five slots of an hour contradict by more than 2.5 kn. docs/method.md#jump-and-contradiction asks for
four; that took twice as many clean tracks, crew boats between platforms and clocks gone wrong for half an hour.
Slots without report pairs count as no contradiction.
"""

from __future__ import annotations

import numpy as np

from ..detection.protocol import Scores, Traits
from ..detection.rings import after_each, before_each, counted, history, newest
from ..records import AlertType, NotJudged
from ..types import Rows, Samples
from .stateless import NothingLearnt

SLOTS = 6
OF_THEM = 5


class ContradictionDetector(NothingLearnt):
    """Score: knots between the reported velocity and that made good."""

    name = "contradiction"
    traits = Traits(
        alert_type=AlertType.CONTRADICTION,
        report_level=True,
        any_speed=True,
        # knots: less is tide, interpolation and clocks. In 5 of 6 slots 0.3 % of clean tracks reach it, and spoofs 7
        # (docs/method.md, section 10.4).
        fixed_threshold=2.5,
        support_samples=SLOTS,
        warmup_samples=OF_THEM - 1,
        calibration="global",  # knots mean the same everywhere
        smoothing_samples=1,
    )
    state_dtype = np.dtype([("seen", "i4"), ("mismatch", "f8", (SLOTS,))])

    def initial(self, n: int) -> Rows:
        return np.zeros(n, self.state_dtype)

    def steps(self, state: Rows, samples: Samples) -> tuple[Rows, Scores]:
        n = len(state)
        mismatch = history(state["mismatch"], np.nan_to_num(samples["mismatch"]))
        seen = counted(state["seen"], len(samples), SLOTS)
        new = state.copy()
        new["mismatch"], new["seen"] = newest(mismatch, SLOTS), seen[-n:]
        score = np.sort(after_each(mismatch, SLOTS), axis=0)[SLOTS - OF_THEM]
        before = before_each(state["seen"], seen)
        return new, Scores.where(score, {NotJudged.TOO_SHORT: before < self.traits.warmup_samples})

    step = steps

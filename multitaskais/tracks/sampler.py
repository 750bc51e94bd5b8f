"""When a sample is due, and what its slot says about the reported velocity. One ``SlotSampler`` a line; METHOD 3.

A sample at grid time t stands between the reports a and b with t_a <= t < t_b, so it is due when b comes. The grid starts at the
track's first report and has a step of 10 min; at a 24 h cut it starts again, while the count n goes on.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import msgspec

from ..config import STEP_S
from .geometry import cos_lat, velocity
from .tracker import Report

PAIR_DT_S = (
    2.0,
    600.0,
)  # a pair of reports says something about velocity when it lies further apart than the one, within the other
KNOTS_PER_DEG_S = 60.0 * 3600.0  # 1 deg of latitude = 60 nautical miles
PAIRS_MAX = 64  # of one slot kept for the median; a slot with more is thinned evenly


class Due(NamedTuple):
    """A sample to be interpolated (``resample.interpolate``)."""

    t: float  # grid time, Unix s
    n: int  # of its line
    before: tuple
    after: tuple
    mismatch: float  # knots; see ``pair_mismatch``; NaN when the slot has no pair


def pair_mismatch(a: tuple, b: tuple) -> float:
    """|velocity made good - mean reported velocity| of two reports, knots; on a flat chart at their middle latitude."""
    dt = b[1] - a[1]
    ea, na = velocity(a[4], a[5])
    eb, nb = velocity(b[4], b[5])
    dlon = b[3] - a[3]
    if dlon > 180.0:
        dlon -= 360.0
    elif dlon < -180.0:
        dlon += 360.0
    knots = KNOTS_PER_DEG_S / dt
    east = dlon * cos_lat((a[2] + b[2]) * 0.5) * knots - (ea + eb) * 0.5
    north = (b[2] - a[2]) * knots - (na + nb) * 0.5
    return math.sqrt(east * east + north * north)


def median(values: list[float]) -> float:
    n = len(values)
    if n == 0:
        return math.nan
    values = sorted(values)
    return values[n // 2] if n % 2 else (values[n // 2 - 1] + values[n // 2]) * 0.5


class SlotSampler(msgspec.Struct, array_like=True):
    """State of one line's grid; moves by ``feed``.

    Pairs: each report and the last one before it that is more than 2 s older (at 2 s reporting, two intervals), where that is within
    600 s and both have a course. A pair belongs to the slot in which its second report came.
    """

    last: Report | None = None
    anchor: Report | None = None  # first report of the next pair
    origin: float = 0.0  # of the grid
    k: int = 0  # grid step of the next sample
    n: int = 0  # number of the next sample
    pairs: int = 0  # of the present slot
    stride: int = 1  # each stride-th of them is kept
    kept: list[float] = []

    def feed(self, report: tuple, new_track: bool) -> list[Due]:
        """Take the line's next accepted report; return the samples that it completes, in order.

        Args:
            new_track: it is the first of a track (of the line, or after a 24 h cut). Samples of the old grid before it are still due.
        """
        t = report[1]
        last: Any = self.last
        if last is None:
            self.last = self.anchor = report
            self.origin = t
            return []
        dues: list[Due] = []
        due = self.origin + self.k * STEP_S
        while due < t:
            dues.append(Due(due, self.n, last, report, median(self.kept)))
            if self.pairs:
                self.pairs = 0
                self.stride = 1
                self.kept = []
            self.n += 1
            self.k += 1
            due = self.origin + self.k * STEP_S
        if new_track:
            self.origin = t
            self.k = 0
        anchor: Any = self.anchor
        dt = t - anchor[1]
        if dt > PAIR_DT_S[0]:
            if dt <= PAIR_DT_S[1] and 0.0 <= report[5] < 360.0 and 0.0 <= anchor[5] < 360.0:
                if self.pairs % self.stride == 0:
                    self.kept.append(pair_mismatch(anchor, report))
                    if len(self.kept) > PAIRS_MAX:
                        self.kept = self.kept[::2]
                        self.stride *= 2
                self.pairs += 1
            self.anchor = report
        self.last = report
        return dues

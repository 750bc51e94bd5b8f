"""When a sample is due, and what its slot says about the reported velocity. One ``SlotSampler`` a line; docs/method.md#samples.

A sample at grid time t stands between the reports a and b with t_a <= t < t_b, so it is due when b comes. The grid starts at the
track's first report and has a step of 10 min; at a 24 h cut it starts again, while the count n goes on.
"""

from __future__ import annotations

import math
from math import sqrt
from typing import Any, NamedTuple

import msgspec

from ..config import STEP_S
from ..units import KNOTS_PER_DEG_S
from .geometry import COS_TABLE, SIN_TABLE, TABLE_PER_DEG
from .tracker import Report

# A pair of reports says something about velocity when it lies further apart than the one, within the other. Stamps are some seconds
# wrong on every real feed: over 10 s they make a straight ship contradict itself by 10 kn and more, over 50 s by 1 or 2.
PAIR_DT_S = PAIR_MIN_S, PAIR_MAX_S = 50.0, 600.0
PAIRS_MAX = 64  # of one slot kept for the median; a slot with more is thinned evenly


class Due(NamedTuple):
    """A sample to be interpolated (``resample.interpolate``)."""

    t: float  # grid time, Unix s
    n: int  # of its line
    before: Report
    after: Report
    mismatch: float  # knots, median of the slot's pairs; NaN when it has none


def median(values: list[float]) -> float:
    n = len(values)
    if n == 0:
        return math.nan
    values = sorted(values)
    return values[n // 2] if n % 2 else (values[n // 2 - 1] + values[n // 2]) * 0.5


class SlotSampler(msgspec.Struct, array_like=True):
    """State of one line's grid; moves by ``feed``.

    Pairs: each report and the last one before it that is more than 50 s older, where that is within
    600 s and both have a course. A pair belongs to the slot in which its second report came. Its mismatch is |velocity made good -
    mean of the reported velocities|, knots, on a flat chart at the middle latitude.
    """

    last: Report | None = None
    anchor: Report | None = None  # first report of the next pair
    origin: float = 0.0  # of the grid
    k: int = 0  # grid step of the next sample
    n: int = 0  # number of the next sample
    pairs: int = 0  # of the present slot
    stride: int = 1  # each stride-th of them is kept
    kept: list[float] = []

    def feed(self, report: Report, new_track: bool) -> list[Due]:
        """Take the line's next accepted report; return the samples that it completes, in order.

        Args:
            new_track: it is the first of a track (of the line, or after a 24 h cut). Samples of the old grid before it are still due.
        """
        t = report[1]
        if self.last is None:
            self.last = self.anchor = report
            self.origin = t
            return []
        dues = [] if t <= self.origin + self.k * STEP_S else self._due(report)
        if new_track:
            self.origin = t
            self.k = 0
        anchor: Any = self.anchor
        dt = t - anchor[1]
        if dt > PAIR_MIN_S:
            cog = report[5]
            cog_a = anchor[5]
            if dt <= PAIR_MAX_S and 0.0 <= cog < 360.0 and 0.0 <= cog_a < 360.0:
                if self.stride == 1 or self.pairs % self.stride == 0:
                    # `geometry.velocities` of both and `geometry.cos_lats`, written out: this is the work of most reports.
                    x = cog_a * TABLE_PER_DEG
                    i = int(x)
                    f = x - i
                    s = SIN_TABLE[i]
                    c = COS_TABLE[i]
                    sog = anchor[4]
                    east_a = sog * (s + (SIN_TABLE[i + 1] - s) * f)
                    north_a = sog * (c + (COS_TABLE[i + 1] - c) * f)
                    x = cog * TABLE_PER_DEG
                    i = int(x)
                    f = x - i
                    s = SIN_TABLE[i]
                    c = COS_TABLE[i]
                    sog = report[4]
                    east_b = sog * (s + (SIN_TABLE[i + 1] - s) * f)
                    north_b = sog * (c + (COS_TABLE[i + 1] - c) * f)
                    lat_a = anchor[2]
                    lat = report[2]
                    x = abs((lat_a + lat) * 0.5) * TABLE_PER_DEG
                    i = int(x)
                    c = COS_TABLE[i]
                    dlon = report[3] - anchor[3]
                    if dlon > 180.0:
                        dlon -= 360.0
                    elif dlon < -180.0:
                        dlon += 360.0
                    knots = KNOTS_PER_DEG_S / dt
                    east = dlon * (c + (COS_TABLE[i + 1] - c) * (x - i)) * knots - (east_a + east_b) * 0.5
                    north = (lat - lat_a) * knots - (north_a + north_b) * 0.5
                    kept = self.kept
                    kept.append(sqrt(east * east + north * north))
                    if len(kept) > PAIRS_MAX:
                        self.kept = kept[::2]
                        self.stride *= 2
                self.pairs += 1
            self.anchor = report
        self.last = report
        return dues

    def _due(self, report: Report) -> list[Due]:
        """The samples before ``report``."""
        dues: list[Due] = []
        last: Any = self.last
        while (due := self.origin + self.k * STEP_S) < report[1]:
            dues.append(Due(due, self.n, last, report, median(self.kept)))
            self.pairs = 0
            self.stride = 1
            self.kept = []
            self.n += 1
            self.k += 1
        return dues

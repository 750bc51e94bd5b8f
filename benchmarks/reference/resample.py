"""One track resampled as one writes it first: a loop over the fixes, pyproj for each. Written from docs/method.md#samples and #jump-and-contradiction."""

from __future__ import annotations

import math
import statistics
from typing import NamedTuple

import numpy as np
from pyproj import Geod

from multitaskais.types import Reports

GEOD = Geod(ellps="WGS84")
STEP_S = 600.0
PAIR_S = (50.0, 600.0)  # pairs of fixes that say something of velocity: seconds apart
KNOT_MPS = 1852.0 / 3600.0


class Fix(NamedTuple):
    t: float
    lat: float
    lon: float
    sog: float
    cog: float


class Sample(NamedTuple):
    t: float
    lat: float
    lon: float
    sog: float
    cog: float
    mismatch: (
        float  # knots, median of the slot's pairs; geodesic, where the core takes a flat chart: equal to 1e-3 of speed
    )


def fixes_of(reports: Reports) -> list[Fix]:
    return [Fix(*row) for row in reports[list(Fix._fields)].tolist()]


def between(a: Fix, b: Fix, t: float) -> tuple[float, float, float, float]:
    """lat, lon, sog, cog at t with t_a <= t < t_b; both fixes have a course."""
    w = (t - a.t) / (b.t - a.t)
    azimuth, _, distance = GEOD.inv(a.lon, a.lat, b.lon, b.lat)
    lon, lat = a.lon, a.lat
    if distance > 0 and w > 0:
        lon, lat, _ = GEOD.fwd(a.lon, a.lat, azimuth, distance * w)
    turn = (b.cog - a.cog + 180.0) % 360.0 - 180.0
    return lat, lon, a.sog + (b.sog - a.sog) * w, (a.cog + turn * w) % 360.0


def pair_mismatch(a: Fix, b: Fix) -> float:
    """|velocity made good - mean of the reported velocities|, knots."""
    azimuth, _, distance = GEOD.inv(a.lon, a.lat, b.lon, b.lat)
    made = distance / (b.t - a.t) / KNOT_MPS
    # The azimuth half-way: on the short leg of a pair the meridians' convergence is shared by both ends.
    back = GEOD.inv(b.lon, b.lat, a.lon, a.lat)[0] - 180.0
    course = math.radians(azimuth + ((back - azimuth + 180.0) % 360.0 - 180.0) / 2)
    east, north = made * math.sin(course), made * math.cos(course)
    for fix in (a, b):
        east -= 0.5 * fix.sog * math.sin(math.radians(fix.cog))
        north -= 0.5 * fix.sog * math.cos(math.radians(fix.cog))
    return math.hypot(east, north)


def resample(fixes: list[Fix]) -> list[Sample]:
    """A sample each 10 minutes from the first fix on; fixes in time order, all with a course."""
    out: list[Sample] = []
    slot: list[float] = []
    due = fixes[0].t
    last = anchor = fixes[0]
    for fix in fixes[1:]:
        while due < fix.t:
            mismatch = statistics.median(slot) if slot else math.nan
            out.append(Sample(due, *between(last, fix, due), mismatch))
            slot = []
            due = fixes[0].t + len(out) * STEP_S
        if fix.t - anchor.t > PAIR_S[0]:
            if fix.t - anchor.t <= PAIR_S[1]:
                slot.append(pair_mismatch(anchor, fix))
            anchor = fix
        last = fix
    return out


def resample_by_search(fixes: list[Fix]) -> list[Sample]:
    """The same as the earlier operator did it: for each sample the fixes on both sides are looked for in the whole track."""
    times = np.array([fix.t for fix in fixes])
    pairs: list[tuple[float, float]] = []  # time of the second fix, mismatch
    anchor = fixes[0]
    for fix in fixes[1:]:
        if fix.t - anchor.t > PAIR_S[0]:
            if fix.t - anchor.t <= PAIR_S[1]:
                pairs.append((fix.t, pair_mismatch(anchor, fix)))
            anchor = fix
    of_pair, values = np.array([t for t, _ in pairs]), np.array([value for _, value in pairs])
    out: list[Sample] = []
    due = fixes[0].t
    done = -math.inf
    while due < fixes[-1].t:
        before, after = np.nonzero(times <= due)[0][-1], np.nonzero(times > due)[0][0]
        slot = values[(of_pair > done) & (of_pair <= times[before])]
        mismatch = float(np.median(slot)) if len(slot) else math.nan
        out.append(Sample(due, *between(fixes[before], fixes[after], due), mismatch))
        done = times[before]
        due = fixes[0].t + len(out) * STEP_S
    return out

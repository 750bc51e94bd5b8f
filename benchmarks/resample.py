"""Claim: a day's track of 3,000 fixes is resampled 15 times as fast as by a loop over the fixes with pyproj, a month's of 100,000 fixes 200 times.

A loop that goes once through the fixes does not slow down with the track's length; the earlier operator's, which looks for each sample's
neighbours in the whole track, does. The month's goal is against that one, and the single pass is told beside it. All give position, speed, course and the slot's mismatch of made and reported velocity.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from multitaskais.config import DetectionRules
from multitaskais.tracks.resample import resample_track

from .harness import Result, compare, require
from .reference import resample as reference
from .workload import one_track

TRACKS = (("day", 3_000, 24.0, 15.0), ("month", 100_000, 720.0, 200.0))
ROUNDS, QUICK_ROUNDS = 7, 2
SAME_DEG, SAME_MISMATCH = (
    1e-9,
    0.1,
)  # the mismatch's flat chart differs from the geodesic by less than a tenth of a knot

ONE_PASS, BY_SEARCH = (
    "a loop over the fixes, pyproj for each",
    "for each sample a search through the fixes, pyproj for each",
)
LIMITS = {
    "resample/month": "the mismatch of every pair of fixes (sines and cosines from a table, medians by slot) is most of the work, some 35 ns a fix.",
}


def check(reports: np.ndarray) -> int:
    """Both sides give the same samples; returns how many."""
    ours = resample_track(reports, DetectionRules())
    fixes = reference.fixes_of(reports)
    theirs = np.array(reference.resample(fixes))
    searched = np.array(reference.resample_by_search(fixes))
    require(np.allclose(theirs, searched, rtol=0, atol=1e-12, equal_nan=True), "the two loops over the fixes")
    require(len(ours) == len(theirs), f"{len(ours)} and {len(theirs)} samples")
    for k, name in enumerate(reference.Sample._fields):
        difference = np.abs(ours[name] - theirs[:, k])
        if name == "cog":
            difference = np.minimum(difference, 360.0 - difference)
        limit = SAME_MISMATCH if name == "mismatch" else SAME_DEG
        worst = float(np.nan_to_num(difference).max(initial=0.0))
        require(worst <= limit, f"{name} differs by {worst:g}")
        require(np.array_equal(np.isnan(ours[name]), np.isnan(theirs[:, k])), f"where {name} is missing")
    return len(ours)


def run(quick: bool = False) -> list[Result]:
    out = []
    for name, fixes, hours, goal in TRACKS:
        if quick and fixes > 10_000:
            fixes, hours = fixes // 10, hours / 10
        reports = one_track(fixes, hours)
        n = check(reports)
        rows = reference.fixes_of(reports)
        loops = [(ONE_PASS, reference.resample), (BY_SEARCH, reference.resample_by_search)]
        if name == "month":
            loops.reverse()
        for (name_of, loop), suffix, least in zip(loops, ("", "-other"), (goal, None), strict=True):
            out.append(
                compare(
                    f"resample/{name}{suffix}",
                    work=f"one track of {fixes:,} fixes in {hours:g} h to {n:,} samples",
                    reference=name_of,
                    unit="tracks/s",
                    ours=partial(resample_track, reports, DetectionRules()),
                    theirs=partial(loop, rows),
                    units=1.0,
                    rounds=QUICK_ROUNDS if quick else ROUNDS,
                    goal=None if quick and name == "month" else least,
                    same=f"position, speed and course to {SAME_DEG:g}, mismatch to {SAME_MISMATCH:g} kn",
                )
            )
    return out

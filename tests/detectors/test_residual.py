"""The residual detector with the weights that ship: what it finds strange, and that it needs no region."""

from __future__ import annotations

import numpy as np
import pytest

from multitaskais.config import REGIONS, DetectionRules
from multitaskais.detectors.residual import SHIPPED, ResidualDetector
from multitaskais.records import NotJudged
from tests.support.lane_traffic import REGION, run, sail

RULES = DetectionRules()


@pytest.fixture(scope="module")
def detector() -> ResidualDetector:
    return ResidualDetector.fit(sail(200_000_001), REGION, RULES)


def test_a_ship_that_turns_or_stops_is_stranger_than_one_that_holds_on(detector):
    steady = run(detector, sail(200_000_001, 24))
    cog, sog = np.full(24, 90.0), np.full(24, 10.0)
    cog[12:] = 200.0
    turning = run(detector, sail(200_000_002, 24, cog=cog))
    sog[12:] = 2.0
    slowing = run(detector, sail(200_000_003, 24, sog=sog))
    assert turning[12] > steady[12] + 3
    assert slowing[12] > steady[12] + 2
    # Who holds the new course for an hour is as usual as before.
    assert turning[18:].max() < turning[12] - 3


def test_positions_that_contradict_the_velocity_stay_strange(detector):
    s = sail(200_000_001, 24)
    honest = run(detector, s)
    s["cog"] = (s["cog"] + 60.0) % 360.0  # from the start, so that no change gives it away
    lying = run(detector, s)
    assert np.nanmedian(lying) > np.nanmedian(honest) + 2


def test_what_has_no_motion_is_not_judged_and_says_why(detector):
    s = sail(200_000_001, 12)
    s["cog"][5] = np.nan
    s["t"][9:] += 300.0  # another grid
    state, reasons = detector.initial(1), []
    for k in range(len(s)):
        state, found = detector.step(state, s[k : k + 1])
        reasons.append(int(found.reason[0]))
    short, none = NotJudged.TOO_SHORT, NotJudged.NO_DATA
    assert reasons == [short, short, short, 0, 0, none, none, 0, 0, none, 0, 0]


def test_the_shipped_weights_are_small_and_serve_every_region(detector):
    assert SHIPPED.stat().st_size < 200_000
    everywhere = ResidualDetector.fit(sail(1), REGIONS["global"], RULES)
    s = sail(200_000_001, 20)
    assert run(everywhere, s).tobytes() == run(detector, s).tobytes()

"""Contradiction, loitering, drift: what each window means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.detectors.contradiction import ContradictionDetector
from multitaskais.detectors.drift import DriftDetector
from multitaskais.detectors.loitering import LoiteringDetector
from multitaskais.units import KNOT_MPS
from tests.support.lane_traffic import run, sail


@given(st.lists(st.floats(0, 20) | st.just(float("nan")), min_size=4, max_size=30))
def test_contradiction_is_above_2_5_kn_exactly_when_five_of_six_slots_are(mismatch):
    track = sail(1, n=len(mismatch))
    track["mismatch"] = mismatch
    scores = run(ContradictionDetector(), track)
    for k in range(4, len(mismatch)):
        loud = sum(m > 2.5 for m in mismatch[max(0, k - 5) : k + 1])
        assert (scores[k] > 2.5) == (loud >= 5)
    assert np.isnan(scores[:4]).all()


def circle(n: int = 30, radius_m: float = 900.0, sog: float = 5.0):
    turn = np.degrees(sog * KNOT_MPS * 600.0 / radius_m)
    return sail(1, n=n, sog=sog, cog=(turn * np.arange(n)) % 360)


def test_a_ship_that_goes_round_loiters_and_one_that_sails_straight_does_not():
    straight = run(LoiteringDetector(), sail(1, n=30))
    assert np.nanmax(straight) < 0.01
    assert np.nanmin(run(LoiteringDetector(), circle())) > 0.7


def test_a_ferry_that_turns_back_once_loiters_less_than_one_that_goes_round():
    ferry = run(LoiteringDetector(), sail(1, n=30, cog=np.where(np.arange(30) < 15, 90.0, 270.0)))
    assert np.nanmax(ferry) < np.nanmin(run(LoiteringDetector(), circle()))


def test_a_ship_that_stops_in_between_loiters_less():
    track = circle()
    track["sog"][::4] = 0.2
    assert np.nanmax(run(LoiteringDetector(), track)) < 0.2


def test_a_window_with_a_moored_sample_is_not_judged_for_loitering():
    track = circle()
    track["moored"][15] = True
    scores = run(LoiteringDetector(), track)
    assert np.isnan(scores[15:24]).all()
    assert np.isfinite(scores[24])
    assert np.isfinite(scores[9:15]).all()
    assert np.isnan(scores[:9]).all()


@given(st.lists(st.floats(0, 10), min_size=9, max_size=40))
def test_drift_is_the_share_of_slow_samples_now_less_half_of_that_before_and_how_far_it_is_carried(sog):
    track = sail(1, n=len(sog), sog=np.array(sog))
    track["moored"] = False
    scores = run(DriftDetector(), track)
    assert np.isnan(scores[:8]).all()
    slow = np.array([0.4 < s < 2.5 for s in sog])
    for k in range(8, len(sog)):
        now, before = slow[k - 8 : k + 1], slow[: k - 8]
        past = (before.sum() + 0.3) / (len(before) + 6)
        speed = sum(s for s, is_slow in zip(sog[k - 8 : k + 1], now, strict=True) if is_slow) / 9
        km = np.sum(sog[max(0, k - 12) : k]) * KNOT_MPS * 0.6  # straight to the east
        carried = 0.05 * min(km, 5.0)
        assert scores[k] == pytest.approx(now.mean() * (1 + carried) + 0.01 * speed - 0.5 * past, abs=2e-4)


def test_a_ship_that_is_carried_off_drifts_more_than_one_that_waits_on_the_spot():
    off = run(DriftDetector(), sail(1, n=20, sog=1.2))
    waits = run(DriftDetector(), sail(1, n=20, sog=1.2, cog=np.where(np.arange(20) % 2, 90.0, 270.0)))
    assert off[-1] > waits[-1] + 0.15


def test_a_ship_that_has_always_been_slow_drifts_less_than_one_that_stops_under_way():
    always = run(DriftDetector(), sail(1, n=40, sog=1.5))
    stops = run(DriftDetector(), sail(1, n=40, sog=np.where(np.arange(40) < 20, 9.0, 1.5)))
    assert np.nanmax(stops) > always[-1] + 0.3


def test_a_ship_at_anchor_does_not_drift():
    track = sail(1, sog=1.0)
    track["moored"] = True
    assert np.isnan(run(DriftDetector(), track)).all()

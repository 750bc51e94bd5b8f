"""What is promised of the budget holds on vessels that took no part."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from multitaskais.detection.promise import MIN_DAYS, interval_of_share, least_share, upper_share, vessels_for
from multitaskais.detection.threshold import N_TYPES, TYPE_INDEX, Budget, DevelopmentScores, Thresholds, choose
from multitaskais.records import AlertType

ABNORMAL, DRIFT = TYPE_INDEX[AlertType.ABNORMAL], TYPE_INDEX[AlertType.DRIFT]
LENGTH = 12


def traffic(vessels: int, seed: int, *, per_vessel: int = 2, days: int = 8, spread: float = 0.7) -> DevelopmentScores:
    """Tracks of vessels that each have a habit, on days that each have theirs: tracks of one vessel, or day, are alike."""
    rng = np.random.default_rng(seed)
    vessel = np.repeat(np.arange(vessels), per_vessel)
    day = rng.integers(0, days, len(vessel))
    level = spread * rng.normal(size=vessels)[vessel] + 0.2 * spread * rng.normal(size=days)[day]
    scores = np.full((len(vessel) * LENGTH, N_TYPES), np.nan)
    scores[:, ABNORMAL] = np.repeat(level, LENGTH) + rng.gumbel(1.0, 0.5, len(scores))
    scores[:, DRIFT] = rng.exponential(0.5, len(scores))
    rules = (rng.random(len(vessel)) < 0.01).astype(np.int64)
    track = np.repeat(np.arange(len(vessel)), LENGTH)
    return DevelopmentScores(scores, track, len(vessel), len(scores) / 6, vessel=vessel, day=day, rule_alerts=rules)


def test_the_budget_is_kept_on_unseen_vessels_on_average_and_its_bound_nearly_always():
    """50 times: thresholds from 150 vessels, then 1,000 others; fixed rules count in both."""
    shares, bounds = [], []
    for seed in range(50):
        known = traffic(150, seed)
        limits = choose(known, Budget(0.05))
        shares.append(traffic(1000, 10_000 + seed).flagged(limits))
        bounds.append(known.promise(limits).flagged_at_most)
    ratio = np.mean(shares) / 0.05
    assert 0.85 < ratio < 1.15, ratio
    assert np.mean(np.array(shares) <= bounds) >= 0.93
    assert np.median(bounds) < 0.15, "a bound that says nothing promises nothing"


def test_a_budget_asked_for_with_confidence_is_kept_nearly_always():
    over = [
        traffic(1000, 20_000 + s).flagged(choose(traffic(200, s), Budget(0.06, confidence=0.95))) > 0.06
        for s in range(40)
    ]
    assert np.mean(over) <= 0.08


def test_what_a_trained_detector_knows_is_not_taken_for_normal():
    """Of 360 vessels a network has learned from 300 and is calm on them; the share of strangers is the budget's all the same."""
    shares = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        known = np.arange(360) < 300
        memory = np.full((360, N_TYPES), np.nan)
        memory[:, ABNORMAL] = rng.exponential(1.0, 360)
        network = memory.copy()
        network[:, DRIFT] = np.where(known, 0.1, 1.0) * rng.exponential(1.0, 360)
        scores = DevelopmentScores(network, np.arange(360), 360, 60.0, cross_fitted=memory, unseen=~known)
        limits = choose(scores, Budget(0.05))
        p = [math.exp(-limits[k]) for k in (ABNORMAL, DRIFT)]
        shares.append(1 - (1 - p[0]) * (1 - p[1]))
    assert 0.8 < np.mean(shares) / 0.05 < 1.25, np.mean(shares)


@given(st.integers(0, 40), st.integers(41, 400), st.floats(0.6, 0.99))
def test_the_bound_is_that_of_the_binomial_distribution(k, n, confidence):
    bound = upper_share(k, n, confidence)
    assert binom.cdf(k, n, bound) == pytest.approx(1 - confidence, abs=1e-6)


@given(st.integers(1, 2000))
def test_more_vessels_never_promise_less(n):
    assert least_share(n + 1) < least_share(n)
    assert least_share(vessels_for(0.04)) <= 0.04 < least_share(vessels_for(0.04) - 1)


def test_what_cannot_be_promised_is_said_plainly():
    few = DevelopmentScores(
        traffic(53, 1, per_vessel=1, days=1).tail_score, np.repeat(np.arange(53), LENGTH), 53, 100.0
    )
    lines = few.promise(choose(few, Budget(0.04))).lines(0.04)
    assert any("53 tracks: no less than 5.5% can be promised" in x for x in lines), lines
    assert any("1 day: nothing can be promised for other days" in x for x in lines)
    many = traffic(400, 1, days=MIN_DAYS + 2)
    assert len(many.promise(choose(many, Budget(0.04))).lines(0.04)) == 1, "nothing to warn of"


def test_tracks_of_one_vessel_promise_less_than_as_many_vessels():
    one_each, ten_each = traffic(400, 3, per_vessel=1), traffic(40, 3, per_vessel=10)
    limits = choose(one_each, Budget(0.05))
    assert ten_each.promise(choose(ten_each, Budget(0.05))).flagged_at_most > one_each.promise(limits).flagged_at_most
    assert ten_each.promise(limits).least == least_share(40)


def test_fixed_rules_take_their_part_of_the_budget_first():
    rng = np.random.default_rng(0)
    scores = np.full((400, N_TYPES), np.nan)
    scores[:, ABNORMAL] = rng.exponential(1.0, 400)
    free = DevelopmentScores(scores, np.arange(400), 400, 400.0)
    ruled = DevelopmentScores(scores, np.arange(400), 400, 400.0, rule_alerts=(np.arange(400) < 12).astype(np.int64))
    assert ruled.flagged(choose(ruled, Budget(0.05))) <= 0.05
    assert choose(ruled, Budget(0.05))[ABNORMAL] > choose(free, Budget(0.05))[ABNORMAL]
    assert ruled.alerts_per_vessel_day(np.full(N_TYPES, np.inf)) == pytest.approx(12 / (400 / 24))


def test_the_promise_survives_json():
    import json

    known = traffic(60, 5)
    limits = choose(known, Budget(0.05))
    made = Thresholds(
        (),
        limits,
        math.nan,
        60,
        0.05,
        0.1,
        rule_limits={"jump": math.inf, "contradiction": 3.5},
        promise=known.promise(limits),
    )
    again = Thresholds.from_dict(json.loads(json.dumps(made.to_dict(), allow_nan=False)))
    assert again.promise == made.promise
    assert again.rule_limits == made.rule_limits


def test_an_interval_of_independent_tracks_is_that_of_clopper_and_pearson():
    flagged = np.arange(158) < 9
    low, high = interval_of_share(flagged, np.arange(158))
    assert low == pytest.approx(beta.ppf(0.05, 9, 150), rel=0.02)
    assert high == pytest.approx(beta.ppf(0.95, 10, 149), rel=0.02)
    assert interval_of_share(np.zeros(50, bool), np.arange(50))[0] == 0.0
    assert interval_of_share(np.ones(50, bool), np.arange(50))[1] == 1.0


def test_tracks_of_one_vessel_widen_an_interval_so_that_it_holds_the_share_of_the_fleet():
    held = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        odd = rng.random(120) < 0.1
        vessel = np.repeat(np.arange(120), 4)
        flagged = rng.random(480) < np.where(odd, 0.7, 0.0)[vessel]
        low, high = interval_of_share(flagged, vessel)
        held.append(low <= 0.07 <= high)
    assert np.mean(held) >= 0.85

"""From a budget to thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.detection.threshold import (
    N_TYPES,
    TYPE_INDEX,
    Budget,
    DevelopmentScores,
    TailScore,
    TailScores,
    Thresholds,
    choose,
)
from multitaskais.errors import ConfigError
from multitaskais.records import AlertType

ABNORMAL, DRIFT = TYPE_INDEX[AlertType.ABNORMAL], TYPE_INDEX[AlertType.DRIFT]


def tracks(n: int, length: int = 20, seed: int = 0) -> DevelopmentScores:
    rng = np.random.default_rng(seed)
    scores = np.full((n * length, N_TYPES), np.nan)
    scores[:, ABNORMAL] = rng.exponential(1.0, n * length)
    scores[:, DRIFT] = np.minimum(rng.exponential(0.3, n * length), 1.0)  # bounded
    return DevelopmentScores(scores, np.repeat(np.arange(n), length), n, n * length / 6)


def test_surprise_is_minus_the_logarithm_of_the_share_of_normal_tracks_that_reach_it():
    x = np.random.default_rng(0).gumbel(2.0, 0.5, 4000)
    to_surprise = TailScore.fit(x)
    for share in (0.5, 0.2, 0.05, 0.01):
        assert to_surprise(np.array([np.quantile(x, 1 - share)]))[0] == pytest.approx(-np.log(share), abs=0.12)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=40), st.lists(st.floats(-100, 100), min_size=2, max_size=20))
def test_a_greater_score_is_never_less_surprising(seen, scores):
    found = TailScore.fit(np.array(seen))(np.sort(scores))
    assert (np.diff(found) >= -1e-9).all()
    assert (found >= 0).all()


@pytest.mark.parametrize("share", [0.02, 0.05, 0.2])
def test_the_budget_of_tracks_is_kept_and_used(share):
    scores = tracks(500)
    limits = choose(scores, Budget(share))
    assert share * 0.5 <= scores.flagged(limits) <= share


def test_the_budget_of_alerts_per_vessel_day_is_kept_and_used():
    scores = tracks(500)
    limits = choose(scores, Budget(alerts_per_vessel_day=0.5))
    assert 0.25 <= scores.alerts_per_vessel_day(limits) <= 0.5


def test_a_smaller_budget_never_lowers_a_threshold():
    scores = tracks(300)
    large, small = choose(scores, Budget(0.1)), choose(scores, Budget(0.02))
    assert (small >= large).all()


def test_unseen_tracks_of_the_same_kind_show_the_same_share():
    limits = choose(tracks(600), Budget(0.05))
    assert 0.02 < tracks(2000, seed=9).flagged(limits) < 0.09


def test_a_type_without_weight_or_without_scores_is_off():
    limits = choose(tracks(100), Budget(0.05, weights={"abnormal": 1.0}))
    assert np.isfinite(limits[ABNORMAL])
    assert np.isinf(np.delete(limits, ABNORMAL)).all()


def test_a_bounded_score_has_a_threshold_that_can_be_reached():
    assert choose(tracks(200), Budget(0.001))[DRIFT] <= 1.0001


def test_alerts_are_counted_as_the_alert_life_counts_them():
    scores = np.full((40, N_TYPES), np.nan)
    scores[:, ABNORMAL] = 0.0
    scores[[0, 1, 5, 14, 21, 35], ABNORMAL] = 2.0  # quiet of 9, 7 and 14 samples ends an alert; of 4 does not
    seen = DevelopmentScores(scores, np.zeros(40, int), 1, 24.0)
    limits = np.full(N_TYPES, np.inf)
    limits[ABNORMAL] = 1.0
    assert seen.alerts_per_vessel_day(limits) == 4


def test_thresholds_survive_json():
    import json

    limits = np.full(N_TYPES, np.inf)
    limits[DRIFT] = 3.25
    t = Thresholds((TailScore.fit(np.arange(50.0)),), limits, float("nan"), 50, 0.04, 0.06)
    again = Thresholds.from_dict(json.loads(json.dumps(t.to_dict())))
    np.testing.assert_array_equal(again.by_type, limits)
    assert again.tail_score == t.tail_score
    assert np.isnan(again.log10_eps)


@pytest.mark.parametrize(
    "wrong",
    [{"track_share": 0.0}, {"alerts_per_vessel_day": -1.0}, {"weights": {"piracy": 1.0}}, {"weights": {"drift": -1.0}}],
)
def test_a_budget_that_cannot_be_says_so(wrong):
    with pytest.raises(ConfigError, match="budget"):
        Budget(**wrong)


def test_the_surprises_of_all_detectors_at_once_have_the_bits_of_each_alone():
    rng = np.random.default_rng(4)
    each = [TailScore.fit(rng.normal(k, 1 + k, 200)) for k in range(5)] + [TailScore.fit(np.array([np.nan]))]
    score = rng.normal(2, 6, (500, len(each)))
    score[rng.random(score.shape) < 0.1] = np.nan
    score[0] = [s.knots[-1] for s in each]
    score[1] = [s.knots[3] for s in each]
    want = np.stack([s(score[:, k]) for k, s in enumerate(each)], axis=1)
    np.testing.assert_array_equal(TailScores(each)(score), want)
    np.testing.assert_array_equal(TailScores(each)(score[7]), want[7])

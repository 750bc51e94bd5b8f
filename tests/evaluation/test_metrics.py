"""The figures of merit, against scikit-learn and by their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from multitaskais.evaluation import metrics

# Few distinct values: ties are the hard part. -inf: not judged.
score = st.sampled_from([-np.inf, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0])
scores = st.lists(score, min_size=1, max_size=40).map(np.array)


def finite(x: np.ndarray) -> np.ndarray:
    """scikit-learn takes no infinities; the order is what counts."""
    return np.maximum(x, -1e6)


@given(scores, scores)
def test_auroc_equals_scikit_learn(positives: np.ndarray, clean: np.ndarray) -> None:
    y = np.r_[np.ones(len(positives)), np.zeros(len(clean))]
    assert metrics.auroc(positives, clean) == pytest.approx(roc_auc_score(y, finite(np.r_[positives, clean])))


@given(scores, scores)
def test_average_precision_equals_scikit_learn(positives: np.ndarray, clean: np.ndarray) -> None:
    y = np.r_[np.ones(len(positives)), np.zeros(len(clean))]
    expected = average_precision_score(y, finite(np.r_[positives, clean]))
    assert metrics.average_precision(positives, clean) == pytest.approx(expected)


@given(scores, st.sampled_from([0.0, 0.01, 0.05, 0.2, 0.5, 1.0]))
def test_no_more_than_the_share_of_clean_tracks_is_above_the_threshold(clean: np.ndarray, share: float) -> None:
    threshold = metrics.threshold_at(clean, share)
    above = np.count_nonzero(clean > threshold)
    assert above <= share * len(clean) + 1e-9
    # and no lower threshold that a clean score gives would do, unless it was asked for all of them
    lower = clean[clean < threshold]
    if len(lower):
        assert np.count_nonzero(clean > lower.max()) > share * len(clean) - 1e-9


@given(scores, scores)
def test_recall_grows_with_the_share(positives: np.ndarray, clean: np.ndarray) -> None:
    found = [metrics.recall_at(positives, clean, s) for s in (0.0, 0.01, 0.05, 0.3, 0.9)]
    assert found == sorted(found)


def test_a_track_that_was_not_judged_is_never_found_and_stays_in_the_denominator() -> None:
    positives = np.array([2.0, -np.inf, -np.inf, -np.inf])
    clean = np.array([1.0, 0.5, -np.inf, -np.inf])
    assert metrics.recall_at(positives, clean, 0.5) == 0.25
    assert metrics.recall_at(positives, np.full(9, -np.inf), 0.05) == 0.25


def test_ties_of_clean_tracks_at_the_threshold_are_not_flagged() -> None:
    clean = np.array([3.0, 3.0, 3.0] + [0.0] * 17)
    assert metrics.threshold_at(clean, 0.10) == 3.0  # two may be flagged, three are tied
    assert metrics.recall_at(np.array([3.0, 4.0]), clean, 0.10) == 0.5


def test_kinds_weigh_the_same_whatever_their_number() -> None:
    kinds = np.array(["clean"] * 4 + ["a"] * 1 + ["b"] * 9)
    values = np.array([0.0, 0.1, 0.2, 0.3] + [1.0] + [-1.0] * 9)
    total, per_kind = metrics.ranking_by_kind(values, kinds)
    assert per_kind["a"]["auroc"] == 1.0
    assert per_kind["b"]["auroc"] == 0.0
    assert total["auroc"] == 0.5
    assert total["recall_at_5pct"] == 0.5


def test_without_clean_or_without_abnormal_tracks_there_is_no_figure() -> None:
    assert np.isnan(metrics.auroc(np.array([]), np.array([1.0])))
    assert np.isnan(metrics.average_precision(np.array([]), np.array([1.0])))
    assert metrics.recall_at(np.array([1.0]), np.array([]), 0.05) == 0.0
    total, per_kind = metrics.ranking_by_kind(np.array([1.0]), np.array(["clean"]))
    assert per_kind == {}
    assert all(np.isnan(v) for v in total.values())


def test_bootstrap_intervals_cover_the_mean_of_a_known_sample() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(5.0, 1.0, 400)
    groups = np.array(["x"] * 400)
    found = metrics.bootstrap(groups, lambda i: {"mean": float(values[i].mean())}, np.random.default_rng(1), 400)[
        "mean"
    ]
    half = 1.96 / np.sqrt(400)
    assert found.low == pytest.approx(values.mean() - half, abs=0.03)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03)
    again = metrics.bootstrap(groups, lambda i: {"mean": float(values[i].mean())}, np.random.default_rng(1), 400)[
        "mean"
    ]
    assert found == again


@given(scores, scores)
def test_the_area_under_the_drawn_curve_is_no_more_than_the_auroc(positives: np.ndarray, clean: np.ndarray) -> None:
    x, y = metrics.roc(positives, clean)
    assert np.all(np.diff(x) >= 0)
    assert np.all(np.diff(y) >= 0)
    area = float(np.sum(np.diff(x) * 0.5 * (y[1:] + y[:-1])))
    assert area <= metrics.auroc(positives, clean) + 1e-9
    if np.isfinite(positives).all() and np.isfinite(clean).all():
        assert area == pytest.approx(metrics.auroc(positives, clean))

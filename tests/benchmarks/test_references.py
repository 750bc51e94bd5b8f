"""The references are oracles: written from the method alone, they must agree with the core wherever both can answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import decision, resample
from benchmarks.reference import decision as plain
from benchmarks.reference import decode as line_by_line
from benchmarks.reference import published_chain
from benchmarks.workload import one_track, voyages
from multitaskais.ais.encode import cdv_lines
from multitaskais.ais.vectorized.block import decode_block
from multitaskais.detection.acontrario import tables
from multitaskais.detection.calibration import kde_quantile


@given(seed=st.integers(0, 10_000), fixes=st.integers(30, 600), hours=st.sampled_from([3.0, 8.0, 24.0]))
def test_resampling_agrees_with_a_loop_over_the_fixes(seed, fixes, hours):
    assert resample.check(one_track(fixes, hours, seed)) > 0


def test_blocks_decode_as_line_by_line():
    lines = cdv_lines(voyages(5, 1.0, 60.0)).tobytes()
    ours = decode_block(lines).reports
    theirs = line_by_line.decode(lines.splitlines())
    assert len(ours) == len(theirs) == lines.count(b"\n")
    assert [tuple(r)[:3] for r in ours[["mmsi", "t", "lat"]].tolist()] == [r[:3] for r in theirs]


@given(st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=60))
def test_the_decision_by_bit_masks_agrees_with_loops_over_segments(marks):
    rule = tables(24, 0.1)
    judged, low, best = np.zeros(1, np.uint32), np.zeros(1, np.uint32), math.inf
    for mark in marks:
        judged, low = rule.push(judged, low, np.array([mark is not None]), np.array([mark is True]))
        if mark is not None:
            best = min(best, float(rule.least(judged, low)[0]))
    assert math.isclose(best, plain.best_segment(marks), rel_tol=1e-9, abs_tol=1e-9)


def test_one_threshold_a_cell_decides_as_the_density_does():
    calibration, known = decision.calibrated(seed=3)
    decision.check(decision.cases(known, 5, 4), calibration, tables(24, 0.1), known)


@given(st.integers(0, 1000), st.integers(13, 60))
def test_the_published_chain_counts_segments_as_the_bit_masks_do(seed, length):
    rng = np.random.default_rng(seed)
    likelihood = np.where(rng.random(length) < 0.1, np.nan, rng.normal(size=length))
    cell, n = np.zeros(length, np.int64), np.arange(length)
    got = published_chain.score(likelihood, cell, n, {0: -0.8}, empty_is_low=False)
    rule = tables(24, 0.1)
    judged, low, best = np.zeros(1, np.uint32), np.zeros(1, np.uint32), -math.inf
    for k in range(length):
        use = k >= published_chain.WARMUP and np.isfinite(likelihood[k])
        judged, low = rule.push(judged, low, np.array([use]), np.array([use and likelihood[k] < -0.8]))
        if use:
            best = max(best, -float(rule.least(judged, low)[0]))
    assert got == pytest.approx(best, abs=1e-9)


def test_an_empty_cell_is_low_or_not_judged():
    seen = np.zeros(30), np.zeros(30, np.int64), np.arange(30)
    assert published_chain.score(*seen, {}, empty_is_low=True) > 10
    assert published_chain.score(*seen, {}, empty_is_low=False) == -np.inf


def test_the_published_quantile_is_that_of_the_calibration():
    x = np.random.default_rng(1).gamma(2.0, size=60)
    assert published_chain.quantiles(x, np.zeros(60, np.int64))[0] == pytest.approx(kde_quantile(x, 0.1), abs=1e-6)

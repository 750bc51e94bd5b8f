"""The incremental a-contrario rule against scipy's binomial over all segments."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from multitaskais.detection.acontrario import AContrario

RULE = AContrario(24, 0.1)


def brute_force(judged: list[bool], low: list[bool], end: int) -> float:
    """Smallest log10 NFA of the segments of at most 24 steps that end at ``end``."""
    best = np.inf
    for start in range(max(0, end - 23), end + 1):
        n = sum(judged[start : end + 1])
        k = sum(a and b for a, b in zip(judged[start : end + 1], low[start : end + 1], strict=True))
        best = min(best, np.log10(300 * binom.sf(k - 1, n, 0.1)))
    return best


steps = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(steps)
def test_every_step_has_the_nfa_of_the_best_segment_that_ends_there(track):
    judged_mask = low_mask = np.zeros(1, np.uint32)
    judged, low = [j for j, _ in track], [k for _, k in track]
    for end in range(len(track)):
        judged_mask, low_mask = RULE.push(judged_mask, low_mask, np.array([judged[end]]), np.array([low[end]]))
        best, length = RULE.best(judged_mask, low_mask)
        np.testing.assert_array_equal(RULE.least(judged_mask, low_mask), best)
        if not any(judged[max(0, end - 23) : end + 1]):
            assert np.isnan(best[0])
            continue
        np.testing.assert_allclose(best[0], brute_force(judged, low, end), rtol=1e-9, atol=1e-9)
        assert 1 <= length[0] <= 24


@given(steps)
def test_the_segments_of_all_steps_are_all_segments_of_the_track(track):
    judged, low = [j for j, _ in track], [k for _, k in track]
    masks = np.zeros(1, np.uint32), np.zeros(1, np.uint32)
    found = []
    for j, k in track:
        masks = RULE.push(*masks, np.array([j]), np.array([k]))
        found.append(RULE.best(*masks)[0][0])
    everything = min(
        (brute_force(judged, low, end) for end in range(len(track)) if any(judged[max(0, end - 23) : end + 1])),
        default=np.nan,
    )
    least = np.fmin.reduce(np.array(found))
    assert np.isnan(least) == np.isnan(everything)
    if not np.isnan(least):
        np.testing.assert_allclose(least, everything, rtol=1e-9, atol=1e-9)


def test_the_least_nfa_from_the_tables_is_that_of_the_search_bit_for_bit():
    rng = np.random.default_rng(3)
    for window in (5, 24, 31):
        rule = AContrario(window, 0.1)
        for p_judged, p_low in ((1.0, 0.1), (1.0, 0.5), (1.0, 1.0), (0.9, 0.2), (0.5, 0.5), (0.02, 0.5)):
            masks = np.zeros(2000, np.uint32), np.zeros(2000, np.uint32)
            for _ in range(window + 3):
                masks = rule.push(*masks, rng.random(2000) < p_judged, rng.random(2000) < p_low)
                np.testing.assert_array_equal(rule.least(*masks), rule.best(*masks)[0])


def test_the_table_is_scipys_binomial_tail():
    for n in range(25):
        for k in range(n + 1):
            np.testing.assert_allclose(
                RULE.log10_nfa[n, k], np.log10(300 * binom.sf(k - 1, n, 0.1)), rtol=1e-9, atol=1e-9
            )


def test_a_segment_is_meaningful_exactly_when_it_has_k_min_low_steps():
    for log10_eps in (-1.0, -4.0, -10.0):
        least = RULE.k_min(log10_eps)
        for n in range(25):
            for k in range(n + 1):
                assert (RULE.log10_nfa[n, k] < log10_eps) == (k >= least[n])


def test_steps_that_abstain_count_neither_in_n_nor_in_k():
    masks = np.zeros(1, np.uint32), np.zeros(1, np.uint32)
    for judged in (True, False, False, True, False, True):
        masks = RULE.push(*masks, np.array([judged]), np.array([True]))
    np.testing.assert_allclose(RULE.best(*masks)[0][0], np.log10(300 * 0.1**3))

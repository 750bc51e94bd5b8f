"""The scorers: NumPy against the papers' equations and against TensorFlow; a score is a function of the data alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.config import REGIONS
from multitaskais.networks.noise import NOISE_STEPS, noise_table
from multitaskais.networks.scorer import NumpyScorer
from multitaskais.networks.weights import Sizes, VrnnWeights
from tests.networks.conftest import random_bins, random_weights
from tests.support import network_oracle as oracle

T, N = 10, 6
FULL = Sizes.of(REGIONS["gulf"])


def run(scorer, bins):
    """bins (T, n, 4) -> l_t (T, n), parts (T, n, 4), last state."""
    state = scorer.initial(bins.shape[1])
    found = []
    for b in bins:
        state, scores = scorer.step(state, b)
        found.append(scores)
    return np.stack([f.log_weight for f in found]), np.stack([f.parts for f in found]), state


@pytest.mark.parametrize("samples", [1, 3, 16])
def test_scores_are_the_mean_log_weight_of_the_papers(sizes, weights, samples):
    bins = random_bins(sizes, (T, N), seed=6)
    log_weight, parts, _ = run(NumpyScorer(weights, sizes, samples, seed=4), bins)
    noise = noise_table(4, samples, sizes.latent)
    for n in range(N):
        paths = [oracle.run(weights, sizes, bins[:, n], noise[:T, s]) for s in range(samples)]
        for t in range(T):
            np.testing.assert_allclose(log_weight[t, n], np.mean([p[t].log_w for p in paths]), rtol=2e-5, atol=2e-4)
            np.testing.assert_allclose(parts[t, n], -np.mean([p[t].parts for p in paths], axis=0), rtol=2e-5, atol=2e-4)


def test_the_mean_scorer_takes_z_at_the_posteriors_mean_and_kl_in_closed_form(sizes, weights):
    bins = random_bins(sizes, (T, N), seed=7)
    log_weight, _, _ = run(NumpyScorer(weights, sizes, samples=0), bins)
    for n in range(N):
        path = oracle.run(weights, sizes, bins[:, n], np.zeros((T, sizes.latent)))
        want = [step.parts.sum() - step.kl for step in path]
        np.testing.assert_allclose(log_weight[:, n], want, rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("samples", [0, 1, 16])
def test_tensorflow_gives_the_same_scores_with_weights_of_full_size(samples):
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed (pip install '.[train]')")
    from multitaskais.networks.tf_scorer import TensorFlowScorer

    weights = VrnnWeights.random(FULL, np.full(FULL.dim, 4 / FULL.dim), seed=1)
    bins = random_bins(FULL, (T, 70), seed=8)
    ours = run(NumpyScorer(weights, FULL, samples, seed=2), bins)
    theirs = run(TensorFlowScorer(weights, FULL, samples, seed=2), bins)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=2e-6, atol=2e-4)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=2e-6, atol=2e-4)


@pytest.fixture(scope="module")
def full_scorers():
    weights = VrnnWeights.random(FULL, np.full(FULL.dim, 4 / FULL.dim), seed=1)
    return {s: NumpyScorer(weights, FULL, s, seed=0) for s in (0, 1, 16)}


@pytest.fixture(scope="module")
def fleet(full_scorers):
    """300 lines at different steps of their lives, and what becomes of each when all step together."""
    bins = random_bins(FULL, (300,), seed=9)
    out = {}
    for s, scorer in full_scorers.items():
        state = scorer.initial(300)
        rng = np.random.default_rng(10)
        for _ in range(3):
            who = rng.random(300) < 0.6
            state[who] = scorer.step(state[who], random_bins(FULL, (int(who.sum()),), seed=11))[0]
        out[s] = state, bins, scorer.step(state, bins)
    return out


@given(who=st.lists(st.integers(0, 299), min_size=1, max_size=300, unique=True), samples=st.sampled_from([0, 1, 16]))
def test_a_lines_step_is_bit_identical_whatever_else_is_in_its_batch(full_scorers, fleet, who, samples):
    state, bins, (after, scores) = fleet[samples]
    some_after, some = full_scorers[samples].step(state[who], bins[who])
    assert some.log_weight.tobytes() == scores.log_weight[who].tobytes()
    assert some.parts.tobytes() == scores.parts[who].tobytes()
    assert some_after.tobytes() == after[who].tobytes()


def test_a_line_alone_is_bit_identical_to_itself_in_the_fleet(full_scorers, fleet):
    state, bins, (after, scores) = fleet[1]
    for i in range(0, 300, 7):
        own_after, own = full_scorers[1].step(state[i : i + 1], bins[i : i + 1])
        assert own.log_weight[0] == scores.log_weight[i]
        assert own_after.tobytes() == after[i : i + 1].tobytes()


@given(seed=st.integers(0, 2**32 - 1), samples=st.sampled_from([0, 1, 16]), log_weights=st.booleans())
def test_scores_that_are_not_asked_for_change_neither_the_others_nor_the_state(
    full_scorers, seed, samples, log_weights
):
    rng = np.random.default_rng(seed)
    scorer, lines, steps = full_scorers[samples], int(rng.integers(1, 9)), int(rng.integers(1, 5))
    state = scorer.step(scorer.initial(lines), random_bins(FULL, (lines,), seed=3))[0]
    bins = random_bins(FULL, (lines * steps,), seed=4)
    asked = rng.random(len(bins)) < rng.choice([0.0, 0.5, 1.0])
    all_after, every = scorer.steps(state, bins)
    after, some = scorer.steps(state, bins, asked, log_weights)
    assert after.tobytes() == all_after.tobytes()
    assert some.parts[asked].tobytes() == every.parts[asked].tobytes()
    assert np.isnan(some.parts[~asked]).all()
    if log_weights:
        assert some.log_weight[asked].tobytes() == every.log_weight[asked].tobytes()


def test_an_empty_batch_has_no_scores(full_scorers):
    scorer = full_scorers[1]
    after, scores = scorer.step(scorer.initial(0), np.zeros((0, 4), np.int16))
    assert len(after) == len(scores.log_weight) == len(scores.parts) == 0


def test_the_state_is_a_value(full_scorers, fleet):
    state, bins, (after, _) = fleet[1]
    copy = state.copy()
    again, _ = full_scorers[1].step(state, bins)
    assert state.tobytes() == copy.tobytes()
    assert again.tobytes() == after.tobytes()


def test_the_state_of_one_sample_takes_less_than_one_kilobyte(full_scorers):
    assert full_scorers[1].state_dtype.itemsize <= 1024


def test_steps_of_great_logits_stay_finite():
    sizes = Sizes((3, 3, 3, 3), latent=4, hidden=5)
    weights = random_weights(sizes).map(lambda a: 40 * a)
    log_weight, parts, _ = run(NumpyScorer(weights, sizes, 1), random_bins(sizes, (20, 5)))
    assert np.isfinite(log_weight).all()
    assert np.isfinite(parts).all()


def test_noise_is_the_same_for_ever_and_normal():
    table = noise_table(0, 2, 100)
    assert table.shape == (NOISE_STEPS, 2, 100)
    # Written down once: scores of stored models hang on it.
    np.testing.assert_allclose(table[0, 0, :3], [0.350349, -0.613458, -1.739499], atol=1e-5)
    assert abs(table.mean()) < 0.02
    assert abs(table.std() - 1) < 0.02
    np.testing.assert_array_equal(noise_table(0, 1, 100), table[:, :1])
    assert not np.array_equal(noise_table(1, 1, 100), table[:, :1])

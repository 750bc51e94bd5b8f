"""The TensorFlow graph against the papers' equations in plain NumPy, and its gradient against automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest

from multitaskais.networks.weights import Sizes, VrnnWeights
from tests.networks.conftest import random_bins, random_weights
from tests.support import network_oracle as oracle

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed (pip install '.[train]')")

from multitaskais.networks import bounds, vrnn  # noqa: E402

T, B, S = 9, 3, 2


@pytest.fixture(scope="module")
def case(sizes):
    rng = np.random.default_rng(5)
    bins = random_bins(sizes, (T, B), seed=2).astype(np.int32)
    noise = rng.standard_normal((T, B, S, sizes.latent)).astype(np.float32)
    return bins, noise


@pytest.fixture(scope="module")
def by_hand(sizes, weights, case):
    bins, noise = case
    return [[oracle.run(weights, sizes, bins[:, b], noise[:, b, s]) for s in range(S)] for b in range(B)]


def test_log_weights_and_kl_are_those_of_the_papers(sizes, weights, case, by_hand):
    found = vrnn.unroll(weights, sizes, *map(tf.constant, case))
    want_w = [[[by_hand[b][s][t].log_w for s in range(S)] for b in range(B)] for t in range(T)]
    want_kl = [[[by_hand[b][s][t].kl for s in range(S)] for b in range(B)] for t in range(T)]
    want_parts = [[[by_hand[b][s][t].parts for s in range(S)] for b in range(B)] for t in range(T)]
    np.testing.assert_allclose(found.log_w, want_w, rtol=2e-5, atol=2e-4)
    np.testing.assert_allclose(found.kl, want_kl, rtol=2e-5, atol=2e-4)
    np.testing.assert_allclose(found.parts, want_parts, rtol=2e-5, atol=2e-4)


def test_a_gather_of_four_rows_is_the_product_with_the_dense_four_hot(sizes, weights):
    bins = random_bins(sizes, (40,), seed=3)
    dense = np.stack([oracle.four_hot(b, sizes.blocks) for b in bins])
    want = oracle.mlp(weights.map(np.float64), "phi_x", dense)
    np.testing.assert_allclose(vrnn.encode_x(weights, sizes, tf.constant(bins, tf.int32)), want, rtol=1e-5, atol=1e-5)


def test_a_missing_block_adds_nothing_and_is_left_out_of_the_likelihood(sizes, weights):
    logits = tf.constant(np.random.default_rng(0).standard_normal((1, sizes.dim)), tf.float32)
    none = tf.fill((1, 4), -1)
    np.testing.assert_array_equal(vrnn.log_likelihood(sizes, logits, none), 0.0)
    zero_x = oracle.mlp(weights.map(np.float64), "phi_x", np.zeros((1, sizes.dim)))
    np.testing.assert_allclose(vrnn.encode_x(weights, sizes, none), zero_x, rtol=1e-5, atol=1e-6)


def test_the_decoder_outside_the_recurrence_gives_what_it_gives_inside(sizes, weights, case):
    bins, noise = map(tf.constant, case)
    outside = vrnn.unroll(weights, sizes, bins, noise).parts
    gates_x, post_x = vrnn.inputs(weights, sizes, bins)
    linear = vrnn.linear_of(vrnn.recurrent(weights))
    state = vrnn.initial_state(B * S, sizes.hidden)
    for t in range(T):
        state, found = vrnn.step(
            linear,
            state,
            vrnn.rows_of(gates_x[t], S),
            vrnn.rows_of(post_x[t], S),
            tf.reshape(noise[t], (B * S, sizes.latent)),
        )
        inside = vrnn.log_likelihood(sizes, vrnn.emit(weights, found.z_enc, found.o), vrnn.rows_of(bins[t], S))
        np.testing.assert_allclose(outside[t], tf.reshape(inside, (B, S, 4)), rtol=1e-5, atol=1e-5)


def test_the_written_gradient_is_that_of_automatic_differentiation(sizes, weights, case):
    bins, noise = map(tf.constant, case)
    arrays = [tf.constant(a) for a in weights.arrays()]

    def by_steps(w):
        gates_x, post_x = vrnn.inputs(w, sizes, bins)
        linear = vrnn.linear_of(vrnn.recurrent(w))
        state = vrnn.initial_state(B * S, sizes.hidden)
        total = 0.0
        for t in range(T):
            eps = tf.reshape(noise[t], (B * S, sizes.latent))
            state, found = vrnn.step(linear, state, vrnn.rows_of(gates_x[t], S), vrnn.rows_of(post_x[t], S), eps)
            logits = vrnn.emit(w, found.z_enc, found.o)
            log_px = tf.reduce_sum(vrnn.log_likelihood(sizes, logits, vrnn.rows_of(bins[t], S)), axis=-1)
            total += tf.reduce_sum((t + 1.0) * (log_px + vrnn.log_ratio(eps, found)))
        return total

    @tf.function
    def at_once_of(arrays):
        w = VrnnWeights.of(arrays)
        steps = tf.range(1.0, T + 1.0)[:, None, None]
        return tf.reduce_sum(steps * vrnn.unroll(w, sizes, bins, noise).log_w)

    def at_once(w):
        return at_once_of(w.arrays())

    grads = []
    for f in (by_steps, at_once):
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            value = f(VrnnWeights.of(arrays))
        grads.append([np.asarray(tf.convert_to_tensor(g)) for g in tape.gradient(value, arrays)])
    for name, a, b in zip(VrnnWeights.__dataclass_fields__, *grads, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-3 * np.abs(a).max(), err_msg=name)


def test_the_iwae_bound_is_the_log_mean_of_the_weights_up_to_each_tracks_end(sizes, weights, case, by_hand):
    lengths = np.array([T, 4, 6], np.int32)
    log_w = vrnn.unroll(weights, sizes, *map(tf.constant, case)).log_w
    found = bounds.iwae(log_w, bounds.mask_of(tf.constant(lengths), T))
    for b in range(B):
        total = np.array([sum(step.log_w for step in by_hand[b][s][: lengths[b]]) for s in range(S)])
        np.testing.assert_allclose(found[b], oracle.logsumexp(total) - np.log(S), rtol=1e-5, atol=1e-3)


def test_nothing_past_the_end_of_a_track_counts(sizes, weights, case):
    bins, noise = case
    lengths = tf.constant([5, 5, 5])
    other = bins.copy()
    other[5:] = random_bins(sizes, (T - 5, B), seed=99)
    uniform = tf.constant(np.random.default_rng(1).random((T, B, S)), tf.float32)
    mask = bounds.mask_of(lengths, T)
    for x in (bins, other):
        iwae = bounds.iwae(vrnn.unroll(weights, sizes, tf.constant(x), tf.constant(noise)).log_w, mask)
        fivo = bounds.fivo(weights, sizes, tf.constant(x), tf.constant(noise), uniform, mask).bound
        if x is bins:
            first = iwae, fivo
    np.testing.assert_array_equal(iwae, first[0])
    np.testing.assert_array_equal(fivo, first[1])


def test_fivo_is_the_particle_filter_of_the_paper(sizes):
    """A track at a time, a particle at a time, by the definitions; weights wild enough that samples are drawn again."""
    t_max, s_n = 12, 4
    weights = random_weights(sizes, seed=3)
    rng = np.random.default_rng(8)
    bins = random_bins(sizes, (t_max, 2), seed=4).astype(np.int32)
    noise = rng.standard_normal((t_max, 2, s_n, sizes.latent)).astype(np.float32)
    uniform = rng.random((t_max, 2, s_n)).astype(np.float32)
    lengths = np.array([t_max, 7])
    mask = bounds.mask_of(tf.constant(lengths, tf.int32), t_max)
    found = bounds.fivo(weights, sizes, tf.constant(bins), tf.constant(noise), tf.constant(uniform), mask)
    drawn_anew = 0
    for b in range(2):
        # The noise each particle's ancestors saw; running a path again from the start needs no state.
        paths = [[] for _ in range(s_n)]
        acc, bound = np.zeros(s_n), 0.0
        for t in range(lengths[b]):
            paths = [[*p, noise[t, b, s]] for s, p in enumerate(paths)]
            acc += [oracle.run(weights, sizes, bins[: t + 1, b], p)[-1].log_w for p in paths]
            alpha = np.exp(acc - oracle.logsumexp(acc))
            again = 1.0 / np.sum(alpha**2) < s_n / 2
            assert float(found.resampled[t, b]) == again
            if again:
                drawn_anew += 1
                bound += oracle.logsumexp(acc) - np.log(s_n)
                acc = np.zeros(s_n)
                chosen = np.searchsorted(np.cumsum(alpha), uniform[t, b], side="right")
                paths = [paths[i] for i in chosen]
        np.testing.assert_allclose(found.bound[b], bound + oracle.logsumexp(acc) - np.log(s_n), rtol=1e-4)
    assert drawn_anew >= 3
    assert not np.any(found.resampled[7:, 1])


def test_fivo_without_need_to_draw_anew_is_iwae(sizes, weights, case):
    """One sample has always an effective number of 1 > 1/2."""
    bins, noise = case[0], case[1][:, :, :1]
    mask = bounds.mask_of(tf.constant([T, 3, 6]), T)
    fivo = bounds.fivo(weights, sizes, tf.constant(bins), tf.constant(noise), tf.zeros((T, B, 1)), mask)
    iwae = bounds.iwae(vrnn.unroll(weights, sizes, tf.constant(bins), tf.constant(noise)).log_w, mask)
    np.testing.assert_allclose(fivo.bound, iwae, rtol=1e-5)


def test_a_fresh_nets_emission_starts_at_the_mean_four_hot():
    sizes = Sizes((2, 2, 2, 2), latent=3, hidden=4)
    mean = np.array([0.9, 0.1, 0.5, 0.5, 1.0, 0.0, 0.3, 0.7])
    w = VrnnWeights.random(sizes, mean, seed=0)
    silent = w.map(np.copy)
    for name in ("emit_w1", "emit_w2"):
        getattr(silent, name)[:] = 0
    p = oracle.run(silent, sizes, [[0, 0, 0, 0]], np.zeros((1, 3)))[0].probabilities
    np.testing.assert_allclose(p, np.clip(mean, 1e-4, 1 - 1e-4), rtol=1e-5)


def test_what_the_recurrence_does_not_see_changes_later_steps_only(sizes, weights, case):
    bins, noise = map(tf.constant, case)
    seen = case[0].copy()
    seen[4, :, :2] = -1
    plain = vrnn.unroll(weights, sizes, bins, noise).log_w.numpy()
    blind = vrnn.unroll(weights, sizes, bins, noise, seen=tf.constant(seen)).log_w.numpy()
    np.testing.assert_array_equal(blind[:5], plain[:5])
    assert (np.abs(blind[5:] - plain[5:]) > 1e-6).all()

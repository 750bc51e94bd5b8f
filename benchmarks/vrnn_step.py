"""Claim: a VRNN step runs at 45 % of the machine's greatest multiplication rate, and beside it: how often as fast as the dense graph in TensorFlow.

The peak is that of float64, in which the products are exact; it is measured in the same run. Work counted: the multiplications and
additions that the step really does in matrix products (folded weights, gathered four-hot), so what is spent on look-ups, copies and
Python is loss.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from multitaskais.networks.noise import noise_table
from multitaskais.networks.scorer import NumpyScorer
from multitaskais.networks.weights import Sizes, VrnnWeights
from multitaskais.types import Rows

from .harness import Result, compare, require, seconds
from .machine import dgemm_peak
from .reference import vrnn_dense
from .workload import region

BATCHES, SAMPLES, ROUNDS = (64, 1024, 4096), (1, 16, 0), 5
SHARE_GOAL = 0.45
SAME = 2e-3  # nats of some tens; the graph computes in float32

LIMITS = {
    name: "the rest of the time goes into look-ups and element-wise passes of a 602-wide emission, and at 64 vessels into one block's copies of states and calls."
    for name in [f"vrnn_step/peak S={s} n={n}" for s in (1, 16) for n in (64, 1024, 4096)]
}


def flops(sizes: Sizes, samples: int) -> float:
    """Of one vessel-step: 2 for each weight that is multiplied. What depends on x alone counts once, the rest once a sample."""
    h, z, d = sizes.hidden, sizes.latent, sizes.dim
    once = h * h  # phi_x's hidden layer -> posterior
    each = h * 3 * h + 2 * h * 2 * z + z * h + h * h + h * d + d * 4 + 3 * h * 4 * h
    return 2.0 * (once + max(samples, 1) * each)


def random_bins(n: int, sizes: Sizes, seed: int) -> NDArray[np.int16]:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, b, n) for b in sizes.blocks], axis=1).astype(np.int16)


def dense(
    weights: VrnnWeights, sizes: Sizes, n: int, samples: int
) -> Callable[..., tuple[vrnn_dense.State, NDArray[np.float32]]]:
    """The reference's step of n lines as one graph: (state, four-hot (n, D), noise (R, Z)) -> state, l_t (n,)."""
    w = weights.map(lambda a: tf.constant(a, tf.float32))

    @tf.function
    def step(state: vrnn_dense.State, x: tf.Tensor, noise: tf.Tensor) -> tuple[vrnn_dense.State, tf.Tensor]:
        state, log_w = vrnn_dense.step(w, state, tf.repeat(x, samples, axis=0), noise)
        return state, tf.reduce_mean(tf.reshape(log_w, (n, samples)), axis=1)

    def run(
        state: vrnn_dense.State, x: NDArray[np.float32], noise: NDArray[np.float32]
    ) -> tuple[vrnn_dense.State, NDArray[np.float32]]:
        state, log_w = step(state, tf.constant(x), tf.constant(noise))
        return state, log_w.numpy()

    return run


def check(scorer: NumpyScorer, weights: VrnnWeights, sizes: Sizes, samples: int, n: int = 8, steps: int = 6) -> None:
    step, table = dense(weights, sizes, n, samples), noise_table(0, samples, sizes.latent)
    theirs, ours = vrnn_dense.zeros(n * samples, sizes.hidden, sizes.dim), scorer.initial(n)
    for t in range(steps):
        bins = random_bins(n, sizes, t)
        noise = np.tile(table[t], (n, 1))
        theirs, expected = step(theirs, vrnn_dense.four_hot(bins, sizes.blocks), noise)
        ours, found = scorer.step(ours, bins)
        difference = float(np.abs(found.log_weight - expected).max())
        require(difference < SAME * max(1.0, float(np.abs(expected).max()) / 10), f"l_t differs by {difference:g}")


def run(quick: bool = False) -> list[Result]:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    sizes = Sizes.of(region())
    weights = VrnnWeights.random(sizes, np.full(sizes.dim, 4 / sizes.dim), 0)
    out = []
    for samples in SAMPLES:
        scorer = NumpyScorer(weights, sizes, samples)
        if samples:
            check(scorer, weights, sizes, samples)
        for n in BATCHES[1:2] if quick else BATCHES:
            if samples * n > 32_768:
                continue
            bins = random_bins(n, sizes, 1)
            state = scorer.initial(n)

            def ours(scorer: NumpyScorer = scorer, state: Rows = state, bins: NDArray[np.int16] = bins) -> None:
                scorer.step(state, bins)

            if samples and (n == 1024 or quick):
                m = min(n, 256) if samples > 1 else n
                step = dense(weights, sizes, m, samples)
                zero = vrnn_dense.zeros(m * samples, sizes.hidden, sizes.dim)
                x = vrnn_dense.four_hot(bins[:m], sizes.blocks)
                noise = np.zeros((m * samples, sizes.latent), np.float32)
                step(zero, x, noise)
                out.append(
                    compare(
                        f"vrnn_step/S={samples}",
                        work=f"one step of {n:,} vessels, S = {samples}",
                        reference="the same maths as a dense TensorFlow graph",
                        unit="vessel-steps/s",
                        ours=ours,
                        theirs=partial(step, zero, x, noise),
                        units=float(n),
                        their_units=float(m),
                        rounds=2 if quick else ROUNDS,
                        same=f"l_t of six steps to {SAME:g} of ten nats, S = 1 and 16",
                    )
                )
            out.append(_share(f"vrnn_step/peak S={samples} n={n}", ours, n, samples, sizes, 2 if quick else ROUNDS))
    return out


def _share(name: str, work: Callable[[], None], n: int, samples: int, sizes: Sizes, rounds: int) -> Result:
    """Multiplication rate of the step against the peak, both of one core, in turns."""
    pairs = []
    for _ in range(rounds):
        rate = n / seconds(work)
        pairs.append((rate * flops(sizes, samples), dgemm_peak()))
    shares = sorted(a / b for a, b in pairs)
    share, peak = shares[len(shares) // 2], sorted(b for _, b in pairs)[len(pairs) // 2]
    us = flops(sizes, samples) / (share * peak) * 1e6
    return Result(
        name,
        f"one step of {n:,} vessels, " + (f"S = {samples}" if samples else "posterior mean (S = 0)"),
        "greatest float64 matrix multiplication rate",
        "GFLOP/s",
        share * peak / 1e9,
        peak / 1e9,
        share,
        shares[0],
        shares[-1],
        rounds,
        SHARE_GOAL if samples else None,
        notes=(f"{us:.1f} us a vessel-step; {flops(sizes, samples) / 1e3:,.0f} kFLOP",),
    )

"""One training step as one writes it first: a ``while_loop`` over the steps, the decoder inside, the four-hot dense; autodiff through it all.

Written from docs/method.md#the-network: the IWAE bound of S samples a track, per sample of the track, and Adam.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from multitaskais.networks.weights import VrnnWeights

from . import vrnn_dense

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def loss_of(w: Any, x: Any, lengths: Any, noise: Any) -> Any:
    """x (T, B, D), lengths (B,), noise (T, B, S, Z) -> minus the mean over tracks of bound / T."""
    steps, tracks, dim = x.shape
    samples, latent = noise.shape[2], noise.shape[3]
    rows = tf.reshape(tf.repeat(x[:, :, None], samples, axis=2), (steps, tracks * samples, dim))
    log_w = vrnn_dense.scan(w, rows, tf.reshape(noise, (steps, tracks * samples, latent)))
    log_w = tf.reshape(log_w, (steps, tracks, samples))
    alive = tf.cast(tf.range(steps)[:, None] < lengths[None], tf.float32)
    total = tf.reduce_sum(log_w * alive[:, :, None], axis=0)
    bound = tf.reduce_logsumexp(total, axis=1) - tf.math.log(float(samples))
    return -tf.reduce_mean(bound / tf.cast(lengths, tf.float32))


def make_step() -> Any:
    """(arrays, m, v, x, lengths, noise, rate) -> arrays, m, v, loss; a graph, traced at its first call."""

    @tf.function
    def step(arrays: Any, m: Any, v: Any, x: Any, lengths: Any, noise: Any, rate: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            loss = loss_of(VrnnWeights.of(arrays), x, lengths, noise)
        grads = [tf.convert_to_tensor(g) for g in tape.gradient(loss, arrays)]
        m = [BETA1 * a + (1 - BETA1) * g for a, g in zip(m, grads, strict=True)]
        v = [BETA2 * a + (1 - BETA2) * g * g for a, g in zip(v, grads, strict=True)]
        arrays = [a - rate * p / (tf.sqrt(q) + EPSILON) for a, p, q in zip(arrays, m, v, strict=True)]
        return arrays, m, v, loss

    return step

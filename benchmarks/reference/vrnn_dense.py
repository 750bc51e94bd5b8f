"""The VRNN as a dense TensorFlow graph: the four-hot as a D-wide vector, one matrix product a layer, nothing shared or folded.

Written from docs/method.md#the-network. Whole batches step together; weights come by name from ``VrnnWeights``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

SIGMA_BIAS = 0.5
LOG_2PI = float(np.log(2 * np.pi))


class State(NamedTuple):
    """(R, .) of R = lines * samples rows; all zeros at the start."""

    h: Any
    c: Any
    z_enc: Any
    x: Any  # the four-hot of the step before


def four_hot(bins: NDArray[np.integer], blocks: tuple[int, ...]) -> NDArray[np.float32]:
    """(..., 4) bins, all known -> (..., D)."""
    return np.concatenate([np.eye(n, dtype=np.float32)[bins[..., i]] for i, n in enumerate(blocks)], axis=-1)


def zeros(rows: int, hidden: int, dim: int) -> State:
    return State(*(tf.zeros((rows, k)) for k in (hidden, hidden, hidden, dim)))


def mlp(w: Any, name: str, x: Any) -> Any:
    hidden = tf.nn.relu(x @ getattr(w, f"{name}_w1") + getattr(w, f"{name}_b1"))
    return hidden @ getattr(w, f"{name}_w2") + getattr(w, f"{name}_b2")


def normal_log_pdf(x: Any, mu: Any, sigma: Any) -> Any:
    return tf.reduce_sum(-0.5 * tf.square((x - mu) / sigma) - tf.math.log(sigma) - 0.5 * LOG_2PI, axis=1)


def step(w: Any, state: State, x: Any, noise: Any) -> tuple[State, Any]:
    """One step: x (R, D), noise (R, Z) -> the new state, w_t (R,)."""
    gates = tf.concat([mlp(w, "phi_x", state.x), state.z_enc, state.h], axis=1) @ w.lstm_w + w.lstm_b
    i, f, o_gate, candidate = tf.split(gates, 4, axis=1)
    c = tf.sigmoid(f) * state.c + tf.sigmoid(i) * tf.tanh(candidate)
    o = tf.sigmoid(o_gate) * tf.tanh(c)
    mu_p, r_p = tf.split(mlp(w, "prior", o), 2, axis=1)
    mu_r, r_q = tf.split(mlp(w, "post", tf.concat([o, mlp(w, "phi_x", x)], axis=1)), 2, axis=1)
    sigma_p, sigma_q = tf.nn.softplus(r_p + SIGMA_BIAS), tf.nn.softplus(r_q + SIGMA_BIAS)
    mu_q = mu_p + mu_r
    z = mu_q + sigma_q * noise
    z_enc = mlp(w, "phi_z", z)
    logits = mlp(w, "emit", tf.concat([z_enc, o], axis=1))
    log_px = -tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits), axis=1)
    log_w = log_px + normal_log_pdf(z, mu_p, sigma_p) - normal_log_pdf(z, mu_q, sigma_q)
    return State(o, c, z_enc, x), log_w


def scan(w: Any, x: Any, noise: Any) -> Any:
    """All steps in a ``while_loop`` with the decoder inside: x (T, R, D), noise (T, R, Z) -> w_t (T, R)."""
    steps, rows, dim = x.shape
    first = zeros(rows, w.lstm_b.shape[0] // 4, dim)
    found = tf.TensorArray(tf.float32, steps)

    def body(t: Any, state: State, found: Any) -> tuple[Any, State, Any]:
        state, log_w = step(w, state, x[t], noise[t])
        return t + 1, state, found.write(t, log_w)

    _, _, found = tf.while_loop(lambda t, *_: t < steps, body, (tf.constant(0), first, found))
    return found.stack()

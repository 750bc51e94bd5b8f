"""What training maximises: lower bounds of log p(x_1..T) from S samples, one number a track.

IWAE (Burda et al. 2016), the prototype's "elbo": log (1/S) sum_s exp(sum_t w_t^s); the ELBO for S = 1.
FIVO (Maddison et al. 2017): a particle filter that draws the S samples again when their effective number falls below
S / 2. Steps past a track's end count for nothing in either.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from . import vrnn
from .weights import Sizes, VrnnWeights

ESS_SHARE = 0.5  # docs/method.md#the-network: resample when ESS < S / 2


def mask_of(lengths: Any, t_max: int) -> Any:
    """(T, B) 1 while t < length of the track, else 0."""
    return tf.cast(tf.range(t_max)[:, None] < lengths[None, :], tf.float32)


def iwae(log_w: Any, mask: Any) -> Any:
    """log_w (T, B, S), mask (T, B) -> (B,)."""
    total = tf.reduce_sum(log_w * mask[:, :, None], axis=0)
    return _log_mean_exp(total)


class Fivo(NamedTuple):
    bound: Any  # (B,)
    kl: Any  # (T, B, S)
    resampled: Any  # (T, B) 1 where the samples were drawn again after the step


def fivo(w: VrnnWeights, sizes: Sizes, bins: Any, noise: Any, uniform: Any, mask: Any, beta: Any = 1.0) -> Fivo:
    """bins (T, B, 4) int32, noise (T, B, S, Z) from N(0, 1), uniform (T, B, S) from U(0, 1), mask (T, B).

    The emission stands inside the recurrence here: which samples go on depends on their weights. ``beta`` weighs
    log p(z) - log q(z) (KL annealing; 1 is the bound). No gradient goes through the choice of samples, as in the paper's
    experiments.
    """
    b, s_n = bins.shape[1], noise.shape[2]
    rows = b * s_n
    gates_x, post_x = vrnn.inputs(w, sizes, bins)
    linear = vrnn.linear_of(vrnn.recurrent(w))

    def body(carry: Any, x: Any) -> Any:
        state, acc, bound, _, _ = carry
        gates_t, post_t, noise_t, uniform_t, bins_t, mask_t = x
        noise_rows = tf.reshape(noise_t, (rows, sizes.latent))
        state, s = vrnn.step(linear, state, vrnn.rows_of(gates_t, s_n), vrnn.rows_of(post_t, s_n), noise_rows)
        logits = tf.reshape(vrnn.emit(w, s.z_enc, s.o), (b, s_n, sizes.dim))
        log_px = tf.reduce_sum(vrnn.log_likelihood(sizes, logits, bins_t[:, None]), axis=-1)
        log_w = log_px + beta * tf.reshape(vrnn.log_ratio(noise_rows, s), (b, s_n))
        acc += log_w * mask_t[:, None]  # log-weights since the samples were last drawn
        # ESS = (sum w)^2 / sum w^2 < S / 2, and the track goes on
        ess = tf.exp(2.0 * tf.reduce_logsumexp(acc, axis=1) - tf.reduce_logsumexp(2.0 * acc, axis=1))
        again = tf.cast(ess < ESS_SHARE * s_n, tf.float32) * mask_t
        bound += again * _log_mean_exp(acc)
        chosen = _choose(tf.stop_gradient(acc), uniform_t)
        keep = tf.broadcast_to(tf.range(s_n)[None, :], (b, s_n))
        index = tf.reshape(tf.where(again[:, None] > 0, chosen, keep) + tf.range(b)[:, None] * s_n, (rows,))
        state = vrnn.State(*(tf.gather(a, index) for a in state))
        acc *= 1.0 - again[:, None]
        return state, acc, bound, tf.reshape(vrnn.kl(s), (b, s_n)), again

    zero = tf.zeros((b, s_n))
    first = (vrnn.initial_state(rows, sizes.hidden), zero, tf.zeros((b,)), zero, tf.zeros((b,)))
    _, acc, bound, kl, again = tf.scan(body, (gates_x, post_x, noise, uniform, bins, mask), first)
    return Fivo(bound[-1] + _log_mean_exp(acc[-1]), kl, again)


def _choose(log_w: Any, uniform: Any) -> Any:
    """Multinomial by the inverse of the cumulative weights: log_w, uniform (B, S) -> index (B, S) int32."""
    cumulative = tf.cumsum(tf.nn.softmax(log_w, axis=1), axis=1)
    below = cumulative[:, None, :] <= uniform[:, :, None]  # (B, draw, sample)
    return tf.minimum(tf.reduce_sum(tf.cast(below, tf.int32), axis=2), log_w.shape[1] - 1)


def _log_mean_exp(log_w: Any) -> Any:
    return tf.reduce_logsumexp(log_w, axis=1) - tf.math.log(float(log_w.shape[1]))

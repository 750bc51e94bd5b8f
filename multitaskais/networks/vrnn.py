"""The VRNN in TensorFlow (Chung et al. 2015; Nguyen et al. 2018; docs/method.md#the-network): one step, values in and values out, and a
whole batch of tracks at once.

Departures from the paper's graph, which change no number:
- the four-hot enters as a sum of four rows of the first weight matrix (a gather), not as a D-wide matrix product;
- what depends on x alone (phi_x, its share of the LSTM's gates and of the posterior's first layer) and the whole
  emission stand outside the recurrence and run for all steps at once;
- the Gaussian noise is an argument, so that a result is a function of the data.
And one that does: a missing block (bin -1) adds nothing to phi_x and is left out of the likelihood.

Shapes: T steps, B tracks, S latent samples a track, R = B * S rows, H hidden, Z latent, D four-hot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from .weights import Sizes, VrnnWeights

SIGMA_BIAS = 0.5  # docs/method.md#the-network: sigma = softplus(r + 0.5)
SIGMA_MIN = 1e-4  # not in the paper: softplus underflows to 0 in float32, and log sigma with it
LOG_2PI = float(np.log(2.0 * np.pi))


Linear = Callable[[str, Any], Any]


class State(NamedTuple):
    """What the recurrence carries from step to step: (R, H) each; zeros at the start."""

    h: Any  # LSTM output o_t
    c: Any  # LSTM cell
    z_enc: Any  # phi_z(z_t)


class Step(NamedTuple):
    """What one step found."""

    o: Any  # o_t (R, H)
    z: Any  # z_t (R, Z), drawn from the posterior
    z_enc: Any  # phi_z(z_t) (R, H)
    mu_p: Any  # prior (R, Z)
    sigma_p: Any
    mu_q: Any  # posterior (R, Z)
    sigma_q: Any


class Unrolled(NamedTuple):
    """Of whole tracks."""

    log_w: Any  # (T, B, S) w_t^s = log p(x_t|z_t,.) + log p(z_t|.) - log q(z_t|.)
    log_ratio: Any  # (T, B, S) its part log p(z_t|.) - log q(z_t|.)
    parts: Any  # (T, B, S, 4) log p(x_t|z_t,.) by lat, lon, sog, cog
    kl: Any  # (T, B, S) KL(q || p) in closed form


def initial_state(rows: Any, hidden: int) -> State:
    return State(*(tf.zeros((rows, hidden)) for _ in range(3)))


def encode_x(w: VrnnWeights, sizes: Sizes, bins: Any) -> Any:
    """phi_x(x) of bins (..., 4), -1 where missing -> (..., H); no bin at all is x = 0."""
    table = tf.concat([w.phi_x_w1, tf.zeros((1, sizes.hidden))], axis=0)  # the last row stands for "missing"
    index = tf.where(bins < 0, sizes.dim, bins + sizes.offsets)
    first = tf.reduce_sum(tf.gather(table, index), axis=-2)  # = x @ w1
    hidden = tf.nn.relu(first + w.phi_x_b1)
    return tf.tensordot(hidden, w.phi_x_w2, 1) + w.phi_x_b2


def gates_of_x(w: VrnnWeights, x_enc: Any) -> Any:
    """The share of phi_x(x_{t-1}) in the LSTM's gates, bias included: (..., H) -> (..., 4H)."""
    return tf.tensordot(x_enc, w.lstm_w[: x_enc.shape[-1]], 1) + w.lstm_b


def post_of_x(w: VrnnWeights, x_enc: Any) -> Any:
    """The share of phi_x(x_t) in the posterior's hidden layer, bias included: (..., H) -> (..., H)."""
    return tf.tensordot(x_enc, w.post_w1[x_enc.shape[-1] :], 1) + w.post_b1


def sigma(r: Any) -> Any:
    return tf.maximum(tf.nn.softplus(r + SIGMA_BIAS), SIGMA_MIN)


def recurrent(w: VrnnWeights) -> dict[str, tuple[Any, Any | None]]:
    """Matrix and bias of each linear map inside the recurrence (the shares of x bring their own bias)."""
    h = w.prior_w1.shape[0]
    return {
        "lstm": (w.lstm_w[h:], None),
        "prior_1": (w.prior_w1, w.prior_b1),
        "prior_2": (w.prior_w2, w.prior_b2),
        "post_1": (w.post_w1[:h], None),
        "post_2": (w.post_w2, w.post_b2),
        "phi_z_1": (w.phi_z_w1, w.phi_z_b1),
        "phi_z_2": (w.phi_z_w2, w.phi_z_b2),
    }


def linear_of(maps: Mapping[str, tuple[Any, Any | None]]) -> Linear:
    def linear(name: str, x: Any) -> Any:
        matrix, bias = maps[name]
        return x @ matrix if bias is None else x @ matrix + bias

    return linear


def step(linear: Linear, state: State, gates_x: Any, post_x: Any, noise: Any) -> tuple[State, Step]:
    """One step of R rows.

    ``linear(name, x)`` applies one map of ``recurrent``; ``gates_x`` (R, 4H) of x_{t-1} (``gates_of_x``), ``post_x`` (R, H)
    of x_t (``post_of_x``), ``noise`` (R, Z) from N(0, 1); zeros give z_t at the posterior's mean.
    """
    h = state.h.shape[-1]
    # o_t, s_t = LSTM([phi_x(x_{t-1}), phi_z(z_{t-1})], s_{t-1})
    gates = gates_x + linear("lstm", tf.concat([state.z_enc, state.h], axis=1))
    ifo = tf.sigmoid(gates[:, : 3 * h])
    c = ifo[:, h : 2 * h] * state.c + ifo[:, :h] * tf.tanh(gates[:, 3 * h :])
    o = ifo[:, 2 * h :] * tf.tanh(c)
    # prior p(z_t | x_<t, z_<t)
    mu_p, r_p = tf.split(linear("prior_2", tf.nn.relu(linear("prior_1", o))), 2, axis=1)
    # posterior q(z_t | x_<=t, z_<t): its mean is a residual on the prior's ("res_q")
    mu_r, r_q = tf.split(linear("post_2", tf.nn.relu(linear("post_1", o) + post_x)), 2, axis=1)
    mu_q, sigma_q = mu_p + mu_r, sigma(r_q)
    z = mu_q + sigma_q * noise
    z_enc = linear("phi_z_2", tf.nn.relu(linear("phi_z_1", z)))
    return State(o, c, z_enc), Step(o, z, z_enc, mu_p, sigma(r_p), mu_q, sigma_q)


def emit(w: VrnnWeights, z_enc: Any, o: Any) -> Any:
    """Logits (..., D) of the Bernoullis p(x_t | z_<=t, x_<t)."""
    h = o.shape[-1]
    hidden = tf.nn.relu(tf.tensordot(z_enc, w.emit_w1[:h], 1) + tf.tensordot(o, w.emit_w1[h:], 1) + w.emit_b1)
    return tf.tensordot(hidden, w.emit_w2, 1) + w.emit_b2


def log_likelihood(sizes: Sizes, logits: Any, bins: Any) -> Any:
    """log p(x|.) by block: logits (..., D), bins (..., 4) -> (..., 4); 0 for a missing block."""
    index = tf.where(bins < 0, -1, bins + sizes.offsets)
    hot = tf.reduce_sum(tf.one_hot(index, sizes.dim), axis=-2)  # the four-hot; one_hot(-1) is 0
    terms = hot * logits - tf.nn.softplus(logits)  # log Bernoulli
    blocks = tf.stack([tf.reduce_sum(b, axis=-1) for b in tf.split(terms, sizes.blocks, axis=-1)], axis=-1)
    return tf.where(bins < 0, 0.0, blocks)


def log_ratio(noise: Any, s: Step) -> Any:
    """log p(z_t|.) - log q(z_t|.), summed over Z; the constants of the two Gaussians cancel."""
    u = (s.z - s.mu_p) / s.sigma_p
    return tf.reduce_sum(0.5 * (tf.square(noise) - tf.square(u)) + tf.math.log(s.sigma_q / s.sigma_p), axis=-1)


def kl(s: Step) -> Any:
    """KL(q || p) of two diagonal Gaussians, summed over Z."""
    ratio = tf.square(s.sigma_q / s.sigma_p)
    return 0.5 * tf.reduce_sum(ratio + tf.square((s.mu_q - s.mu_p) / s.sigma_p) - 1.0 - tf.math.log(ratio), axis=-1)


def rows_of(x: Any, samples: int) -> Any:
    """(B, k) -> (B * S, k): every track's row once for each of its samples."""
    if samples == 1:
        return x
    b, k = x.shape
    return tf.reshape(tf.broadcast_to(x[:, None], (b, samples, k)), (b * samples, k))


def inputs(w: VrnnWeights, sizes: Sizes, bins: Any, seen: Any | None = None) -> tuple[Any, Any]:
    """What the recurrence needs of bins (T, B, 4): gates (T, B, 4H) of x_{t-1} with x_0 = 0, posterior (T, B, H) of x_t.

    ``seen`` (T, B, 4), for training only, is what the recurrence sees in place of ``bins`` (fewer blocks); the posterior sees all.
    """
    first = tf.fill((1, bins.shape[1], 4), -1)
    x_enc = encode_x(w, sizes, tf.concat([first, bins], axis=0))
    before = x_enc if seen is None else encode_x(w, sizes, tf.concat([first, seen], axis=0))
    return gates_of_x(w, before[:-1]), post_of_x(w, x_enc[1:])


def recurrence(w: VrnnWeights, gates_x: Any, post_x: Any, noise: Any, samples: int) -> Step:
    """All steps: gates_x (T, B, 4H), post_x (T, B, H), noise (T, R, Z) -> Step of (T, R, ...).

    The gradient is written out for speed (3 times): the backward recurrence runs each step once more, carries only the
    gradient of the state and collects those of the linear maps' outputs; the matrices' gradients are then one product each
    over all steps, not one a step.
    """
    maps = recurrent(w)
    names = list(maps)
    flat = [a for pair in maps.values() for a in pair if a is not None]
    hidden = post_x.shape[-1]

    def unflatten(arrays: Sequence[Any]) -> dict[str, tuple[Any, Any | None]]:
        it = iter(arrays)
        return {n: (next(it), None if maps[n][1] is None else next(it)) for n in names}

    @tf.custom_gradient
    def run(gates_x: Any, post_x: Any, noise: Any, *arrays: Any) -> Any:
        maps = unflatten(arrays)
        rows, latent = noise.shape[1], noise.shape[2]
        zero_h, zero_z = tf.zeros((rows, hidden)), tf.zeros((rows, latent))

        def forward(carry: Any, x: Any) -> Any:
            gates_t, post_t, noise_t = x
            return step(linear_of(maps), carry[0], rows_of(gates_t, samples), rows_of(post_t, samples), noise_t)

        first = (State(zero_h, zero_h, zero_h), Step(zero_h, zero_z, zero_h, zero_z, zero_z, zero_z, zero_z))
        states, steps = tf.scan(forward, (gates_x, post_x, noise), first)

        def grad(*d_steps: Any) -> Any:
            before = State(*(tf.concat([tf.zeros_like(a[:1]), a[:-1]], axis=0) for a in states))

            def backward(carry: Any, x: Any) -> Any:
                state, gates_t, post_t, noise_t, d_step = x
                taps, seen = {}, {}
                with tf.GradientTape() as tape:
                    tape.watch(state)

                    def linear(name: str, x: Any) -> Any:
                        y = linear_of(maps)(name, x)
                        taps[name] = tap = tf.zeros_like(y)
                        seen[name] = x
                        tape.watch(tap)
                        return y + tap

                    out = step(linear, state, rows_of(gates_t, samples), rows_of(post_t, samples), noise_t)
                d_state, d_taps = tape.gradient(out, (state, [taps[n] for n in names]), (carry[0], d_step))
                return d_state, tuple(d_taps), tuple(seen[n] for n in names)

            h4, z2 = 4 * hidden, 2 * latent
            d_out = [tf.zeros((rows, k)) for k in (h4, hidden, z2, hidden, z2, hidden, hidden)]
            d_in = [tf.zeros((rows, k)) for k in (2 * hidden, hidden, hidden, hidden, hidden, latent, hidden)]
            first_back = (State(zero_h, zero_h, zero_h), tuple(d_out), tuple(d_in))
            xs = (before, gates_x, post_x, noise, Step(*d_steps))
            _, d_y, x_in = tf.scan(backward, xs, first_back, reverse=True)
            d_arrays = []
            for name, d, x in zip(names, d_y, x_in, strict=True):
                d_arrays.append(tf.tensordot(x, d, [[0, 1], [0, 1]]))
                if maps[name][1] is not None:
                    d_arrays.append(tf.reduce_sum(d, axis=[0, 1]))
            d_gates, d_post = (_sum_samples(d_y[names.index(n)], samples) for n in ("lstm", "post_1"))
            return d_gates, d_post, None, *d_arrays

        return tuple(steps), grad

    return Step(*run(gates_x, post_x, noise, *flat))


def _sum_samples(d: Any, samples: int) -> Any:
    t, rows, k = d.shape
    return d if samples == 1 else tf.reduce_sum(tf.reshape(d, (t, rows // samples, samples, k)), axis=2)


def unroll(
    w: VrnnWeights, sizes: Sizes, bins: Any, noise: Any, keep_o: Any | None = None, seen: Any | None = None
) -> Unrolled:
    """All steps of B tracks: bins (T, B, 4) int32, noise (T, B, S, Z).

    Steps past a track's end are computed and mean nothing: the caller masks them. For training only: ``keep_o``
    (T, B * S, 1 or H) scales what the emission sees of the recurrence (dropout), ``seen`` is that of ``inputs``.
    """
    t_max, b = bins.shape[0], bins.shape[1]
    samples = noise.shape[2]
    gates_x, post_x = inputs(w, sizes, bins, seen)
    noise_rows = tf.reshape(noise, (t_max, b * samples, sizes.latent))
    s = recurrence(w, gates_x, post_x, noise_rows, samples)
    logits = emit(w, s.z_enc, s.o if keep_o is None else s.o * keep_o)
    logits = tf.reshape(logits, (t_max, b, samples, sizes.dim))
    parts = log_likelihood(sizes, logits, bins[:, :, None])
    ratio = tf.reshape(log_ratio(noise_rows, s), (t_max, b, samples))
    return Unrolled(tf.reduce_sum(parts, axis=-1) + ratio, ratio, parts, tf.reshape(kl(s), (t_max, b, samples)))

"""The VRNN's step in NumPy: what runs live and in batch. The same weights in TensorFlow: ``tf_scorer``.

    step(state, bins) -> new state, l_t with its parts; ``steps`` the same of several steps of each line

l_t = mean_s w_t^s with w_t = log p(x_t|z_t,.) + log p(z_t|.) - log q(z_t|.) (docs/method.md#the-network; lower = more anomalous), z from a table of
noise by step number. With ``samples=0`` z is the posterior's mean and -KL(q || p) in closed form stands for
log p(z) - log q(z): no noise at all.

A line's numbers have the same bits on every machine and whatever else stands in its batch (``multitaskais.exact``): weights and
what they are multiplied with lie on fixed grids, so that products in float64 are exact; tanh and softplus are looked up. Beside
float32 the grids cost nothing that counts: scores differ by some 1e-5 nats.

The state after sample t already holds the LSTM's o_{t+1}, s_{t+1}, which need x_t and z_t and nothing later: so it needs
neither phi_x(x_t) nor phi_z(z_t), 0.8 kB a line in place of 1.6 kB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..exact import functions
from ..exact.products import Grid, on_grid
from ..types import Rows
from .noise import NOISE_STEPS, noise_table
from .passes import HIDDEN, SIGMA, Passes, fastest
from .threads import OneThread
from .weights import Sizes, VrnnWeights

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

# Rows (lines * samples) of one block: more leave the second-level cache, fewer waste time in Python (measured).
BLOCK_ROWS = 256
SIGMA_BIAS = 0.5  # docs/method.md#the-network: sigma = softplus(r + 0.5)
OUTPUT = Grid(bits=20, limit=1.0)  # of o_t


class StepScores(NamedTuple):
    log_weight: Floats  # (n,) l_t; lower = more anomalous; NaN where it was not asked for
    parts: Floats  # (n, 4) -log p(x_t|z_t,.) by lat, lon, sog, cog, mean over the samples; 0 where the block is missing; NaN as before


class Scorer(Protocol):
    """What the detector needs of NumPy and TensorFlow alike."""

    state_dtype: np.dtype

    def initial(self, n: int) -> Rows: ...

    def step(self, state: Rows, bins: NDArray[np.integer]) -> tuple[Rows, StepScores]: ...

    def steps(
        self,
        state: Rows,
        bins: NDArray[np.integer],
        scored: NDArray[np.bool_] | None = None,
        log_weights: bool = True,
    ) -> tuple[Rows, StepScores]: ...


def state_dtype(sizes: Sizes, samples: int) -> np.dtype:
    """One row a line: samples seen so far, then o_{t+1} and LSTM cell of each latent sample."""
    shape = (max(samples, 1), sizes.hidden)
    return np.dtype([("k", "u4"), ("h", "f4", shape), ("c", "f4", shape)])


@dataclass(frozen=True, slots=True)
class _Folded:
    """The weights in the form in which the step multiplies them: fewer, larger products with the same result.

    phi_x and phi_z end linearly, so their second layer and what follows are one matrix; three first layers see o_t and stand
    side by side; sigmoid(x) = (1 + tanh(x / 2)) / 2, the half taken into the gates' columns. Matrices lie on the grids on which
    their products are exact.
    """

    x_rows: Doubles  # (D + 1, H) first layer of phi_x; the last row, zeros, stands for a missing block
    x_bias: Doubles
    x_post: Doubles  # (H, H) phi_x's hidden layer -> posterior's hidden layer
    o_first: Doubles  # (H, 3H) o_t -> first layers of prior, posterior, emission
    first_bias: Doubles  # (3H,)
    prior: Doubles  # (H, 2Z)
    prior_bias: Doubles  # SIGMA_BIAS included
    post: Doubles  # (H, 2Z)
    post_bias: Doubles
    z_hidden: Doubles  # (Z, H) first layer of phi_z
    z_bias: Doubles
    z_emit: Doubles  # (H, H) phi_z's hidden layer -> emission's hidden layer
    logits: Doubles  # (H, D)
    logits_bias: Doubles
    gates: Doubles  # (3H, 4H) [phi_x's hidden layer, phi_z's hidden layer, o_t] -> gates of the next step
    gates_bias: Doubles  # (4H,)
    gates_bias_first: Doubles  # (4H,) with z-encoding_0 = 0 in place of phi_z

    @classmethod
    def of(cls, weights: VrnnWeights, sizes: Sizes) -> Self:
        w = weights.map(lambda a: np.asarray(a, np.float64))
        h = sizes.hidden
        half = np.repeat([0.5, 0.5, 0.5, 1.0], h)
        in_x, in_z, in_h = w.lstm_w[:h], w.lstm_w[h : 2 * h], w.lstm_w[2 * h :]
        bias = w.lstm_b + _product(w.phi_x_b2, in_x)
        sigma_bias = np.repeat([0.0, SIGMA_BIAS], sizes.latent)
        gates = np.concatenate([_product(w.phi_x_w2, in_x), _product(w.phi_z_w2, in_z), in_h]) * half
        values = {
            "x_rows": np.concatenate([w.phi_x_w1, np.zeros((1, h))]),
            "x_bias": w.phi_x_b1,
            "x_post": on_grid(_product(w.phi_x_w2, w.post_w1[h:]), HIDDEN),
            "o_first": on_grid(np.concatenate([w.prior_w1, w.post_w1[:h], w.emit_w1[h:]], axis=1), OUTPUT),
            "first_bias": np.concatenate(
                [
                    w.prior_b1,
                    w.post_b1 + _product(w.phi_x_b2, w.post_w1[h:]),
                    w.emit_b1 + _product(w.phi_z_b2, w.emit_w1[:h]),
                ]
            ),
            "prior": on_grid(w.prior_w2, HIDDEN),
            "prior_bias": w.prior_b2 + sigma_bias,
            "post": on_grid(w.post_w2, HIDDEN),
            "post_bias": w.post_b2 + sigma_bias,
            "z_hidden": on_grid(w.phi_z_w1, HIDDEN),
            "z_bias": w.phi_z_b1,
            "z_emit": on_grid(_product(w.phi_z_w2, w.emit_w1[:h]), HIDDEN),
            "logits": on_grid(w.emit_w2, HIDDEN),
            "logits_bias": w.emit_b2,
            "gates": on_grid(gates, [(2 * h, HIDDEN), (h, OUTPUT)]),
            "gates_bias": (bias + _product(w.phi_z_b2, in_z)) * half,
            "gates_bias_first": bias * half,
        }
        return cls(**{name: np.ascontiguousarray(a) for name, a in values.items()})


def _product(a: Doubles, b: Doubles) -> Doubles:
    """a @ b in a fixed order, for what is made once from the weights."""
    return functions.total(a[..., None] * b, axis=-2)


class NumpyScorer:
    """``samples`` S >= 1 draws z S times from the noise of ``seed``; 0 takes the posterior's mean."""

    def __init__(self, weights: VrnnWeights, sizes: Sizes, samples: int = 1, seed: int = 0) -> None:
        self.sizes = sizes
        self.samples = samples
        self.state_dtype = state_dtype(sizes, samples)
        self._noise = noise_table(seed, samples, sizes.latent).astype(np.float64) if samples else None
        self._w = _Folded.of(weights, sizes)
        self._one_thread = OneThread()
        self._first = self._first_state()

    def _first_state(self) -> tuple[Floats, Floats]:
        """o_1, s_1 = LSTM([phi_x(0), 0], 0): the same for every line."""
        h = self.sizes.hidden
        inputs = np.zeros((1, 3 * h))
        HIDDEN.relu(self._w.x_bias, inputs[0, :h])
        c, o = np.zeros((1, h)), np.empty((1, h))
        fastest().lstm(inputs @ self._w.gates, np.zeros((1, 4 * h)), self._w.gates_bias_first, c, o)
        return o.astype(np.float32), c.astype(np.float32)

    def initial(self, n: int) -> Rows:
        """(n,) rows of lines that have seen nothing."""
        state = np.zeros(n, self.state_dtype)
        state["h"], state["c"] = self._first
        return state

    def steps(
        self,
        state: Rows,
        bins: NDArray[np.integer],
        scored: NDArray[np.bool_] | None = None,
        log_weights: bool = True,
    ) -> tuple[Rows, StepScores]:
        """The next T steps of n lines.

        Only what a step needs of the one before it goes one by one; the rest is computed for many steps at once, and scores where they are
        asked for alone.

        Args:
            state: (n,) of ``state_dtype``.
            bins: (T * n, 4) of lat, lon, sog, cog, -1 where missing, the first step of every line before the second of any.
            scored: (T * n,) the steps whose scores are asked for; None for all.
            log_weights: whether l_t is asked for, or the parts alone.

        Returns:
            The state after all steps, and (T * n,) scores.
        """
        n, s, hidden = len(state), max(self.samples, 1), self.sizes.hidden
        n_steps = len(bins) // n if n else 0
        lines = max(1, min(n, BLOCK_ROWS // s))
        together = max(1, min(n_steps, BLOCK_ROWS // (lines * s)))
        index = np.where(bins < 0, self.sizes.dim, bins + self.sizes.offsets).astype(np.int64).reshape(n_steps, n, 4)
        asked = np.ones((n_steps, n), bool) if scored is None else scored.reshape(n_steps, n)
        after = np.empty(n, self.state_dtype)
        after["k"] = state["k"] + n_steps
        log_weight, parts = np.full((n_steps, n), np.nan, np.float32), np.full((n_steps, n, 4), np.nan, np.float32)
        work = _Work(self.sizes, together, lines, s)
        with self._one_thread():
            for lo in range(0, n, lines):
                hi = min(lo + lines, n)
                rows = (hi - lo) * s
                o = state["h"][lo:hi].reshape(rows, hidden).astype(np.float64)
                c = state["c"][lo:hi].reshape(rows, hidden).astype(np.float64)
                for first in range(0, n_steps, together):
                    last = min(first + together, n_steps)
                    if (last - first, hi - lo) != (work.steps, work.lines):
                        work = _Work(self.sizes, last - first, hi - lo, s)
                    noise = None
                    if self._noise is not None:
                        k = state["k"][lo:hi] + np.arange(first, last, dtype=np.uint32)[:, None]
                        noise = self._noise[k % NOISE_STEPS].reshape((last - first) * rows, -1)
                    work.o, work.c = o, c
                    here = np.ascontiguousarray(index[first:last, lo:hi]).reshape(-1, 4)
                    _recur(self._w, work, here, noise, log_weights)
                    block = asked[first:last, lo:hi]
                    found = _score(self._w, work, here, noise, np.flatnonzero(block), log_weights)
                    log_weight[first:last, lo:hi][block] = found[0]
                    parts[first:last, lo:hi][block] = found[1]
                after["h"][lo:hi] = o.reshape(hi - lo, s, hidden)
                after["c"][lo:hi] = c.reshape(hi - lo, s, hidden)
        return after, StepScores(log_weight.reshape(-1), parts.reshape(-1, 4))

    step = steps


class _Work:
    """The arrays of one block of T steps of R rows, used again for the next one: fresh ones would be given back to the system each time."""

    def __init__(self, sizes: Sizes, steps: int, lines: int, samples: int) -> None:
        r, h, z, d = lines * samples, sizes.hidden, sizes.latent, sizes.dim
        t, all_ = steps, steps * r
        self.steps, self.lines, self.samples = steps, lines, samples
        self.offsets = np.append(sizes.offsets, d).astype(np.int64)
        self.passes: Passes = fastest()
        self.o = self.c = np.empty((r, h))  # of the step at hand
        self.x_hidden = np.empty((t * lines, h))
        self.x_post = np.empty((t * lines, h))
        self.x_gates = np.empty((t * lines, 4 * h))
        self.first = np.empty((r, 3 * h))
        self.hidden = np.empty((2, r, h))
        self.prior = np.empty((t, r, 2 * z))
        self.post = np.empty((t, r, 2 * z))
        self.sigma = np.empty((t, r, z))
        self.u = np.empty((t, r, z))
        self.z = np.empty((r, z))
        self.inputs = np.empty((t, r, 2 * h))  # [phi_z's hidden, o_t]
        self.gates = np.empty((r, 4 * h))
        self.o_emit = np.empty((t, r, h))  # what o_t adds to the emission's hidden layer
        self.emit = np.empty((all_, h))
        self.logits = np.empty((all_, d))


def _recur(w: _Folded, a: _Work, index: NDArray[np.int64], noise: Doubles | None, prior_deviations: bool) -> None:
    """What the next step needs of each of T steps: z_t, then o_{t+1}, s_{t+1} = LSTM([phi_x(x_t), phi_z(z_t)], s_t).

    Args:
        a: ``o`` and ``c`` (R, H) of the first step, which become those of the step after the last.
        index: (T * lines, 4) into the four-hot, D where the block is missing.
        noise: (T * R, Z), or None for the mean.
        prior_deviations: whether ``a.prior`` is to hold them too.
    """
    rows, h = a.c.shape
    z_n = w.z_hidden.shape[0]
    # phi_x(x_t): four rows of its first matrix
    a.passes.four_rows(w.x_rows, index, w.x_bias, a.x_hidden)
    np.matmul(a.x_hidden, w.x_post, out=a.x_post)
    np.matmul(a.x_hidden, w.gates[:h], out=a.x_gates)
    prior_columns = 2 * z_n if prior_deviations else z_n
    for t in range(a.steps):
        of_lines = slice(t * a.lines, (t + 1) * a.lines)
        inputs, z_first, prior = a.inputs[t], a.inputs[t, :, :h], a.prior[t, :, :prior_columns]
        o = inputs[:, h:]
        OUTPUT.symmetric(a.o, o)
        np.matmul(o, w.o_first, out=a.first)
        a.passes.first_layers(a.first, w.first_bias, a.x_post[of_lines], a.hidden, a.o_emit[t])
        np.matmul(a.hidden[0], w.prior[:, :prior_columns], out=prior)
        np.matmul(a.hidden[1], w.post, out=a.post[t])
        drawn = None if noise is None else noise[t * rows : (t + 1) * rows]
        a.passes.latent(prior, a.post[t], w.prior_bias, w.post_bias, drawn, a.sigma[t], a.u[t], a.z)
        # phi_z(z_t)
        np.matmul(a.z, w.z_hidden, out=z_first)
        z_first += w.z_bias
        HIDDEN.relu(z_first, z_first)
        np.matmul(inputs, w.gates[h:], out=a.gates)
        a.passes.lstm(a.gates, a.x_gates[of_lines], w.gates_bias, a.c, a.o)


def _score(
    w: _Folded, a: _Work, index: NDArray[np.int64], noise: Doubles | None, which: NDArray[np.int64], log_weights: bool
) -> tuple[Doubles | float, Doubles]:
    """l_t (m,), or NaN where it is not asked for, and parts (m, 4) of m of the T * lines steps of a block, after ``_recur``."""
    s, h, m = a.samples, a.c.shape[1], len(which)
    rows: NDArray[np.int64] | slice = slice(None)  # of the steps
    if m < a.steps * a.lines:
        rows = (which[:, None] * s + np.arange(s)).reshape(-1)
    # emission p(x_t|z_t,.): sum over all bins of softplus(logit), less the logits of the hot ones
    z_first = a.inputs.reshape(-1, 2 * h)[:, :h]
    emit, logits = a.emit[: m * s], a.logits[: m * s]
    np.matmul(z_first[rows], w.z_emit, out=emit)
    emit += a.o_emit.reshape(-1, h)[rows]
    HIDDEN.relu(emit, emit)
    np.matmul(emit, w.logits, out=logits)
    parts = np.empty((m * s, 4))
    a.passes.emission(logits, w.logits_bias, np.repeat(index[which], s, axis=0), a.offsets, parts)
    if s > 1:
        mean = functions.mean(parts.reshape(-1, s, 4), axis=1)
    if not log_weights:
        return np.nan, mean if s > 1 else parts
    weight = _latent_ratio(w, a, noise)[rows] - (parts[:, 0] + parts[:, 1] + parts[:, 2] + parts[:, 3])
    return (weight, parts) if s == 1 else (functions.mean(weight.reshape(-1, s), axis=1), mean)


def _latent_ratio(w: _Folded, a: _Work, noise: Doubles | None) -> Doubles:
    """(T * R,) log p(z_t|.) - log q(z_t|.) of all rows of a block, or -KL(q || p) without noise; changes ``a.u``."""
    z_n = w.z_hidden.shape[0]
    r = np.empty((2, a.sigma.size // z_n, z_n))
    np.add(a.prior.reshape(-1, 2 * z_n)[:, z_n:], w.prior_bias[z_n:], out=r[0])
    np.add(a.post.reshape(-1, 2 * z_n)[:, z_n:], w.post_bias[z_n:], out=r[1])
    sigma, log_sigma = np.empty(r.shape), np.empty(r.shape)
    SIGMA(r, sigma, log_sigma)
    ratio = log_sigma[1] - log_sigma[0]
    u = a.u.reshape(-1, z_n)
    u /= sigma[0]  # (z - mu_p) / sigma_p
    u *= u
    if noise is None:
        share = sigma[1] / sigma[0]
        share *= share
        u += share
        u -= 1.0
    else:
        u -= noise * noise
    u *= -0.5
    u += ratio
    return functions.total(u, axis=1)

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
from ..exact.tables import Table
from ..types import Rows
from .noise import NOISE_STEPS, noise_table
from .threads import OneThread
from .weights import Sizes, VrnnWeights

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

# Rows (lines * samples) of one block: more leave the second-level cache, fewer waste time in Python (measured).
BLOCK_ROWS = 256
SIGMA_BIAS = 0.5  # docs/method.md#the-network: sigma = softplus(r + 0.5)
SIGMA_MIN = 1e-4  # as in vrnn.py
LOGIT_MAX = 80.0  # greater is as sure

# Activations: those of trained networks stay below 16; o_t, which the state keeps in float32, is at most 1.
HIDDEN = Grid(bits=18, limit=64.0)
OUTPUT = Grid(bits=20, limit=1.0)
PART_UNITS = 30  # -log p of each bin in multiples of 2^-30: their sum is exact

_TANH = Table([functions.tanh], -10.0, 10.0, bits=9)
_SOFTPLUS = Table([functions.softplus], -24.0, LOGIT_MAX, bits=7, units=PART_UNITS)


def _sigma(r: Doubles) -> Doubles:
    return np.maximum(functions.softplus(r), SIGMA_MIN)


# sigma and its logarithm, of r + SIGMA_BIAS
_SIGMA = Table([_sigma, lambda r: functions.log(_sigma(r))], -10.0, 81.0, bits=8)


class StepScores(NamedTuple):
    log_weight: Floats  # (n,) l_t; lower = more anomalous
    parts: Floats  # (n, 4) -log p(x_t|z_t,.) by lat, lon, sog, cog, mean over the samples; 0 where the block is missing


class Scorer(Protocol):
    """What the detector needs of NumPy and TensorFlow alike."""

    state_dtype: np.dtype

    def initial(self, n: int) -> Rows: ...

    def step(self, state: Rows, bins: NDArray[np.integer]) -> tuple[Rows, StepScores]: ...

    def steps(self, state: Rows, bins: NDArray[np.integer]) -> tuple[Rows, StepScores]: ...


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
    block_of: Doubles  # (D, 4) 1 where the bin belongs to the block

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
            "block_of": np.repeat(np.eye(4), sizes.blocks, axis=0),
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
        gates = inputs @ self._w.gates + self._w.gates_bias_first
        c = np.zeros((1, h))
        o = np.empty((1, h))
        _lstm(gates, c, o)
        return o.astype(np.float32), c.astype(np.float32)

    def initial(self, n: int) -> Rows:
        """(n,) rows of lines that have seen nothing."""
        state = np.zeros(n, self.state_dtype)
        state["h"], state["c"] = self._first
        return state

    def steps(self, state: Rows, bins: NDArray[np.integer]) -> tuple[Rows, StepScores]:
        """The next T steps of n lines: state (n,) of ``state_dtype``, bins (T * n, 4) of lat, lon, sog, cog, -1 where missing, the first
        step of every line before the second of any -> the state after all of them, and (T * n,) scores.

        Only what a step needs of the one before it goes one by one; the rest is computed for many steps at once.
        """
        n, s, hidden = len(state), max(self.samples, 1), self.sizes.hidden
        n_steps = len(bins) // n if n else 0
        lines = max(1, min(n, BLOCK_ROWS // s))
        together = max(1, min(n_steps, BLOCK_ROWS // (lines * s)))
        index = np.where(bins < 0, self.sizes.dim, bins + self.sizes.offsets).reshape(n_steps, n, 4)
        after = np.empty(n, self.state_dtype)
        after["k"] = state["k"] + n_steps
        log_weight, parts = np.empty((n_steps, n), np.float32), np.empty((n_steps, n, 4), np.float32)
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
                    work.o[0], work.c[...] = o, c
                    found = _block(self._w, work, index[first:last, lo:hi].reshape(-1, 4), noise)
                    log_weight[first:last, lo:hi] = found[0].reshape(last - first, hi - lo)
                    parts[first:last, lo:hi] = found[1].reshape(last - first, hi - lo, 4)
                    o, c = work.o[-1], work.c
                after["h"][lo:hi] = o.reshape(hi - lo, s, hidden)
                after["c"][lo:hi] = c.reshape(hi - lo, s, hidden)
        return after, StepScores(log_weight.reshape(-1), parts.reshape(-1, 4))

    step = steps


class _Work:
    """The arrays of one block of steps, used again for the next one: fresh ones would be given back to the system each time."""

    def __init__(self, sizes: Sizes, steps: int, lines: int, samples: int) -> None:
        r, h, z, d = lines * samples, sizes.hidden, sizes.latent, sizes.dim
        t, all_ = steps, steps * r
        self.steps, self.lines, self.samples = steps, lines, samples
        self.o = np.empty((t + 1, r, h))  # o_t of each step, then the o that follows the last
        self.c = np.empty((r, h))
        self.x_hidden = np.empty((t * lines, h))
        self.x_add = np.empty((t * lines, h))
        self.x_post = np.empty((t * lines, h))
        self.x_gates = np.empty((t * lines, 4 * h))
        self.first = np.empty((t, r, 3 * h))
        self.hidden = np.empty((2, r, h))
        self.out = np.empty((2, t, r, 2 * z))  # of prior and posterior
        self.r = np.empty((2, t, r, z))
        self.sigma = np.empty((2, t, r, z))
        self.log_sigma = np.empty((2, t, r, z))
        self.u = np.empty((t, r, z))
        self.z = np.empty((r, z))
        self.z_first = np.empty((t, r, h))
        self.inputs = np.empty((r, 2 * h))  # [phi_z's hidden, o_t]
        self.gates = np.empty((r, 4 * h))
        self.emit = np.empty((all_, h))
        self.logits = np.empty((all_, d))
        self.rows = np.arange(all_)[:, None]


def _block(w: _Folded, a: _Work, index: NDArray[np.integer], noise: Doubles | None) -> tuple[Doubles, Doubles]:
    """One block of T steps: ``a.o[0]``, ``a.c`` (R, H) of the first, index (T * lines, 4) into the four-hot (D = missing), noise (T * R, Z)
    or None for the mean.

    Returns l_t (T * lines,) and parts (T * lines, 4); ``a.o[T]`` and ``a.c`` become those of the step after, rounded as the state keeps them.
    """
    h = a.o.shape[2]
    # phi_x(x_t): four rows of its first matrix
    np.take(w.x_rows, index[:, 0], axis=0, out=a.x_hidden, mode="clip")
    for block in range(1, 4):
        np.take(w.x_rows, index[:, block], axis=0, out=a.x_add, mode="clip")
        a.x_hidden += a.x_add
    a.x_hidden += w.x_bias
    HIDDEN.relu(a.x_hidden, a.x_hidden)
    np.matmul(a.x_hidden, w.x_post, out=a.x_post)
    np.matmul(a.x_hidden, w.gates[:h], out=a.x_gates)
    for t in range(a.steps):
        _recur(w, a, t, None if noise is None else noise[t * len(a.c) : (t + 1) * len(a.c)])
    return _score(w, a, index, noise)


def _recur(w: _Folded, a: _Work, t: int, noise: Doubles | None) -> None:
    """What the next step needs of step t: z_t, then o_{t+1}, s_{t+1} = LSTM([phi_x(x_t), phi_z(z_t)], s_t)."""
    h, z_n, s = a.o.shape[2], w.z_hidden.shape[0], a.samples
    of_lines = slice(t * a.lines, (t + 1) * a.lines)
    # first layers of prior, posterior and emission, as far as o_t goes
    o, first, u = a.o[t], a.first[t], a.u[t]
    OUTPUT.symmetric(o, o)
    np.matmul(o, w.o_first, out=first)
    first += w.first_bias
    first.reshape(a.lines, s, 3 * h)[:, :, h : 2 * h] += a.x_post[of_lines, None]
    HIDDEN.relu(first[:, :h], a.hidden[0])
    HIDDEN.relu(first[:, h : 2 * h], a.hidden[1])
    prior, post = a.out[0, t], a.out[1, t]
    np.matmul(a.hidden[0], w.prior, out=prior)
    np.matmul(a.hidden[1], w.post, out=post)
    mu_p, mu_r = prior[:, :z_n], post[:, :z_n]
    mu_p += w.prior_bias[:z_n]
    mu_r += w.post_bias[:z_n]
    np.add(post[:, z_n:], w.post_bias[z_n:], out=a.r[1, t])
    _SIGMA(a.r[1, t], a.sigma[1, t], a.log_sigma[1, t])
    # z_t, and in u what it is more than the prior's mean
    if noise is None:
        u[...] = mu_r
    else:
        np.multiply(a.sigma[1, t], noise, out=u)
        u += mu_r
    np.add(u, mu_p, out=a.z)
    # phi_z(z_t)
    HIDDEN.symmetric(a.z, a.z)
    z_first = a.z_first[t]
    np.matmul(a.z, w.z_hidden, out=z_first)
    z_first += w.z_bias
    HIDDEN.relu(z_first, z_first)
    a.inputs[:, :h] = z_first
    a.inputs[:, h:] = o
    np.matmul(a.inputs, w.gates[h:], out=a.gates)
    a.gates.reshape(a.lines, s, 4 * h)[...] += a.x_gates[of_lines, None]  # exact, as if it were one product
    a.gates += w.gates_bias
    _lstm(a.gates, a.c, a.o[t + 1])
    # As a state would keep them between two steps.
    a.o[t + 1] = a.o[t + 1].astype(np.float32)
    a.c[...] = a.c.astype(np.float32)


def _score(w: _Folded, a: _Work, index: NDArray[np.integer], noise: Doubles | None) -> tuple[Doubles, Doubles]:
    """l_t and parts of all steps of a block, of which o_t, z_t and phi_z(z_t) are known."""
    s, rows, z_n = a.samples, len(a.rows), w.z_hidden.shape[0]
    # log p(z_t|.) - log q(z_t|.)
    np.add(a.out[0, :, :, z_n:], w.prior_bias[z_n:], out=a.r[0])
    _SIGMA(a.r[0], a.sigma[0], a.log_sigma[0])
    sigma_p, sigma_q = (a.sigma[k].reshape(rows, z_n) for k in (0, 1))
    log_ratio = a.log_sigma[1].reshape(rows, z_n)
    log_ratio -= a.log_sigma[0].reshape(rows, z_n)
    u = a.u.reshape(rows, z_n)
    u /= sigma_p  # (z - mu_p) / sigma_p
    u *= u
    if noise is None:
        # -KL(q || p)
        np.divide(sigma_q, sigma_p, out=sigma_q)
        sigma_q *= sigma_q
        u += sigma_q
        u -= 1.0
    else:
        u -= noise * noise
    u *= -0.5
    u += log_ratio
    latent = functions.total(u, axis=1)

    # emission p(x_t|z_t,.): sum over all bins of -softplus(logit), and the logits of the hot ones
    h = a.o.shape[2]
    np.matmul(a.z_first.reshape(rows, h), w.z_emit, out=a.emit)
    a.emit += a.first.reshape(rows, 3 * h)[:, 2 * h :]
    HIDDEN.relu(a.emit, a.emit)
    np.matmul(a.emit, w.logits, out=a.logits)
    a.logits += w.logits_bias
    index_rows = np.repeat(index, s, axis=0) if s > 1 else index
    missing = index_rows == w.logits.shape[1]
    hot = np.minimum(a.logits[a.rows, np.where(missing, 0, index_rows)], LOGIT_MAX)
    _SOFTPLUS(a.logits, a.logits)
    parts = a.logits @ w.block_of
    parts -= hot
    parts[missing] = 0.0
    weight = latent - (parts[:, 0] + parts[:, 1] + parts[:, 2] + parts[:, 3])
    if s == 1:
        return weight, parts
    return functions.mean(weight.reshape(-1, s), axis=1), functions.mean(parts.reshape(-1, s, 4), axis=1)


def _lstm(gates: Doubles, c: Doubles, o: Doubles) -> None:
    """gates (R, 4H) [input, forget, output, candidate], the first three halved; overwritten. c changes in place, o is written."""
    h = c.shape[1]
    _TANH(gates, gates)
    ifo = gates[:, : 3 * h]
    ifo *= 0.5
    ifo += 0.5
    gates[:, 3 * h :] *= gates[:, :h]
    c *= gates[:, h : 2 * h]
    c += gates[:, 3 * h :]
    _TANH(c, o)
    o *= gates[:, 2 * h : 3 * h]

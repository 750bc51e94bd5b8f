"""The VRNN's step in NumPy: what runs live and in batch. The same weights in TensorFlow: ``tf_scorer``.

    step(state, bins) -> new state, l_t with its parts

l_t = mean_s w_t^s with w_t = log p(x_t|z_t,.) + log p(z_t|.) - log q(z_t|.) (METHOD 5; lower = stranger), z from a table of
noise by step number. With ``samples=0`` z is the posterior's mean and -KL(q || p) in closed form stands for
log p(z) - log q(z): no noise at all.

The step runs in blocks of always the same shape, filled up with empty rows: the library that multiplies matrices chooses
its way by the shape, so a vessel's numbers are bit-identical whatever else stands in its batch, and where.

The state after sample t already holds the LSTM's o_{t+1}, s_{t+1}, which need x_t and z_t and nothing later: so it needs
neither phi_x(x_t) nor phi_z(z_t), 0.8 kB a line in place of 1.6 kB.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from .noise import NOISE_STEPS, noise_table
from .weights import Sizes, VrnnWeights

Floats = NDArray[np.float32]

# Rows (lines * samples) of one block: more leave the second-level cache, fewer waste time in Python (measured).
BLOCK_ROWS = 64
SIGMA_BIAS = 0.5  # METHOD 5: sigma = softplus(r + 0.5)
SIGMA_MIN = np.float32(1e-4)  # as in vrnn.py
EXP_MAX = np.float32(80.0)  # exp stays finite in float32, and log(1 + exp(l)) = l in float32 long before


class StepScores(NamedTuple):
    log_weight: Floats  # (n,) l_t; lower = stranger
    parts: Floats  # (n, 4) -log p(x_t|z_t,.) by lat, lon, sog, cog, mean over the samples; 0 where the block is missing


class Scorer(Protocol):
    """What the detector needs of NumPy and TensorFlow alike."""

    state_dtype: np.dtype

    def initial(self, n: int) -> NDArray[np.void]: ...

    def step(self, state: NDArray[np.void], bins: NDArray[np.integer]) -> tuple[NDArray[np.void], StepScores]: ...


def state_dtype(sizes: Sizes, samples: int) -> np.dtype:
    """One row a line: samples seen so far, then o_{t+1} and LSTM cell of each latent sample."""
    shape = (max(samples, 1), sizes.hidden)
    return np.dtype([("k", "u4"), ("h", "f4", shape), ("c", "f4", shape)])


@dataclass(frozen=True, slots=True)
class _Folded:
    """The weights in the form in which the step multiplies them: fewer, larger products with the same result.

    phi_x and phi_z end linearly, so their second layer and what follows are one matrix; three first layers see o_t and stand
    side by side; sigmoid(x) = (1 + tanh(x / 2)) / 2, the half taken into the gates' columns.
    """

    x_rows: Floats  # (D + 1, H) first layer of phi_x; the last row, zeros, stands for a missing block
    x_bias: Floats
    x_post: Floats  # (H, H) phi_x's hidden layer -> posterior's hidden layer
    o_first: Floats  # (H, 3H) o_t -> first layers of prior, posterior, emission
    first_bias: Floats  # (3H,)
    prior: Floats  # (H, 2Z)
    prior_bias: Floats  # SIGMA_BIAS included
    post: Floats  # (H, 2Z)
    post_bias: Floats
    z_hidden: Floats  # (Z, H) first layer of phi_z
    z_bias: Floats
    z_emit: Floats  # (H, H) phi_z's hidden layer -> emission's hidden layer
    logits: Floats  # (H, D)
    logits_bias: Floats
    gates: Floats  # (3H, 4H) [phi_x's hidden layer, phi_z's hidden layer, o_t] -> gates of the next step
    gates_bias: Floats  # (4H,)
    gates_bias_first: Floats  # (4H,) with z-encoding_0 = 0 in place of phi_z
    block_of: Floats  # (D, 4) 1 where the bin belongs to the block

    @classmethod
    def of(cls, weights: VrnnWeights, sizes: Sizes) -> Self:
        w = weights.map(lambda a: np.asarray(a, np.float64))
        h = sizes.hidden
        half = np.repeat([0.5, 0.5, 0.5, 1.0], h)
        in_x, in_z, in_h = w.lstm_w[:h], w.lstm_w[h : 2 * h], w.lstm_w[2 * h :]
        bias = w.lstm_b + w.phi_x_b2 @ in_x
        sigma_bias = np.repeat([0.0, SIGMA_BIAS], sizes.latent)
        values = {
            "x_rows": np.concatenate([w.phi_x_w1, np.zeros((1, h))]),
            "x_bias": w.phi_x_b1,
            "x_post": w.phi_x_w2 @ w.post_w1[h:],
            "o_first": np.concatenate([w.prior_w1, w.post_w1[:h], w.emit_w1[h:]], axis=1),
            "first_bias": np.concatenate(
                [w.prior_b1, w.post_b1 + w.phi_x_b2 @ w.post_w1[h:], w.emit_b1 + w.phi_z_b2 @ w.emit_w1[:h]]
            ),
            "prior": w.prior_w2,
            "prior_bias": w.prior_b2 + sigma_bias,
            "post": w.post_w2,
            "post_bias": w.post_b2 + sigma_bias,
            "z_hidden": w.phi_z_w1,
            "z_bias": w.phi_z_b1,
            "z_emit": w.phi_z_w2 @ w.emit_w1[:h],
            "logits": w.emit_w2,
            "logits_bias": w.emit_b2,
            "gates": np.concatenate([w.phi_x_w2 @ in_x, w.phi_z_w2 @ in_z, in_h]) * half,
            "gates_bias": (bias + w.phi_z_b2 @ in_z) * half,
            "gates_bias_first": bias * half,
            "block_of": np.repeat(np.eye(4), sizes.blocks, axis=0),
        }
        return cls(**{name: np.ascontiguousarray(a, np.float32) for name, a in values.items()})


class NumpyScorer:
    """``samples`` S >= 1 draws z S times from the noise of ``seed``; 0 takes the posterior's mean."""

    def __init__(self, weights: VrnnWeights, sizes: Sizes, samples: int = 1, seed: int = 0) -> None:
        self.sizes = sizes
        self.samples = samples
        self.state_dtype = state_dtype(sizes, samples)
        self._noise = noise_table(seed, samples, sizes.latent) if samples else None
        self._w = _Folded.of(weights, sizes)
        self._blas = ThreadpoolController()
        self._libraries = [library for library in self._blas.lib_controllers if library.user_api == "blas"]
        self._first = self._first_state()

    def _first_state(self) -> tuple[Floats, Floats]:
        """o_1, s_1 = LSTM([phi_x(0), 0], 0): the same for every line."""
        h = self.sizes.hidden
        inputs = np.zeros((1, 3 * h), np.float32)
        inputs[0, :h] = np.maximum(self._w.x_bias, 0)
        gates = inputs @ self._w.gates + self._w.gates_bias_first
        c = np.zeros((1, h), np.float32)
        return _lstm(gates, c), c

    def _one_thread(self) -> AbstractContextManager[object]:
        """To set the number costs as much as a vessel-step, to ask for it nearly nothing."""
        if all(library.num_threads == 1 for library in self._libraries):
            return nullcontext()
        return self._blas.limit(limits=1, user_api="blas")

    def initial(self, n: int) -> NDArray[np.void]:
        """(n,) rows of lines that have seen nothing."""
        state = np.zeros(n, self.state_dtype)
        state["h"], state["c"] = self._first
        return state

    def step(self, state: NDArray[np.void], bins: NDArray[np.integer]) -> tuple[NDArray[np.void], StepScores]:
        """state (n,) of ``state_dtype``, bins (n, 4) of lat, lon, sog, cog, -1 where missing -> new state, scores."""
        n, s, hidden = len(state), max(self.samples, 1), self.sizes.hidden
        lines = max(1, BLOCK_ROWS // s)
        rows = lines * s
        index = np.where(bins < 0, self.sizes.dim, bins + self.sizes.offsets)
        after = np.empty(n, self.state_dtype)
        after["k"] = state["k"] + 1
        log_weight, parts = np.empty(n, np.float32), np.empty((n, 4), np.float32)
        work = _Work(self.sizes, lines, s)
        full_h, full_c = np.zeros((lines, s, hidden), np.float32), np.zeros((lines, s, hidden), np.float32)
        full_i, full_k = np.full((lines, 4), self.sizes.dim), np.zeros(lines, np.uint32)
        # One thread: a block is too small to share, and how it would be shared must not depend on the machine.
        with self._one_thread():
            for lo in range(0, n, lines):
                hi = min(lo + lines, n)
                m = hi - lo
                full_h[:m], full_c[:m] = state["h"][lo:hi], state["c"][lo:hi]
                full_i[:m], full_k[:m] = index[lo:hi], state["k"][lo:hi]
                noise = None if self._noise is None else self._noise[full_k % NOISE_STEPS].reshape(rows, -1)
                h, c = full_h.reshape(rows, hidden), full_c.reshape(rows, hidden)
                w, p, o = _block_step(self._w, work, h, c, full_i, noise)
                log_weight[lo:hi], parts[lo:hi] = w[:m], p[:m]
                after["h"][lo:hi], after["c"][lo:hi] = o.reshape(full_h.shape)[:m], full_c[:m]
        return after, StepScores(log_weight, parts)


class _Work:
    """The arrays of one block, used again for the next one: fresh ones would be given back to the system each time."""

    def __init__(self, sizes: Sizes, lines: int, samples: int) -> None:
        r, h, z, d = lines * samples, sizes.hidden, sizes.latent, sizes.dim
        self.lines, self.samples = lines, samples
        self.x_hidden = np.empty((lines, h), np.float32)
        self.x_add = np.empty((lines, h), np.float32)
        self.x_post = np.empty((lines, h), np.float32)
        self.first = np.empty((r, 3 * h), np.float32)
        self.hidden = np.empty((2, r, h), np.float32)
        self.out = np.empty((2, r, 2 * z), np.float32)
        self.sigma = np.empty((2, r, z), np.float32)
        self.z = np.empty((r, z), np.float32)
        self.u = np.empty((r, z), np.float32)
        self.ratio = np.empty((r, z), np.float32)
        self.emit = np.empty((r, h), np.float32)
        self.logits = np.empty((r, d), np.float32)
        self.inputs = np.empty((r, 3 * h), np.float32)  # [phi_x's hidden, phi_z's hidden, o_t]
        self.gates = np.empty((r, 4 * h), np.float32)
        self.rows = np.arange(r)[:, None]


def _block_step(
    w: _Folded, a: _Work, o: Floats, c: Floats, index: NDArray[np.integer], noise: Floats | None
) -> tuple[Floats, Floats, Floats]:
    """One block: o_t, c_t (R, H), index (lines, 4) into the four-hot (D = missing), noise (R, Z) or None for the mean.

    Returns l_t (lines,), parts (lines, 4) and o_{t+1}; c becomes c_{t+1} in place.
    """
    h, z_n, s = o.shape[1], w.z_hidden.shape[0], a.samples
    # phi_x(x_t): four rows of its first matrix
    np.take(w.x_rows, index[:, 0], axis=0, out=a.x_hidden, mode="clip")
    for block in range(1, 4):
        np.take(w.x_rows, index[:, block], axis=0, out=a.x_add, mode="clip")
        a.x_hidden += a.x_add
    a.x_hidden += w.x_bias
    np.maximum(a.x_hidden, 0, out=a.x_hidden)
    np.matmul(a.x_hidden, w.x_post, out=a.x_post)

    # first layers of prior, posterior and emission, as far as o_t goes
    np.matmul(o, w.o_first, out=a.first)
    a.first += w.first_bias
    by_line = a.first.reshape(a.lines, s, 3 * h)
    by_line[:, :, h : 2 * h] += a.x_post[:, None]
    np.maximum(a.first[:, :h], 0, out=a.hidden[0])
    np.maximum(a.first[:, h : 2 * h], 0, out=a.hidden[1])
    np.matmul(a.hidden[0], w.prior, out=a.out[0])
    np.matmul(a.hidden[1], w.post, out=a.out[1])
    a.out[0] += w.prior_bias
    a.out[1] += w.post_bias
    mu_p, mu_r = a.out[0, :, :z_n], a.out[1, :, :z_n]
    np.minimum(a.out[:, :, z_n:], EXP_MAX, out=a.sigma)
    np.exp(a.sigma, out=a.sigma)
    np.log1p(a.sigma, out=a.sigma)
    np.maximum(a.sigma, SIGMA_MIN, out=a.sigma)
    sigma_p, sigma_q = a.sigma

    # z_t, and log p(z_t|.) - log q(z_t|.)
    np.divide(sigma_q, sigma_p, out=a.ratio)
    if noise is None:
        np.divide(mu_r, sigma_p, out=a.u)
        np.add(mu_p, mu_r, out=a.z)
        # -KL(q || p)
        log_ratio = np.log(a.ratio)
        np.multiply(a.ratio, a.ratio, out=a.ratio)
        a.u *= a.u
        a.u += a.ratio
        a.u -= 1.0
        a.u *= -0.5
        a.u += log_ratio
    else:
        np.multiply(sigma_q, noise, out=a.z)
        a.z += mu_r
        np.divide(a.z, sigma_p, out=a.u)  # (z - mu_p) / sigma_p
        a.z += mu_p
        a.u *= a.u
        a.u -= noise * noise
        a.u *= -0.5
        np.log(a.ratio, out=a.ratio)
        a.u += a.ratio
    latent = np.add.reduce(a.u, axis=1)

    # phi_z(z_t)
    z_hidden = a.inputs[:, h : 2 * h]
    np.matmul(a.z, w.z_hidden, out=a.emit)
    a.emit += w.z_bias
    np.maximum(a.emit, 0, out=z_hidden)
    # emission p(x_t|z_t,.): sum over all bins of -softplus(logit), and the logits of the hot ones
    np.matmul(z_hidden, w.z_emit, out=a.emit)
    a.emit += a.first[:, 2 * h :]
    np.maximum(a.emit, 0, out=a.emit)
    np.matmul(a.emit, w.logits, out=a.logits)
    a.logits += w.logits_bias
    np.minimum(a.logits, EXP_MAX, out=a.logits)
    index_rows = np.repeat(index, s, axis=0) if s > 1 else index
    missing = index_rows == w.logits.shape[1]
    hot = a.logits[a.rows, np.where(missing, 0, index_rows)]
    np.exp(a.logits, out=a.logits)
    np.log1p(a.logits, out=a.logits)
    parts = a.logits @ w.block_of
    parts -= hot
    parts[missing] = 0.0
    weight = latent - np.add.reduce(parts, axis=1)

    # o_{t+1}, s_{t+1} = LSTM([phi_x(x_t), phi_z(z_t)], s_t)
    a.inputs.reshape(a.lines, s, 3 * h)[:, :, :h] = a.x_hidden[:, None]
    a.inputs[:, 2 * h :] = o
    np.matmul(a.inputs, w.gates, out=a.gates)
    a.gates += w.gates_bias
    o_next = _lstm(a.gates, c)
    if s == 1:
        return weight, parts, o_next
    return weight.reshape(-1, s).mean(axis=1), parts.reshape(-1, s, 4).mean(axis=1), o_next


def _lstm(gates: Floats, c: Floats) -> Floats:
    """gates (R, 4H) [input, forget, output, candidate], the first three halved; overwritten. c changes in place; gives o."""
    h = c.shape[1]
    np.tanh(gates, out=gates)
    ifo = gates[:, : 3 * h]
    ifo *= 0.5
    ifo += 0.5
    gates[:, 3 * h :] *= gates[:, :h]
    c *= gates[:, h : 2 * h]
    c += gates[:, 3 * h :]
    o = np.tanh(c)
    o *= gates[:, 2 * h : 3 * h]
    return o

"""The element-wise passes of a network's step, in NumPy: what lies between its products of matrices.

``compiled_passes`` has the same passes compiled, each in one go over its arrays, with the same bits; ``fastest`` chooses. R rows are
lines times samples S of z, the samples of a line side by side; what is a line's counts for each of its S rows.
"""

from __future__ import annotations

import functools as caches
import sys
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..exact import functions
from ..exact.products import Grid
from ..exact.tables import Table, expects_much

Doubles = NDArray[np.float64]

SIGMA_MIN = 1e-4  # as in vrnn.py
LOGIT_MAX = 80.0  # greater is as sure
# Activations: those of trained networks stay below 16; o_t, which the state keeps in float32, is at most 1.
HIDDEN = Grid(bits=18, limit=64.0)
LOG_SCALE = (-5.0, 3.0)  # of a mixture's parts: no spike on standing ships, nothing wider than the ocean
# log of the constant of Student-t with 4 degrees of freedom: Gamma(5/2) / (Gamma(2) sqrt(4 pi)); weight of log(1 + d^2 / 4)
T_FREEDOM, T_WEIGHT, LOG_T = 4.0, 2.5, float(functions.log(0.375))
PART_UNITS = 30  # -log p of each bin in multiples of 2^-30: their sum is exact


def _sigma(r: Doubles) -> Doubles:
    return np.maximum(functions.softplus(r), SIGMA_MIN)


TANH = Table([functions.tanh], -10.0, 10.0, bits=9)
EXP = Table([functions.exp], -32.0, 5.0, bits=11)  # of what is at most 0, and of the negative log scales
LOG = Table([functions.log], 0.5, 4.0, bits=11)  # of sums of three parts, the greatest of them 1
SOFTPLUS = Table([functions.softplus], -24.0, LOGIT_MAX, bits=7, units=PART_UNITS)
SIGMA = Table([_sigma, lambda r: functions.log(_sigma(r))], -10.0, 81.0, bits=8)  # sigma and its logarithm


def four_rows(rows: Doubles, index: NDArray[np.int64], bias: Doubles, out: Doubles) -> None:
    """out (N, H) = relu of four of the ``rows`` (D + 1, H) each, ``index`` (N, 4), and bias (H,); on ``HIDDEN``."""
    np.take(rows, index[:, 0], axis=0, out=out, mode="clip")
    for block in range(1, 4):
        out += rows.take(index[:, block], axis=0, mode="clip")
    out += bias
    HIDDEN.relu(out, out)


def first_layers(product: Doubles, bias: Doubles, of_x: Doubles, hidden: Doubles, emit: Doubles) -> None:
    """First layers of prior, posterior and emission.

    Args:
        product: (R, 3H) of o_t; overwritten.
        bias: (3H,).
        of_x: (lines, H) what x_t adds to the posterior's.
        hidden: (2, R, H) gets the hidden layers of prior and posterior, on ``HIDDEN``.
        emit: (R, H) gets what the emission's is to be added to.
    """
    h = emit.shape[1]
    product += bias
    product.reshape(len(of_x), -1, 3 * h)[:, :, h : 2 * h] += of_x[:, None]
    HIDDEN.relu(product[:, :h], hidden[0])
    HIDDEN.relu(product[:, h : 2 * h], hidden[1])
    emit[...] = product[:, 2 * h :]


def latent(
    prior: Doubles,
    post: Doubles,
    prior_bias: Doubles,
    post_bias: Doubles,
    noise: Doubles | None,
    sigma: Doubles,
    u: Doubles,
    z: Doubles,
) -> None:
    """z_t of the posterior, to which the prior's mean is added.

    Args:
        prior: (R, Z or more) products; the first Z columns are the prior's means.
        post: (R, 2Z) means and raw deviations of the posterior.
        prior_bias, post_bias: of their columns.
        noise: (R, Z), or None for the mean.
        sigma: (R, Z) gets the posterior's standard deviations.
        u: (R, Z) gets what z is more than the prior's mean.
        z: (R, Z) gets z_t, on ``HIDDEN``.
    """
    n = z.shape[1]
    np.add(post[:, n:], post_bias[n:], out=z)
    SIGMA(z, sigma)
    if noise is None:
        np.add(post[:, :n], post_bias[:n], out=u)
    else:
        np.multiply(sigma, noise, out=u)
        u += post[:, :n] + post_bias[:n]
    np.add(u, prior[:, :n] + prior_bias[:n], out=z)
    HIDDEN.symmetric(z, z)


def lstm(gates: Doubles, of_x: Doubles, bias: Doubles, c: Doubles, o: Doubles) -> None:
    """One step of an LSTM; c (R, H) changes in place, o (R, H) is written, both rounded as a state keeps them, in float32.

    Args:
        gates: (R, 4H) products of what is a row's own: [input, forget, output, candidate], the first three halved; overwritten.
        of_x: (lines, 4H) products of the input, halved alike: added exactly, as if it were one product.
        bias: (4H,).
    """
    h = c.shape[1]
    gates.reshape(len(of_x), -1, 4 * h)[...] += of_x[:, None]
    gates += bias
    TANH(gates, gates)
    # sigmoid(x) = (1 + tanh(x / 2)) / 2
    ifo = gates[:, : 3 * h]
    ifo *= 0.5
    ifo += 0.5
    gates[:, 3 * h :] *= gates[:, :h]
    c *= gates[:, h : 2 * h]
    c += gates[:, 3 * h :]
    TANH(c, o)
    o *= gates[:, 2 * h : 3 * h]
    o[...] = o.astype(np.float32)
    c[...] = c.astype(np.float32)


def emission(
    logits: Doubles, bias: Doubles, index: NDArray[np.int64], offsets: NDArray[np.int64], parts: Doubles
) -> None:
    """parts (R, 4) = -log p of the bins of each block: the sum of softplus(logit) over the block, less the hot one's logit.

    Args:
        logits: (R, D) products; overwritten.
        bias: (D,).
        index: (R, 4) the hot bin of each block, D where the block is missing and its part 0.
        offsets: (5,) where each block begins, and D.
    """
    logits += bias
    missing = index == offsets[-1]
    hot = np.minimum(logits[np.arange(len(logits))[:, None], np.where(missing, 0, index)], LOGIT_MAX)
    SOFTPLUS(logits, logits)
    # Exact, so in any order.
    np.add.reduceat(logits, offsets[:-1], axis=1, out=parts)
    parts -= hot
    parts[missing] = 0.0


def mixtures(parts: Doubles, u: Doubles, out: Doubles) -> None:
    """out (n,) = -log of the product of four mixtures' densities at u (n, 4); each mixture has K Student-t parts of ``T_FREEDOM``.

    Args:
        parts: (n, 12 * K) of each mixture K logits, K places and K log scales (within ``LOG_SCALE``).
    """
    # Mixtures first, rows last: sums over four mixtures and K parts run in one fixed order.
    p = np.ascontiguousarray(parts.T).reshape(4, 3, parts.shape[1] // 12, len(parts))
    logit, loc, log_scale = p[:, 0], p[:, 1], np.clip(p[:, 2], *LOG_SCALE)
    d = (u.T[:, None] - loc) * _looked_up(EXP, -log_scale)
    log_t = LOG_T - log_scale - T_WEIGHT * functions.log1p(d * d / T_FREEDOM)
    each = _log_sum_exp(logit) - _log_sum_exp(logit + log_t)
    out[:] = 0.0
    for one in each:
        out += one


def _log_sum_exp(x: Doubles) -> Doubles:
    """(4, K, n) -> (4, n)."""
    top = x[:, 0]
    for k in range(1, x.shape[1]):
        top = np.maximum(top, x[:, k])
    total = np.zeros_like(top)
    for k in range(x.shape[1]):
        total += _looked_up(EXP, x[:, k] - top)
    return _looked_up(LOG, total) + top


def _looked_up(table: Table, x: Doubles) -> Doubles:
    out = np.empty(x.shape)
    table(x, out)
    return out


class Passes(Protocol):
    """This module, or ``compiled_passes``."""

    def four_rows(self, rows: Doubles, index: NDArray[np.int64], bias: Doubles, out: Doubles) -> None: ...
    def first_layers(self, product: Doubles, bias: Doubles, of_x: Doubles, hidden: Doubles, emit: Doubles) -> None: ...
    def latent(
        self,
        prior: Doubles,
        post: Doubles,
        prior_bias: Doubles,
        post_bias: Doubles,
        noise: Doubles | None,
        sigma: Doubles,
        u: Doubles,
        z: Doubles,
    ) -> None: ...
    def lstm(self, gates: Doubles, of_x: Doubles, bias: Doubles, c: Doubles, o: Doubles) -> None: ...
    def emission(
        self, logits: Doubles, bias: Doubles, index: NDArray[np.int64], offsets: NDArray[np.int64], parts: Doubles
    ) -> None: ...
    def mixtures(self, parts: Doubles, u: Doubles, out: Doubles) -> None: ...


def fastest() -> Passes:
    """The compiled passes where numba is installed (extra ``fast``) and the process has work enough for them, else NumPy's."""
    return (compiled() if expects_much() else None) or sys.modules[__name__]


@caches.cache
def compiled() -> Passes | None:
    """The compiled passes; None where numba is not installed."""
    try:
        from . import compiled_passes
    except ImportError:
        return None
    return compiled_passes

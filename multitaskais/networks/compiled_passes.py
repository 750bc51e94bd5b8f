"""``passes`` compiled with numba (``pip install .[fast]``): each in one go where NumPy takes four to thirty, and the same bits.

What each takes and gives is told there. Importing this module needs numba, which rounds each operation by itself, as NumPy does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..exact.compiled import at, jit, log1p
from .passes import EXP, HIDDEN, LOG, LOG_SCALE, LOG_T, LOGIT_MAX, SIGMA, SOFTPLUS, T_FREEDOM, T_WEIGHT, TANH

Doubles = NDArray[np.float64]

_LIMIT, _SHIFT = HIDDEN.limit, HIDDEN.shift
_TANH, _SOFTPLUS, _SIGMA, _EXP, _LOG = (table.lines[0] for table in (TANH, SOFTPLUS, SIGMA, EXP, LOG))


def four_rows(rows: Doubles, index: NDArray[np.int64], bias: Doubles, out: Doubles) -> None:
    _four_rows(rows, index, bias, out)


def first_layers(product: Doubles, bias: Doubles, of_x: Doubles, hidden: Doubles, emit: Doubles) -> None:
    _first_layers(product, bias, of_x, hidden, emit)


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
    _latent(prior, post, prior_bias, post_bias, noise, sigma, u, z, _SIGMA)


def lstm(gates: Doubles, of_x: Doubles, bias: Doubles, c: Doubles, o: Doubles) -> None:
    _lstm(gates, of_x, bias, c, o, _TANH)


def emission(
    logits: Doubles, bias: Doubles, index: NDArray[np.int64], offsets: NDArray[np.int64], parts: Doubles
) -> None:
    _emission(logits, bias, index, offsets, parts, _SOFTPLUS)


def mixtures(parts: Doubles, u: Doubles, out: Doubles) -> None:
    _mixtures(parts, u, out, _EXP, _LOG)


@jit
def _relu(x):  # type: ignore[no-untyped-def]
    x = 0.0 if x < 0.0 else x
    x = _LIMIT if x > _LIMIT else x
    return (x + _SHIFT) - _SHIFT


@jit
def _four_rows(rows, index, bias, out):  # type: ignore[no-untyped-def]
    for i in range(out.shape[0]):
        a, b, c, d = index[i, 0], index[i, 1], index[i, 2], index[i, 3]
        for j in range(out.shape[1]):
            out[i, j] = _relu(rows[a, j] + rows[b, j] + rows[c, j] + rows[d, j] + bias[j])


@jit
def _first_layers(product, bias, of_x, hidden, emit):  # type: ignore[no-untyped-def]
    n, h = emit.shape
    per_line = n // max(of_x.shape[0], 1)
    for i in range(n):
        line = i // per_line
        for j in range(h):
            hidden[0, i, j] = _relu(product[i, j] + bias[j])
            hidden[1, i, j] = _relu(product[i, h + j] + bias[h + j] + of_x[line, j])
            emit[i, j] = product[i, 2 * h + j] + bias[2 * h + j]


@jit
def _latent(prior, post, prior_bias, post_bias, noise, sigma, u, z, table):  # type: ignore[no-untyped-def]
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            k = z.shape[1] + j
            s = at(table, post[i, k] + post_bias[k])
            more = post[i, j] + post_bias[j]
            if noise is not None:
                more = s * noise[i, j] + more
            sigma[i, j] = s
            u[i, j] = more
            x = more + (prior[i, j] + prior_bias[j])
            x = -_LIMIT if x < -_LIMIT else x
            x = _LIMIT if x > _LIMIT else x
            z[i, j] = (x + _SHIFT) - _SHIFT


@jit
def _lstm(gates, of_x, bias, c, o, table):  # type: ignore[no-untyped-def]
    n, h = c.shape
    per_line = n // max(of_x.shape[0], 1)
    for i in range(n):
        line = i // per_line
        for j in range(4 * h):
            gates[i, j] = at(table, gates[i, j] + of_x[line, j] + bias[j])
        for j in range(h):
            keep = gates[i, h + j] * 0.5 + 0.5
            new = gates[i, 3 * h + j] * (gates[i, j] * 0.5 + 0.5)
            cell = c[i, j] * keep + new
            o[i, j] = np.float32(at(table, cell) * (gates[i, 2 * h + j] * 0.5 + 0.5))
            c[i, j] = np.float32(cell)


@jit
def _emission(logits, bias, index, offsets, parts, table):  # type: ignore[no-untyped-def]
    for i in range(logits.shape[0]):
        for block in range(4):
            hot = index[i, block]
            parts[i, block] = 0.0
            if hot == offsets[4]:
                continue
            total = 0.0
            for j in range(offsets[block], offsets[block + 1]):
                total += at(table, logits[i, j] + bias[j])
            parts[i, block] = total - min(logits[i, hot] + bias[hot], LOGIT_MAX)


@jit
def _mixtures(parts, u, out, exp, log):  # type: ignore[no-untyped-def]
    n_parts = parts.shape[1] // 12
    least, most = LOG_SCALE
    told = np.empty(n_parts)
    for i in range(parts.shape[0]):
        out[i] = 0.0
        for m in range(4):
            logit = parts[i, 3 * m * n_parts : (3 * m + 1) * n_parts]
            for k in range(n_parts):
                loc, log_scale = parts[i, (3 * m + 1) * n_parts + k], parts[i, (3 * m + 2) * n_parts + k]
                log_scale = min(max(log_scale, least), most)
                d = (u[i, m] - loc) * at(exp, -log_scale)
                told[k] = logit[k] + (LOG_T - log_scale - T_WEIGHT * log1p(d * d / T_FREEDOM))
            out[i] += _log_sum_exp(logit, exp, log) - _log_sum_exp(told, exp, log)


@jit
def _log_sum_exp(x, exp, log):  # type: ignore[no-untyped-def]
    top = x[0]
    for k in range(1, len(x)):
        top = max(top, x[k])
    total = 0.0
    for k in range(len(x)):
        total += at(exp, x[k] - top)
    return at(log, total) + top

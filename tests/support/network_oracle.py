"""The VRNN of the papers in plain NumPy, written from docs/method.md#the-network alone: dense four-hot, float64, one loop over the steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class OracleStep(NamedTuple):
    log_w: float
    parts: np.ndarray  # (4,) log p by block
    kl: float
    probabilities: np.ndarray  # (D,)


def softplus(x):
    return np.logaddexp(0.0, x)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def mlp(w, name, x):
    first = x @ getattr(w, f"{name}_w1") + getattr(w, f"{name}_b1")
    return np.maximum(first, 0.0) @ getattr(w, f"{name}_w2") + getattr(w, f"{name}_b2")


def normal_logpdf(x, mu, sigma):
    return -0.5 * ((x - mu) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)


def four_hot(bins, blocks):
    x = np.zeros(sum(blocks))
    start = 0
    for b, n in zip(bins, blocks, strict=True):
        if b >= 0:
            x[start + b] = 1.0
        start += n
    return x


def run(w, sizes, bins, noise):
    """One track, one sample path: bins (T, 4), noise (T, Z) -> list of OracleStep."""
    w = w.map(lambda a: np.asarray(a, np.float64))
    h_n, blocks = sizes.hidden, sizes.blocks
    x_before, z_enc = np.zeros(sizes.dim), np.zeros(h_n)
    h, c = np.zeros(h_n), np.zeros(h_n)
    out = []
    for bins_t, eps in zip(bins, noise, strict=True):
        gates = np.concatenate([mlp(w, "phi_x", x_before), z_enc, h]) @ w.lstm_w + w.lstm_b
        i, f, o_gate, candidate = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)
        h = o = sigmoid(o_gate) * np.tanh(c)
        x = four_hot(bins_t, blocks)
        mu_p, r_p = np.split(mlp(w, "prior", o), 2)
        mu_r, r_q = np.split(mlp(w, "post", np.concatenate([o, mlp(w, "phi_x", x)])), 2)
        mu_q, s_p, s_q = mu_p + mu_r, softplus(r_p + 0.5), softplus(r_q + 0.5)
        z = mu_q + s_q * eps
        z_enc = mlp(w, "phi_z", z)
        logits = mlp(w, "emit", np.concatenate([z_enc, o]))
        p = sigmoid(logits)
        log_bernoulli = -x * softplus(-logits) - (1 - x) * softplus(logits)  # x log p + (1 - x) log(1 - p)
        parts = np.array([t.sum() for t in np.split(log_bernoulli, np.cumsum(blocks)[:-1])])
        parts[np.asarray(bins_t) < 0] = 0.0  # a missing block says nothing
        ratio = normal_logpdf(z, mu_p, s_p).sum() - normal_logpdf(z, mu_q, s_q).sum()
        kl = (np.log(s_p / s_q) + (s_q**2 + (mu_q - mu_p) ** 2) / (2 * s_p**2) - 0.5).sum()
        out.append(OracleStep(parts.sum() + ratio, parts, kl, p))
        x_before = x
    return out


def logsumexp(x):
    top = np.max(x)
    return top + np.log(np.sum(np.exp(x - top)))

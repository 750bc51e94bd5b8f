"""The decision of docs/method.md#calibration and #a-contrario-decision as published, over scores that are there: cells of 0.1 degree, KDE quantile, binomial, eps 1e-10.

What the panel does otherwise (larger cells around, moored samples left out, thresholds from a budget) is left out on purpose.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, gaussian_kde

WINDOW, WARMUP, LOW = 24, 12, 0.1
SEGMENTS = WINDOW * (WINDOW + 1) // 2
EPS = 1e-10

Floats = NDArray[np.float64]


def cell_of(lat: Floats, lon: Floats) -> NDArray[np.int64]:
    return np.floor(lat / 0.1).astype(np.int64) * 10_000 + np.floor(lon / 0.1).astype(np.int64)


def quantiles(likelihood: Floats, cell: NDArray[np.int64]) -> dict[int, float]:
    """The 0.1 quantile of each cell's Gaussian KDE, by bisection on its cdf; cells with fewer than two different values have none."""
    out = {}
    order = np.argsort(cell, kind="stable")
    keys, first = np.unique(cell[order], return_index=True)
    for key, values in zip(keys.tolist(), np.split(likelihood[order], first[1:]), strict=True):
        if len(values) < 2 or np.ptp(values) == 0:
            continue
        kde = gaussian_kde(values)
        low, high = values.min() - 10 * values.std(), values.max()
        for _ in range(40):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if kde.integrate_box_1d(-np.inf, middle) < LOW else (low, middle)
        out[key] = high
    return out


def score(
    likelihood: Floats, cell: NDArray[np.int64], n: NDArray[np.int64], limit: dict[int, float], *, empty_is_low: bool
) -> float:
    """-log10 of the least NFA of one track of (m,) samples, ``n`` their numbers; -inf when none is judged."""
    bound = np.array([limit.get(int(c), np.inf if empty_is_low else np.nan) for c in cell])
    judged = np.isfinite(likelihood) & ~np.isnan(bound) & (n >= WARMUP)
    low = judged & (likelihood < bound)
    trials, hits = np.concatenate([[0], np.cumsum(judged)]), np.concatenate([[0], np.cumsum(low)])
    best = -np.inf
    for length in range(1, min(WINDOW, len(n)) + 1):
        a, b = trials[length:] - trials[:-length], hits[length:] - hits[:-length]
        if (a > 0).any():
            nfa = np.log10(SEGMENTS) + binom.logsf(b[a > 0] - 1, a[a > 0], LOW) / np.log(10.0)
            best = max(best, float(-nfa.min()))
    return best

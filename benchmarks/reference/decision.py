"""Calibration test and a-contrario decision as one writes them first: a KDE a cell, a loop over segments. Written from docs/method.md#calibration and #a-contrario-decision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, gaussian_kde

WINDOW, QUANTILE = 24, 0.1
SEGMENTS = WINDOW * (WINDOW + 1) // 2
Cells = Mapping[int, NDArray[np.float64]]  # cell -> log-likelihoods that were seen there


def is_low(log_likelihood: float, values: NDArray[np.float64]) -> bool | None:
    """P_kde(l <= l_t) < 0.1 in the cell; None where fewer than two different values are known (docs/method.md#departures-from-the-prototype: abstain)."""
    if len(values) < 2 or np.ptp(values) == 0:
        return None
    return bool(gaussian_kde(values).integrate_box_1d(-np.inf, log_likelihood) < QUANTILE)


def marks(log_likelihoods: Sequence[float], cells: Sequence[int], known: Cells) -> list[bool | None]:
    """Of each step of a track: low, not low, or not judged."""
    nothing = np.zeros(0)
    return [is_low(x, known.get(c, nothing)) for x, c in zip(log_likelihoods, cells, strict=True)]


def best_segment(marks: Sequence[bool | None]) -> float:
    """Least log10 NFA over all segments of at most 24 grid steps; inf where no step is judged."""
    best = math.inf
    for end in range(len(marks)):
        if marks[end] is None:
            continue
        for start in range(max(0, end - WINDOW + 1), end + 1):
            judged = [m for m in marks[start : end + 1] if m is not None]
            n, k = len(judged), sum(judged)
            nfa = SEGMENTS * binom.sf(k - 1, n, QUANTILE)
            best = min(best, math.log10(nfa))
    return best


def is_abnormal(log_likelihoods: Sequence[float], cells: Sequence[int], known: Cells, log10_eps: float) -> bool:
    return best_segment(marks(log_likelihoods, cells, known)) < log10_eps

"""A subset of a season that fits into memory and in which no vessel drowns the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fair_lines(mmsi: NDArray[np.integer], samples: NDArray[np.integer], most: int, seed: int = 0) -> NDArray[np.bool_]:
    """Which of (m,) lines to keep, so that there are ``most`` samples or few more.

    Args:
        mmsi: of each line, (m,).
        samples: that it has, (m,).
        most: samples to keep in all; all lines are kept where there are no more.
        seed: of the order in which a vessel's lines are taken.

    Each vessel gives whole lines, in an order of chance, until it has its share; the share is the same for all, and a vessel that has less
    gives all it has. One line a vessel is always kept, so that none is lost.
    """
    n = len(mmsi)
    if not n or int(samples.sum()) <= most:
        return np.ones(n, bool)
    chance = np.random.default_rng([seed, n]).permutation(n)
    order = np.lexsort((chance, mmsi))
    vessel, size = np.asarray(mmsi)[order], np.asarray(samples)[order].astype(np.int64)
    first = np.concatenate([[True], vessel[1:] != vessel[:-1]])
    before = np.cumsum(size) - size
    before -= before[np.flatnonzero(first)][
        np.cumsum(first) - 1
    ]  # samples of the vessel's lines that are taken earlier
    low, high = 1, int(before.max()) + 1  # a share of `low` is always taken, one of `high` takes all
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if int(size[before < middle].sum()) <= most else (low, middle)
    keep = np.zeros(n, bool)
    keep[order] = before < low
    return keep

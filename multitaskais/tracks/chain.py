"""Reports a certain time apart: the first of a line, and from each on the first that is so much later.

A chain goes from report to report: one loop, which is compiled where numba is installed (extra ``fast``) and there is much to do.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exact.tables import expects_much


def apart(t: NDArray[np.float64], begin: NDArray[np.int64], least_s: float) -> NDArray[np.bool_]:
    """(n,) whether a report is in its line's chain.

    Args:
        t: (n,) times of the reports, Unix s; in order within a line.
        begin: (lines + 1,) where each line begins, and n. A line without a report has no chain.
        least_s: each of a chain is later than the one before it by more than this.
    """
    if expects_much() and (compiled := compiled_mark()) is not None:
        chosen = np.zeros(len(t), bool)
        compiled(t, begin, least_s, chosen)
        return chosen
    marks = bytearray(len(t))
    mark(t.tolist(), begin.tolist(), least_s, marks)
    return np.frombuffer(marks, bool)


def mark(t: Any, begin: Any, least_s: float, chosen: Any) -> None:
    """``apart`` of lists or arrays; marks in ``chosen``."""
    for line in range(len(begin) - 1):
        first, end = begin[line], begin[line + 1]
        last = first
        for i in range(first, end):
            if i == first or t[i] - t[last] > least_s:
                chosen[i] = 1
                last = i


@functools.cache
def compiled_mark() -> Callable[..., None] | None:
    """``mark`` compiled, where numba is installed."""
    try:
        from ..exact.compiled import jit
    except ImportError:
        return None
    compiled: Callable[..., None] = jit(mark)
    return compiled

"""The look-up compiled with numba (``pip install .[fast]``): one pass where NumPy takes nine, and the same bits.

Importing this module needs numba. Without ``fastmath`` numba rounds each operation by itself, as NumPy does: nothing is fused.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def jit(function: Any) -> Any:
    """``function`` compiled, kept beside its module where that can be written."""
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # nowhere to keep the compiled code
        return numba.njit(nogil=True)(function)


@jit
def look_up(
    x: Doubles, to_point: float, per_unit: float, first: int, rounding: float, lines: Doubles, out: Doubles
) -> None:
    """out[i] = slope * (x[i] - its point) + height, rounded; ``lines`` (points, 2), ``out`` may be ``x``."""
    last = len(lines) - 1
    for i in range(x.size):
        value = x[i]
        point = (value + to_point) - to_point
        scaled = point * per_unit  # exact: a whole number
        index = last  # also of NaN, as the bits of NaN count in NumPy
        if scaled <= first:
            index = 0
        elif scaled < first + last:
            index = int(scaled) - first
        out[i] = (lines[index, 0] * (value - point) + lines[index, 1]) - rounding

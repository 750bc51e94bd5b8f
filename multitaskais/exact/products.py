"""Products of matrices whose sums come out the same in any order: both sides are whole multiples of a power of two.

With activations on the grid 2^-a and weights on the grid 2^-w every term and every partial sum is a multiple of 2^-(a+w). While
it stays below 2^53 of these units float64 holds it exactly, so no rounding happens at all, and the order in which a BLAS
adds (which depends on its kernel, the number of rows, a row's place in the block, the number of threads) cannot matter.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .functions import total

Doubles = NDArray[np.float64]

MANTISSA_BITS = 53
WEIGHT_BITS = 40  # a grid finer than this gains nothing: weights are float32


class Grid(NamedTuple):
    """Whole multiples of 2 ** -bits within +-limit: what activations are rounded to, half to even."""

    bits: int
    limit: float

    @property
    def shift(self) -> float:
        """What is added and taken away again to round to the grid: the sum's last place is one unit of it."""
        return 1.5 * 2.0 ** (52 - self.bits)

    def symmetric(self, x: Doubles, out: Doubles) -> None:
        """x within +-limit, on the grid; ``out`` may be ``x``."""
        np.maximum(x, -self.limit, out=out)
        self._upper(out, out)

    def relu(self, x: Doubles, out: Doubles) -> None:
        """max(x, 0), at most limit, on the grid; ``out`` may be ``x``."""
        np.maximum(x, 0.0, out=out)
        self._upper(out, out)

    def _upper(self, x: Doubles, out: Doubles) -> None:
        np.minimum(x, self.limit, out=out)
        out += self.shift
        out -= self.shift


def on_grid(matrix: NDArray[np.floating], grids: Grid | list[tuple[int, Grid]]) -> Doubles:
    """(K, N) weights, each column on the finest grid on which its product with activations is exact.

    Args:
        grids: that of all K activations, or of so many after each other.
    """
    w = np.asarray(matrix, np.float64)
    parts = grids if isinstance(grids, list) else [(len(w), grids)]
    limit = np.concatenate([np.full(n, g.limit) for n, g in parts])
    bits = max(g.bits for _, g in parts)
    # No partial sum is greater than this one of magnitudes, which is rounded itself and so gets some room.
    reach = total(np.abs(w) * limit[:, None], axis=0) * (1.0 + 2.0**-20) + 2.0**-20
    unit = np.array([2.0 ** -min(WEIGHT_BITS, MANTISSA_BITS - 1 - bits - math.frexp(r)[1]) for r in reach.tolist()])
    return np.ascontiguousarray(np.rint(w / unit) * unit)

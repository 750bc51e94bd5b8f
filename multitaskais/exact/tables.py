"""Functions that run on hundreds of values a sample: straight lines between points of a grid, by one look-up each of height and slope.

The index comes out of the number's own bits: x + 1.5 * 2^52 * step rounds x to the nearest point (IEEE 754), and the low bits of
that sum count the points.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


class Line(NamedTuple):
    """One tabulated function, as compiled code reads it (``compiled.at``)."""

    to_point: float  # what is added and taken away again to round x to its point
    per_unit: float  # points in 1
    first: int  # the first point, counted from that at 0
    rounding: float  # likewise, of the result
    points: Doubles  # (points, 2) slope, and height + rounding


LookUp = Callable[[Line, Doubles, Doubles], None]

AT_ONCE = 8192  # values, whose columns stay near the processor
# A process loads the compiled pass, which takes half a second, once its tables have looked up so many values, which took half as long.
COMPILED_FROM = 100_000_000


@functools.cache
def compiled_look_up() -> LookUp | None:
    """The compiled pass where numba is installed (extra ``fast``): the same bits as ``Table``'s own."""
    try:
        from .compiled import look_up
    except ImportError:
        return None
    compiled: LookUp = look_up
    return compiled


class _Work:
    """What all tables of this process have done; inexact where threads look up at once, which changes no bit of a result."""

    values = 0


def expects_much() -> bool:
    """Whether this process has work enough for compiled passes."""
    return _Work.values >= COMPILED_FROM


def expect_much() -> None:
    """Load the compiled pass now: for a process that is to answer fast from its first answer on."""
    _Work.values = COMPILED_FROM
    compiled_look_up()


class Table:
    """Functions on [low, high], whole multiples of the step 2 ** -bits; beyond its ends a table goes on level.

    The error is a sixteenth of the square of a step times the second derivative, and half a unit.

    Args:
        functions: what is tabulated, each of (n,) float64; they must themselves give the same bits everywhere.
        units: results are multiples of 2 ** -units, so that they can be summed in any order.
    """

    def __init__(
        self, functions: Sequence[Callable[[Doubles], Doubles]], low: float, high: float, bits: int, units: int = 32
    ) -> None:
        step = math.ldexp(1.0, -bits)
        first = round(low / step)
        x = np.arange(first, round(high / step) + 1).astype(np.float64) * step
        self._round = 1.5 * 2.0 ** (52 - units)
        self._columns: list[tuple[Doubles, Doubles]] = []
        for function in functions:
            after, before = function(x + 0.5 * step), function(x - 0.5 * step)
            slope = (after - before) / step
            slope[[0, -1]] = 0.0
            # Between the function and the chord, so that the sag is half above and half below.
            height = (2.0 * function(x) + (after + before)) * 0.25
            self._columns.append((slope, height + self._round))
        self._to_point = 1.5 * 2.0 ** (52 - bits)
        self._offset = int(np.array(self._to_point).view(np.int64)) + first
        self.lines = [
            Line(self._to_point, math.ldexp(1.0, bits), first, self._round, np.stack(column, axis=1))
            for column in self._columns
        ]
        self._point = np.empty(AT_ONCE)
        self._index = np.empty(AT_ONCE, np.int64)
        self._slope = np.empty(AT_ONCE)
        self._height = np.empty(AT_ONCE)

    def __call__(self, x: Doubles, *outs: Doubles) -> None:
        """Write each function of x, or the first of them, into its array, one of which may be x itself; all contiguous, of one shape;
        |x| < 2 ** (50 - bits)."""
        look_up = compiled_look_up() if expects_much() else None
        _Work.values += x.size * len(outs)
        if look_up is None:
            self._in_numpy(x.reshape(-1), [out.reshape(-1) for out in outs])
            return
        # x itself is written last: until then it is read.
        for line, out in sorted(zip(self.lines, outs, strict=False), key=lambda pair: pair[1] is x):
            look_up(line, x.reshape(-1), out.reshape(-1))

    def _in_numpy(self, flat: Doubles, into: list[Doubles]) -> None:
        for lo in range(0, len(flat), AT_ONCE):
            here = flat[lo : lo + AT_ONCE]
            n = len(here)
            point, index, slope, height = self._point[:n], self._index[:n], self._slope[:n], self._height[:n]
            np.add(here, self._to_point, out=point)
            np.subtract(point.view(np.int64), self._offset, out=index)
            point -= self._to_point
            np.subtract(here, point, out=point)  # exact: how far the number is from its point
            for (slopes, heights), out in zip(self._columns, into, strict=False):
                slopes.take(index, out=slope, mode="clip")
                heights.take(index, out=height, mode="clip")
                slope *= point
                slope += height
                np.subtract(slope, self._round, out=out[lo : lo + n])

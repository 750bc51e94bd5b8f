"""Look-ups and functions compiled with numba (``pip install .[fast]``): one pass where NumPy takes nine to sixty, and the same bits.

Importing this module needs numba. Without ``fastmath`` numba rounds each operation by itself, as NumPy does: nothing is fused. What each
function computes is told in ``tables`` and ``functions``.

numba keeps compiled code beside the file of a function and looks at that file alone: whoever changes ``at`` or a function here that
others are compiled with, removes their ``__pycache__``.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from .constants import ATAN, COS, DEGREES, LN2_HIGH, LN2_LOW, LOG, RADIANS, SIN, SQRT_HALF

Doubles = NDArray[np.float64]


def jit(function: Any) -> Any:
    """``function`` compiled, kept beside its module where that can be written. A division by zero is infinite, as in NumPy."""
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # nowhere to keep the compiled code
        return numba.njit(nogil=True, error_model="numpy")(function)


@jit
def at(line: Any, x: float) -> float:
    """A ``tables.Line`` at x: slope * (x - its point) + height, rounded."""
    point = (x + line.to_point) - line.to_point
    scaled = point * line.per_unit  # exact: a whole number
    last = float(line.first + len(line.points) - 1)
    scaled = scaled if scaled > line.first else float(line.first)  # also of NaN, which stays NaN in what follows
    index = np.uint32(np.int32(scaled if scaled < last else last) - np.int32(line.first))
    return (line.points[index, 0] * (x - point) + line.points[index, 1]) - line.rounding  # type: ignore[no-any-return]


@jit
def look_up(line: Any, x: Doubles, out: Doubles) -> None:
    """out[i] = the line at x[i]; ``out`` may be ``x``."""
    for i in range(x.size):
        out[i] = at(line, x[i])


# ---------------------------------------------------------------- the functions of ``functions``, of one number


@jit
def _polynomial(coefficients: Any, x: float) -> float:
    out = coefficients[0]
    for k in range(1, len(coefficients)):
        out = out * x + coefficients[k]
    return out  # type: ignore[no-any-return]


@jit
def _split(x: float) -> tuple[float, float]:
    m, e = math.frexp(x)
    return (m + m, e - 1.0) if m < SQRT_HALF else (m, float(e))


@jit
def log(x: float) -> float:
    if not 0.0 < x < math.inf:
        return -math.inf if x == 0.0 else math.inf if x == math.inf else math.nan
    m, e = _split(x)
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    low = s * (_polynomial(LOG, z) * z - f)
    return e * LN2_HIGH + (f + (low + (e * LN2_LOW + 0.0)))  # type: ignore[no-any-return]


@jit
def log1p(x: float) -> float:
    if not -1.0 < x < math.inf:
        return math.inf if x == math.inf else math.nan
    u = 1.0 + x
    lost = (1.0 - (u - x) if abs(x) >= 1.0 else x - (u - 1.0)) / u
    m, e = _split(u)
    near = e == 0.0
    f = x if near else m - 1.0
    s = f / (2.0 + f)
    z = s * s
    low = s * (_polynomial(LOG, z) * z - f)
    return e * LN2_HIGH + (f + (low + (e * LN2_LOW + (0.0 if near else lost))))  # type: ignore[no-any-return]


@jit
def asinh(x: float) -> float:
    a = abs(x)
    return math.copysign(log1p(a + a * a / (1.0 + math.sqrt(1.0 + a * a))), x)


@jit
def sin_cos(x: float) -> tuple[float, float]:
    if not math.isfinite(x):
        return math.nan, math.nan
    turns = np.rint(x / 90.0)
    r = (x - turns * 90.0 if abs(turns) < 2.0**40 else 0.0) * RADIANS
    z = r * r
    sin = r + r * (_polynomial(SIN, z) * z)
    cos = 1.0 - (0.5 * z - _polynomial(COS, z) * (z * z))
    quarter = turns - 4.0 * np.floor(turns * 0.25)
    if quarter == 1.0 or quarter == 3.0:
        sin, cos = cos, sin
    if quarter >= 2.0:
        sin = -sin
    if quarter == 1.0 or quarter == 2.0:
        cos = -cos
    return sin, cos


@jit
def atan2(y: float, x: float) -> float:
    if x != x or y != y:
        return math.nan
    ay, ax = abs(y), abs(x)
    low, high = min(ay, ax), max(ay, ax)
    back = math.copysign(1.0, x) < 0.0
    if high == 0.0:
        return math.copysign(180.0 if back else 0.0, y)
    t = 1.0 if low == math.inf else 0.0 if high == math.inf else low / high
    for _ in range(2):
        t = t / (1.0 + math.sqrt(1.0 + t * t))
    z = t * t
    degrees = (t + t * (_polynomial(ATAN, z) * z)) * (4.0 * DEGREES)
    if ay > ax:
        degrees = 90.0 - degrees
    if back:
        degrees = 180.0 - degrees
    return math.copysign(degrees, y)


# ---------------------------------------------------------------- and of arrays (n,)


@jit
def log_each(x: Doubles, out: Doubles) -> None:
    for i in range(x.size):
        out[i] = log(x[i])


@jit
def log1p_each(x: Doubles, out: Doubles) -> None:
    for i in range(x.size):
        out[i] = log1p(x[i])


@jit
def asinh_each(x: Doubles, out: Doubles) -> None:
    for i in range(x.size):
        out[i] = asinh(x[i])


@jit
def sin_cos_each(x: Doubles, sin: Doubles, cos: Doubles) -> None:
    for i in range(x.size):
        sin[i], cos[i] = sin_cos(x[i])


@jit
def atan2_each(y: Doubles, x: Doubles, out: Doubles) -> None:
    for i in range(x.size):
        out[i] = atan2(y[i], x[i])

"""The functions of ``functions`` for one float at a time, by the same steps and so with the same bits; a microsecond or two each."""

from __future__ import annotations

import math

from .constants import (
    ATAN,
    COS,
    DEGREES,
    EXP,
    EXP_MAX,
    EXP_MIN,
    LN2_HIGH,
    LN2_LOW,
    LN_10,
    LOG,
    LOG2_E,
    RADIANS,
    SIN,
    SQRT_HALF,
)


def _polynomial(coefficients: tuple[float, ...], x: float) -> float:
    out = coefficients[0]
    for c in coefficients[1:]:
        out = out * x + c
    return out


def exp(x: float) -> float:
    if x != x:
        return x
    if x < EXP_MIN:
        return 0.0
    if x > EXP_MAX:
        return math.inf
    k = round(x * LOG2_E)
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    return math.ldexp(_polynomial(EXP, r) * (r * r) + r + 1.0, k)


def log(x: float) -> float:
    if not 0.0 < x < math.inf:
        return -math.inf if x == 0.0 else math.inf if x == math.inf else math.nan
    m, e = math.frexp(x)
    if m < SQRT_HALF:
        m, e = m + m, e - 1
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    low = s * (_polynomial(LOG, z) * z - f)
    return e * LN2_HIGH + (f + (low + (e * LN2_LOW + 0.0)))


def log10(x: float) -> float:
    return log(x) / LN_10


def hypot(x: float, y: float) -> float:
    return math.sqrt(x * x + y * y)


def sin_cos(degrees: float) -> tuple[float, float]:
    """Sine and cosine of degrees."""
    if not math.isfinite(degrees):
        return math.nan, math.nan
    turns = round(degrees / 90.0)
    r = (degrees - turns * 90.0 if abs(turns) < 2**40 else 0.0) * RADIANS
    z = r * r
    sin = r + r * (_polynomial(SIN, z) * z)
    cos = 1.0 - (0.5 * z - _polynomial(COS, z) * (z * z))
    quarter = turns % 4
    if quarter == 0:
        return sin, cos
    if quarter == 1:
        return cos, -sin
    return (-sin, -cos) if quarter == 2 else (-cos, sin)


def sin(degrees: float) -> float:
    return sin_cos(degrees)[0]


def cos(degrees: float) -> float:
    return sin_cos(degrees)[1]


def atan2(y: float, x: float) -> float:
    """Degrees in [-180, 180] of the direction (x, y) from the x axis; 0 where both are 0."""
    if x != x or y != y:
        return math.nan
    ay, ax = abs(y), abs(x)
    low, high = min(ay, ax), max(ay, ax)
    if high == 0.0:
        return math.copysign(180.0 if math.copysign(1.0, x) < 0.0 else 0.0, y)
    t = 1.0 if low == math.inf else 0.0 if high == math.inf else low / high
    for _ in range(2):
        t = t / (1.0 + math.sqrt(1.0 + t * t))
    z = t * t
    degrees = (t + t * (_polynomial(ATAN, z) * z)) * (4.0 * DEGREES)
    if ay > ax:
        degrees = 90.0 - degrees
    if math.copysign(1.0, x) < 0.0:
        degrees = 180.0 - degrees
    return math.copysign(degrees, y)


def power(x: float, n: int) -> float:
    """x ** n of a whole n >= 0, by squares in one order."""
    out = 1.0
    while n:
        if n & 1:
            out *= x
        x *= x
        n >>= 1
    return out

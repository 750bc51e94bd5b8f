"""Elementary functions of float64 arrays, made of ``+ - * / sqrt`` and moves of bits alone: the same bits everywhere.

Element by element: no result depends on the array's length, layout, or on its neighbours. NaN stays NaN. Within 2 units in the
last place of the true value where nothing else is said. The coefficients are those of the Taylor series, after
the argument has been brought so near to zero that what is left out lies below the last place.

Each takes 15 to 60 passes over the array, and where numba is installed (extra ``fast``) those that run on every sample take one
(``compiled``), with the same bits. What runs on hundreds of values a sample is looked up (``tables``).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    SQRT_2PI,
    SQRT_HALF,
)

Doubles = NDArray[np.float64]


def _polynomial(coefficients: tuple[float, ...], x: Doubles) -> Doubles:
    """Horner's scheme, highest power first."""
    out = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        out *= x
        out += c
    return out


def _array(x: ArrayLike) -> Doubles:
    return np.asarray(x, np.float64)


_COMPILED = f"{__package__}.compiled"


def _pass(name: str) -> Callable[..., None] | None:
    """The pass of ``compiled``, once that is loaded (``tables.expects_much``)."""
    return getattr(sys.modules.get(_COMPILED), f"{name}_each", None)


def _in_one_pass(function: Callable[..., Doubles]) -> Callable[..., Doubles]:
    """``function``, or the pass of ``compiled`` that is named after it; ``in_numpy`` is ``function`` itself."""

    @functools.wraps(function)
    def fastest(*args: ArrayLike) -> Doubles:
        each = _pass(function.__name__)
        if each is None:
            return function(*args)
        arrays = [_array(a) for a in args]
        if len(arrays) > 1:
            arrays = list(np.broadcast_arrays(*arrays))
        out = np.empty(arrays[0].shape)
        each(*(a.ravel() for a in arrays), out.reshape(-1))
        return out

    fastest.in_numpy = function  # type: ignore[attr-defined]
    return fastest


def exp(x: ArrayLike) -> Doubles:
    """e ** x; 0 below ``EXP_MIN``, infinite above ``EXP_MAX``."""
    x = _array(x)
    inside = np.where((x >= EXP_MIN) & (x <= EXP_MAX), x, 0.0)
    k = np.rint(inside * LOG2_E)
    r = (inside - k * LN2_HIGH) - k * LN2_LOW
    value = _polynomial(EXP, r) * (r * r) + r + 1.0
    value = value * ((k.astype(np.int64) + 1023) << 52).view(np.float64)
    return np.where(x < EXP_MIN, 0.0, np.where(x > EXP_MAX, np.inf, np.where(np.isnan(x), np.nan, value)))


def _split(x: Doubles) -> tuple[Doubles, Doubles]:
    """Positive normal numbers x = m * 2 ** e with m in [sqrt 1/2, sqrt 2)."""
    m, e = np.frexp(x)
    small = m < SQRT_HALF
    return np.where(small, m + m, m), (e - small).astype(np.float64)


def _log_parts(m: Doubles, e: Doubles, rest: Doubles | float = 0.0) -> Doubles:
    """ln(m * 2 ** e) + rest, where rest is next to nothing."""
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    # ln(1 + f) = 2 atanh(s) = 2 s + s z R(z) with 2 s = f - s f: f is exact, the rest small.
    low = s * (_polynomial(LOG, z) * z - f)
    return e * LN2_HIGH + (f + (low + (e * LN2_LOW + rest)))


@_in_one_pass
def log(x: ArrayLike) -> Doubles:
    """Natural logarithm; -infinite at 0, NaN below."""
    x = _array(x)
    usual = (x > 0.0) & (x < np.inf)
    value = _log_parts(*_split(np.where(usual, x, 1.0)))
    return np.where(usual, value, np.where(x == 0.0, -np.inf, np.where(x == np.inf, np.inf, np.nan)))


def log10(x: ArrayLike) -> Doubles:
    """Within 3 units in the last place."""
    return log(x) / LN_10


@_in_one_pass
def log1p(x: ArrayLike) -> Doubles:
    """ln(1 + x), also of the smallest x; NaN at -1 and below."""
    x = _array(x)
    usual = (x > -1.0) & (x < np.inf)
    inside = np.where(usual, x, 0.0)
    u = 1.0 + inside
    big = np.abs(inside) >= 1.0
    lost = np.where(big, 1.0 - (u - inside), inside - (u - 1.0)) / u  # what the sum dropped
    m, e = _split(u)
    # Where the exponent is that of 1, 1 + x need not be rounded at all.
    near = e == 0.0
    f = np.where(near, inside, m - 1.0)
    s = f / (2.0 + f)
    z = s * s
    low = s * (_polynomial(LOG, z) * z - f)
    value = e * LN2_HIGH + (f + (low + (e * LN2_LOW + np.where(near, 0.0, lost))))
    return np.where(usual, value, np.where(x == np.inf, np.inf, np.nan))


def tanh(x: ArrayLike) -> Doubles:
    """Within 2e-16 of the true value (absolute: near 0 the last places are lost)."""
    x = _array(x)
    e = exp(2.0 * np.minimum(np.abs(x), 20.0))
    return np.copysign(1.0 - 2.0 / (e + 1.0), x)


def softplus(x: ArrayLike) -> Doubles:
    """ln(1 + e ** x)."""
    x = _array(x)
    return np.maximum(x, 0.0) + log1p(exp(-np.abs(x)))


def sinh(x: ArrayLike) -> Doubles:
    """Within 3 units in the last place of the greater of 1 and the true value (near 0 the last places are lost)."""
    x = _array(x)
    e = exp(np.abs(x))
    return np.copysign(0.5 * (e - 1.0 / e), x)


@_in_one_pass
def asinh(x: ArrayLike) -> Doubles:
    x = _array(x)
    a = np.abs(x)
    return np.copysign(log1p(a + a * a / (1.0 + np.sqrt(1.0 + a * a))), x)


def hypot(x: ArrayLike, y: ArrayLike) -> Doubles:
    """sqrt(x^2 + y^2); of numbers whose squares neither overflow nor vanish."""
    x, y = _array(x), _array(y)
    return np.sqrt(x * x + y * y)


def _sin_cos(r: Doubles) -> tuple[Doubles, Doubles]:
    """Of radians within pi / 4."""
    z = r * r
    sin = r + r * (_polynomial(SIN, z) * z)
    cos = 1.0 - (0.5 * z - _polynomial(COS, z) * (z * z))
    return sin, cos


def sin_cos(degrees: ArrayLike) -> tuple[Doubles, Doubles]:
    """Sine and cosine of degrees; exact at the multiples of 90. NaN of what is not finite."""
    x = _array(degrees)
    each = _pass("sin_cos")
    if each is None:
        return _sin_cos_in_numpy(x)
    sin, cos = np.empty(x.shape), np.empty(x.shape)
    each(x.ravel(), sin.reshape(-1), cos.reshape(-1))
    return sin, cos


def _sin_cos_in_numpy(x: Doubles) -> tuple[Doubles, Doubles]:
    finite = np.isfinite(x)
    x = np.where(finite, x, 0.0)
    turns = np.rint(x / 90.0)
    r = np.where(np.abs(turns) < 2.0**40, x - turns * 90.0, 0.0)  # exact: both are multiples of x's last place
    quarter = turns - 4.0 * np.floor(turns * 0.25)
    sin, cos = _sin_cos(r * RADIANS)
    odd = (quarter == 1.0) | (quarter == 3.0)
    s, c = np.where(odd, cos, sin), np.where(odd, sin, cos)
    s = np.where(quarter >= 2.0, -s, s)
    c = np.where((quarter == 1.0) | (quarter == 2.0), -c, c)
    return np.where(finite, s, np.nan), np.where(finite, c, np.nan)


def sin(degrees: ArrayLike) -> Doubles:
    return sin_cos(degrees)[0]


def cos(degrees: ArrayLike) -> Doubles:
    return sin_cos(degrees)[1]


@_in_one_pass
def atan2(y: ArrayLike, x: ArrayLike) -> Doubles:
    """Degrees in [-180, 180] of the direction (x, y) from the x axis, within 8 units in the last place."""
    y, x = np.broadcast_arrays(_array(y), _array(x))
    ay, ax = np.abs(y), np.abs(x)
    low, high = np.minimum(ay, ax), np.maximum(ay, ax)
    t = low / np.where(high == 0.0, 1.0, high)
    t = np.where((low == np.inf), 1.0, np.where(high == np.inf, 0.0, t))
    # Twice half the angle: tan(a / 2) = t / (1 + sqrt(1 + t^2)).
    for _ in range(2):
        t = t / (1.0 + np.sqrt(1.0 + t * t))
    z = t * t
    degrees = (t + t * (_polynomial(ATAN, z) * z)) * (4.0 * DEGREES)
    degrees = np.where(ay > ax, 90.0 - degrees, degrees)
    degrees = np.where(np.signbit(x), 180.0 - degrees, degrees)
    degrees = np.where((high == 0.0), np.where(np.signbit(x), 180.0, 0.0), degrees)
    return np.where(np.isnan(x) | np.isnan(y), np.nan, np.copysign(degrees, y))


def total(values: ArrayLike, axis: int = -1) -> Doubles:
    """Sum over an axis, half upon half: values[k] + values[k + half], until one is left. One order for any layout and batch."""
    a = np.array(np.moveaxis(_array(values), axis, 0), order="C")  # a copy whose rows are added as a whole
    n = len(a)
    if n == 0:
        return np.zeros(a.shape[1:])
    while n > 1:
        half = (n + 1) // 2
        a[: n - half] += a[half:n]
        n = half
    return np.array(a[0])


def mean(values: ArrayLike, axis: int = -1) -> Doubles:
    a = _array(values)
    found: Doubles = total(a, axis) / a.shape[axis]
    return found


# Inverse of the normal distribution: Newton's steps on the area under it, from a start by Hastings' rational function
# (Abramowitz and Stegun, 26.2.23: 4.5e-4).


def normal_quantile(p: ArrayLike) -> Doubles:
    """x with Phi(x) = p, 0 < p < 1; within 1e-13 for p in [2^-55, 1 - 2^-53]."""
    p = _array(p)
    tail = np.minimum(p, 1.0 - p)
    t = np.sqrt(-2.0 * log(tail))
    x = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
    for _ in range(4):
        density, area = _upper_tail(x)
        step = (area - tail) / density
        x = x + step / (1.0 - 0.5 * x * step)  # Halley: the density's slope is -x times itself
    return np.where(p < 0.5, -x, x)


def _upper_tail(x: Doubles) -> tuple[Doubles, Doubles]:
    """Density at x >= 0, and the area above it."""
    density = exp(-0.5 * x * x) / SQRT_2PI
    # Below 3 by the series of the area from 0 on, above by the continued fraction of Mills' ratio.
    near = np.minimum(x, 3.0)
    term = np.array(near)
    area = np.array(near)
    for k in range(1, 60):
        term = term * (near * near / (2.0 * k + 1.0))
        area = area + term
    by_series = 0.5 - exp(-0.5 * near * near) / SQRT_2PI * area
    far = np.maximum(x, 3.0)
    fraction = np.array(far)
    for k in range(120, 0, -1):
        fraction = far + k / fraction
    return density, np.where(x < 3.0, by_series, density / fraction)

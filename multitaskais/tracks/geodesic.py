"""The shortest way on the WGS84 ellipsoid between two positions, by Vincenty's formulae (Survey Review 23, 1975).

Within 1e-9 degree of GeographicLib for legs of up to some hundred kilometres, and the same bits on every machine, which PROJ's
sines do not promise. Element by element; so many rounds that legs of up to ``FAR_DEG`` have converged. Farther legs (no ship
sails one between two reports) are asked of PROJ and rounded to 1e-7 degree: that their last bits cross a boundary has a chance of
about 1e-6 each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod

from ..exact import functions, scalars
from ..exact.constants import DEGREES, RADIANS

GEOD = Geod(ellps="WGS84")
A_M, F = 6_378_137.0, 1.0 / 298.257223563
B_M = A_M * (1.0 - F)
SECOND_ECCENTRICITY_SQUARED = F * (2.0 - F) / ((1.0 - F) * (1.0 - F))
ROUNDS = 5  # each leaves about a 300th of the error
FAR_DEG = 90.0
ROUNDED_DEG, ROUNDED_M = 1e-7, 0.01
FEW = 24  # legs: so many are sooner computed one by one

_Floats = NDArray[np.float64]


class _Ops(NamedTuple):
    """The steps of the formulae, of arrays or of one float, with the same bits."""

    sin_cos: Callable[[Any], tuple[Any, Any]]
    atan2: Callable[[Any, Any], Any]
    sqrt: Callable[[Any], Any]
    select: Callable[[Any, Any, Any], Any]


_ARRAYS = _Ops(functions.sin_cos, functions.atan2, np.sqrt, np.where)
_FLOATS = _Ops(scalars.sin_cos, scalars.atan2, math.sqrt, lambda condition, a, b: a if condition else b)


def inverse(lat_a: _Floats, lon_a: _Floats, lat_b: _Floats, lon_b: _Floats) -> tuple[_Floats, _Floats]:
    """(azimuth at a in degrees [-180, 180], distance in metres) of (n,) legs; the azimuth of a leg of no length is 0 or 180."""
    azimuth, distance, sigma = _each(_inverse, lat_a, lon_a, lat_b, lon_b)
    far = np.flatnonzero((sigma > FAR_DEG * RADIANS) | (np.abs(_wrapped(lon_b - lon_a)) > 2.0 * FAR_DEG - 1.0))
    if len(far):
        far_azimuth, _, far_m = GEOD.inv(lon_a[far], lat_a[far], lon_b[far], lat_b[far])
        azimuth[far], distance[far] = _on(far_azimuth, ROUNDED_DEG), _on(far_m, ROUNDED_M)
    return azimuth, distance


def direct(lat: _Floats, lon: _Floats, azimuth: _Floats, distance: _Floats) -> tuple[_Floats, _Floats]:
    """(lat, lon) of (n,) places so many metres from a position, in the direction of an azimuth in degrees."""
    lat_2, dlon = _each(_direct, lat, azimuth, distance)
    lon_2 = _wrapped(lon + dlon)
    far = np.flatnonzero(distance > FAR_DEG * RADIANS * B_M)
    if len(far):
        far_lon, far_lat, _ = GEOD.fwd(lon[far], lat[far], azimuth[far], distance[far])
        lat_2[far], lon_2[far] = _on(far_lat, ROUNDED_DEG), _on(far_lon, ROUNDED_DEG)
    return lat_2, lon_2


def _each(formula: Callable[..., tuple[Any, ...]], *columns: _Floats) -> tuple[_Floats, ...]:
    if not 0 < len(columns[0]) <= FEW:
        return formula(_ARRAYS, *columns)
    rows = [formula(_FLOATS, *row) for row in zip(*(c.tolist() for c in columns), strict=True)]
    return tuple(np.array(column) for column in zip(*rows, strict=True))


def _inverse(ops: _Ops, lat_a: Any, lon_a: Any, lat_b: Any, lon_b: Any) -> tuple[Any, Any, Any]:
    """(azimuth, distance, angular distance in radians)."""
    sin_u1, cos_u1 = _reduced(ops, lat_a)
    sin_u2, cos_u2 = _reduced(ops, lat_b)
    dlon = lon_b - lon_a
    dlon = ops.select(dlon > 180.0, dlon - 360.0, ops.select(dlon < -180.0, dlon + 360.0, dlon))
    lam = dlon
    for _ in range(ROUNDS):
        sin_l, cos_l = ops.sin_cos(lam)
        east = cos_u2 * sin_l
        north = cos_u1 * sin_u2 - sin_u1 * cos_u2 * cos_l
        sin_s = ops.sqrt(east * east + north * north)
        cos_s = sin_u1 * sin_u2 + cos_u1 * cos_u2 * cos_l
        sigma = ops.atan2(sin_s, cos_s) * RADIANS
        sin_alpha = cos_u1 * east / ops.select(sin_s == 0.0, 1.0, sin_s)
        cos2_alpha = 1.0 - sin_alpha * sin_alpha
        equator = cos2_alpha <= 1e-15
        middle = ops.select(equator, 0.0, cos_s - 2.0 * sin_u1 * sin_u2 / ops.select(equator, 1.0, cos2_alpha))
        lam = dlon + _lag(sigma, sin_alpha, cos2_alpha, sin_s, cos_s, middle)
    scale, correction = _series(ops, cos2_alpha, sin_s, cos_s, middle)
    return ops.atan2(east, north), B_M * scale * (sigma - correction), sigma


def _direct(ops: _Ops, lat: Any, azimuth: Any, distance: Any) -> tuple[Any, Any]:
    """(latitude there, difference of longitude)."""
    sin_u1, cos_u1 = _reduced(ops, lat)
    sin_a1, cos_a1 = ops.sin_cos(azimuth)
    sigma_1 = ops.atan2(sin_u1, cos_u1 * cos_a1)
    sin_alpha = cos_u1 * sin_a1
    cos2_alpha = 1.0 - sin_alpha * sin_alpha
    scale, _ = _series(ops, cos2_alpha, 0.0, 0.0, 0.0)
    sigma = whole = distance / (B_M * scale)
    for _ in range(ROUNDS):
        sin_s, cos_s = ops.sin_cos(sigma * DEGREES)
        middle = ops.sin_cos(2.0 * sigma_1 + sigma * DEGREES)[1]
        sigma = whole + _series(ops, cos2_alpha, sin_s, cos_s, middle)[1]
    sin_s, cos_s = ops.sin_cos(sigma * DEGREES)
    middle = ops.sin_cos(2.0 * sigma_1 + sigma * DEGREES)[1]
    t = sin_u1 * sin_s - cos_u1 * cos_s * cos_a1
    north = sin_u1 * cos_s + cos_u1 * sin_s * cos_a1
    lat_2 = ops.atan2(north, (1.0 - F) * ops.sqrt(sin_alpha * sin_alpha + t * t))
    lam = ops.atan2(sin_s * sin_a1, cos_u1 * cos_s - sin_u1 * sin_s * cos_a1)
    return lat_2, lam - _lag(sigma, sin_alpha, cos2_alpha, sin_s, cos_s, middle)


def _reduced(ops: _Ops, lat: Any) -> tuple[Any, Any]:
    """Sine and cosine of the reduced latitude."""
    s, c = ops.sin_cos(lat)
    s = (1.0 - F) * s
    r = ops.sqrt(s * s + c * c)
    return s / r, c / r


def _lag(sigma: Any, sin_alpha: Any, cos2_alpha: Any, sin_s: Any, cos_s: Any, middle: Any) -> Any:
    """Degrees by which the longitude on the auxiliary sphere is ahead."""
    c = F / 16.0 * cos2_alpha * (4.0 + F * (4.0 - 3.0 * cos2_alpha))
    bend = sigma + c * sin_s * (middle + c * cos_s * (2.0 * middle * middle - 1.0))
    return (1.0 - c) * F * sin_alpha * bend * DEGREES


def _series(ops: _Ops, cos2_alpha: Any, sin_s: Any, cos_s: Any, middle: Any) -> tuple[Any, Any]:
    """Vincenty's A, and the difference of the angular distances, with Helmert's k1 (Vincenty 1976)."""
    root = ops.sqrt(1.0 + cos2_alpha * SECOND_ECCENTRICITY_SQUARED)
    k = (root - 1.0) / (root + 1.0)
    a = (1.0 + 0.25 * k * k) / (1.0 - k)
    b = k * (1.0 - 0.375 * k * k)
    m2 = 2.0 * middle * middle - 1.0
    third = b / 6.0 * middle * (4.0 * sin_s * sin_s - 3.0) * (4.0 * middle * middle - 3.0)
    return a, b * sin_s * (middle + 0.25 * b * (cos_s * m2 - third))


def _wrapped(degrees: _Floats) -> _Floats:
    """Into [-180, 180]."""
    return np.where(degrees > 180.0, degrees - 360.0, np.where(degrees < -180.0, degrees + 360.0, degrees))


def _on(x: _Floats, unit: float) -> _Floats:
    return np.rint(x / unit) * unit

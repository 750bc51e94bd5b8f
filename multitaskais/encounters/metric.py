"""Distances on a local flat chart by +, -, *, / and the square root alone.

An alert rests on these numbers, so they must have the same bits on any processor. IEEE 754 promises that of these five operations
and of no sine: the cosine of the latitude is a polynomial here, of one float or an array alike. (``exact.cos`` takes any angle to the last
place, at five times the cost; within [-90, 90] degrees of latitude this one is as good for a distance.)
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..units import M_PER_DEG_CM

_RAD_PER_DEG = 0.017453292519943295

_Number = TypeVar("_Number", float, NDArray[np.float64])


def cos_latitude(lat: _Number) -> _Number:
    """Cosine of a latitude in [-90, 90] deg: its Taylor polynomial of degree 16 (error below 1e-11), and at least 1e-3, so that a division by it is safe at the poles."""
    x = lat * _RAD_PER_DEG
    y = x * x
    c = 1.0 - y / 240.0 * (1.0 - y / 306.0)  # terms 14 to 18 of the series, nested from the highest
    c = 1.0 - y / 182.0 * c
    c = 1.0 - y / 132.0 * c
    c = 1.0 - y / 90.0 * c
    c = 1.0 - y / 56.0 * c
    c = 1.0 - y / 30.0 * c
    c = 1.0 - y / 12.0 * c
    c = 1.0 - y / 2.0 * c
    if isinstance(c, np.ndarray):
        return np.maximum(c, 1e-3)
    return max(c, 1e-3)


def east_degrees(from_lon: _Number, to_lon: _Number) -> _Number:
    """Difference of two longitudes in [-180, 180] deg the short way round; positive to the east."""
    d = to_lon - from_lon
    short: _Number = d - 360.0 * (d > 180.0) + 360.0 * (d < -180.0)
    return short


def distance_m(lat1: _Number, lon1: _Number, lat2: _Number, lon2: _Number) -> _Number:
    """Metres between points in degrees, on a flat chart at their middle latitude: right to 0.1 % up to 100 km outside the polar seas."""
    east = east_degrees(lon1, lon2) * cos_latitude((lat1 + lat2) * 0.5)
    north = lat2 - lat1
    square = east * east + north * north
    if isinstance(square, np.ndarray):
        return np.sqrt(square) * M_PER_DEG_CM
    return float(np.sqrt(square)) * M_PER_DEG_CM

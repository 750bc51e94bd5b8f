"""Distances and directions of the track rules: on the sphere, scalar and vectorised.

Positions of samples lie on the WGS84 geodesic (``resample.py``). A rule that asks "faster than 30 kn?" does not need the
ellipsoid (it differs by up to 0.5 %), but it needs speed: the scalar forms run once a report.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..exact import functions, scalars
from ..units import M_PER_DEG

# Sine and cosine by linear interpolation in a table of 0.1 deg (the unit of AIS courses): error below 4e-7. Only sums and
# products of table values enter, so the forms below and the scalar one in `sampler` agree to the last bit.
TABLE_PER_DEG = 10.0
_SIN_ARRAY, _COS_ARRAY = functions.sin_cos(np.arange(3602) / TABLE_PER_DEG)
SIN_TABLE: tuple[float, ...] = tuple(_SIN_ARRAY.tolist())
COS_TABLE: tuple[float, ...] = tuple(_COS_ARRAY.tolist())
_SIN_STEP = np.append(np.diff(_SIN_ARRAY), 0.0)  # to the next entry
_COS_STEP = np.append(np.diff(_COS_ARRAY), 0.0)


def velocities(sog: NDArray[np.float64], cog: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(east, north) of speeds and courses in [0, 360) deg, in the unit of the speed; a missing course gives the velocity of course 0."""
    known = (cog >= 0.0) & (cog < 360.0)
    x = (cog if known.all() else np.where(known, cog, 0.0)) * TABLE_PER_DEG
    i = x.astype(np.int64)
    x -= i
    return sog * _between_entries(_SIN_ARRAY, _SIN_STEP, i, x), sog * _between_entries(_COS_ARRAY, _COS_STEP, i, x)


def _between_entries(
    table: NDArray[np.float64], step: NDArray[np.float64], i: NDArray[np.int64], f: NDArray[np.float64]
) -> NDArray[np.float64]:
    value = step.take(i, mode="clip")
    value *= f
    value += table.take(i, mode="clip")
    return value


def cos_lats(lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine of latitudes in [-90, 90] deg."""
    x = np.abs(lat) * TABLE_PER_DEG
    i = x.astype(np.int64)
    x -= i
    return _between_entries(_COS_ARRAY, _COS_STEP, i, x)


def great_circle_m(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Haversine distance in metres."""
    north, east = scalars.sin(0.5 * (lat2 - lat1)), scalars.sin(0.5 * (lon2 - lon1))
    h = min(1.0, north * north + scalars.cos(lat1) * scalars.cos(lat2) * (east * east))
    return 2.0 * M_PER_DEG * scalars.atan2(math.sqrt(h), math.sqrt(1.0 - h))


def great_circles_m(
    lat1: NDArray[np.float64], lon1: NDArray[np.float64], lat2: NDArray[np.float64], lon2: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``great_circle_m`` of many, with the same bits."""
    north, east = functions.sin(0.5 * (lat2 - lat1)), functions.sin(0.5 * (lon2 - lon1))
    h = np.minimum(1.0, north * north + functions.cos(lat1) * functions.cos(lat2) * (east * east))
    return 2.0 * M_PER_DEG * functions.atan2(np.sqrt(h), np.sqrt(1.0 - h))


def flat_m(
    lat1: NDArray[np.float64], lon1: NDArray[np.float64], lat2: NDArray[np.float64], lon2: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance in metres on a flat chart at the middle latitude; for tens of kilometres. The bits do not depend on the batch."""
    dlon = (lon2 - lon1 + 180.0) % 360.0 - 180.0
    east = dlon * cos_lats((lat1 + lat2) * 0.5)
    north = lat2 - lat1
    return np.sqrt(east * east + north * north) * M_PER_DEG

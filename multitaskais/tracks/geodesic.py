"""The shortest way on the WGS84 ellipsoid between two positions, by Vincenty's formulae (Survey Review 23, 1975).

Within 1e-9 degree of GeographicLib for legs of up to some hundred kilometres, and the same bits on every machine, which PROJ's
sines do not promise. Element by element; so many rounds that legs of up to ``FAR_DEG`` have converged. Farther legs (no ship
sails one between two reports) are asked of PROJ and rounded to 1e-7 degree: that their last bits cross a boundary has a chance of
about 1e-6 each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod

from ..exact import functions
from ..exact.constants import DEGREES, RADIANS

GEOD = Geod(ellps="WGS84")
A_M, F = 6_378_137.0, 1.0 / 298.257223563
B_M = A_M * (1.0 - F)
SECOND_ECCENTRICITY_SQUARED = F * (2.0 - F) / ((1.0 - F) * (1.0 - F))
ROUNDS = 8  # each leaves about a 300th of the error
FAR_DEG = 90.0
ROUNDED_DEG, ROUNDED_M = 1e-7, 0.01

_Floats = NDArray[np.float64]


def inverse(lat_a: _Floats, lon_a: _Floats, lat_b: _Floats, lon_b: _Floats) -> tuple[_Floats, _Floats]:
    """(azimuth at a in degrees [-180, 180], distance in metres) of (n,) legs; the azimuth of a leg of no length is 0 or 180."""
    sin_u1, cos_u1 = _reduced(lat_a)
    sin_u2, cos_u2 = _reduced(lat_b)
    dlon = _wrapped(lon_b - lon_a)
    lam = dlon
    for _ in range(ROUNDS):
        sin_l, cos_l = functions.sin_cos(lam)
        east = cos_u2 * sin_l
        north = cos_u1 * sin_u2 - sin_u1 * cos_u2 * cos_l
        sin_s = np.sqrt(east * east + north * north)
        cos_s = sin_u1 * sin_u2 + cos_u1 * cos_u2 * cos_l
        sigma = functions.atan2(sin_s, cos_s) * RADIANS
        sin_alpha = cos_u1 * east / np.where(sin_s == 0.0, 1.0, sin_s)
        cos2_alpha = 1.0 - sin_alpha * sin_alpha
        middle = cos_s - 2.0 * sin_u1 * sin_u2 / np.where(cos2_alpha <= 0.0, 1.0, cos2_alpha)
        middle = np.where(cos2_alpha <= 1e-15, 0.0, middle)  # along the equator
        c = F / 16.0 * cos2_alpha * (4.0 + F * (4.0 - 3.0 * cos2_alpha))
        bend = sigma + c * sin_s * (middle + c * cos_s * (2.0 * middle * middle - 1.0))
        lam = dlon + (1.0 - c) * F * sin_alpha * bend * DEGREES
    scale, correction = _series(cos2_alpha, sin_s, cos_s, middle)
    distance = B_M * scale * (sigma - correction)
    azimuth = functions.atan2(east, north)
    far = np.flatnonzero((sigma > FAR_DEG * RADIANS) | (np.abs(dlon) > 2.0 * FAR_DEG - 1.0))
    if len(far):
        far_azimuth, _, far_m = GEOD.inv(lon_a[far], lat_a[far], lon_b[far], lat_b[far])
        azimuth[far], distance[far] = _on(far_azimuth, ROUNDED_DEG), _on(far_m, ROUNDED_M)
    return azimuth, distance


def direct(lat: _Floats, lon: _Floats, azimuth: _Floats, distance: _Floats) -> tuple[_Floats, _Floats]:
    """(lat, lon) of (n,) places so many metres from a position, in the direction of an azimuth in degrees."""
    sin_u1, cos_u1 = _reduced(lat)
    sin_a1, cos_a1 = functions.sin_cos(azimuth)
    sigma_1 = functions.atan2(sin_u1, cos_u1 * cos_a1)
    sin_alpha = cos_u1 * sin_a1
    cos2_alpha = 1.0 - sin_alpha * sin_alpha
    scale, _ = _series(cos2_alpha, 0.0 * lat, 0.0 * lat, 0.0 * lat)
    whole = distance / (B_M * scale)
    sigma = whole
    for _ in range(ROUNDS):
        sin_s, cos_s = functions.sin_cos(sigma * DEGREES)
        middle = functions.cos(2.0 * sigma_1 + sigma * DEGREES)
        sigma = whole + _series(cos2_alpha, sin_s, cos_s, middle)[1]
    sin_s, cos_s = functions.sin_cos(sigma * DEGREES)
    middle = functions.cos(2.0 * sigma_1 + sigma * DEGREES)
    t = sin_u1 * sin_s - cos_u1 * cos_s * cos_a1
    lat_2 = functions.atan2(
        sin_u1 * cos_s + cos_u1 * sin_s * cos_a1, (1.0 - F) * np.sqrt(sin_alpha * sin_alpha + t * t)
    )
    lam = functions.atan2(sin_s * sin_a1, cos_u1 * cos_s - sin_u1 * sin_s * cos_a1)
    c = F / 16.0 * cos2_alpha * (4.0 + F * (4.0 - 3.0 * cos2_alpha))
    bend = sigma + c * sin_s * (middle + c * cos_s * (2.0 * middle * middle - 1.0))
    dlon = lam - (1.0 - c) * F * sin_alpha * bend * DEGREES
    lat_2, lon_2 = np.array(lat_2), _wrapped(lon + dlon)
    far = np.flatnonzero(distance > FAR_DEG * RADIANS * B_M)
    if len(far):
        far_lon, far_lat, _ = GEOD.fwd(lon[far], lat[far], azimuth[far], distance[far])
        lat_2[far], lon_2[far] = _on(far_lat, ROUNDED_DEG), _on(far_lon, ROUNDED_DEG)
    return lat_2, lon_2


def _reduced(lat: _Floats) -> tuple[_Floats, _Floats]:
    """Sine and cosine of the reduced latitude."""
    s, c = functions.sin_cos(lat)
    s = (1.0 - F) * s
    r = np.sqrt(s * s + c * c)
    return s / r, c / r


def _series(cos2_alpha: _Floats, sin_s: _Floats, cos_s: _Floats, middle: _Floats) -> tuple[_Floats, _Floats]:
    """Vincenty's A, and the difference of the angular distances, with Helmert's k1 (Vincenty 1976)."""
    root = np.sqrt(1.0 + cos2_alpha * SECOND_ECCENTRICITY_SQUARED)
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

"""Where ships go off western Brittany: lanes, ferries, fishing grounds, ports.

Drawn by hand after the traffic separation scheme off Ushant (NE-bound lane on the land side, SW-bound lane offshore), the
Chenal du Four and Raz de Sein passages, the approach of Brest, and the ferry lines of the area. A caricature: right in
its shape, not a chart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..units import M_PER_DEG

LAT0, LON0 = 48.5, -5.5  # origin of the plane in which ships are moved

Complex = NDArray[np.complex128]


def to_plane(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> Complex:
    """Degrees -> metres east + i metres north of the origin (equirectangular: 2 % off in east at the box's edges)."""
    z: Complex = (lon - LON0) * M_PER_DEG * np.cos(np.radians(LAT0)) + 1j * (lat - LAT0) * M_PER_DEG
    return z


def to_degrees(z: Complex) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The way back: lat, lon in degrees."""
    return LAT0 + z.imag / M_PER_DEG, LON0 + z.real / (M_PER_DEG * np.cos(np.radians(LAT0)))


@dataclass(frozen=True)
class Route:
    """A polyline; ``points`` are (lat, lon, sigma): how far from the line ships keep there, metres (one sigma)."""

    name: str
    points: tuple[tuple[float, float, float], ...]
    weight: float  # share of the traffic
    classes: tuple[str, ...]
    two_way: bool = False
    open_sea: bool = False  # abnormal ships are made here: room on both sides

    @property
    def line(self) -> Complex:
        p = np.array(self.points)
        return to_plane(p[:, 0], p[:, 1])

    @property
    def sigma(self) -> NDArray[np.float64]:
        return np.array(self.points)[:, 2]


_MERCHANT = ("cargo", "cargo", "cargo", "tanker", "tanker", "fast_cargo", "fast_cargo")
_COASTER = ("coaster", "coaster", "coaster", "tanker", "tug")
_GOULET = ((48.340, -4.65, 200.0), (48.3545, -4.552, 90.0), (48.345, -4.500, 90.0))

ROUTES = (
    Route(
        "ushant_ne",
        ((47.40, -6.62, 2500), (48.30, -5.98, 1300), (48.45, -5.88, 700), (48.80, -5.55, 700), (49.00, -5.25, 1100), (49.60, -4.08, 2000)),
        15, _MERCHANT, open_sea=True,
    ),
    Route(
        "ushant_sw",
        ((49.60, -4.68, 2000), (49.15, -5.45, 1100), (48.93, -5.80, 700), (48.58, -6.15, 700), (48.42, -6.28, 1300), (47.40, -6.90, 2000)),
        15, _MERCHANT, open_sea=True,
    ),
    Route(
        "biscay_n",
        ((47.40, -5.28, 2000), (48.25, -5.76, 1200), (48.45, -5.88, 700), (48.80, -5.55, 700), (49.00, -5.25, 1100), (49.60, -4.08, 2000)),
        9, _MERCHANT, open_sea=True,
    ),
    Route(
        "biscay_s",
        ((49.60, -4.68, 2000), (49.15, -5.45, 1100), (48.93, -5.80, 700), (48.58, -6.15, 700), (48.35, -6.15, 1200), (47.40, -5.70, 2000)),
        9, _MERCHANT, open_sea=True,
    ),
    Route("atlantic_e", ((48.98, -7.10, 1800), (49.20, -6.30, 1500), (49.60, -5.25, 1600)), 5, _MERCHANT),
    Route("atlantic_w", ((49.60, -5.60, 1600), (49.38, -6.30, 1500), (49.24, -7.10, 1800)), 5, _MERCHANT),
    Route(
        "brest_sw", ((47.40, -5.95, 2500), (48.10, -5.40, 1500), (48.28, -5.00, 800), (48.325, -4.80, 450), *_GOULET), 7, _COASTER, two_way=True,
    ),
    Route(
        "brest_n",
        ((49.60, -4.50, 2000), (48.98, -5.00, 1500), (48.62, -5.28, 800), (48.42, -5.28, 600), (48.29, -5.00, 700), (48.325, -4.80, 450), *_GOULET),
        5, _COASTER, two_way=True,
    ),
    Route(
        "coast",
        ((47.40, -4.76, 1500), (47.85, -4.74, 700), (48.035, -4.80, 200), (48.18, -4.80, 500), (48.34, -4.86, 250), (48.45, -4.87, 220), (48.58, -4.86, 350),
         (48.73, -4.62, 600), (48.81, -4.20, 900), (48.83, -3.90, 1000)),
        8, _COASTER, two_way=True,
    ),
    Route("santander", ((47.40, -5.02, 800), (48.30, -5.45, 600), (48.60, -5.45, 600), (49.60, -4.36, 900)), 2.5, ("ferry",), two_way=True),
)  # fmt: skip

# Lines that turn round: (points there, minutes of stay); the way back is the same line.
FERRY_LINES = (
    Route("cork", ((49.60, -5.28, 700), (48.95, -4.20, 400), (48.765, -4.02, 100)), 2, ("ferry",), two_way=True),
    Route("ouessant", ((48.345, -4.500, 60), (48.3545, -4.552, 80), (48.340, -4.65, 150), (48.335, -4.82, 200), (48.41, -4.96, 200), (48.470, -5.020, 80)), 2, ("island_ferry",), two_way=True),
)  # fmt: skip

PLEASURE_TRIPS = (
    Route("camaret_four", ((48.302, -4.61, 60), (48.33, -4.80, 500), (48.45, -4.86, 250), (48.58, -4.87, 400), (48.645, -4.66, 150)), 2, ("pleasure",), two_way=True),
    Route("brest_douarnenez", ((48.345, -4.500, 60), (48.3545, -4.552, 90), (48.33, -4.68, 250), (48.22, -4.70, 500), (48.14, -4.60, 500), (48.135, -4.36, 250)), 2, ("pleasure",), two_way=True),
    Route("audierne_raz", ((47.975, -4.56, 100), (47.96, -4.72, 400), (48.035, -4.80, 200), (48.18, -4.80, 500), (48.30, -4.72, 400), (48.302, -4.61, 60)), 2, ("pleasure",), two_way=True),
    Route("roscoff_aber", ((48.765, -4.03, 100), (48.80, -4.20, 500), (48.72, -4.60, 500), (48.645, -4.66, 150)), 2, ("pleasure",), two_way=True),
    Route("audierne_guilvinec", ((47.975, -4.56, 100), (47.85, -4.55, 600), (47.74, -4.38, 300), (47.765, -4.28, 100)), 1, ("pleasure",), two_way=True),
)  # fmt: skip


@dataclass(frozen=True)
class Ground:
    """A fishing ground and the ways to it: each way runs from a port over sea marks to the ground."""

    name: str
    lat: float
    lon: float
    radius_m: float
    bearing_deg: float  # along which trawls are drawn (depth contours)
    ways: tuple[tuple[tuple[float, float], ...], ...]
    weight: float


_GUILVINEC = ((47.765, -4.30), (47.70, -4.42))
_AUDIERNE = ((47.975, -4.56), (47.92, -4.72))
_DOUARNENEZ = ((48.135, -4.36), (48.14, -4.60), (48.09, -4.88), (48.05, -5.05))
_CONQUET = ((48.355, -4.82), (48.33, -4.95))
_ROSCOFF = ((48.765, -4.03), (48.82, -4.12))

GROUNDS = (
    Ground("iroise_south", 47.86, -5.12, 11_000, 320.0, (_GUILVINEC, _AUDIERNE, _DOUARNENEZ), 4),
    Ground("parc", 48.05, -5.75, 9_000, 330.0, (_AUDIERNE, _DOUARNENEZ, _CONQUET), 3),
    Ground("penmarch", 47.66, -4.58, 8_000, 300.0, (_GUILVINEC, _AUDIERNE), 4),
    Ground("batz", 48.97, -4.45, 8_000, 75.0, (_ROSCOFF,), 3),
    Ground("shelf", 48.62, -6.72, 12_000, 325.0, (), 2),  # large trawlers that stay out for days
)

BERTHS = ((48.372, -4.478), (48.376, -4.488), (48.370, -4.470))  # moored in Brest
ANCHORAGES = ((48.325, -4.490), (48.315, -4.500), (48.190, -4.400), (48.160, -4.340), (48.305, -4.680))
STATIONS = ((48.46, -5.05), (48.06, -4.70), (48.70, -4.10), (47.80, -4.37))  # shore receivers

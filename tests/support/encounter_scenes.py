"""Ships that meet, fall silent and enter zones: small scenes with known truth, and patterns to judge them by."""

from __future__ import annotations

from typing import Any

import numpy as np

from multitaskais.encounters.coverage import LEVELS_PER_DEG, SPANS_S, Coverage, grid_key
from multitaskais.encounters.patterns import Patterns
from multitaskais.encounters.stops import StoppingPlaces, cell_key
from multitaskais.types import Reports

from .builders import T0, merged, sail

TANKER, CARGO, TUG, PILOT = 80, 70, 52, 50


def good_coverage(
    lat_min: float = 47.0, lat_max: float = 49.0, lon_min: float = -7.0, lon_max: float = -4.0
) -> Coverage:
    """A water in which no ship was ever silent for long."""
    keys, hours, longer = [], [], []
    for per_deg in LEVELS_PER_DEG:
        lat, lon = np.meshgrid(
            np.arange(lat_min, lat_max, 1 / per_deg) + 0.5 / per_deg,
            np.arange(lon_min, lon_max, 1 / per_deg) + 0.5 / per_deg,
        )
        cells = np.unique(grid_key(per_deg, lat.ravel(), lon.ravel()))
        keys.append(cells)
        hours.append(np.full(len(cells), 1000.0 / per_deg))
        longer.append(np.zeros((len(cells), len(SPANS_S)), np.int64))
    return Coverage(tuple(keys), tuple(hours), tuple(longer), 0.01)


def patterns(stops: tuple[tuple[float, float], ...] = (), days: float = 30.0) -> Patterns:
    """A water known for 30 days: good coverage, few stopping places, no meeting ever seen."""
    keys = np.sort(cell_key(np.array([s[0] for s in stops], float), np.array([s[1] for s in stops], float)))
    places = StoppingPlaces(keys, np.full(len(keys), 5, np.int32), days)
    return Patterns(places, good_coverage(), vessel_days=3000.0, days=days)


def voyage(
    legs: list[tuple[float, float, float]], *, every_s: float = 60.0, lat: float, lon: float, t: float = T0, **ship: Any
) -> Reports:
    """Legs of (hours, knots, course) one after another from a place."""
    parts = []
    for hours, knots, course in legs:
        n = max(2, int(hours * 3600 / every_s) + 1)
        part = sail(n, every_s, t=t, lat=lat, lon=lon, sog=knots, cog=course, **ship)
        t, lat, lon = (float(part[name][-1]) for name in ("t", "lat", "lon"))
        parts.append(part[:-1])
    return np.concatenate(parts)


def rendezvous(
    a: int = 227000001,
    b: int = 227000002,
    *,
    lat: float = 48.0,
    lon: float = -5.5,
    lie_h: float = 1.5,
    types: tuple[int, int] = (TANKER, TANKER),
    t: float = T0,
    apart_deg: float = 0.001,
) -> Reports:
    """Two ships come from north and south, lie side by side (100 m) and leave."""
    reach = 2.0 * 10 * 1852 / 111_195.0
    one = voyage(
        [(2, 10, 180), (lie_h, 0.2, 90), (1, 10, 0)],
        lat=lat + reach,
        lon=lon,
        mmsi=a,
        ship_type=types[0],
        ship_name=b"ALPHA",
        t=t,
    )
    two = voyage(
        [(2, 10, 0), (lie_h, 0.2, 90), (1, 10, 180)],
        lat=lat - reach - apart_deg,
        lon=lon,
        mmsi=b,
        ship_type=types[1],
        ship_name=b"BRAVO",
        t=t,
    )
    return merged(one, two)


def bystanders(
    n: int = 4, hours: float = 12.0, first: int = 227000101, lat: float = 48.3, lon: float = -5.8, t: float = T0
) -> Reports:
    """Ships that are heard all the time, kilometres apart."""
    return merged(
        *(
            sail(int(hours * 60), 60.0, mmsi=first + i, lat=lat, lon=lon + 0.05 * i, sog=2.5, cog=90.0 * i, t=t)
            for i in range(n)
        )
    )

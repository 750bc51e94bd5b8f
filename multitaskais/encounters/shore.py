"""How far from land: the distance to the outline of ``data.coastline``, on the same flat chart as all other distances here.

The outline is a picture of the land (1:10 million at best), so the result is good to about a kilometre, and told so.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..config import REGIONS, Region
from ..data.coastline import coastline, on_land
from ..units import M_PER_DEG_CM
from .metric import cos_latitude, east_degrees

FAR_DEG = 5.0  # shore further away than this in latitude or longitude is not measured


@lru_cache(8)
def _segments(region: Region) -> NDArray[np.float64]:
    """(n, 4) lon, lat of both ends of all edges of the outline."""
    rings = coastline(region) or coastline(REGIONS["global"])
    return np.concatenate([np.hstack([r[:-1], r[1:]]) for r in rings]) if rings else np.zeros((0, 4))


def distance_from_shore_m(lat: float, lon: float, region: Region | None = None) -> float:
    """Metres from a point (degrees) to the nearest shore; inf when it is further than about 5 degrees."""
    edges = _segments(region or REGIONS["global"])
    near = (np.minimum(edges[:, 1], edges[:, 3]) <= lat + FAR_DEG) & (
        np.maximum(edges[:, 1], edges[:, 3]) >= lat - FAR_DEG
    )
    edges = edges[near]
    here = np.full(len(edges), lon)
    scale = cos_latitude(lat)
    x1, x2 = east_degrees(here, edges[:, 0]) * scale, east_degrees(here, edges[:, 2]) * scale
    y1, y2 = edges[:, 1] - lat, edges[:, 3] - lat
    use = (np.minimum(np.abs(x1), np.abs(x2)) <= FAR_DEG) & (np.abs(x2 - x1) < 90.0)
    x1, x2, y1, y2 = x1[use], x2[use], y1[use], y2[use]
    if not len(x1):
        return float("inf")
    dx, dy = x2 - x1, y2 - y1
    square = dx * dx + dy * dy
    along = np.where(square > 0.0, -(x1 * dx + y1 * dy) / np.where(square > 0.0, square, 1.0), 0.0)
    along = np.minimum(np.maximum(along, 0.0), 1.0)
    x, y = x1 + along * dx, y1 + along * dy
    return float(np.sqrt((x * x + y * y).min())) * M_PER_DEG_CM


def is_offshore(lat: float, lon: float, least_m: float, region: Region | None = None) -> bool:
    """Whether a point lies at sea, so far from shore at least; not on a river or a lake, which the outline counts as land."""
    region = region or REGIONS["global"]
    return distance_from_shore_m(lat, lon, region) >= least_m and not bool(on_land(lat, lon, region)[0])

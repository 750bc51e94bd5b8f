"""Coastlines for pictures and for "is this at sea?", from Natural Earth 4.1.0 (public domain).

``coastline.npz`` was made by ``benchmarks/build_coastline.py``: the world at 1:50 million, the boxes of the region presets with a
margin of 1 degree at 1:10 million. It is a picture of the land, not a chart: nothing for navigation.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..config import Region

COASTLINE_FILE = Path(__file__).with_name("coastline.npz")
QUANTUM_DEG = 1e-4  # 11 m: finer than the 1:10 million outline is true
FINE_MARGIN_DEG = 1.0  # the fine outlines reach so far beyond their region's box

Ring = NDArray[np.float64]


@cache
def _stored(name: str) -> tuple[Ring, ...]:
    with np.load(COASTLINE_FILE) as file:
        if f"{name}_steps" not in file:
            return ()
        steps, lengths = file[f"{name}_steps"], file[f"{name}_lengths"]
    ends = np.cumsum(lengths)[:-1]
    return tuple(np.cumsum(part, axis=0) * QUANTUM_DEG for part in np.split(steps, ends))


def coastline(region: Region) -> list[Ring]:
    """Land in and around a region: closed rings, each (n, 2) of lon, lat in degrees.

    Rings follow the even-odd rule (a ring inside another is a lake). A preset, or a box inside one, gets the fine outline, any
    other box the world's; of the world's, the rings that touch the box with its margin. Fine rings are cut at the
    margin, so some of their edges are edges of that box, not coast.
    """
    rings: tuple[Ring, ...] = ()
    for preset, box in _fine_boxes().items():
        if (
            box[0] <= region.lon_min
            and box[1] <= region.lat_min
            and box[2] >= region.lon_max
            and box[3] >= region.lat_max
        ):
            rings = _stored(preset)
            break
    rings = rings or _stored("world")
    lon, lat = FINE_MARGIN_DEG, FINE_MARGIN_DEG
    return [
        r
        for r in rings
        if r[:, 0].max() >= region.lon_min - lon
        and r[:, 0].min() <= region.lon_max + lon
        and r[:, 1].max() >= region.lat_min - lat
        and r[:, 1].min() <= region.lat_max + lat
    ]


@cache
def _fine_boxes() -> dict[str, tuple[float, float, float, float]]:
    from ..config import REGIONS

    m = FINE_MARGIN_DEG
    return {
        r.name: (r.lon_min - m, r.lat_min - m, r.lon_max + m, r.lat_max + m)
        for r in REGIONS.values()
        if _stored(r.name)
    }


def on_land(lat: ArrayLike, lon: ArrayLike, region: Region) -> NDArray[np.bool_]:
    """(n,) True where a point lies on land of ``coastline(region)`` (even-odd rule)."""
    y, x = np.atleast_1d(np.asarray(lat, float)), np.atleast_1d(np.asarray(lon, float))
    odd = np.zeros(x.shape, bool)
    for ring in coastline(region):
        box = (
            (x >= ring[:, 0].min()) & (x <= ring[:, 0].max()) & (y >= ring[:, 1].min()) & (y <= ring[:, 1].max())
        )  # fmt: skip
        if not box.any():
            continue
        px, py = x[box, None], y[box, None]
        x1, y1, x2, y2 = ring[:-1, 0], ring[:-1, 1], ring[1:, 0], ring[1:, 1]
        crosses = (y1 > py) != (y2 > py)
        with np.errstate(divide="ignore", invalid="ignore"):
            left = px < (x2 - x1) * (py - y1) / (y2 - y1) + x1
        odd[box] ^= (np.count_nonzero(crosses & left, axis=1) % 2).astype(bool)
    return odd

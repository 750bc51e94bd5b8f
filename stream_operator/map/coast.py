"""The coastline of the package as JSON for the page: the world, and finer land in the boxes of the region presets."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from multitaskais.config import REGIONS
from multitaskais.data.coastline import FINE_MARGIN_DEG, coastline

FINE_PER_DEG = 10_000  # 11 m, as stored
WORLD_PER_DEG = 1_000  # 110 m: finer than the outline at 1:50 million is true


def coast() -> bytes:
    """``[{per_deg, box: [lon_min, lat_min, lon_max, lat_max] or null, rings: [[lon, lat, dlon, dlat, ...], ...]}, ...]``, the world first.

    Rings are closed, in units of 1/per_deg degrees, the first point absolute and each next one as the difference to the one
    before. Where a box is given its rings are meant instead of the world's.
    """
    layers = [_layer(coastline(REGIONS["global"]), WORLD_PER_DEG, None)]
    for region in REGIONS.values():
        if region.name == "global":
            continue
        m = FINE_MARGIN_DEG
        box = [region.lon_min - m, region.lat_min - m, region.lon_max + m, region.lat_max + m]
        layers.append(_layer(coastline(region), FINE_PER_DEG, box))
    return orjson.dumps(layers)


def _layer(rings: list[NDArray[np.float64]], per_deg: int, box: list[float] | None) -> dict[str, Any]:
    return {"per_deg": per_deg, "box": box, "rings": [_steps(r, per_deg) for r in rings]}


def _steps(ring: NDArray[np.float64], per_deg: int) -> list[int]:
    points = np.round(ring * per_deg).astype(np.int64)
    moved = np.concatenate([[True], (np.diff(points, axis=0) != 0).any(axis=1)])
    steps = points[moved]
    steps[1:] -= steps[:-1].copy()
    flat: list[int] = steps.ravel().tolist()
    return flat

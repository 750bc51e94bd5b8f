"""Four-hot vector of a sample: one bin each of lat, lon, SOG, COG. docs/method.md#four-hot-vector.

What is kept is four indices, since a matrix times a four-hot is a sum of four columns; ``dense`` is for oracles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..config import Region
from ..types import Samples

MISSING = -1


def sizes(region: Region) -> tuple[int, int, int, int]:
    """Number of bins of lat, lon, sog, cog."""
    return region.n_lat, region.n_lon, region.n_sog, region.n_cog


def offsets(region: Region) -> NDArray[np.int64]:
    """(4,) where each block begins in the vector of length ``region.dim``."""
    return np.concatenate([[0], np.cumsum(sizes(region))[:-1]])


def bins(samples: Samples, region: Region) -> NDArray[np.int16]:
    """(n, 4) bin of lat, lon, sog, cog within its own block (add ``offsets`` for the vector's index); -1 = missing block.

    Values beyond the box, or above the greatest speed, fall into the outermost bin; samples of a region's tracks are never beyond it.
    """
    out = np.empty((len(samples), 4), np.int16)
    spans = (
        ("lat", region.lat_min, region.lat_max - region.lat_min, region.n_lat),
        ("lon", region.lon_min, region.lon_max - region.lon_min, region.n_lon),
        ("sog", 0.0, region.sog_max_knots, region.n_sog),
        ("cog", 0.0, 360.0, region.n_cog),
    )
    for block, (name, low, span, n) in enumerate(spans):
        x = samples[name]
        there = np.isfinite(x)
        # Clipped after the product: x = 1, and what rounds to it, stays in the last bin.
        index = np.clip(np.floor((np.where(there, x, low) - low) / span * n), 0, n - 1)
        out[:, block] = np.where(there, index, MISSING)
    return out


def dense(indices: NDArray[np.int16], region: Region) -> NDArray[np.float32]:
    """(n, 4) bins -> (n, D) zeros and ones; a missing block is all zero."""
    vector = np.zeros((len(indices), region.dim), np.float32)
    rows, blocks = np.nonzero(indices != MISSING)
    vector[rows, offsets(region)[blocks] + indices[rows, blocks]] = 1.0
    return vector

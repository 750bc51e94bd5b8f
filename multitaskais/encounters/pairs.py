"""Who is near whom at one moment: a sweep along the latitude, exact at any place of the world."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..units import M_PER_DEG_CM
from .metric import distance_m


class Near(NamedTuple):
    """Pairs of points, (k,) each, in the order of (first, second)."""

    first: NDArray[np.int64]  # index of the point with the lower MMSI
    second: NDArray[np.int64]
    metres: NDArray[np.float64]


def near(mmsi: NDArray[np.int64], lat: NDArray[np.float64], lon: NDArray[np.float64], within_m: float) -> Near:
    """All pairs of n points at most ``within_m`` apart. Their number decides the cost, and that of points on one parallel."""
    order = np.argsort(lat, kind="stable")
    lat_sorted, lon_sorted = lat[order], lon[order]
    # 1 % more than needed: the exact distance decides.
    reach = within_m / M_PER_DEG_CM * 1.01
    last = np.searchsorted(lat_sorted, lat_sorted + reach, side="right") - 1
    firsts, seconds, distances = [], [], []
    here = np.arange(len(order))
    for step in range(1, len(order)):
        here = here[here + step <= last[here]]
        if not len(here):
            break
        metres = distance_m(lat_sorted[here], lon_sorted[here], lat_sorted[here + step], lon_sorted[here + step])
        close = metres <= within_m
        firsts.append(order[here[close]])
        seconds.append(order[here[close] + step])
        distances.append(metres[close])
    if not firsts:
        none = np.zeros(0, np.int64)
        return Near(none, none, np.zeros(0))
    a, b, metres = np.concatenate(firsts), np.concatenate(seconds), np.concatenate(distances)
    swap = mmsi[a] > mmsi[b]
    a, b = np.where(swap, b, a), np.where(swap, a, b)
    order = np.lexsort((mmsi[b], mmsi[a]))
    return Near(a[order], b[order], metres[order])

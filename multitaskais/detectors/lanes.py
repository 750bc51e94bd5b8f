"""Where other ships went on about the same course: the memory's points by course, for distances in position alone.

A point stands in every sector whose centre is within ``HALF_DEG`` of its course; a ship asks the sector its own course falls into.
So a distance is to a point whose course differs by at most ``HALF_DEG`` + half a sector. Slow points have no course.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .memory import NOBODY, nearest_other

SECTORS = 16
HALF_DEG = 40.0
UNDER_WAY_KNOTS = 1.5  # below, course over ground is noise
FAR_KM = 100.0  # farther, or nobody at all, is all the same
ASKED = 16  # nearest points among which different vessels are looked for

Floats = NDArray[np.float64]


def course_of(uv: Floats) -> Floats:
    """(n, 2) knots east and north -> (n,) degrees; NaN below ``UNDER_WAY_KNOTS`` and where the velocity is missing."""
    moving = np.hypot(uv[:, 0], uv[:, 1]) >= UNDER_WAY_KNOTS  # False for NaN
    return np.where(moving, np.degrees(np.arctan2(uv[:, 0], uv[:, 1])) % 360.0, np.nan)


class Lanes:
    """Of memory points ``xy`` (m, 2) km, ``uv`` (m, 2) kn and ``vessel`` (m,)."""

    def __init__(self, xy: Floats, uv: Floats, vessel: NDArray[np.int32]) -> None:
        course = course_of(uv)
        self._sectors: list[tuple[cKDTree, NDArray[np.int32]] | None] = []
        for k in range(SECTORS):
            off = np.abs((course - k * 360.0 / SECTORS + 180.0) % 360.0 - 180.0)
            mine = np.flatnonzero(off <= HALF_DEG)  # False for NaN
            self._sectors.append((cKDTree(xy[mine]), vessel[mine]) if len(mine) else None)

    def nearest(self, xy: Floats, course: Floats, own: NDArray[np.int32]) -> Floats:
        """(n,) km to the nearest point of another vessel on about this course (degrees), at most ``FAR_KM``; NaN without a course."""
        out = np.where(np.isnan(course), np.nan, FAR_KM)
        for (tree, vessel), rows in self._by_sector(course):
            out[rows] = np.minimum(nearest_other(tree, vessel, xy[rows], own[rows]), FAR_KM)
        return out

    def nearest_vessels(self, xy: Floats, course: Floats, own: NDArray[np.int32], k: int) -> Floats:
        """(n, k) km to the k nearest different other vessels on about this course, as ``nearest``.

        Looked for among the ``ASKED`` nearest points; where these are of fewer vessels, the farthest of them stands for the rest.
        """
        out = np.where(np.isnan(course), np.nan, FAR_KM)[:, None].repeat(k, axis=1)
        for (tree, vessel), rows in self._by_sector(course):
            asked = min(ASKED, tree.n)
            distance, at = (a.reshape(len(rows), asked) for a in tree.query(xy[rows], k=asked))
            who = vessel[at]
            fresh = (who != own[rows, None]) | (own[rows, None] == NOBODY)
            for j in range(1, asked):
                fresh[:, j] &= ~(who[:, :j] == who[:, j, None]).any(axis=1)
            number = np.cumsum(fresh, axis=1)
            found = np.broadcast_to(distance[:, -1:], (len(rows), k)).copy()
            for m in range(k):
                hit = fresh & (number == m + 1)
                there = hit.any(axis=1)
                found[there, m] = distance[there, np.argmax(hit[there], axis=1)]
            out[rows] = np.minimum(found, FAR_KM)
        return out

    def _by_sector(self, course: Floats) -> list[tuple[tuple[cKDTree, NDArray[np.int32]], NDArray[np.intp]]]:
        width = 360.0 / SECTORS
        sector = np.where(np.isnan(course), -1, np.floor((course + width / 2) / width) % SECTORS)
        return [
            (trees, rows)
            for k, trees in enumerate(self._sectors)
            if trees is not None and len(rows := np.flatnonzero(sector == k))
        ]

"""Where other ships went on about the same course: the memory's points by course, for distances in position alone.

A point stands in every sector whose centre is within ``HALF_DEG`` of its course; a ship asks the sector its own course falls into.
So a distance is to a point whose course differs by at most ``HALF_DEG`` + half a sector. Slow points have no course.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..exact import functions
from .reference import NOBODY, Tree, distance_to, nearest_other

SECTORS = 16
HALF_DEG = 40.0
COURSE_MIN_KNOTS = 1.5  # below, course over ground is noise
FAR_KM = 100.0  # farther, or nobody at all, is all the same
APART_KM = 100.0 * FAR_KM  # between sectors in the tree; a region is smaller
ASKED = 8  # nearest points among which different vessels are looked for; 16 cost twice the time

Floats = NDArray[np.float64]


def course_of(uv: Floats) -> Floats:
    """(n, 2) knots east and north -> (n,) degrees; NaN below ``COURSE_MIN_KNOTS`` and where the velocity is missing."""
    moving = functions.hypot(uv[:, 0], uv[:, 1]) >= COURSE_MIN_KNOTS  # False for NaN
    return np.where(moving, functions.atan2(uv[:, 0], uv[:, 1]) % 360.0, np.nan)


class Lanes:
    """Of memory points ``xy`` (m, 2) km, ``uv`` (m, 2) kn and ``vessel`` (m,)."""

    def __init__(self, xy: Floats, uv: Floats, vessel: NDArray[np.int32]) -> None:
        course = course_of(uv)
        where, who = [np.zeros((0, 3))], [np.zeros(0, np.int32)]
        for k in range(SECTORS):
            off = np.abs((course - k * 360.0 / SECTORS + 180.0) % 360.0 - 180.0)
            mine = np.flatnonzero(off <= HALF_DEG)  # False for NaN
            where.append(np.column_stack([xy[mine], np.full(len(mine), k * APART_KM)]))
            who.append(vessel[mine])
        # One tree for all sectors: those of another are too far away to be found.
        self._tree = Tree(np.concatenate(where))
        self._vessel = np.append(np.concatenate(who), NOBODY)  # the last is that of nothing found

    def nearest(self, xy: Floats, course: Floats, own: NDArray[np.int32]) -> Floats:
        """(n,) km to the nearest point of another vessel on about this course (degrees), at most ``FAR_KM``; NaN without a course."""
        out = np.full(len(course), np.nan)
        rows = np.flatnonzero(~np.isnan(course))
        if len(rows):
            found = nearest_other(self._tree, self._vessel, self._points(xy[rows], course[rows]), own[rows])
            out[rows] = np.minimum(found, FAR_KM)
        return out

    def nearest_vessels(self, xy: Floats, course: Floats, own: NDArray[np.int32], k: int) -> Floats:
        """(n, k) km to the k nearest different other vessels on about this course, as ``nearest``.

        Looked for among the ``ASKED`` nearest points; where these are of fewer vessels, the farthest of them stands for the rest.
        """
        out = np.full((len(course), k), np.nan)
        rows = np.flatnonzero(~np.isnan(course))
        if not len(rows):
            return out
        points = self._points(xy[rows], course[rows])
        distance, at = self._tree.query(points, k=ASKED, distance_upper_bound=FAR_KM)
        who = self._vessel[at]
        near = np.isfinite(distance)
        fresh = near & ((who != own[rows, None]) | (own[rows, None] == NOBODY))
        # Of each vessel only its nearest point counts; vessels side by side in their order, so that the first of each run is it.
        order = np.argsort(who, axis=1, kind="stable")
        by_vessel = np.take_along_axis(who, order, 1)
        again = np.zeros_like(fresh)
        np.put_along_axis(again[:, :], order[:, 1:], by_vessel[:, 1:] == by_vessel[:, :-1], 1)
        fresh &= ~again
        number = np.cumsum(fresh, axis=1)
        last = np.where(near[:, -1], distance_to(self._tree, at[:, -1], points), FAR_KM)
        for m in range(k):
            hit = fresh & (number == m + 1)
            which = at[np.arange(len(rows)), np.argmax(hit, axis=1)]
            out[rows, m] = np.where(hit.any(axis=1), distance_to(self._tree, which, points), last)
        return out

    def _points(self, xy: Floats, course: Floats) -> Floats:
        width = 360.0 / SECTORS
        sector = np.floor((course + width / 2) / width) % SECTORS
        return np.column_stack([xy, sector * APART_KM])

"""What the place and speed detectors remember: samples of many vessels under way, thinned, without the vessels' names.

A memory point is a position and a velocity. Between two samples of a line the way is filled in, since a ship makes 1 to 5 km
in 10 minutes and its lane should not look like a row of islands. Vessels appear as numbers drawn at random when the memory is
made; which number is whose is kept in the process that made it (so that a vessel's own past can be left out while it is
calibrated) and never written.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..config import Region
from ..errors import InputError, ModelCorrupt, WrongRegion
from ..exact import functions, scalars
from ..types import Samples
from ..units import KM_PER_DEG_TRAINED

NOBODY = -1  # vessel number of a line that no part of the memory is of
VELOCITY_UNIT_KNOTS = 0.01
THIN_KM, THIN_KNOTS = 0.1, 0.5  # of one vessel, one point in each such cell of position and velocity is enough
MAX_POINTS = 150_000  # the searches stay near the caches; more are left out evenly, at random
SAMPLES_AT_ONCE = 200_000  # that are filled in and thinned together, of whole vessels: 150 MB
FIRST_NEIGHBOURS = 16  # asked for at first when a vessel's own points must be passed over
LEAF_POINTS = 24  # of a search tree; the fastest of 8 to 32, by little
IN_ORDER_MIN = 64  # points asked for at once, from which on it pays to sort them
_KEY = ((0, 8), (1, 8))  # of the key by which they are sorted: dimension, bits
_KEY_OF_3 = ((2, 4), (0, 6), (1, 6))  # the third is the sector of a course (``lanes``)
FORMAT_VERSION = 1


class LeaveOneVesselOut:
    """A detector that compares vessels with those that it remembers: ``detection.protocol.SupportsLeaveOut``.

    ``own_excluded``: vessels that it learned from are compared with others only. It works in the process that learned, as no file
    names vessels.
    """

    own_excluded = False

    @contextmanager
    def excluding_own(self) -> Iterator[None]:
        before, self.own_excluded = self.own_excluded, True
        try:
            yield
        finally:
            self.own_excluded = before


class Plane:
    """Degrees -> kilometres east and north of a region's south-west corner; true to scale at its middle latitude."""

    def __init__(self, region: Region) -> None:
        self.lat, self.lon = region.lat_min, region.lon_min
        self.km_north = KM_PER_DEG_TRAINED
        self.km_east = KM_PER_DEG_TRAINED * scalars.cos(0.5 * (region.lat_min + region.lat_max))

    def xy(self, lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) degrees -> (n, 2) km."""
        return np.stack([(lon - self.lon) * self.km_east, (lat - self.lat) * self.km_north], axis=1)


def velocity(sog: NDArray[np.float64], cog: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) knots, degrees -> (n, 2) knots east and north; NaN where either is missing, except at rest, where course says nothing."""
    sin, cos = functions.sin_cos(np.where(np.isnan(cog) & (sog < 0.5), 0.0, cog))
    return np.stack([sog * sin, sog * cos], axis=1)


class ReferenceSet:
    """Memory points: ``xy`` (m, 2) km, ``uv`` (m, 2) kn, ``vessel`` (m,) numbers from 0."""

    def __init__(self, region: Region, quantised: NDArray[np.int16], vessel: NDArray[np.int32]) -> None:
        self.region, self.quantised, self.vessel = region, quantised, vessel
        self.plane = Plane(region)
        unit = (quantised[:, :2].astype(np.float64) + 32768.0) / 65535.0
        lat = region.lat_min + unit[:, 0] * (region.lat_max - region.lat_min)
        lon = region.lon_min + unit[:, 1] * (region.lon_max - region.lon_min)
        self.xy = self.plane.xy(lat, lon)
        self.uv = quantised[:, 2:].astype(np.float64) * VELOCITY_UNIT_KNOTS
        self._mmsi: NDArray[np.int64] = np.zeros(0, np.int64)
        self._number: NDArray[np.int32] = np.zeros(0, np.int32)

    def __len__(self) -> int:
        return len(self.vessel)

    @classmethod
    def of(
        cls, samples: Samples, region: Region, rng: np.random.Generator, fill: int = 4, sog_min: float = 0.0
    ) -> ReferenceSet:
        """Remember samples sorted by line (``mmsi``, ``n``); moored ones and those without velocity are left out.

        Args:
            fill: points a 10-minute step, the sample itself among them.
            sog_min: slower points are left out, knots.
            rng: draws the vessels' numbers, the order of the points, and which are left out above ``MAX_POINTS``.
        """
        # Thinning looks at one vessel at a time, so some vessels at a time give what all would give.
        order = np.argsort(samples["mmsi"], kind="stable")
        mmsi = samples["mmsi"][order]
        edges = np.unique(np.append(np.searchsorted(mmsi, mmsi[::SAMPLES_AT_ONCE]), len(mmsi))).tolist()
        thinned = [_thinned(samples[order[a:b]], region, fill, sog_min) for a, b in itertools.pairwise(edges)]
        mmsi, place, uv = (np.concatenate([t[k] for t in thinned] or [np.zeros(0)]) for k in range(3))
        if not len(mmsi):
            raise InputError(f"no sample under way inside the box of region {region.name!r}: nothing to learn from")

        names, index = np.unique(mmsi, return_inverse=True)
        number = rng.permutation(len(names)).astype(np.int32)
        kept = rng.permutation(len(mmsi))[:MAX_POINTS]
        quantised = np.empty((len(kept), 4), np.int16)
        corner, size = _box(region)
        quantised[:, :2] = np.round((place[kept] - corner) / size * 65535.0 - 32768.0)
        quantised[:, 2:] = np.clip(np.round(uv[kept] / VELOCITY_UNIT_KNOTS), -32767, 32767)
        traffic = cls(region, quantised, number[index[kept]])
        traffic._mmsi, traffic._number = names, number
        return traffic

    def numbers_of(self, mmsi: NDArray[np.int64]) -> NDArray[np.int32]:
        """(n,) each vessel's number in the memory, ``NOBODY`` where it has none, or where the memory was loaded from a file."""
        if not len(self._mmsi):
            return np.full(len(mmsi), NOBODY, np.int32)
        at = np.minimum(np.searchsorted(self._mmsi, mmsi), len(self._mmsi) - 1)
        return np.where(self._mmsi[at] == mmsi, self._number[at], NOBODY).astype(np.int32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        box = (self.region.lat_min, self.region.lat_max, self.region.lon_min, self.region.lon_max)
        return {
            "format": np.array(FORMAT_VERSION),
            "box": np.array(box),
            "points": self.quantised,
            "vessel": self.vessel,
        }

    @classmethod
    def from_file(cls, file: Path, region: Region) -> tuple[ReferenceSet, dict[str, NDArray[Any]]]:
        """The memory and whatever else its detector wrote beside it."""
        try:
            with np.load(file, allow_pickle=False) as f:
                values = {k: f[k] for k in f.files}
            version, box, points, vessel = (values.pop(k) for k in ("format", "box", "points", "vessel"))
        except (OSError, ValueError, KeyError, EOFError) as e:
            raise ModelCorrupt(f"{file} cannot be read ({e}): copy the whole model folder again") from None
        if int(version) != FORMAT_VERSION:
            raise ModelCorrupt(f"{file} has format {int(version)}, this version reads {FORMAT_VERSION}: train it again")
        if box.tolist() != [region.lat_min, region.lat_max, region.lon_min, region.lon_max]:
            raise WrongRegion(
                f"{file} remembers the box {box.tolist()}, not that of region {region.name!r}: use its own model"
            )
        return cls(region, points, vessel), values


def _box(region: Region) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """South-west corner and size, degrees north and east."""
    corner = np.array([region.lat_min, region.lon_min])
    return corner, np.array([region.lat_max, region.lon_max]) - corner


def _thinned(
    samples: Samples, region: Region, fill: int, sog_min: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """MMSI (k,), place (k, 2) and velocity (k, 2) of samples of whole vessels, filled in and thinned; by vessel."""
    place = np.stack([samples["lat"], samples["lon"]], axis=1)
    uv = velocity(samples["sog"], samples["cog"])
    usable = ~samples["moored"] & np.isfinite(uv).all(axis=1) & np.isfinite(place).all(axis=1)
    follows = (np.diff(samples["mmsi"]) == 0) & (np.diff(samples["n"]) == 1) & usable[1:] & usable[:-1]
    places, velocities, mmsis = [place[usable]], [uv[usable]], [samples["mmsi"][usable]]
    for j in range(1, fill):
        w = j / fill
        places.append(((1 - w) * place[:-1] + w * place[1:])[follows])
        velocities.append(((1 - w) * uv[:-1] + w * uv[1:])[follows])
        mmsis.append(samples["mmsi"][1:][follows])
    place, uv, mmsi = np.concatenate(places), np.concatenate(velocities), np.concatenate(mmsis)
    box = np.array([[region.lat_min, region.lon_min], [region.lat_max, region.lon_max]])
    inside = ((place >= box[0]) & (place < box[1])).all(axis=1) & (functions.hypot(uv[:, 0], uv[:, 1]) >= sog_min)
    place, uv, mmsi = place[inside], uv[inside], mmsi[inside]
    km = Plane(region).xy(place[:, 0], place[:, 1])
    coarse = np.column_stack([mmsi, np.floor(km / THIN_KM), np.floor(uv / THIN_KNOTS)]).astype(np.int64)
    kept = np.unique(coarse, axis=0, return_index=True)[1]
    return mmsi[kept], place[kept], uv[kept]


class Tree:
    """The nearest of (m, d) memory points, by their places in ``data``.

    A search waits for memory more than it computes. So the points lie in the order of the tree's leaves, and what is asked for together is
    asked in an order in which the next is near the one before.
    """

    def __init__(self, points: NDArray[np.float64]) -> None:
        self.data = points
        order = _split(points).indices
        self._tree = _split(points[order])
        self._place = np.append(order, len(points))  # the last is that of nothing found

    @property
    def n(self) -> int:
        return len(self.data)

    def query(
        self, points: NDArray[np.float64], k: int = 1, distance_upper_bound: float = np.inf
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """``cKDTree.query`` of (n, d) points: distances and places, (n,) or (n, k); infinite and ``n`` where there is none."""
        how = {"k": k, "distance_upper_bound": distance_upper_bound}
        if len(points) < IN_ORDER_MIN:
            distance, at = self._tree.query(points, **how)
            return distance, self._place[at]
        key = np.zeros(len(points), np.uint16)
        for d, bits in _KEY_OF_3 if points.shape[1] == 3 else _KEY:
            low, span, most = self._tree.mins[d], self._tree.maxes[d] - self._tree.mins[d], (1 << bits) - 1
            key = (key << bits) | np.clip((points[:, d] - low) / max(span, 1e-9) * most, 0, most).astype(np.uint16)
        order = np.argsort(key, kind="stable")
        found, near = self._tree.query(points[order], **how)
        distance, at = np.empty_like(found), np.empty_like(near)
        distance[order], at[order] = found, self._place[near]
        return distance, at


def _split(points: NDArray[np.float64]) -> cKDTree:
    """Split in the middle, not at the median: ships crowd in lanes, and a search takes up to 1.7 times less."""
    return cKDTree(points, leafsize=LEAF_POINTS, balanced_tree=False)


def distance_to(tree: Tree, at: NDArray[np.int64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) distance of (n, d) points to the tree's points at these indices, infinite where there is none (index ``tree.n``).

    Added one coordinate after the other: the tree's own sums have the order that its compiler chose.
    """
    there = at < tree.n
    off = tree.data[np.where(there, at, 0)] - points
    square = off[:, 0] * off[:, 0]
    for k in range(1, off.shape[1]):
        square += off[:, k] * off[:, k]
    return np.where(there, np.sqrt(square), np.inf)


def nearest_other(
    tree: Tree, vessel: NDArray[np.int32], points: NDArray[np.float64], own: NDArray[np.int32]
) -> NDArray[np.float64]:
    """(n,) distance to the nearest tree point whose ``vessel`` is not ``own``; infinite where there is none."""
    out = np.full(len(points), np.inf)
    todo = np.flatnonzero(own == NOBODY)
    if len(todo):
        out[todo] = distance_to(tree, tree.query(points[todo])[1], points[todo])
    todo = np.flatnonzero(own != NOBODY)
    k = FIRST_NEIGHBOURS
    while len(todo):
        k = min(k, tree.n)
        at = tree.query(points[todo], k=k)[1].reshape(len(todo), k)
        other = vessel[at] != own[todo, None]
        found = other.any(axis=1)
        first = at[found, np.argmax(other[found], axis=1)]
        out[todo[found]] = distance_to(tree, first, points[todo[found]])
        todo = todo[~found]
        if k == tree.n:
            break
        k *= 8
    return out


def nearest_others(
    tree: Tree,
    vessel: NDArray[np.int32],
    points: NDArray[np.float64],
    own: NDArray[np.int32],
    k: int,
    within: float = np.inf,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The k nearest tree points of vessels other than ``own``: (n, k) indices and which of them are there (the rest is filling)."""
    k = min(k, tree.n)
    at, there = np.zeros((len(points), k), np.int64), np.zeros((len(points), k), bool)
    todo = np.arange(len(points))
    asked = k
    while len(todo):
        distance, index = tree.query(points[todo], k=asked, distance_upper_bound=within)
        distance, index = distance.reshape(len(todo), asked), index.reshape(len(todo), asked)
        near = np.isfinite(distance)
        index = np.where(near, index, 0)
        other = near & (vessel[index] != own[todo, None])
        # Those that count, first, in their order.
        order = np.argsort(~other, axis=1, kind="stable")[:, :k]
        at[todo], there[todo] = np.take_along_axis(index, order, 1), np.take_along_axis(other, order, 1)
        if asked == tree.n:
            break
        # Done when k are found, or when nothing more is near.
        todo = todo[(other.sum(axis=1) < k) & near[:, -1]]
        asked = min(asked * 8, tree.n)
    return at, there


def mean_of(values: NDArray[np.float64], counts: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of the (n, m) values that count, and their number; added one column after the other, so that the rows beside do not matter."""
    total, number = np.zeros(len(values)), np.zeros(len(values))
    for j in range(values.shape[1]):
        total += np.where(counts[:, j], values[:, j], 0.0)
        number += counts[:, j]
    return total / np.maximum(number, 1.0), number

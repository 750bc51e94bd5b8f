"""The life of a meeting: two ships that lie side by side at sea, or go side by side, where ships do not do so.

    lying      both below 2 kn and within 500 m for 30 min, away from stopping places; both came there under way
    abreast    both under way within 300 m on the same velocity for 30 min, away from stopping places

One moment (slot) in five minutes is looked at, on a grid common to all ships. A pair that is apart for more than two slots has
parted. What is told of a meeting is decided by slots alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np

from ..records import Status
from ..types import ShipRows
from ..units import KNOT_MPS
from .pairs import near
from .stops import StoppingPlaces

SLOT_S = 300.0
LYING, ABREAST = "lying", "abreast"


@dataclass(frozen=True, slots=True)
class MeetingRules:
    """Limits of both kinds. Distances in metres, speeds in knots, times in seconds."""

    lying_m: float = 500.0
    lying_knots: float = 2.0
    abreast_m: float = 300.0
    abreast_knots: float = 4.0  # both at least so fast
    abreast_off_knots: float = 1.5  # their velocities differ by no more
    least_s: float = 1800.0  # so long before it is a meeting
    arrived_within_s: float = 3 * 3600.0  # both were under way so shortly before
    parted_slots: int = 2  # that they may be seen apart (or not at all) in between
    told_every_s: float = 3600.0  # an open meeting is told again


class Pair(msgspec.Struct):
    """Two ships near each other since a while."""

    first: int  # the lower MMSI
    second: int
    kind: str  # LYING | ABREAST
    since: float  # first slot, Unix s
    until: float  # last slot at which they were near
    lat: float  # where they were nearest
    lon: float
    metres: float  # least distance
    came: bool  # both came there under way
    together: bool  # and together: they had gone side by side before
    at: tuple[float, float] = (0.0, 0.0)  # last place
    began: tuple[float, float] = (0.0, 0.0)  # first place
    score: float = 0.0  # how rare it is, once it is a meeting (0 before): 1 or more is told
    told_t: float = 0.0  # slot of the last change that was told; 0 before the first
    revision: int = 0


class Change(NamedTuple):
    """Something to tell of a pair at a slot."""

    status: Status  # raised, updated or closed
    pair: Pair


class MeetingFold:
    """Slots in, changes out. A mutable value; the pairs are its whole state.

    Args:
        stops: near these, lying side by side is usual and not looked at.
    """

    def __init__(self, stops: StoppingPlaces, rules: MeetingRules | None = None, pairs: Iterable[Pair] = ()) -> None:
        self.stops = stops
        self.rules = rules or MeetingRules()
        self.pairs: dict[tuple[int, int, str], Pair] = {(p.first, p.second, p.kind): p for p in pairs}

    def step(self, t: float, ships: ShipRows, score: Callable[[Pair], float] = lambda _: 1.0) -> list[Change]:
        """One slot: (n,) ships of ``SLOT_DTYPE`` as they are at ``t``. Returns what changed, by pair.

        Args:
            score: of a pair that has become a meeting; it is told when that is 1 or more.
        """
        rules = self.rules
        changes: list[Change] = []
        slow = np.flatnonzero(ships["sog"] < rules.lying_knots)
        slow = slow[~self.stops.near(ships["lat"][slow], ships["lon"][slow])]
        self._see(t, LYING, ships[slow], rules.lying_m)
        moving = np.flatnonzero(ships["sog"] >= rules.abreast_knots)
        moving = moving[~self.stops.near(ships["lat"][moving], ships["lon"][moving])]
        self._see(t, ABREAST, ships[moving], rules.abreast_m)
        for key in sorted(self.pairs):
            pair = self.pairs[key]
            if t - pair.until > rules.parted_slots * SLOT_S:
                del self.pairs[key]
                if pair.revision:
                    changes.append(self._tell(Status.CLOSED, pair, t))
            elif pair.until == t and pair.until - pair.since >= rules.least_s:
                if not pair.revision:
                    if not pair.score and (pair.came or pair.kind == ABREAST):
                        pair.score = score(pair) or -1.0
                    if pair.score >= 1.0:
                        changes.append(self._tell(Status.RAISED, pair, t))
                elif t - pair.told_t >= rules.told_every_s:
                    changes.append(self._tell(Status.UPDATED, pair, t))
        return changes

    @staticmethod
    def _tell(status: Status, pair: Pair, t: float) -> Change:
        pair.revision += 1
        pair.told_t = t
        return Change(status, msgspec.structs.replace(pair))

    def _see(self, t: float, kind: str, ships: ShipRows, within_m: float) -> None:
        first, second, metres = near(ships["mmsi"], ships["lat"], ships["lon"], within_m)
        if kind == ABREAST and len(first):
            east = ships["east_mps"][first] - ships["east_mps"][second]
            north = ships["north_mps"][first] - ships["north_mps"][second]
            alike = np.sqrt(east * east + north * north) <= self.rules.abreast_off_knots * KNOT_MPS
            first, second, metres = first[alike], second[alike], metres[alike]
        a, b = ships[first], ships[second]
        lat = (a["lat"] + b["lat"]) * 0.5
        lon = a["lon"]
        arrived = np.minimum(a["under_way_t"], b["under_way_t"]) >= t - self.rules.arrived_within_s
        rows = zip(
            *(x.tolist() for x in (a["mmsi"], b["mmsi"], lat, lon, metres, arrived)),
            strict=True,
        )
        for m1, m2, y, x, d, came in rows:
            key = (m1, m2, kind)
            pair = self.pairs.get(key)
            if pair is None:
                together = kind == LYING and (m1, m2, ABREAST) in self.pairs
                pair = self.pairs[key] = Pair(m1, m2, kind, t, t, y, x, d, came, together, (y, x), (y, x))
            pair.until = t
            pair.at = (y, x)
            if d < pair.metres:
                pair.metres, pair.lat, pair.lon = d, y, x

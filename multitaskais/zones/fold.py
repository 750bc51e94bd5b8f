"""Which ships break the rules of which zones, report by report: a fold over the accepted reports of all ships.

A ship is inside when it is so by more than the border's margin, and outside likewise; on the border it stays what it was. A rule
is broken from the first report at which its condition holds; an alert is raised when that has lasted as long as the zone says,
updated each hour, and closed at the first report at which it holds no more, or when the ship is not heard for two hours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import numpy as np
import shapely

from ..records import Status
from ..types import Reports
from .zone import STOPPED_KNOTS, Rule, Zone

AT_ANCHOR = 1  # navigational status, ITU-R M.1371
UNHEARD_S = 7200.0  # a ship not heard for so long has ended its stay
TOLD_EVERY_S = 3600.0
SPEED_MARGIN_KNOTS = 0.5  # a broken speed rule is kept again only by more than this


class Stay(msgspec.Struct):
    """One ship and one zone: while it is inside, or breaks the zone's rule, or left it lately."""

    mmsi: int
    zone: str
    inside: bool
    entered: tuple[float, float, float]  # t, lat, lon of the first report of this stay
    last: tuple[float, float, float]
    ship_type: int = -1
    ship_name: bytes = b""
    broken_since: tuple[float, float, float] | None = None  # first report at which the rule's condition held
    raised_at: float = math.nan
    told_t: float = math.nan
    revision: int = 0
    sog: float = math.nan  # at the last report


class ZoneChange(NamedTuple):
    status: Status  # raised, updated or closed
    stay: Stay
    zone: Zone
    decided_at: float


class Watch(NamedTuple):
    """A zone, and from when to when it is watched (event time, Unix s)."""

    zone: Zone
    since: float = -math.inf
    until: float = math.inf


class ZoneFold:
    """Zones and stays. A mutable value."""

    def __init__(self, watches: Iterable[Watch] = (), stays: Iterable[Stay] = ()) -> None:
        self.watches: dict[str, Watch] = {w.zone.name: w for w in watches}
        self.stays: dict[tuple[int, str], Stay] = {(s.mmsi, s.zone): s for s in stays}
        self._index()

    def put(self, zone: Zone, since: float) -> None:
        """Watch a zone from ``since`` on, in place of one of the same name."""
        self.watches[zone.name] = Watch(zone, since)
        self._index()

    def withdraw(self, name: str, at: float) -> bool:
        """Watch a zone no more from ``at`` on; False when there is none of that name."""
        watch = self.watches.get(name)
        if watch is None:
            return False
        self.watches[name] = watch._replace(until=min(watch.until, at))
        return True

    def _index(self) -> None:
        self._order = sorted(self.watches)
        boxes = np.array([self.watches[n].zone.box() for n in self._order]).reshape(-1, 4)
        self._tree = shapely.STRtree(shapely.box(*boxes.T))

    def step(self, heard: Reports, until: float) -> list[ZoneChange]:
        """(n,) accepted reports of a span that ends at ``until``, by MMSI and time; returns what changed in that order."""
        changes: list[ZoneChange] = []
        if self.watches and len(heard):
            for i, name, side in self._sides(heard):
                self._one(heard[i], name, side, changes)
        for key in sorted(self.stays):
            stay = self.stays[key]
            watch = self.watches.get(stay.zone)
            gone = stay.last[0] + UNHEARD_S
            if watch is None or watch.until <= until:
                self._end(key, min(watch.until if watch else until, until), changes)
            elif gone <= until:
                self._end(key, gone, changes)
        for name in [n for n, w in self.watches.items() if w.until <= until]:
            del self.watches[name]
            self._index()
        return changes

    def _sides(self, heard: Reports) -> Iterable[tuple[int, str, int]]:
        """(report, zone, side) of every report near a zone, and of those of ships that have a stay; by report, then zone."""
        points = shapely.points(heard["lon"], heard["lat"])
        report, zone = self._tree.query(points)
        found: dict[tuple[int, str], int] = {}
        for k in np.unique(zone).tolist():
            at = report[zone == k]
            name = self._order[k]
            sides = self.watches[name].zone.side(heard["lat"][at], heard["lon"][at])
            found.update(((int(i), name), int(s)) for i, s in zip(at.tolist(), sides.tolist(), strict=True))
        if self.stays:
            mmsi = heard["mmsi"]
            for m, name in self.stays:
                a, b = np.searchsorted(mmsi, [m, m + 1]).tolist()
                for i in range(a, b):
                    found.setdefault((i, name), -1)
        # A ship may enter a zone and leave its box within the span: its later reports are outside.
        entered = {(int(heard["mmsi"][i]), name) for (i, name), side in found.items() if side > 0}
        for m, name in entered:
            a, b = np.searchsorted(heard["mmsi"], [m, m + 1]).tolist()
            for i in range(a, b):
                found.setdefault((i, name), -1)
        return [(i, name, side) for (i, name), side in sorted(found.items())]

    def _one(self, report: np.void, name: str, side: int, changes: list[ZoneChange]) -> None:
        watch = self.watches[name]
        zone = watch.zone
        mmsi, t, ship_type = int(report["mmsi"]), float(report["t"]), int(report["ship_type"])
        if not watch.since <= t < watch.until:
            return
        here = (t, float(report["lat"]), float(report["lon"]))
        key = (mmsi, name)
        stay = self.stays.get(key)
        if stay is not None and t - stay.last[0] >= UNHEARD_S:
            self._end(key, stay.last[0] + UNHEARD_S, changes)
            stay = None
        if stay is None:
            if side <= 0:
                return
            stay = self.stays[key] = Stay(mmsi, name, True, here, here)
        before = stay.inside
        stay.inside = side > 0 or (side == 0 and before)
        stay.last, stay.sog = here, float(report["sog"])
        if ship_type >= 0:
            stay.ship_type = ship_type
        if report["ship_name"]:
            stay.ship_name = bytes(report["ship_name"])
        broken = (
            zone.holds_at(t)
            and zone.meant_for(mmsi, stay.ship_type)
            and _broken(zone, stay, int(report["nav_status"]), stay.broken_since is not None)
        )
        if broken:
            if stay.broken_since is None:
                stay.broken_since = here
            if not stay.revision:
                if t - stay.broken_since[0] >= zone.minutes * 60.0:
                    stay.raised_at = t
                    self._tell(Status.RAISED, stay, zone, t, changes)
            elif t - stay.told_t >= TOLD_EVERY_S:
                self._tell(Status.UPDATED, stay, zone, t, changes)
        else:
            if stay.revision:
                self._tell(Status.CLOSED, stay, zone, t, changes)
                self.stays[key] = stay = Stay(
                    mmsi, name, stay.inside, stay.entered, here, stay.ship_type, stay.ship_name, sog=stay.sog
                )
            stay.broken_since = None
            if not stay.inside:
                del self.stays[key]
            elif not before:
                stay.entered = here

    @staticmethod
    def _tell(status: Status, stay: Stay, zone: Zone, t: float, changes: list[ZoneChange]) -> None:
        stay.revision += 1
        stay.told_t = t
        changes.append(ZoneChange(status, msgspec.structs.replace(stay), zone, t))

    def _end(self, key: tuple[int, str], t: float, changes: list[ZoneChange]) -> None:
        stay = self.stays.pop(key)
        if stay.revision and (watch := self.watches.get(stay.zone)) is not None:
            self._tell(Status.CLOSED, stay, watch.zone, t, changes)


def _broken(zone: Zone, stay: Stay, nav_status: int, already: bool) -> bool:
    """Whether the rule's condition holds at a report; ``already``: whether it did at the one before."""
    if zone.rule is Rule.LEAVE:
        return not stay.inside
    if not stay.inside:
        return False
    sog = stay.sog
    slack = SPEED_MARGIN_KNOTS if already else 0.0
    stopped = sog < STOPPED_KNOTS + slack
    match zone.rule:
        case Rule.ENTER:
            return True
        case Rule.STOP:
            return stopped
        case Rule.ANCHOR:
            return stopped or (nav_status == AT_ANCHOR and sog < 3.0)
        case Rule.CABLE_CORRIDOR:
            return sog < (zone.speed_knots or 0.0) + slack or nav_status == AT_ANCHOR
        case Rule.SLOWER:
            return sog < (zone.speed_knots or 0.0) + slack
        case _:
            return sog > (zone.speed_knots or 0.0) - slack

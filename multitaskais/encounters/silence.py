"""Ships under way that are not heard for longer than is usual where they were: the life of a silence.

    raised      the cell's usual limit has passed since its last report, and the ships around are still heard
    updated     it is heard again elsewhere: how far away, and what speed that needs
    closed      an hour after that; at once when it is heard again in place; or after three days
    retracted   it turned out that the station went silent, not the ship

When most ships that were heard around there at that time have been silent since, it is a station's outage: an event, and no alert.
When nothing at all was heard shortly before the limit passed, nothing was listened to, and nothing is decided.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import msgspec
import numpy as np

from ..records import Status
from ..types import Reports
from ..units import M_PER_DEG_CM
from .coverage import Coverage, watched
from .fleet import FleetTable
from .metric import distance_m
from .stops import StoppingPlaces


@dataclass(frozen=True, slots=True)
class SilenceRules:
    """Distances in metres, times in seconds."""

    around_m: float = 60_000.0  # a coast station hears about so far (30 NM)
    together_s: float = 900.0  # silent within so much of each other: silent together
    outage_ships: int = 3  # of others that fell silent with it
    in_place_m: float = 3_000.0  # heard again so near its last place: it was lying there
    watch_after_s: float = 3600.0  # an updated alert is closed so long after it was heard again
    forget_after_s: float = 3 * 86400.0


class Silence(msgspec.Struct):
    """One ship that was reported silent."""

    mmsi: int
    t: float  # of its last report
    lat: float
    lon: float
    sog: float  # knots
    raised_at: float  # t + the cell's limit
    limit_s: float
    revision: int = 0
    heard_t: float = math.nan  # when it was heard again
    heard_lat: float = math.nan
    heard_lon: float = math.nan


class Heard(StrEnum):
    """What became of a silence so far."""

    UNHEARD = "unheard"
    ELSEWHERE = "elsewhere"  # heard again away from where it would have been
    IN_PLACE = "in_place"
    OUTAGE = "outage"  # the station was silent, not the ship
    TOO_LONG = "too_long"  # no longer waited for


class SilenceChange(NamedTuple):
    status: Status
    silence: Silence
    decided_at: float
    why: Heard


class Outage(NamedTuple):
    """Many ships were silent at once."""

    t: float  # about when it began: last report of the ship at which it was noticed
    decided_at: float
    lat: float
    lon: float
    silent: int  # ships around there that were not heard since
    heard: int  # and that were


class SilenceFold:
    """Watches the deadlines of a ``FleetTable``. Open silences are its whole state."""

    def __init__(
        self,
        coverage: Coverage,
        stops: StoppingPlaces,
        rules: SilenceRules | None = None,
        silences: Iterable[Silence] = (),
    ) -> None:
        self.coverage = coverage
        self.stops = stops
        self.rules = rules or SilenceRules()
        self.silences = {s.mmsi: s for s in silences}

    def step(self, fleet: FleetTable, heard: Reports, until: float) -> tuple[list[SilenceChange], list[Outage]]:
        """After ``heard = fleet.absorb(...)`` of the span that ends at ``until``."""
        changes = self._heard_again(heard)
        self._set_deadlines(fleet, heard)
        found, outages = self._due(fleet, until)
        changes += found
        for mmsi in sorted(self.silences):
            s = self.silences[mmsi]
            if s.heard_t + self.rules.watch_after_s <= until:  # False while it is NaN
                changes.append(self._end(s, Status.CLOSED, s.heard_t + self.rules.watch_after_s, Heard.ELSEWHERE))
            elif s.t + self.rules.forget_after_s <= until:
                changes.append(self._end(s, Status.CLOSED, s.t + self.rules.forget_after_s, Heard.TOO_LONG))
        return changes, outages

    def _heard_again(self, heard: Reports) -> list[SilenceChange]:
        if not self.silences or not len(heard):
            return []
        changes = []
        for mmsi in sorted(self.silences):
            s = self.silences[mmsi]
            at = int(np.searchsorted(heard["mmsi"], mmsi))
            if at == len(heard) or heard["mmsi"][at] != mmsi or not math.isnan(s.heard_t):
                continue
            s.heard_t, s.heard_lat, s.heard_lon = (float(heard[n][at]) for n in ("t", "lat", "lon"))
            if distance_m(s.lat, s.lon, s.heard_lat, s.heard_lon) <= self.rules.in_place_m:
                changes.append(self._end(s, Status.CLOSED, s.heard_t, Heard.IN_PLACE))
            else:
                s.revision += 1
                changes.append(SilenceChange(Status.UPDATED, msgspec.structs.replace(s), s.heard_t, Heard.ELSEWHERE))
        return changes

    def _set_deadlines(self, fleet: FleetTable, heard: Reports) -> None:
        row = fleet.find(np.unique(heard["mmsi"]))
        rows = fleet.rows[row]
        watch = watched(rows["sog"], rows["nav_status"], rows["lat"], rows["lon"], self.stops)
        limit = self.coverage.limit_s(rows["lat"], rows["lon"])
        fleet.rows["deadline"][row] = np.where(watch, rows["t"] + limit, np.inf)

    def _due(self, fleet: FleetTable, until: float) -> tuple[list[SilenceChange], list[Outage]]:
        due = np.flatnonzero(fleet.rows["deadline"] <= until)
        newest = float(fleet.rows["t"].max()) if len(due) else -math.inf
        due = due[np.lexsort((fleet.rows["mmsi"][due], fleet.rows["deadline"][due]))]
        changes: list[SilenceChange] = []
        outages: list[Outage] = []
        for i in due.tolist():
            row = fleet.rows[i]
            mmsi, t, lat, lon = (row[n].item() for n in ("mmsi", "t", "lat", "lon"))
            decided = float(row["deadline"])
            fleet.rows["deadline"][i] = np.inf
            if newest < decided - self.rules.together_s:
                continue
            silent, heard = self._around(fleet, t, lat, lon)
            if silent > self.rules.outage_ships and silent > heard:  # it counts itself
                outages.append(Outage(t, decided, lat, lon, silent, heard))
                changes += self._retract(t, lat, lon, decided)
                continue
            s = Silence(mmsi, t, lat, lon, float(row["sog"]), decided, decided - t, 1)
            if (old := self.silences.get(mmsi)) is not None:
                changes.append(self._end(old, Status.CLOSED, decided, Heard.ELSEWHERE))
            self.silences[mmsi] = s
            changes.append(SilenceChange(Status.RAISED, msgspec.structs.replace(s), decided, Heard.UNHEARD))
        return changes, outages

    def _around(self, fleet: FleetTable, t: float, lat: float, lon: float) -> tuple[int, int]:
        """Ships that were around when one fell silent: (silent since then, heard since then)."""
        rows = fleet.rows
        rules = self.rules
        near = np.flatnonzero(
            (np.abs(rows["lat"] - lat) * M_PER_DEG_CM <= rules.around_m) & (rows["first_t"] <= t + rules.together_s)
        )
        lats, lons = rows["lat"][near], rows["lon"][near]
        near = near[distance_m(np.full(len(near), lat), np.full(len(near), lon), lats, lons) <= rules.around_m]
        last = rows["t"][near]
        return int(((last >= t - rules.together_s) & (last <= t + rules.together_s)).sum()), int(
            (last > t + rules.together_s).sum()
        )

    def _retract(self, t: float, lat: float, lon: float, decided: float) -> list[SilenceChange]:
        rules = self.rules
        return [
            self._end(s, Status.RETRACTED, decided, Heard.OUTAGE)
            for _, s in sorted(self.silences.items())
            if abs(s.t - t) <= 2 * rules.together_s
            and math.isnan(s.heard_t)
            and distance_m(lat, lon, s.lat, s.lon) <= rules.around_m
        ]

    def _end(self, s: Silence, status: Status, decided: float, why: Heard) -> SilenceChange:
        del self.silences[s.mmsi]
        s.revision += 1
        return SilenceChange(status, msgspec.structs.replace(s), decided, why)

"""Many ships displaced in the same minutes: a station's clock jumped, and no ship did.

    watch.note(report, before, ...)  -> a ``StationClock`` when a fault begins
    watch.explains(mmsi, t)          -> whether a displacement of that ship at that time belongs to a fault

The watch is a value of one partition: it looks at the reports in the order of the log, on their arrival, while they still wait for
their lateness to pass; a jump is decided only then. So who else was displaced in the same minutes is known in time, without holding
anything back any longer. It knows the ships of its own partition alone; an archive is one partition.

A report counts as displaced when it cannot follow the one of its ship that arrived before it (``displacement.is_jump``). A fault begins when within
three minutes so many ships are displaced: ``SHIPS_MIN`` that one station received, where reports say so (``station``), else ``SHIPS_MIN`` and at
least ``SHIPS_SHARE`` of those that are under observation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from .displacement import along_course_s
from .tracker import Report

SHIPS_MIN = 5
SHIPS_SHARE = 0.05
MINUTE_S = 60.0
MINUTES_KEPT = 6  # in which ships that were displaced are remembered
# a ship that a fault has displaced is explained for so long: as long as the tracker follows both places
FOLLOWS_MINUTES = 30
FORGET_MINUTES = 60  # a fault that has not gone on for so long is over
FAULT_SHIPS_MAX = 2048
OFFSETS_AGREE_S = 60.0


class StationClock(NamedTuple):
    """A station's clock is wrong: no alert of any ship."""

    t: float  # since when, Unix s, to the minute
    decided_at: float  # time of the report with which it was certain
    station: str  # who received the reports; empty where they do not say so
    ships: int  # displaced so far
    offset_s: float | None  # by how much the clock is off, ahead or behind, where the ships agree on it

    @property
    def message(self) -> str:
        who = f"station {self.station}" if self.station else "a station"
        off = "" if self.offset_s is None else f" by {self.offset_s:,.0f} s"
        return f"the clock of {who} is wrong{off}: {self.ships} ships are displaced in the same minutes"


class Displaced(msgspec.Struct, array_like=True):
    """A ship in one minute."""

    station: bytes
    offset_s: float  # along its course; NaN where its course does not tell


class Fault(msgspec.Struct, array_like=True):
    station: bytes
    first: int  # minutes since 1970
    last: int
    ships: dict[int, int]  # mmsi -> the last minute in which it was displaced


class StationWatch(msgspec.Struct, array_like=True):
    """Of one partition."""

    minutes: dict[int, dict[int, Displaced]] = {}  # minute -> mmsi
    faults: list[Fault] = []

    def note(self, report: Report, before: Report, station: bytes, observed: Callable[[], int]) -> StationClock | None:
        """``report`` cannot follow ``before``. ``observed``: how many ships have an open track; asked for only when it matters."""
        mmsi, t = report[0], report[1]
        minute = math.floor(t / MINUTE_S)
        self._forget(minute)
        self.minutes.setdefault(minute, {})[mmsi] = Displaced(station, along_course_s(before, report))
        near = {m: d for k in (minute - 1, minute, minute + 1) for m, d in self.minutes.get(k, {}).items()}
        for fault in self.faults:
            if (fault.station in (b"", station) or mmsi in fault.ships) and fault.last >= minute - MINUTES_KEPT:
                fault.last = max(fault.last, minute)
                fault.first = min(fault.first, minute)
                if mmsi in fault.ships or len(fault.ships) < FAULT_SHIPS_MAX:
                    fault.ships[mmsi] = minute
                return None
        mine = {m: d for m, d in near.items() if d.station == station} if station else {}
        if len(mine) < SHIPS_MIN:
            station, mine = b"", near
            if len(mine) < SHIPS_MIN or len(mine) < SHIPS_SHARE * observed():
                return None
        first = min(k for k in (minute - 1, minute, minute + 1) if self.minutes.get(k))
        self.faults.append(Fault(station, first, minute, dict.fromkeys(mine, minute)))
        name = station.decode("ascii", "replace")
        return StationClock(first * MINUTE_S, t, name, len(mine), _common([d.offset_s for d in mine.values()]))

    def explains(self, mmsi: int, t: float) -> bool:
        """Whether a displacement of the ship at ``t`` belongs to a fault."""
        if not self.faults:
            return False
        minute = math.floor(t / MINUTE_S)
        return any(mmsi in f.ships and f.first - 1 <= minute <= f.ships[mmsi] + FOLLOWS_MINUTES for f in self.faults)

    def _forget(self, minute: int) -> None:
        for old in [m for m in self.minutes if m < minute - MINUTES_KEPT]:
            del self.minutes[old]
        if self.faults:
            self.faults = [f for f in self.faults if f.last >= minute - FORGET_MINUTES]


def _common(offsets: list[float]) -> float | None:
    """The offset that most ships show, to the second; None where they do not agree."""
    known = sorted(abs(x) for x in offsets if x == x)
    if len(known) < SHIPS_MIN:
        return None
    middle = known[len(known) // 2]
    agreeing = sum(abs(x - middle) <= OFFSETS_AGREE_S for x in known)
    return float(round(middle)) if 2 * agreeing > len(offsets) else None

"""Ships as the map knows them: where each is, where it has been in the last 24 hours, and what was said of it.

Memory is bounded: one past position a slot of two minutes, 24 hours of them, ``ships_max`` ships. 5,000 ships that are heard all
day take some 90 MB.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multitaskais.types import Reports

from ..plain_text import plain
from .untrusted import NAME_CHARS, VERDICT_CODE, VerdictRecord

PAST_DTYPE = np.dtype([("t", "f8"), ("lat", "f4"), ("lon", "f4"), ("sog", "f4"), ("cog", "f4")])
STEPS_MAX = 300  # verdicts kept a ship; 24 h of 10-minute steps are 144
PastRows = NDArray[np.void]  # (n,) of ``PAST_DTYPE``


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept."""

    hours: float = 24.0  # of past
    slot_s: float = 120.0  # one past position in so long
    ships_max: int = 20_000
    alerts_max: int = 5_000


class Past:
    """Thinned positions of one ship, oldest first."""

    __slots__ = ("_n", "_rows")

    def __init__(self) -> None:
        self._rows = np.empty(16, PAST_DTYPE)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    @property
    def rows(self) -> PastRows:
        """(n,) of ``PAST_DTYPE``; a view."""
        return self._rows[: self._n]

    def append(self, row: tuple[float, float, float, float, float], since: float) -> None:
        """Add the newest position; what is older than ``since`` may go."""
        if self._n == len(self._rows):
            keep = self.rows[np.searchsorted(self.rows["t"], since) :]
            if len(keep) > len(self._rows) // 2:
                self._rows = np.empty(2 * len(self._rows), PAST_DTYPE)
            self._rows[: len(keep)] = keep.copy()
            self._n = len(keep)
        self._rows[self._n] = row
        self._n += 1

    def between(self, t0: float, t1: float) -> PastRows:
        """Positions with ``t0 <= t <= t1``; a view."""
        t = self.rows["t"]
        return self.rows[np.searchsorted(t, t0) : np.searchsorted(t, t1, "right")]


@dataclass(slots=True)
class Step:
    """One verdict: its sample's time, its code, its score / threshold (None when not judged)."""

    t: float
    code: int
    score: float | None
    track_id: str


@dataclass(slots=True)
class Ship:
    """``t`` is -inf until its first position; missing numbers are NaN, an unknown type is -1."""

    mmsi: int
    t: float = -math.inf
    lat: float = math.nan
    lon: float = math.nan
    sog: float = math.nan
    cog: float = math.nan
    heading: float = math.nan
    name: str = ""
    ship_type: int = -1
    code: int = 0
    reason: str = ""
    past: Past = field(default_factory=Past)
    steps: list[Step] = field(default_factory=list)  # by time, ``STEPS_MAX`` at most


class Ships:
    """All ships, and which of them have changed since that was last asked."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._ships: dict[int, Ship] = {}
        self.changed: set[int] = set()

    def __len__(self) -> int:
        return len(self._ships)

    def __iter__(self) -> Iterator[Ship]:
        return iter(self._ships.values())

    def get(self, mmsi: int) -> Ship | None:
        return self._ships.get(mmsi)

    def take(self, reports: Reports) -> None:
        """Reports of ``REPORT_DTYPE`` that have a time and a position, in any order."""
        if not len(reports):
            return
        r = reports[np.lexsort((reports["t"], reports["mmsi"]))]
        slot = r["t"] // self._limits.slot_s
        new_ship = r["mmsi"][1:] != r["mmsi"][:-1]
        first_in_slot = np.concatenate([[True], new_ship | (slot[1:] != slot[:-1])])
        last_of_ship = np.concatenate([new_ship, [True]])
        for row in r[first_in_slot].tolist():
            self._remember(row)
        for row in r[last_of_ship].tolist():
            self._move(row)

    def _remember(self, row: tuple[Any, ...]) -> None:
        mmsi, t, lat, lon, sog, cog = row[:6]
        past = self._of(mmsi).past
        if not len(past) or t // self._limits.slot_s > past.rows["t"][-1] // self._limits.slot_s:
            past.append((t, lat, lon, sog, cog), t - 3600.0 * self._limits.hours)

    def _move(self, row: tuple[Any, ...]) -> None:
        mmsi, t, lat, lon, sog, cog, heading, _, _, ship_type, name, *_ = row
        ship = self._of(mmsi)
        if t < ship.t:
            return
        ship.t, ship.lat, ship.lon, ship.sog, ship.cog, ship.heading = t, lat, lon, sog, cog, heading
        if ship_type >= 0:
            ship.ship_type = ship_type
        if name:
            ship.name = plain(name.decode("ascii", "replace"), NAME_CHARS) or ship.name
        self.changed.add(mmsi)

    def judge(self, v: VerdictRecord) -> None:
        ship = self._of(int(v.mmsi))
        code = VERDICT_CODE[v.verdict]
        self.remember_step(v)
        if (ship.code, ship.reason) != (code, v.reason or ""):
            ship.code, ship.reason = code, v.reason or ""
            self.changed.add(ship.mmsi)

    def remember_step(self, v: VerdictRecord) -> None:
        """One step of the chart, from a verdict or a sample. The two topics are read side by side: each step has its place by its
        time, and the last that comes for it holds (a log that is judged again)."""
        steps = self._of(int(v.mmsi)).steps
        step = Step(v.t, VERDICT_CODE[v.verdict], v.score, v.track_id)
        at = len(steps)
        while at and (steps[at - 1].t, steps[at - 1].track_id) > (step.t, step.track_id):
            at -= 1
        if at and (steps[at - 1].t, steps[at - 1].track_id) == (step.t, step.track_id):
            steps[at - 1] = step
        else:
            steps.insert(at, step)
            del steps[:-STEPS_MAX]

    def forget(self, now: float) -> list[int]:
        """Drop ships that were silent for all of the past that is kept, and the longest silent above ``ships_max``. Returns them."""
        since = now - 3600.0 * self._limits.hours
        gone = [s.mmsi for s in self if s.t < since and not (s.t == -math.inf and s.steps and s.steps[-1].t >= since)]
        if (over := len(self) - len(gone) - self._limits.ships_max) > 0:
            left = sorted((s for s in self if s.t >= since), key=lambda s: s.t)
            gone += [s.mmsi for s in left[:over]]
        for mmsi in gone:
            del self._ships[mmsi]
            self.changed.discard(mmsi)
        return gone

    def _of(self, mmsi: int) -> Ship:
        if (ship := self._ships.get(mmsi)) is None:
            ship = self._ships[mmsi] = Ship(mmsi)
        return ship

"""How well the stamps of an archive can be believed: against the ships' own seconds, and by the span that they cover.

A stamp says when a station received a report, by the station's clock, behind a network. Messages 1-3, 18 and 19 carry the UTC second
of the fix itself (ITU-R M.1371-5, table 48), by the ship's satellite receiver. With it

- a source is measured: the share of stamps that agree with it, and by how much each station's clock is ahead;
- where a source's stamps are coarse (``are_coarse``: some agree and many do not, as when they come late by a network), its reports are
  dated by it: a stamp that lies more than ``AGREES_S`` and no more than ``REDATE_MAX_S`` from the nearest moment with that second is
  of that moment. Nearer, the two agree and the stamp stays; farther, the second may belong to another minute, so it stays too.

Whether a source is coarse is decided once, from the first bytes of the file, and what follows rests on the one report alone: so an archive
gives the same reports in whatever pieces and by whatever command it is read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

AGREES_S = 5.0  # what sending, receiving and writing down take
REDATE_MAX_S = 15.0  # half of the way to where the next minute's second would be as near
MINUTE_S = 60.0
STATIONS_MAX = 256  # whose clocks are measured; of more the first
STATION_SAMPLE = 2048  # reports of one block that are looked at for it
STATION_REPORTS_MIN = 50  # before a station's clock is told
STATIONS_TOLD = 5
COARSE_REPORTS_MIN = 50  # with their own second, in the first bytes of a file
COARSE_SHARE = (0.3, 0.9)  # of agreeing stamps: by chance a sixth of them agree; of good ones nine in ten and more
DAY_S = 86_400.0
YEAR_S = 365.25 * DAY_S
ABSURD_YEARS = 2.0  # a span longer than this ...
ABSURD_STEP_S = DAY_S  # ... with so much time between two lines on average is no log of AIS


def ahead_of_second(t: NDArray[np.float64], second: NDArray[np.int8]) -> NDArray[np.float64]:
    """(n,) seconds in [-30, 30] that the stamps ``t`` (Unix s) lie after the nearest moments with these seconds; NaN where ``second`` is not 0..59."""
    ahead = t - second
    ahead -= MINUTE_S * np.rint(ahead / MINUTE_S)
    ahead[(second < 0) | (second >= MINUTE_S)] = np.nan
    return ahead


def is_redated(ahead: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the own second dates the report better than its stamp."""
    off = np.abs(ahead)
    return (off > AGREES_S) & (off <= REDATE_MAX_S)


def are_coarse(ahead: NDArray[np.float64]) -> bool:
    """Whether (n,) stamps are such that the ships' own seconds date better."""
    known = ahead[~np.isnan(ahead)]
    if len(known) < COARSE_REPORTS_MIN:
        return False
    share = float(np.mean(np.abs(known) <= AGREES_S))
    return COARSE_SHARE[0] <= share < COARSE_SHARE[1]


@dataclass(slots=True)
class Stamps:
    """What was seen of an archive's stamps.

    Attributes:
        first, last: Unix s; infinite before any report.
        with_second: reports that carry their own second.
        agreeing: of these, those whose stamp lies within ``AGREES_S`` of it.
        redated: of these, those that were dated by it.
        reports: how many were seen.
        years_back: how often a stamp lies more than a year before the one before it.
        stations: of each station how many reports lie so many whole seconds (-30..30) ahead of their own second.
    """

    first: float = math.inf
    last: float = -math.inf
    reports: int = 0
    with_second: int = 0
    agreeing: int = 0
    redated: int = 0
    years_back: int = 0
    stations: dict[bytes, NDArray[np.int64]] = field(default_factory=dict)
    _before: float = -math.inf  # the last stamp that was seen here

    def see(self, t: NDArray[np.float64]) -> None:
        """(n,) times of reports in the order of the archive, Unix s."""
        if not len(t):
            return
        self.first = min(self.first, float(t.min()))
        self.last = max(self.last, float(t.max()))
        self.reports += len(t)
        self.years_back += int(np.count_nonzero(t[1:] < t[:-1] - YEAR_S)) + bool(t[0] < self._before - YEAR_S)
        self._before = float(t[-1])

    def compare(self, ahead: NDArray[np.float64], stations: NDArray[np.bytes_] | None = None) -> None:
        """(n,) of ``ahead_of_second``, and who received the reports."""
        off = np.abs(ahead)
        self.with_second += int(np.count_nonzero(off <= MINUTE_S))  # NaN is not
        self.agreeing += int(np.count_nonzero(off <= AGREES_S))
        if stations is None:
            return
        ahead, stations = ahead[:STATION_SAMPLE], stations[:STATION_SAMPLE]
        for station in np.unique(stations).tolist():
            if station and (station in self.stations or len(self.stations) < STATIONS_MAX):
                mine = ahead[stations == station]
                self._count(station, np.bincount(np.rint(mine[~np.isnan(mine)]).astype(np.int64) + 30, minlength=61))

    def see_one(self, t: float, second: int, station: bytes) -> None:
        """One report with a stamp."""
        one = np.array([t])
        self.see(one)
        self.compare(ahead_of_second(one, np.array([second])), np.array([station]) if station else None)

    def _count(self, station: bytes, found: NDArray[np.int64]) -> None:
        known = self.stations.get(station)
        self.stations[station] = found if known is None else known + found

    def add(self, other: Stamps) -> None:
        """Take in the stamps of another part of the same archive."""
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.with_second += other.with_second
        self.agreeing += other.agreeing
        self.redated += other.redated
        self.reports += other.reports
        self.years_back += other.years_back
        for station, found in other.stations.items():
            if station in self.stations or len(self.stations) < STATIONS_MAX:
                self._count(station, found)

    def station_offsets(self) -> dict[bytes, int]:
        """By how many seconds (median, -30..30) the clocks of stations are ahead, of those heard often enough."""
        out = {}
        for station, found in sorted(self.stations.items()):
            n = int(found.sum())
            if n >= STATION_REPORTS_MIN:
                out[station] = int(np.searchsorted(np.cumsum(found), (n + 1) // 2)) - 30
        return out

    def agreement(self) -> str:
        """One line; empty where no report carries its own second."""
        if not self.with_second:
            return ""
        # Rounded down: 100 % is said of all alone.
        text = (
            f"{100 * self.agreeing // self.with_second} % of {self.with_second:,} stamps agree within "
            f"{AGREES_S:.0f} s with the ship's own second"
        )
        return text + (f"; {self.redated:,} reports are dated by it" if self.redated else "")

    def told(self) -> list[str]:
        """What a summary says of the stamps, a line each."""
        lines = []
        if self.reports:
            lines.append(f"stamps from {day(self.first)} to {day(self.last)} UTC")
        if agreement := self.agreement():
            lines.append(agreement)
        off = {s: n for s, n in self.station_offsets().items() if abs(n) > AGREES_S}
        for station, n in sorted(off.items(), key=lambda item: -abs(item[1]))[:STATIONS_TOLD]:
            name = station.decode("ascii", "replace")
            lines.append(f"the clock of station {name} is {abs(n)} s {'ahead' if n > 0 else 'behind'} of the ships'")
        if len(off) > STATIONS_TOLD:
            lines.append(f"and those of {len(off) - STATIONS_TOLD} other stations are more than {AGREES_S:.0f} s off")
        if self.years_back:
            lines.append(f"the stamps step back by more than a year {self.years_back:,} times: a clock was wrong")
        if self.reports > 2 and self.last - self.first > ABSURD_YEARS * YEAR_S:
            step = (self.last - self.first) / (self.reports - 1)
            if step > ABSURD_STEP_S:
                lines.append(f"that is {step:,.0f} s a report: they may be no times")
        return lines


def day(t: float) -> str:
    """A moment as a person reads it."""
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M:%S")


def require_plausible_span(t: NDArray[np.float64], where: str) -> None:
    """Raises ``InputError`` where the (n,) times of an archive, Unix s, cannot be the times of a log of AIS."""
    if len(t) < 3:
        return
    first, last = float(np.min(t)), float(np.max(t))
    step = (last - first) / (len(t) - 1)
    # The median step of the archive's own order: a few wrong stamps among many right ones are no wrong clock.
    typical = float(np.median(np.abs(np.diff(t))))
    if last - first > ABSURD_YEARS * YEAR_S and min(step, typical) > ABSURD_STEP_S:
        raise InputError(
            f"{where}: its stamps run from {day(first)} to {day(last)}, {typical:,.0f} s a line: they are no times "
            "(a counter of samples?); write the archive with the time of reception"
        )

"""Seeded traffic without end, with everything in it that an operator must get right; and one hour that can be had again and again.

Ships of the simulator off Brittany, day after day, half of them abnormal, each heard once a minute: so a round of a minute follows
ships over hours of event time, and the learned detectors raise alerts of most types. Among them: single reports far away (jumps),
pairs of ships on one MMSI, missing speeds and courses, station clocks that are hours ahead or behind, positions that are none. On
request for a while: shuffled and doubled, as two stations and a bad line deliver it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from multitaskais.config import REGIONS
from multitaskais.records import REPORT_DTYPE
from multitaskais.simulate import SimulationSettings, simulate
from multitaskais.types import Reports
from stream_operator.kafka.partitioner import partition_of

T0 = 1_767_225_600.0  # 2026-01-01
HOUR_S = 3600.0
SHIFT_S = 6 * 3600.0  # from one round of the soak to the next: tracks end, and in five rounds a vessel is forgotten
DAY_S = 86_400.0
TICK_S = 60.0  # event time that is made at once; a ship reports at most once in it
FIRST_MMSI = 227_000_001
CLOCK_WRONG_S = 2 * 3600.0
TWINS = 3  # pairs of ships of a day that use one MMSI
JUMP, NO_SOG, NO_COG, NO_PLACE, WRONG_CLOCK = 0.0006, 0.002, 0.01, 0.001, 0.0004  # shares of reports


FIRST_AT_ANCHOR = 227_800_000


def at_anchor(partitions: int) -> Reports:
    """A ship at anchor for each partition of the source, so that all of them have reports however few ships are under way."""
    numbers: dict[int, int] = {}
    for mmsi in itertools.count(FIRST_AT_ANCHOR):
        numbers.setdefault(partition_of(str(mmsi).encode(), partitions), mmsi)
        if len(numbers) == partitions:
            break
    rows = np.zeros(partitions, REPORT_DTYPE)
    rows["mmsi"] = [numbers[p] for p in range(partitions)]
    rows["lat"], rows["lon"] = 48.3, (-6.0 + 0.01 * np.arange(partitions)).round(6)
    rows["heading"], rows["nav_status"], rows["msg_type"], rows["ship_type"] = np.nan, 1, 1, 70
    rows["second"] = -1
    return rows


class FaultTraffic:
    """Rows of reports in log order; ``t_end`` lies past the gap rule after the last one.

    Args:
        vessels: ships of a day.
        partitions: of the source; each has a ship at anchor.
    """

    def __init__(self, seed: int, vessels: int = 160, partitions: int = 4) -> None:
        self.vessels = vessels
        self._at_anchor = at_anchor(partitions)
        self._rng = np.random.default_rng(seed)
        self._disorder = 0
        self.now = T0  # event time (Unix s) of the next rows

    @property
    def t_end(self) -> float:
        # Past the gap rule also after a clock that was ahead.
        return self.now + CLOCK_WRONG_S + 7200.0 + 120.0 + 60.0

    def disorder(self, reports: int) -> None:
        """The next so many reports come shuffled, and one in five comes twice."""
        self._disorder = reports

    def _day(self, number: int) -> Reports:
        """The reports of a day, in order of time, one of a ship in a tick; ships of other days have other numbers."""
        asked = SimulationSettings(start=T0 + number * DAY_S, vessels=self.vessels, abnormal=self.vessels // 2)
        reports = simulate(REGIONS["brittany"], asked, self._rng).reports
        _, first = np.unique(np.stack([reports["mmsi"], reports["t"] // TICK_S]), axis=1, return_index=True)
        reports = reports[np.sort(first)]
        ships, count = np.unique(reports["mmsi"], return_counts=True)
        numbers = FIRST_MMSI + number * self.vessels + np.arange(len(ships))
        busy = np.argsort(-count, kind="stable")[: 2 * TWINS]
        numbers[busy[TWINS:]] = numbers[busy[:TWINS]]
        reports["mmsi"] = numbers[np.searchsorted(ships, reports["mmsi"])]
        return reports

    def __iter__(self) -> Iterator[tuple]:
        for number in itertools.count():
            day = self._day(number)
            arrival = day["t"].copy()
            day = self._spoil(day)
            day["lat"], day["lon"] = day["lat"].round(6), day["lon"].round(6)
            cuts = np.searchsorted(arrival, T0 + number * DAY_S + np.arange(0.0, DAY_S, TICK_S))
            for rows in np.split(day, cuts[1:]):
                if self._disorder > 0:
                    self._disorder -= len(rows)
                    rows = np.concatenate([rows, rows[::5]])
                    rows = rows[self._rng.permutation(len(rows))]
                self.now += TICK_S
                self._at_anchor["t"] = self.now - 1.0
                yield from rows.tolist()  # type: ignore[misc]
                yield from self._at_anchor.tolist()  # type: ignore[misc]

    def _spoil(self, rows: Reports) -> Reports:
        """Of reports in order of their arrival, which stays."""
        chance = self._rng.random((5, len(rows)))
        rows["lat"] += np.where(chance[0] < JUMP, np.where(rows["lat"] > 48.5, -0.4, 0.4), 0.0)
        rows["sog"][chance[1] < NO_SOG] = np.nan
        rows["cog"][chance[2] < NO_COG] = np.nan
        rows["lat"][chance[3] < NO_PLACE] = np.nan
        wrong = chance[4] < WRONG_CLOCK
        rows["t"][wrong] += np.where(chance[4][wrong] < WRONG_CLOCK / 2, CLOCK_WRONG_S, -CLOCK_WRONG_S)
        return rows


def hour(number: int, stay: int, come_and_go: int, every_s: float) -> Reports:
    """The reports of one hour, in time order; with another number the same hour at another time.

    ``stay`` ships are the same in each, ``come_and_go`` have other numbers in each.
    """
    n = stay + come_and_go
    rng = np.random.default_rng(5)
    phase, radius_nm = rng.uniform(0, 2 * math.pi, n), rng.uniform(1.0, 2.5, n)
    lat, lon = rng.uniform(47.8, 49.2, n), rng.uniform(-6.6, -4.4, n)
    at = np.arange(0.0, HOUR_S, every_s)[:, None] + rng.uniform(0, every_s, n).round(1)
    angle = phase + 2 * math.pi * at / HOUR_S
    rows = np.zeros(at.shape, REPORT_DTYPE)
    rows["mmsi"] = 227_000_000 + np.where(np.arange(n) < stay, np.arange(n), np.arange(n) + number * come_and_go)
    rows["t"] = T0 + number * SHIFT_S + at
    rows["lat"] = (lat + radius_nm / 60 * np.sin(angle)).round(6)
    rows["lon"] = (lon + radius_nm / 60 * np.cos(angle) / np.cos(np.radians(lat))).round(6)
    rows["sog"] = (2 * math.pi * radius_nm).round(1)
    rows["cog"] = (np.degrees(-angle) % 360).round(1) % 360
    rows["heading"], rows["nav_status"], rows["msg_type"], rows["ship_type"] = np.nan, 0, 1, 70
    flat = rows.reshape(-1)
    return flat[np.argsort(flat["t"], kind="stable")]

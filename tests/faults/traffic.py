"""Seeded traffic without end, with everything in it that an operator must get right; and one hour that can be had again and again.

Two kinds of ships on straight legs off Brittany: some report each half minute, most every ten minutes. Among them: single reports far
away (jumps), pairs of ships on one MMSI, ships that fall silent for hours, missing speeds and courses, station clocks that are hours
ahead or behind, positions that are none. On request for a while: shuffled and doubled, as two stations and a bad line deliver it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from multitaskais.records import REPORT_DTYPE

T0 = 1_767_225_600.0  # 2026-01-01
HOUR_S = 3600.0
SHIFT_S = 6 * 3600.0  # from one round of the soak to the next: tracks end, and in five rounds a vessel is forgotten
TICK_S = 30.0  # event time that is made at once; a quick ship reports once in it
SLOW_TICKS = 20  # a slow ship reports once in so many
FIRST_MMSI = 227_000_001
CLOCK_WRONG_S = 2 * 3600.0
TWINS = 6  # ships whose MMSI a second ship uses for a while
TWIN_TICKS, TWIN_EVERY = 40, 240
SILENT_TICKS = 300  # 2.5 h: longer than the gap rule
JUMP, NO_SOG, NO_COG, NO_PLACE, WRONG_CLOCK = 0.0006, 0.002, 0.01, 0.001, 0.0004  # shares of reports


class FaultTraffic:
    """Rows of reports in log order; ``t_end`` lies past the gap rule after the last one."""

    def __init__(self, seed: int, vessels: int = 600, quick: int = 300) -> None:
        self.vessels, self.quick = vessels, min(quick, vessels)
        self._rng = np.random.default_rng(seed)
        self._disorder = 0
        self._tick = 0

    @property
    def t_end(self) -> float:
        # Past the gap rule also after a clock that was ahead.
        return T0 + self._tick * TICK_S + CLOCK_WRONG_S + 7200.0 + 120.0 + 60.0

    def disorder(self, reports: int) -> None:
        """The next so many reports come shuffled, and one in five comes twice."""
        self._disorder = reports

    def __iter__(self) -> Iterator[tuple]:
        rng, n = self._rng, self.vessels
        number = np.arange(n)
        lat, lon = rng.uniform(47.6, 49.4, n), rng.uniform(-6.9, -4.1, n)
        sog, cog = rng.uniform(5, 20, n), rng.uniform(0, 360, n)
        slow_at = rng.integers(0, SLOW_TICKS, n)
        while True:
            step = sog * TICK_S / 3600 / 60  # degrees of latitude
            lat = lat + step * np.cos(np.radians(cog))
            lon = lon + step * np.sin(np.radians(cog)) / 0.66
            out = (lat < 47.55) | (lat > 49.45) | (lon < -6.95) | (lon > -4.05)
            cog = np.where(out, (cog + 180) % 360, cog)
            heard = (number < self.quick) | (slow_at == self._tick % SLOW_TICKS)
            # Of the slow ships one in twenty is silent half of the time.
            heard &= ~((number % 20 == 19) & (self._tick // SILENT_TICKS % 2 == 1))
            i = np.flatnonzero(heard)
            rows = np.zeros(len(i), REPORT_DTYPE)
            rows["mmsi"] = FIRST_MMSI + i
            t = T0 + self._tick * TICK_S
            rows["t"] = t + rng.uniform(0, TICK_S, len(i)).round(1)
            rows["lat"], rows["lon"], rows["sog"], rows["cog"] = lat[i], lon[i], sog[i].round(1), cog[i].round(1)
            rows["heading"], rows["nav_status"], rows["msg_type"], rows["ship_type"] = np.nan, 0, 1, 70
            rows = self._spoil(rows)
            if self._tick % TWIN_EVERY < TWIN_TICKS:
                # The second half of the quick ships lends its positions to the first ones' numbers.
                twins = rows[np.isin(rows["mmsi"], FIRST_MMSI + self.quick // 2 + np.arange(TWINS))].copy()
                twins["mmsi"] -= self.quick // 2
                rows = np.concatenate([rows, twins])
            rows["lat"], rows["lon"] = rows["lat"].round(6), rows["lon"].round(6)
            rows = rows[np.argsort(rows["t"], kind="stable")]
            if self._disorder > 0:
                self._disorder -= len(rows)
                rows = np.concatenate([rows, rows[::5]])
                rows = rows[rng.permutation(len(rows))]
            self._tick += 1
            yield from rows.tolist()  # type: ignore[misc]

    def _spoil(self, rows: np.ndarray) -> np.ndarray:
        chance = self._rng.random((5, len(rows)))
        rows["lat"] += np.where(chance[0] < JUMP, np.where(rows["lat"] > 48.5, -0.4, 0.4), 0.0)
        rows["sog"][chance[1] < NO_SOG] = np.nan
        rows["cog"][chance[2] < NO_COG] = np.nan
        rows["lat"][chance[3] < NO_PLACE] = np.nan
        wrong = chance[4] < WRONG_CLOCK
        rows["t"][wrong] += np.where(chance[4][wrong] < WRONG_CLOCK / 2, CLOCK_WRONG_S, -CLOCK_WRONG_S)
        return rows


def hour(number: int, stay: int, come_and_go: int, every_s: float) -> NDArray[np.void]:
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

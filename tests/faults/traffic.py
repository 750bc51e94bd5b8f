"""Seeded traffic without end: ships on straight legs off Brittany, one report each per round, some doubled or late on request."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from multitaskais.records import REPORT_DTYPE

T0 = 1_767_225_600.0  # 2026-01-01
VESSELS = 300
EVERY_S = 60.0  # event time between two reports of a vessel


class Traffic:
    """Rows of reports in log order; ``t_end`` lies past the gap rule after the last one."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._disorder = 0
        self._t = T0

    @property
    def t_end(self) -> float:
        return self._t + 7200.0 + 120.0 + 60.0

    def disorder(self, reports: int) -> None:
        """The next so many reports come shuffled within a minute, and one in five comes twice."""
        self._disorder = reports

    def __iter__(self) -> Iterator[tuple]:
        rng = self._rng
        lat, lon = rng.uniform(47.6, 49.4, VESSELS), rng.uniform(-6.9, -4.1, VESSELS)
        sog, cog = rng.uniform(5, 20, VESSELS), rng.uniform(0, 360, VESSELS)
        while True:
            rows = np.zeros(VESSELS, REPORT_DTYPE)
            rows["mmsi"] = 227_000_001 + np.arange(VESSELS)
            rows["t"] = self._t + rng.uniform(0, EVERY_S, VESSELS).round(1)
            lat = lat + sog * np.cos(np.radians(cog)) * EVERY_S / 3600 / 60
            lon = lon + sog * np.sin(np.radians(cog)) * EVERY_S / 3600 / 60 / 0.66
            out = (lat < 47.55) | (lat > 49.45) | (lon < -6.95) | (lon > -4.05)
            cog = np.where(out, (cog + 180) % 360, cog)
            rows["lat"], rows["lon"], rows["sog"], rows["cog"] = lat.round(6), lon.round(6), sog.round(1), cog.round(1)
            rows["heading"], rows["nav_status"], rows["msg_type"], rows["ship_type"] = np.nan, 0, 1, 70
            if self._disorder > 0:
                self._disorder -= VESSELS
                rows = np.concatenate([rows, rows[::5]])
                rows = rows[rng.permutation(len(rows))]
            else:
                rows = rows[np.argsort(rows["t"], kind="stable")]
            self._t += EVERY_S
            yield from rows.tolist()

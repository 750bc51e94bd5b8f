"""What silence is usual where: how often a ship under way is not heard for longer than so much, per cell, learnt from an archive.

A receiver hears one water every minute and another once an hour; at the edge of its reach ships leave unheard all the time, and
at a berth the set is switched off. So a fixed limit is wrong nearly everywhere. Here each cell has, for each of ``SPANS_S``, the
rate at which silences longer than that begin (per vessel-hour under way): the posterior mean under a gamma prior with the mean of the
larger cell, that of the whole area at last. One allowed rate is chosen for all cells so that all silences that are then expected
keep the budget; the limit of a cell is the least span whose rate is allowed. Where even half a day is common there is none, and where
nothing was learnt neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ais.sentinels import MOORED_STATUS
from ..records import REPORT_DTYPE
from ..types import Reports
from .fleet import UNDER_WAY_KNOTS
from .stops import StoppingPlaces

SPANS_S = np.array([1800.0, 2700.0, 3600.0, 5400.0, 7200.0, 10800.0, 14400.0, 21600.0, 28800.0, 43200.0])
LEVELS_PER_DEG = (10, 2)  # cells of 0.1 and of 0.5 degree; then the whole area
PRIOR_SHAPE = 0.2  # of the gamma prior: most cells are far better or far worse than their mean
MS_PER_HOUR = 3_600_000.0
HEARD_S = 600.0  # of a longer interval only so much counts as heard there
SILENCES_PER_VESSEL_DAY = 0.005  # the share of the budget of false alarms that silence is given
_COLUMN_BASE = 1 << 16


def grid_key(per_deg: int, lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.int64]:
    row = np.floor((lat + 90.0) * per_deg).astype(np.int64)
    return row * _COLUMN_BASE + np.floor((lon + 180.0) * per_deg).astype(np.int64)


def watched(
    sog: NDArray[np.float64],
    nav_status: NDArray[np.int8],
    lat: NDArray[np.float64],
    lon: NDArray[np.float64],
    stops: StoppingPlaces,
) -> NDArray[np.bool_]:
    """(n,) whether a ship's silence after such a report is a matter: under way, and not at a place where ships stop."""
    under_way = (sog > UNDER_WAY_KNOTS) & (nav_status != MOORED_STATUS[0]) & (nav_status != MOORED_STATUS[1])
    matters: NDArray[np.bool_] = under_way & ~stops.near(lat, lon)
    return matters


@dataclass(frozen=True)
class Coverage:
    """Counts of one archive.

    Attributes, per level of ``LEVELS_PER_DEG``:
        keys: (n,) int64, ascending.
        hours: (n,) vessel-hours under way.
        longer: (n, len(SPANS_S)) silences that were longer than each span.
    """

    keys: tuple[NDArray[np.int64], ...] = ()
    hours: tuple[NDArray[np.float64], ...] = ()
    longer: tuple[NDArray[np.int64], ...] = ()
    silences_per_vessel_day: float = SILENCES_PER_VESSEL_DAY
    _limits: tuple[NDArray[np.float64], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_limits", self._chosen() if self.keys else ())

    def _chosen(self) -> tuple[NDArray[np.float64], ...]:
        """Per level the limits (n,): see the module."""
        total = max(float(self.hours[0].sum()), 1e-9)
        whole = self.longer[0].sum(axis=0)[None, :] / total
        rates: list[NDArray[np.float64]] = []
        for level in reversed(range(len(LEVELS_PER_DEG))):
            prior = rates[0][self._parent(level)] if rates else np.repeat(whole, len(self.keys[level]), axis=0)
            prior = np.maximum(prior, 1e-6)
            rates.insert(0, (self.longer[level] + PRIOR_SHAPE) / (self.hours[level][:, None] + PRIOR_SHAPE / prior))
        # Each cell's expected silences at each span; a cell comes in with its least rate (the longest span) first.
        least = rates[0][:, -1]
        order = np.argsort(least, kind="stable")
        expected = np.cumsum((least * self.hours[0])[order])
        within = int(np.searchsorted(expected, self.silences_per_vessel_day / 24.0 * total, side="right"))
        allowed = float(least[order][within - 1]) if within else -1.0
        return tuple(_limit(rate, allowed) for rate in rates)

    def _parent(self, level: int) -> NDArray[np.int64]:
        ratio = LEVELS_PER_DEG[level] // LEVELS_PER_DEG[level + 1]
        row, column = self.keys[level] // _COLUMN_BASE, self.keys[level] % _COLUMN_BASE
        return np.searchsorted(self.keys[level + 1], (row // ratio) * _COLUMN_BASE + column // ratio)

    def limit_s(self, lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) longest usual silence of a ship under way that was last heard there, s; inf where none can be told."""
        out = np.full(len(lat), np.inf)
        if self.keys and len(self.keys[0]):
            key = grid_key(LEVELS_PER_DEG[0], lat, lon)
            at = np.minimum(np.searchsorted(self.keys[0], key), len(self.keys[0]) - 1)
            out = np.where(self.keys[0][at] == key, self._limits[0][at], out)
        return out

    def to_arrays(self) -> dict[str, Any]:
        """Arrays by name, for the model's ``encounters.npz``."""
        out: dict[str, Any] = {"coverage_budget": np.float64(self.silences_per_vessel_day)}
        for k in range(len(self.keys)):
            out |= {
                f"coverage_keys{k}": self.keys[k],
                f"coverage_hours{k}": self.hours[k],
                f"coverage_longer{k}": self.longer[k],
            }
        return out

    @classmethod
    def from_arrays(cls, arrays: Any) -> Coverage:
        levels = [k for k in range(len(LEVELS_PER_DEG)) if f"coverage_keys{k}" in arrays]
        keys, hours, longer = (
            tuple(arrays[f"coverage_{name}{k}"] for k in levels) for name in ("keys", "hours", "longer")
        )
        return cls(keys, hours, longer, float(arrays["coverage_budget"]))


def _limit(rate: NDArray[np.float64], allowed: float) -> NDArray[np.float64]:
    """(n,) least span whose rate is allowed; inf where none is."""
    fine = rate <= allowed
    return np.where(fine.any(axis=1), SPANS_S[np.argmax(fine, axis=1)], np.inf)


class CoverageTally:
    """Coverage of reports that come in spans of time, each later than all before. A mutable value.

    What it holds grows with the vessels and the cells, not with the reports. Times are counted in whole milliseconds, so the
    sums are the same however the reports were cut.
    """

    def __init__(self, stops: StoppingPlaces) -> None:
        self._stops = stops
        self._last = np.zeros(0, REPORT_DTYPE)  # of each vessel, by MMSI
        self._t = -np.inf
        self._cells = [_Cells() for _ in LEVELS_PER_DEG]

    def add(self, reports: Reports) -> None:
        """Take (n,) reports of ``REPORT_DTYPE`` of one span, in any order; a vessel's times differ."""
        if not len(reports):
            return
        self._t = max(self._t, float(reports["t"].max()))
        reports = np.concatenate([self._last, reports])
        reports = reports[np.lexsort((reports["t"], reports["mmsi"]))]
        last = np.append(reports["mmsi"][1:] != reports["mmsi"][:-1], True)
        self._last = reports[last]
        interval = np.append(reports["t"][1:], 0.0) - reports["t"]
        self._count(reports[~last], interval[~last])

    def close(self, silences_per_vessel_day: float = SILENCES_PER_VESSEL_DAY) -> Coverage:
        """No more reports. A vessel's last report begins a silence that lasts to the end at least; no more is claimed of it."""
        if not len(self._last):
            return Coverage(silences_per_vessel_day=silences_per_vessel_day)
        self._count(self._last, self._t - self._last["t"])
        return Coverage(
            tuple(c.keys for c in self._cells),
            tuple(c.heard_ms / MS_PER_HOUR for c in self._cells),
            tuple(c.longer for c in self._cells),
            silences_per_vessel_day,
        )

    def _count(self, reports: Reports, interval: NDArray[np.float64]) -> None:
        use = watched(reports["sog"], reports["nav_status"], reports["lat"], reports["lon"], self._stops)
        interval, lat, lon = interval[use], reports["lat"][use], reports["lon"][use]
        heard_ms = np.rint(np.minimum(interval, HEARD_S) * 1000.0)
        spans = np.searchsorted(SPANS_S, interval, side="left")  # so many of them are exceeded
        for per_deg, cells in zip(LEVELS_PER_DEG, self._cells, strict=True):
            keys, of = np.unique(grid_key(per_deg, lat, lon), return_inverse=True)
            n = len(SPANS_S) + 1
            exceeded = np.bincount(of * n + spans, minlength=len(keys) * n).reshape(-1, n)
            longer = np.cumsum(exceeded[:, ::-1], axis=1)[:, ::-1][:, 1:]
            cells.add(keys, np.bincount(of, heard_ms, len(keys)).astype(np.float64), longer.astype(np.int64))


class _Cells:
    """Of one level; ``heard_ms`` are whole numbers, so their order of summation does not matter."""

    def __init__(self) -> None:
        self.keys = np.zeros(0, np.int64)
        self.heard_ms = np.zeros(0)
        self.longer = np.zeros((0, len(SPANS_S)), np.int64)

    def add(self, keys: NDArray[np.int64], heard_ms: NDArray[np.float64], longer: NDArray[np.int64]) -> None:
        both = np.union1d(self.keys, keys)
        sums, counts = np.zeros(len(both)), np.zeros((len(both), len(SPANS_S)), np.int64)
        for k, ms, over in ((self.keys, self.heard_ms, self.longer), (keys, heard_ms, longer)):
            at = np.searchsorted(both, k)
            sums[at] += ms
            counts[at] += over
        self.keys, self.heard_ms, self.longer = both, sums, counts


def learn(
    reports: Reports, stops: StoppingPlaces, silences_per_vessel_day: float = SILENCES_PER_VESSEL_DAY
) -> Coverage:
    """The coverage of (n,) reports of ``REPORT_DTYPE`` in any order; a vessel's times differ."""
    tally = CoverageTally(stops)
    tally.add(reports)
    return tally.close(silences_per_vessel_day)

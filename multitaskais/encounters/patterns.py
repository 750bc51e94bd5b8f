"""What is usual among ships: where they stop, which kinds of ships meet how often, how long they are not heard. Learnt from an archive.

One file of a model folder, ``encounters.npz``. It holds counts by place and by class; no vessel can be told from it.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..detection.ship_classes import CLASSES, vessel_class
from ..errors import ModelCorrupt
from ..records import Status
from ..types import Reports
from ..units import M_PER_NM
from . import coverage, stops
from .coverage import Coverage
from .fleet import FleetTable
from .meeting import ABREAST, LYING, SLOT_S, MeetingFold, MeetingRules, Pair
from .metric import distance_m
from .stops import StoppingPlaces

# Classes of a pair: those of the ship type table, and of what has none there pilots and search and rescue, others, unknown.
GROUPS = (*CLASSES, "service", "other", "unknown")
SERVICE_TYPES = (
    50,
    51,
    53,
    54,
    55,
    58,
)  # ITU-R M.1371: pilot, SAR, port tender, pollution control, law enforcement, medical
MERCHANT = (CLASSES.index("cargo"), CLASSES.index("tanker"), CLASSES.index("passenger"))
KINDS = (LYING, ABREAST)
MEETINGS_PER_VESSEL_DAY = 0.01  # the share of the budget of false alarms that meetings are given
# Of both; zones have no budget (``zones.zone``).
TOGETHER_PER_VESSEL_DAY = MEETINGS_PER_VESSEL_DAY + coverage.SILENCES_PER_VESSEL_DAY
HALF = 0.5  # a class pair that never met counts as half a meeting
# Ships whose work is to go alongside. Their pairs count as if they had met a few times more than they were seen to, and more than the
# commonest kind of pair that is told: an archive has few of them, and all of them usual.
ASSISTING = (CLASSES.index("tow"), CLASSES.index("tug"), len(CLASSES))
ASSISTING_MET = 5.0
MAX_SCORE = 100.0
NEIGHBOURHOOD_NM = 20.0
HEARD_ROWS = 500_000  # accepted reports whose intervals are counted together


def group_of(ship_type: NDArray[np.integer] | int) -> NDArray[np.int64]:
    """(n,) ship types -> (n,) indices into ``GROUPS``."""
    t = np.atleast_1d(np.asarray(ship_type))
    group = vessel_class(t)
    other = np.where(np.isin(t, SERVICE_TYPES), len(CLASSES), np.where(t <= 0, len(CLASSES) + 2, len(CLASSES) + 1))
    return np.where(group >= 0, group, other)


@dataclass(frozen=True)
class Patterns:
    """Attributes:
    stops: where ships stop.
    coverage: how long ships are not heard, by place.
    met: (2, G, G) meetings by kind and groups of both ships, symmetric.
    met_at: (k, 2) latitude and longitude of them; met_merchant: (k,) whether both were merchant ships.
    vessel_days: of the archive.
    days: its length.
    """

    stops: StoppingPlaces = field(default_factory=StoppingPlaces)
    coverage: Coverage = field(default_factory=Coverage)
    met: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, len(GROUPS), len(GROUPS)), np.int64))
    met_at: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    met_merchant: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    vessel_days: float = 0.0
    days: float = 0.0
    meetings_per_vessel_day: float = MEETINGS_PER_VESSEL_DAY
    _limit: float = field(init=False, repr=False, compare=False, default=0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_limit", self._most())

    def _most(self) -> float:
        """Greatest count of a pair of classes that still keeps the budget: the rarest come in first."""
        counts = np.sort(np.concatenate([m[np.triu_indices(len(GROUPS))] for m in self.met]))
        within = np.cumsum(counts) <= self.meetings_per_vessel_day * self.vessel_days
        return float(counts[within][-1]) if within.any() else 0.0

    def score(self, kind: str, type_a: int, type_b: int) -> float:
        """How rare a meeting of two such ships is: 1 where the budget allows it just so, up to ``MAX_SCORE``; below 1 it is usual."""
        a, b = group_of(np.array([type_a, type_b])).tolist()
        met = float(self.met[KINDS.index(kind), a, b])
        if a in ASSISTING or b in ASSISTING:
            met += max(ASSISTING_MET, self._limit + 1.0)
        return min((self._limit + HALF) / (met + HALF), MAX_SCORE)

    def merchant_meetings_near(self, lat: float, lon: float) -> int:
        """Learnt meetings of two merchant ships within 20 NM."""
        n = len(self.met_at)
        if not n:
            return 0
        metres = distance_m(np.full(n, lat), np.full(n, lon), self.met_at[:, 0], self.met_at[:, 1])
        return int(((metres <= NEIGHBOURHOOD_NM * M_PER_NM) & self.met_merchant).sum())

    def save(self, file: Path) -> None:
        """Write ``encounters.npz``: meetings, stopping places and coverage."""
        np.savez_compressed(
            file,
            met=self.met,
            met_at=self.met_at,
            met_merchant=self.met_merchant,
            scalars=np.array([self.vessel_days, self.days, self.meetings_per_vessel_day]),
            **self.stops.to_arrays(),
            **self.coverage.to_arrays(),
        )

    @classmethod
    def load(cls, file: Path) -> Patterns:
        """Raises ``ModelCorrupt`` when the file is not one that ``save`` wrote."""
        try:
            with np.load(file, allow_pickle=False) as f:
                arrays = {name: f[name] for name in f.files}
            vessel_days, days, budget = arrays["scalars"].tolist()
            return cls(
                StoppingPlaces.from_arrays(arrays),
                Coverage.from_arrays(arrays),
                arrays["met"],
                arrays["met_at"],
                arrays["met_merchant"],
                vessel_days,
                days,
                budget,
            )
        except (KeyError, ValueError, OSError, zipfile.BadZipFile) as e:
            raise ModelCorrupt(
                f"{file} cannot be read ({type(e).__name__}: {e}): copy the whole model folder again"
            ) from None


def shared(budget: float = TOGETHER_PER_VESSEL_DAY) -> tuple[float, float]:
    """Alerts per vessel-day of meetings and of silences that make up one budget."""
    times = budget / TOGETHER_PER_VESSEL_DAY
    return times * MEETINGS_PER_VESSEL_DAY, times * coverage.SILENCES_PER_VESSEL_DAY


def learn(
    reports: Reports,
    *,
    meetings_per_vessel_day: float = MEETINGS_PER_VESSEL_DAY,
    silences_per_vessel_day: float = coverage.SILENCES_PER_VESSEL_DAY,
    rules: MeetingRules | None = None,
) -> Patterns:
    """Patterns of (n,) screened reports of ``REPORT_DTYPE`` in any order."""
    in_time = reports[np.argsort(reports["t"], kind="stable")]
    return learn_runs(
        lambda: [in_time],
        meetings_per_vessel_day=meetings_per_vessel_day,
        silences_per_vessel_day=silences_per_vessel_day,
        rules=rules,
    )


def learn_runs(
    runs: Callable[[], Iterable[Reports]],
    *,
    meetings_per_vessel_day: float = MEETINGS_PER_VESSEL_DAY,
    silences_per_vessel_day: float = coverage.SILENCES_PER_VESSEL_DAY,
    rules: MeetingRules | None = None,
) -> Patterns:
    """The same of reports that come in order of time, an array at a time; ``runs`` gives all of them, and is called twice.

    However they are cut, the patterns are the same. One array is held at a time, and what is known of each vessel.
    """
    stopping = stops.StopsTally()
    for run in runs():
        stopping.add(run)
    places = stopping.close()
    fleet, fold, heard = FleetTable(), MeetingFold(places, rules), coverage.CoverageTally(places)
    found: list[tuple[Pair, int, int]] = []
    accepted: list[Reports] = []
    waiting = 0
    vessel_days = 0.0
    first_t = last_t = math.nan
    for end, reports in _slots(runs()):
        if len(reports):
            last_t = float(reports["t"].max())
            first_t = float(reports["t"].min()) if math.isnan(first_t) else first_t
        elif not fold.pairs:
            continue
        accepted.append(fleet.absorb(reports))
        waiting += len(accepted[-1])
        if waiting > HEARD_ROWS:
            heard.add(np.concatenate(accepted))
            accepted, waiting = [], 0
        ships = fleet.at(end)
        vessel_days += len(ships) * SLOT_S / 86400.0
        for change in fold.step(end, ships):
            if change.status is Status.RAISED:
                rows = fleet.rows["ship_type"][fleet.find(np.array([change.pair.first, change.pair.second]))]
                found.append((change.pair, *group_of(rows).tolist()))
    if math.isnan(first_t):
        return Patterns()
    if accepted:
        heard.add(np.concatenate(accepted))
    met = np.zeros((len(KINDS), len(GROUPS), len(GROUPS)), np.int64)
    for pair, a, b in found:
        met[KINDS.index(pair.kind), a, b] += 1
        if a != b:
            met[KINDS.index(pair.kind), b, a] += 1
    lying = [(p, a, b) for p, a, b in found if p.kind == LYING]
    return Patterns(
        places,
        heard.close(silences_per_vessel_day),
        met,
        np.array([(p.lat, p.lon) for p, _, _ in lying]).reshape(-1, 2),
        np.array([a in MERCHANT and b in MERCHANT for _, a, b in lying], bool),
        vessel_days,
        (last_t - first_t) / 86400.0,
        meetings_per_vessel_day,
    )


def _slots(runs: Iterable[Reports]) -> Iterator[tuple[float, Reports]]:
    """(end of a slot, its reports) of reports in order of time; slots without any too, and one after the last report."""
    begin = math.nan
    held: list[Reports] = []  # of the slot that begins at ``begin``
    last = math.nan
    for run in runs:
        if not len(run):
            continue
        last = float(run["t"][-1])
        if math.isnan(begin):
            begin = float(np.floor(run["t"][0] / SLOT_S) * SLOT_S)
        at = 0
        while last >= begin + SLOT_S:
            cut = int(np.searchsorted(run["t"], begin + SLOT_S))
            yield begin + SLOT_S, np.concatenate([*held, run[at:cut]])
            begin, at, held = begin + SLOT_S, cut, []
        held.append(run[at:].copy())
    if held:
        yield begin + SLOT_S, np.concatenate(held)
        if last > begin:
            yield begin + 2 * SLOT_S, held[0][:0]

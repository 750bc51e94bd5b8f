"""What the fold of ``engine`` gives, and what it holds of each vessel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..detection.panel import StepResult
from ..records import Alert, Counts, NotJudged, Reason, Verdict
from ..tracks.sampler import SlotSampler
from ..tracks.station_clock import StationClock
from ..tracks.tracker import VesselTracker
from ..types import Samples


@dataclass(slots=True)
class Events:
    """What one run of reports led to, in the order of the log."""

    alerts: list[Alert] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)  # the last of each line that was looked at
    samples: list[JudgedSamples] = field(default_factory=list)  # all of them, when they are asked for
    rejected: list[tuple[int, Reason]] = field(default_factory=list)  # (index in the run, why), decided on arrival
    dropped: list[tuple[int, Reason]] = field(default_factory=list)  # (mmsi, why), decided by the vessel's tracker
    dropped_at: list[int] = field(default_factory=list)  # of each the index of the report with which that was decided
    station_clocks: list[StationClock] = field(default_factory=list)  # faults of stations that began
    counts: Counts = field(default_factory=Counts)
    traces: list[StepTrace] = field(default_factory=list)  # when a trace is asked for
    steps: list[ModelStep] = field(default_factory=list)  # when a timer is given


class JudgedSamples(NamedTuple):
    """Samples that were judged at once, with what the active model said of each, also where that is nothing."""

    numbers: list[int]  # place of each among all samples of its run: the order of the log
    verdicts: list[Verdict]
    samples: Samples  # (n,) SAMPLE_DTYPE
    z: NDArray[np.float64]  # (n, D) what each detector says, NaN for nothing
    detector_names: tuple[str, ...]  # (D,)


class StepTrace(NamedTuple):
    """What the first model saw of the samples that were judged at once, each line's in their order; for evaluation and pictures."""

    track_ids: list[str]
    samples: Samples
    result: StepResult


class ModelStep(NamedTuple):
    """Samples that one model judged at once, one or several of each of some lines; for the operator's figures."""

    samples: int
    seconds: float


class TargetState(msgspec.Struct):
    """One ship as we see it: a vessel has one target, or up to ``TARGETS_MAX`` when ships share its MMSI."""

    mmsi: int
    number: int
    track_id: str
    sampler: SlotSampler
    slot: int  # its row in the tables
    model: str  # version of the model that has it
    ship_type: int = -1
    ship_name: bytes = b""
    reason: int = NotJudged.TOO_SHORT  # why its last sample has no judgement; 0 when it has one


class Tail(NamedTuple):
    """The reports that an ordinary vessel holds, as the memory of an array of ``REPORT_DTYPE`` (``ordinary``)."""

    rows: bytes  # the sampler's anchor, the tracker's ``recent``, the last of which is the line's last, and its ``buffered``
    n_recent: int


# Reports above the limit of speed are no part of a vessel's tracks. They make tracks of their own, beside them, and their state stands under
# the vessel's MMSI and this much, which is no MMSI.
FAST = 1_000_000_000
FAST_TRACK = "-f"  # behind the id of such a track: another of the vessel may begin in the same second


class VesselState(msgspec.Struct):
    """All that is known of one MMSI, but for the rows of its lines."""

    tracker: VesselTracker
    targets: dict[int, TargetState]
    deadline: float  # of its entry among the engine's deadlines; other entries of the vessel are void
    is_fast: bool = False  # of the reports above the limit of speed; else of all others
    tail: Tail | None = None  # where it is, the lists of reports in tracker and sampler are empty or old

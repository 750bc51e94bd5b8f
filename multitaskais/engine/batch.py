"""The main path over a whole archive: the same fold as live, over all reports in order of time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..detection.suppression import Suppression
from ..detection.threshold import TYPES
from ..model.folder import Model
from ..records import Alert, Counts, NotJudged, Reason, Verdict
from ..tracks.station_clock import StationClock
from ..zones.zone import Zone
from .engine import PartitionEngine
from .events import Events, StepTrace
from .fleet import FleetEngine, FleetEvents

RUN_REPORTS = 50_000  # long runs judge many samples at once; any other number gives the same alerts


def trace_dtype(n_detectors: int) -> np.dtype:
    """``score`` and ``type_score`` are over their thresholds, ``z`` is what each detector says; NaN where nothing is said."""
    return np.dtype(
        [
            ("mmsi", "i8"),
            ("track_id", "U34"),
            ("t", "f8"),
            ("n", "i4"),
            ("lat", "f8"),
            ("lon", "f8"),
            ("sog", "f8"),
            ("cog", "f8"),
            ("mismatch", "f8"),
            ("made_30min", "f8"),
            ("ship_type", "i2"),
            ("moored", "?"),
            ("judged", "?"),
            ("reason", "u1"),
            ("score", "f8"),
            ("type_score", "f8", (len(TYPES),)),
            ("z", "f8", (n_detectors,)),
            ("tail_score", "f8", (n_detectors,)),
        ]
    )


@dataclass
class BatchResult:
    """What an archive led to.

    Attributes:
        alerts: every revision, in the order in which live would have told them.
        verdicts: the last of each track.
        station_clocks: faults of stations, in the order in which they began; the archive counts as one partition.
        rejected_of: of each vessel, its rejected reports by reason; empty unless asked for.
        trace: one row a sample (``trace_dtype``), sorted as judged; empty unless asked for.
    """

    alerts: list[Alert] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    station_clocks: list[StationClock] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    rejected_of: dict[int, dict[Reason, int]] = field(default_factory=dict)
    trace: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, trace_dtype(0)))
    detector_names: tuple[str, ...] = ()
    alert_type_names: tuple[str, ...] = tuple(str(t) for t in TYPES)


def run(
    model: Model,
    reports: NDArray[np.void],
    *,
    trace: bool = False,
    by_vessel: bool = False,
    finish: bool = True,
    then: Sequence[tuple[Model, float]] = (),
    suppressions: Sequence[Suppression] = (),
    progress: Callable[[int, int], None] | None = None,
) -> BatchResult:
    """(n,) reports of ``REPORT_DTYPE`` in any order -> alerts and verdicts.

    Args:
        by_vessel: also count each vessel's rejected reports.
        finish: nothing comes after the archive: judge what is held back for the lateness and close what is open. False stands
            where a live operator would stand after the same reports.
        then: successors, each with its activation time (``rollout.py``), as if announced before the first report. The trace
            leaves out those that have other detectors.
        suppressions: what officers' answers led to, as if known before the first report.
        progress: called with (reports done, of all).
    """
    reports = reports[np.lexsort((reports["mmsi"], reports["t"]))]
    successors = {m.version: m for m, _ in then}
    engine = PartitionEngine(model, ordered=True, trace=trace, find=lambda version, _: successors[version])
    for successor, since in then:
        engine.announce(successor.version, "", since)
    for number, rule in enumerate(suppressions):
        engine.suppress(number, rule)
    result = BatchResult(detector_names=model.panel.names)
    last: dict[str, Verdict] = {}
    traces: list[StepTrace] = []

    def take(events: Events, reports: NDArray[np.void]) -> None:
        if by_vessel:
            of = [(int(reports["mmsi"][i]), reason) for i, reason in events.rejected if reason is not Reason.LATE]
            for mmsi, reason in (*of, *events.dropped):
                counts = result.rejected_of.setdefault(mmsi, {})
                counts[reason] = counts.get(reason, 0) + 1
        result.alerts += events.alerts
        result.station_clocks += events.station_clocks
        result.counts.add(events.counts)
        last.update((v.track_id, v) for v in events.verdicts)
        traces.extend(events.traces)

    for start in range(0, len(reports), RUN_REPORTS):
        part = reports[start : start + RUN_REPORTS]
        take(engine.process(part), part)
        if progress:
            progress(min(start + RUN_REPORTS, len(reports)), len(reports))
    if finish:
        take(engine.advance_watermark(math.inf), reports[:0])
    result.verdicts = list(last.values())
    result.trace = _trace(traces, len(model.panel.names))
    return result


def run_fleet(
    model: Model, reports: NDArray[np.void], zones: Sequence[Zone] = (), *, complete_until: float = math.inf
) -> FleetEvents:
    """(n,) reports in any order -> alerts of meetings, silences (when the model has ``patterns``) and zones, in order of decision.

    ``complete_until``: nothing older comes after the archive (Unix s); what waits for that is decided.
    """
    reports = reports[np.lexsort((reports["mmsi"], reports["t"]))]
    fleet = FleetEngine(
        model.version, model.patterns, region=model.region, track_rules=model.track_rules, ordered=True, zones=zones
    )
    found = FleetEvents()
    for start in range(0, len(reports), RUN_REPORTS):
        fleet.process(reports[start : start + RUN_REPORTS])
        found.add(fleet.decide())
    fleet.advance_watermark(complete_until)
    found.add(fleet.decide())
    return found


def _trace(traces: list[StepTrace], n_detectors: int) -> NDArray[np.void]:
    parts = []
    for track_ids, samples, result in traces:
        part = np.zeros(len(samples), trace_dtype(n_detectors))
        part["track_id"] = track_ids
        for name in ("mmsi", "t", "n", "lat", "lon", "sog", "cog", "mismatch", "made_30min", "ship_type", "moored"):
            part[name] = samples[name]
        for name in ("judged", "reason", "score", "type_score", "z", "tail_score"):
            part[name] = getattr(result, name)
        parts.append(part)
    return np.concatenate(parts) if parts else np.zeros(0, trace_dtype(n_detectors))


class TrackVerdict(NamedTuple):
    """What is said of a whole track."""

    track_id: str
    mmsi: int
    t_start: float  # of its first sample
    t_end: float  # of its last sample
    samples: int
    judged_samples: int
    verdict: str  # normal | abnormal | not_judged
    reason: str | None  # of its last sample, when no sample was judged
    score: float | None  # greatest score / threshold
    alerts: int


def track_verdicts(result: BatchResult) -> list[TrackVerdict]:
    """One row a track with at least one sample, by track id; needs the trace."""
    alerts: dict[str, set[str]] = {}
    for a in result.alerts:
        alerts.setdefault(a.track_id, set()).add(a.alert_id)
    report_index = np.lexsort((result.trace["t"], result.trace["track_id"]))
    trace = result.trace[report_index]
    ids, first = np.unique(trace["track_id"], return_index=True)
    out = []
    for track_id, rows in zip(ids.tolist(), np.split(trace, first[1:]), strict=True) if len(ids) else ():
        n_alerts, n_judged = len(alerts.get(track_id, ())), int(rows["judged"].sum())
        scores = rows["score"][np.isfinite(rows["score"])]
        judged = n_judged > 0 or n_alerts > 0
        out.append(
            TrackVerdict(
                track_id,
                int(rows["mmsi"][0]),
                float(rows["t"][0]),
                float(rows["t"][-1]),
                len(rows),
                n_judged,
                "abnormal" if n_alerts else "normal" if judged else "not_judged",
                None if judged else NotJudged(int(rows["reason"][-1])).text,
                float(scores.max()) if len(scores) else None,
                n_alerts,
            )
        )
    return out

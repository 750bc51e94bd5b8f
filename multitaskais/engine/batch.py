"""The main path over a whole archive: the same fold as live, over all reports in order of time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..detection.suppression import Suppression
from ..detection.threshold import TYPES
from ..model.folder import Model
from ..records import Alert, Counts, NotJudged, Reason, Verdict, VerdictKind
from ..tracks.station_clock import StationClock
from ..types import Reports, Trace
from ..zones.zone import Zone
from .engine import PartitionEngine
from .events import Events, StepTrace
from .fleet import FleetEngine, FleetEvents
from .line_arrays import Observed, judge_whole
from .track_tally import TrackTally, TrackVerdict

WHOLE_ROWS = 1_000_000  # reports of whole vessels that are judged together: 80 MB
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
    trace: Trace = field(default_factory=lambda: np.zeros(0, trace_dtype(0)))
    detector_names: tuple[str, ...] = ()
    alert_type_names: tuple[str, ...] = tuple(str(t) for t in TYPES)


def run(
    model: Model,
    reports: Reports,
    *,
    trace: bool = False,
    by_vessel: bool = False,
    finish: bool = True,
    then: Sequence[tuple[Model, float]] = (),
    suppressions: Sequence[Suppression] = (),
    progress: Callable[[int, int], None] | None = None,
    one_by_one: bool = False,
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
        one_by_one: as of ``PartitionEngine``.
    """
    reports = reports[np.lexsort((reports["mmsi"], reports["t"]))]
    successors = {m.version: m for m, _ in then}
    engine = PartitionEngine(
        model, ordered=True, trace=trace, find=lambda version, _: successors[version], one_by_one=one_by_one
    )
    for successor, since in then:
        engine.announce(successor.version, "", since)
    for number, rule in enumerate(suppressions):
        engine.suppress(number, rule)
    result = BatchResult(detector_names=model.panel.names)
    last: dict[str, Verdict] = {}
    traces: list[StepTrace] = []

    def take(events: Events, reports: Reports) -> None:
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
    model: Model, reports: Reports, zones: Sequence[Zone] = (), *, complete_until: float = math.inf
) -> FleetEvents:
    """(n,) reports in any order -> alerts of meetings, silences (when the model has ``patterns``) and zones, in order of decision.

    ``complete_until``: nothing older comes after the archive (Unix s); what waits for that is decided.
    """
    ordered = reports[np.lexsort((reports["mmsi"], reports["t"]))]
    return fold_fleet(model, [ordered], zones, complete_until=complete_until)


def fold_fleet(
    model: Model, runs: Iterable[Reports], zones: Sequence[Zone] = (), *, complete_until: float = math.inf
) -> FleetEvents:
    """``run_fleet`` over runs of reports in order of time, of which one is held at a time."""
    fleet = FleetEngine(
        model.version, model.patterns, region=model.region, track_rules=model.track_rules, ordered=True, zones=zones
    )
    found = FleetEvents()
    for reports in _cut(runs):
        fleet.process(reports)
        found.add(fleet.decide())
    fleet.advance_watermark(complete_until)
    found.add(fleet.decide())
    return found


class VesselFold:
    """``run`` and ``track_verdicts`` over archives of any size: ordinary vessels as arrays, all others by the engine.

    ``add`` takes reports by vessel and time. What is held is some ``WHOLE_ROWS`` reports, the vessels that are judged at the time, and
    the tracks and alerts so far. The others go to ``special``: reports of vessels with jumps, floods or doubtful duplicates, and of one
    that says more than can be held. What is said of them depends on all of them together (a station's clock), so they wait for
    ``fold_special``; without ``special`` they are kept, and ``close`` does that.
    """

    def __init__(self, model: Model, special: Callable[[Reports], None] | None = None) -> None:
        self.model = model
        self.alerts: list[Alert] = []
        self.counts = Counts()
        self.observed = Observed()
        self.station_clocks: list[StationClock] = []
        self._kept: list[Reports] = []
        self._keeps = special is None
        self._special = special or self._kept.append
        self._tally = TrackTally()
        self._pending: list[Reports] = []
        self._waiting = 0
        self._long: int | None = None  # the vessel that says more than can be held

    def add(self, reports: Reports) -> None:
        """The next (n,) reports of ``REPORT_DTYPE``, by vessel and time."""
        if self._long is not None and len(reports):
            end = int(np.searchsorted(reports["mmsi"], self._long, side="right"))
            self._special(reports[:end])
            reports = reports[end:]
            if len(reports):
                self._long = None
        if not len(reports):
            return
        self._pending.append(reports)
        self._waiting += len(reports)
        if self._waiting < WHOLE_ROWS:
            return
        pending = np.concatenate(self._pending)
        last = pending["mmsi"][-1]
        begin = int(np.searchsorted(pending["mmsi"], last))
        self._whole(pending[:begin])
        rest = pending[begin:]
        self._pending, self._waiting = [rest], len(rest)
        if len(rest) >= WHOLE_ROWS:
            self._long = int(last)
            self._special(rest)
            self._pending, self._waiting = [], 0

    def close(self) -> list[TrackVerdict]:
        """Nothing comes after: the verdict of each track, of special ones too where they were kept."""
        if self._pending:
            self._whole(np.concatenate(self._pending))
        self._pending, self._waiting = [], 0
        verdicts = self._tally.verdicts()
        if not self._keeps or not self._kept:
            return verdicts
        kept = np.concatenate(self._kept)
        others = fold_special(self.model, [kept[np.lexsort((kept["mmsi"], kept["t"]))]], self.observed)
        self._kept.clear()
        self.alerts += others.alerts
        self.counts.add(others.counts)
        self.station_clocks += others.station_clocks
        return sorted([*verdicts, *others.verdicts])

    def _whole(self, reports: Reports) -> None:
        alerts: list[Alert] = []
        special = judge_whole(self.model, reports, self._tally, self.counts, alerts, self.observed)
        self._tally.add_alerts(alerts)
        self.alerts += alerts
        if len(special):
            self._special(special)


@dataclass
class Judged:
    """What the engine found in an archive; grows with tracks and alerts, not with reports."""

    alerts: list[Alert] = field(default_factory=list)
    verdicts: list[TrackVerdict] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    station_clocks: list[StationClock] = field(default_factory=list)


def fold_special(
    model: Model,
    runs: Iterable[Reports],
    observed: Observed,
    progress: Callable[[int], None] | None = None,
) -> Judged:
    """``run`` and ``track_verdicts`` over the special vessels of an archive, whose reports come in order of time and MMSI.

    ``observed``: when the ordinary vessels of the archive were under observation. One run is held at a time.
    """
    engine = PartitionEngine(model, ordered=True, trace=True, elsewhere=observed.count)
    tally, judged = TrackTally(), Judged()

    def take(events: Events) -> None:
        tally.add(events.traces, events.alerts)
        judged.alerts += events.alerts
        judged.station_clocks += events.station_clocks
        judged.counts.add(events.counts)

    for reports in _cut(runs):
        take(engine.process(reports))
        if progress:
            progress(len(reports))
    take(engine.advance_watermark(math.inf))
    judged.verdicts = tally.verdicts()
    return judged


def _cut(runs: Iterable[Reports]) -> Iterable[Reports]:
    for run in runs:
        for start in range(0, len(run), RUN_REPORTS):
            yield run[start : start + RUN_REPORTS]


def _trace(traces: list[StepTrace], n_detectors: int) -> Trace:
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
                VerdictKind.of(abnormal=n_alerts > 0, judged=judged),
                None if judged else NotJudged(int(rows["reason"][-1])).text,
                float(scores.max()) if len(scores) else None,
                n_alerts,
            )
        )
    return out

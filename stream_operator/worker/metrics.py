"""What the operator counts, in Prometheus form. Names are stable; each has its unit in its name."""

from __future__ import annotations

import math
import resource
from collections import Counter as TallyOf
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from multitaskais.detection.threshold import SCORE_LEVELS
from multitaskais.engine.events import Events
from multitaskais.model.folder import Model
from multitaskais.records import Reason

from .peers import COMPARED, Difference

if TYPE_CHECKING:
    from .partition import Partition


class Metrics:
    """What ``/metrics`` of the worker shows; docs/operator/monitoring.md lists all."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        prefix = {"namespace": "multitaskais", "registry": r}
        self._records = Counter("records", "Records folded.", ["partition"], **prefix)
        self._reports = Counter("reports", "Position reports given to the core.", **prefix)
        self._accepted = Counter("reports_accepted", "Reports that joined a track.", **prefix)
        self._rejected = Counter("reports_rejected", "Records and reports left out.", ["reason"], **prefix)
        self._station_clocks = Counter("station_clocks", "Faults of stations' clocks that began.", **prefix)
        self._alerts = Counter("alerts", "Alert revisions.", ["status", "alert_type", "challenger"], **prefix)
        self._verdicts = Counter("verdicts", "Verdicts of vessels.", ["verdict", "reason"], **prefix)
        self._fold = Histogram(
            "fold_seconds", "One run through the core.", buckets=(0.005, 0.02, 0.05, 0.1, 0.5, 1, 5), **prefix
        )
        self._checkpoint = Histogram(
            "checkpoint_seconds", "One checkpoint.", buckets=(0.005, 0.02, 0.05, 0.1, 0.5, 1, 5, 60), **prefix
        )
        self._step = Histogram(
            "model_step_seconds",
            "One step of a model over all samples that were due at once.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5),
            **prefix,
        )
        self._batch = Histogram(
            "model_step_samples",
            "Samples that a model judged at once.",
            buckets=(1, 2, 5, 10, 20, 50, 100, 500, 2000),
            **prefix,
        )
        self._tracks = Gauge(
            "tracks_open", "Open tracks by what was last said of them.", ["verdict", "reason"], **prefix
        )
        self._models = Gauge(
            "model_partitions", "Partitions of this worker that have the model, by its role there.", ["version", "role"],
            **prefix,
        )  # fmt: skip
        self._age = Gauge(
            "model_age_seconds", "Since the end of the data that the model learnt from.", ["version", "role"], **prefix
        )
        self._expected = Gauge(
            "model_alerts_per_vessel_day",
            "To be expected by the tracks on which the model's thresholds were set.",
            ["version", "role"],
            **prefix,
        )
        self._score = Histogram(
            "sample_score",
            "Score / threshold of the samples that the active model judged.",
            buckets=(*SCORE_LEVELS, 1.5, 2, 4),
            **prefix,
        )
        self._above = Gauge(
            "model_samples_above",
            "Share of samples with a score above the level, when the model's thresholds were set.",
            ["version", "role", "level"],
            **prefix,
        )
        self._refused = Counter("models_refused", "Announced models that a partition could not take.", **prefix)
        self._controls = Counter(
            "controls", "Control records that partitions decided on.", ["kind", "refused"], **prefix
        )
        self._states = Counter("states_written", "Vessel states in checkpoints.", **prefix)
        self.lost = Counter("records_lost", "Source records that were deleted before they were read.", **prefix)
        self.without_records = Counter(
            "offsets_without_records",
            "Source offsets without a record: markers of transactions, aborted and compacted records. Nothing is lost by them.",
            **prefix,
        )
        self._stalled = Gauge(
            "stalled_seconds",
            "How long the position has not moved though there is more to read.",
            ["partition"],
            **prefix,
        )
        self._held = Gauge(
            "open_transaction_seconds",
            "How long an open transaction has held the end of the log back.",
            ["partition"],
            **prefix,
        )
        self._idle = Gauge("idle_seconds", "Since the last record was folded.", ["partition"], **prefix)
        self._event_time = Gauge(
            "event_time_seconds", "Time (Unix s) of the newest report that was believed.", ["partition"], **prefix
        )
        self.misplaced = Counter(
            "records_misplaced", "Source records whose key belongs in another partition by murmur2.", **prefix
        )
        self._differ = Gauge(
            "settings_differ",
            "Other workers of the group that run with other settings than this one.",
            ["what"],
            **prefix,
        )
        self.partitions = Gauge("partitions", "Partitions that this worker has open.", **prefix)
        self.lag = Gauge(
            "lag_records", "Records between the end of the log and the last folded one.", ["partition"], **prefix
        )
        self.position = Gauge("position_offset", "Next offset to fold.", ["partition"], **prefix)
        self.durable = Gauge("durable_offset", "Offset of the last checkpoint.", ["partition"], **prefix)
        self.waiting = Gauge(
            "checkpoint_age_seconds", "How long the oldest result has waited for a checkpoint.", **prefix
        )
        self._memory = Gauge("memory_bytes", "Resident memory now.", **prefix)
        self._peak = Gauge("memory_peak_bytes", "Greatest resident memory so far.", **prefix)

    def folded(self, partition: int, records: int, seconds: float) -> None:
        self._records.labels(partition).inc(records)
        self._fold.observe(seconds)

    def counted(self, events: Events) -> None:
        self._reports.inc(events.counts.received)
        self._accepted.inc(events.counts.accepted)
        for reason, n in events.counts.rejected.items():
            self._rejected.labels(str(reason)).inc(n)
        self._station_clocks.inc(len(events.station_clocks))
        for alert in events.alerts:
            self._alerts.labels(str(alert.status), str(alert.alert_type), str(alert.challenger).lower()).inc()
        for samples, seconds in events.steps:
            self._step.observe(seconds)
            self._batch.observe(samples)
        for verdict in events.verdicts:
            self._verdicts.labels(verdict.verdict, verdict.reason or "").inc()
            if verdict.score is not None:
                self._score.observe(verdict.score)

    def rejected(self, reason: Reason) -> None:
        self._rejected.labels(str(reason)).inc()

    def progress(self, partition: Partition, now: float) -> None:
        """How one partition goes on; ``now`` as ``time.monotonic`` gives it."""
        n = partition.number
        ends, position = partition.ends, partition.position
        if ends is not None and position is not None:
            self.lag.labels(n).set(ends.high - position)
        self._stalled.labels(n).set(now - partition.moved_at)
        self._held.labels(n).set(0.0 if partition.held_since is None else now - partition.held_since)
        self._idle.labels(n).set(now - partition.heard_at)
        if math.isfinite(partition.now):
            self._event_time.labels(n).set(partition.now)

    def checkpointed(self, partition: int, seconds: float, states: int) -> None:
        self._checkpoint.observe(seconds)
        self._states.inc(states)

    def tracks(self, open_track_counts: dict[tuple[str, str], int]) -> None:
        """What all partitions of this worker have open now."""
        self._tracks.clear()
        for key, n in open_track_counts.items():
            self._tracks.labels(*key).set(n)

    def models(self, found: Iterable[tuple[Model, str]], now: float) -> None:
        """What all partitions of this worker judge with; ``now`` in Unix s."""
        self._models.clear()
        self._age.clear()
        self._expected.clear()
        self._above.clear()
        for model, role in found:
            self._models.labels(model.version, role).inc()
            if (thresholds := model.panel.thresholds) is not None:
                self._expected.labels(model.version, role).set(thresholds.alerts_per_vessel_day)
                if model.panel.decision == "fused":
                    for level, share in thresholds.samples_above.items():
                        self._above.labels(model.version, role, f"{level:g}").set(share)
            if (learnt_until := model.made_from.get("last_t")) is not None:
                self._age.labels(model.version, role).set(now - learnt_until)

    def control(self, kind: str, refused: bool) -> None:
        """A partition has decided on a control record."""
        self._controls.labels(kind, str(refused).lower()).inc()
        if kind == "model" and refused:
            self._refused.inc()

    def peers(self, differences: Iterable[Difference]) -> None:
        """Which workers of the group run with other settings."""
        workers = TallyOf(d.what for d in differences)
        for what in COMPARED:
            self._differ.labels(what).set(workers[what])

    def text(self) -> bytes:
        self._memory.set(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize())
        self._peak.set(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        page: bytes = generate_latest(self.registry)
        return page

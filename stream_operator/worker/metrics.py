"""What the operator counts, in Prometheus form. Names are stable; each has its unit in its name."""

from __future__ import annotations

import resource
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from multitaskais.engine.events import Events
from multitaskais.model.folder import Model
from multitaskais.records import Reason


class Metrics:
    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        prefix = {"namespace": "multitaskais", "registry": r}
        self._records = Counter("records", "Records folded.", ["partition"], **prefix)
        self._reports = Counter("reports", "Position reports given to the core.", **prefix)
        self._accepted = Counter("reports_accepted", "Reports that joined a track.", **prefix)
        self._rejected = Counter("reports_rejected", "Records and reports left out.", ["reason"], **prefix)
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
            "One step of a model over all lines that were due at once.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5),
            **prefix,
        )
        self._batch = Histogram(
            "model_step_lines", "Lines in one step of a model.", buckets=(1, 2, 5, 10, 20, 50, 100, 500, 2000), **prefix
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
        self._refused = Counter("models_refused", "Announced models that a partition could not take.", **prefix)
        self._warned: set[tuple[str, float]] = set()
        self._states = Counter("states_written", "Vessel states in checkpoints.", **prefix)
        self.skipped = Counter(
            "offsets_skipped", "Source offsets that could not be read (retention, or transaction markers).", **prefix
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
        for alert in events.alerts:
            self._alerts.labels(str(alert.status), str(alert.alert_type), str(alert.challenger).lower()).inc()
        for lines, seconds in events.steps:
            self._step.observe(seconds)
            self._batch.observe(lines)
        for verdict in events.verdicts:
            self._verdicts.labels(verdict.verdict, verdict.reason or "").inc()

    def rejected(self, reason: Reason) -> None:
        self._rejected.labels(str(reason)).inc()

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
        for model, role in found:
            self._models.labels(model.version, role).inc()
            if (learnt_until := model.made_from.get("last_t")) is not None:
                self._age.labels(model.version, role).set(now - learnt_until)

    def refused(self, version: str, sent: float) -> bool:
        """An announced model was refused; True when that is told for the first time."""
        self._refused.inc()
        first = (version, sent) not in self._warned
        self._warned.add((version, sent))
        return first

    def text(self) -> bytes:
        self._memory.set(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize())
        self._peak.set(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        return generate_latest(self.registry)

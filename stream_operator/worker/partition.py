"""One partition that this worker owns: from runs of raw records to events, and from events to a durable cut.

How a report becomes an alert, and where it becomes durable:

    run of raw records -> wire.decode -> engine.process -> alerts, verdicts     } held here, in memory,
                                \\-> dead letters                              } until
    cut(): what was found since the last cut, the vessels that changed, and the offset
    checkpoint(): the cut in one transaction; from then on it is durable, and only from then on does anyone see it
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from multitaskais.engine.events import Events
from multitaskais.errors import ConfigError, ModelError
from multitaskais.model.folder import Model
from multitaskais.records import Reason

from ..kafka import codec as wire
from ..settings import Settings
from .checkpoint import Checkpointer, CheckpointPayload, Fenced, ProducerRecord, restore
from .engines import OpenEngine
from .metrics import Metrics

if TYPE_CHECKING:
    from multitaskais.engine.engine import PartitionEngine

log = logging.getLogger("stream_operator")

# Decoded well, but with a time that cannot be: kept for who wants to look at the station's clock.
QUARANTINED = {Reason.FUTURE, Reason.BEHIND}


class RecordBatch(NamedTuple):
    """Records of one partition, in log order, with the state object that they belong to."""

    partition: Partition
    records: list[wire.ConsumerRecord]
    next_offset: int


def process_batch(
    core: PartitionEngine, decoded: wire.Decoded, announced: Callable[[wire.ModelAnnouncement, Exception | None], None]
) -> Iterator[tuple[int, Events]]:
    """Move the core over a decoded run, control records where they stood: (number of the part's first report, its events).

    ``announced`` is told of each new model, and why it was refused where it was.
    """
    done = 0
    for stop, control in [*decoded.controls, (len(decoded.reports), None)]:
        if stop > done:
            yield done, core.process(decoded.reports[done:stop])
            done = stop
        if isinstance(control, wire.ModelAnnouncement):
            try:
                if core.announce(control.version, control.model, control.since):
                    announced(control, None)
            except (ModelError, ConfigError) as e:
                announced(control, e)
        elif control is not None:
            yield done, core.advance_watermark(control)


class Partition:
    """State of one partition between two rebalances. ``fold`` runs in the agent's thread, ``checkpoint`` in any other."""

    def __init__(
        self,
        settings: Settings,
        number: int,
        checkpointer: Checkpointer,
        core: PartitionEngine,
        position: int | None,
        metrics: Metrics,
    ) -> None:
        self.number = number
        self.checkpointer = checkpointer
        self.position = position  # of the next record to fold; None: at the beginning of the log
        self.durable = position  # the position in the last checkpoint
        self.requested_offset = position  # of the next record that the consumer's thread hands over
        self.waiting_since: float | None = None  # when the oldest thing that is not yet durable was folded
        self.closed = False
        self.fenced_at: float | None = None
        self.on_durable: Callable[[CheckpointPayload], None] = lambda cut: None
        self._settings = settings
        self._metrics = metrics
        self._core = core
        self._out: list[ProducerRecord] = []
        self._verdicts: dict[int, ProducerRecord] = {}  # the last of each vessel is enough: the topic is compacted
        self._fold_lock = threading.Lock()
        self._commit_lock = threading.Lock()

    @classmethod
    def open(cls, settings: Settings, number: int, open_engine: OpenEngine, metrics: Metrics) -> Partition:
        """Fence the former owner, then restore what it made durable."""
        start = time.monotonic()
        checkpointer = Checkpointer(settings, number)
        checkpointer.fence()
        restored = restore(settings, number)
        checkpointer.busy_since = None
        core = open_engine(restored.vessels.items(), restored.partition_state)
        log.info(
            "partition %d: restored %d vessels at offset %s in %.2f s",
            number, len(restored.vessels), "beginning" if restored.offset is None else restored.offset, time.monotonic() - start,
        )  # fmt: skip
        return cls(settings, number, checkpointer, core, restored.offset, metrics)

    def fold(self, run: RecordBatch) -> None:
        """Move the state over a run. A run of a closed partition is void: its new owner reads it again."""
        with self._fold_lock:
            if self.closed:
                return
            start = time.perf_counter()
            decoded = wire.decode(run.records, self._settings.record_max_bytes)
            for i, reason in decoded.bad:
                self._dead_letter(run.records[i], reason)
            for first, events in process_batch(self._core, decoded, self._announced):
                for i, reason in events.rejected:
                    if reason in QUARANTINED:
                        self._dead_letter(run.records[decoded.record_of[first + i]], reason, count=False)
                self._take(events)
            self.position = run.next_offset
            self.waiting_since = self.waiting_since or time.monotonic()
            self._metrics.folded(self.number, len(run.records), time.perf_counter() - start)

    def _announced(self, announcement: wire.ModelAnnouncement, error: Exception | None) -> None:
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(announcement.since))
        if error is None:
            log.info(
                "partition %d: model rollout scheduled: %s activates at %s", self.number, announcement.version, since
            )
        elif self._metrics.refused(announcement.version, announcement.sent):
            log.error("model rollout rejected; active model unchanged: %s: %s", announcement.version, error)

    def _take(self, events: Events) -> None:
        self._metrics.counted(events)
        self._out += [ProducerRecord(self._settings.alert_topic, *wire.encode_alert(a)) for a in events.alerts]
        for verdict in events.verdicts:
            self._verdicts[verdict.mmsi] = ProducerRecord(self._settings.verdict_topic, *wire.encode_verdict(verdict))

    def _dead_letter(self, record: wire.ConsumerRecord, reason: Reason, count: bool = True) -> None:
        if count:
            self._metrics.rejected(reason)
        value = record.value
        headers = [
            ("reason", str(reason).encode()),
            ("topic", self._settings.topic.encode()),
            ("partition", str(self.number).encode()),
            ("offset", str(record.offset).encode()),
        ]
        if value is not None and len(value) > self._settings.record_max_bytes:
            headers.append(("clipped_from_bytes", str(len(value)).encode()))
            value = value[: self._settings.record_max_bytes]
        self._out.append(ProducerRecord(self._settings.dead_topic, record.key, value, headers))

    def cut(self) -> CheckpointPayload | None:
        """Take out what is not yet durable; None when there is nothing."""
        with self._fold_lock:
            if self.closed or self.position is None or self.position == self.durable:
                return None
            records = [*self._out, *self._verdicts.values()]
            self._out, self._verdicts, self.waiting_since = [], {}, None
            return CheckpointPayload(self.position, records, self._core.snapshot(), self._core.partition_state())

    def checkpoint(self, give_up_at: float | None = None) -> None:
        """Make all that was folded so far durable. Folding goes on meanwhile.

        When it turns out that we were fenced, the partition is closed and nothing was written.
        """
        with self._commit_lock:
            if (cut := self.cut()) is None:
                return
            start = time.perf_counter()
            try:
                self.checkpointer.commit(cut, give_up_at)
            except Fenced as e:
                log.warning("partition %d: fenced, closing it (%s)", self.number, e)
                self.close()
                self.fenced_at = time.monotonic()
                return
            self.durable = cut.offset
            self._metrics.checkpointed(self.number, time.perf_counter() - start, len(cut.vessels))
            self.on_durable(cut)

    def open_track_counts(self) -> dict[tuple[str, str], int]:
        """Open tracks by (verdict, reason). Waits for a running fold."""
        with self._fold_lock:
            return {} if self.closed else self._core.open_track_counts()

    def models(self) -> Sequence[tuple[Model, str]]:
        """The models in use, with their roles. Waits for a running fold."""
        with self._fold_lock:
            return [] if self.closed else self._core.models()

    def close(self) -> None:
        """Void all runs that are still queued. Waits for a running fold."""
        with self._fold_lock:
            self.closed = True

    @property
    def waiting_s(self) -> float:
        """How long the oldest thing has waited for a checkpoint."""
        busy, waiting = self.checkpointer.busy_since, self.waiting_since
        since = min((t for t in (busy, waiting) if t is not None), default=None)
        return 0.0 if since is None else time.monotonic() - since

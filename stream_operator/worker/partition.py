"""One partition that this worker owns: from runs of raw records to events, and from events to a durable cut.

How a report becomes an alert, and where it becomes durable:

    run of raw records -> codec.decode -> engine.process -> alerts, verdicts    } held here, in memory,
                                \\-> dead letters                              } until
    cut(): what was found since the last cut, the vessels that changed, and the offset
    checkpoint(): the cut in one transaction; from then on it is durable, and only from then on does anyone see it
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from multitaskais.engine.events import FAST, Events
from multitaskais.model.folder import Model
from multitaskais.records import Reason
from multitaskais.tracks.station_clock import StationClock

from ..kafka import codec as wire
from ..kafka import control
from ..kafka.partitioner import KeyPlacement
from ..plain_text import plain
from ..settings import Settings
from .checkpoint import (
    Checkpointer,
    CheckpointPayload,
    Fenced,
    ProducerRecord,
    Restored,
    restore,
)
from .control_follower import ControlFollower, process_batch
from .control_log import ControlLog
from .engines import OpenEngine
from .metrics import Metrics
from .topic_identity import LogEnds, TopicIdentity

if TYPE_CHECKING:
    from multitaskais.engine.engine import PartitionEngine

log = logging.getLogger("stream_operator")

# Decoded well, but with a time that cannot be: kept for who wants to look at the station's clock.
QUARANTINED = {Reason.FUTURE, Reason.BEHIND}


class RecordBatch(NamedTuple):
    """Records of one partition, in log order, with the state object that they belong to."""

    partition: Partition
    records: list[wire.ConsumerRecord]  # none where only control records may be due
    next_offset: int

    @property
    def where(self) -> str:
        """For a person: partition and offsets."""
        if not self.records:
            return f"partition {self.partition.number}, before offset {self.next_offset}, without records"
        return f"partition {self.partition.number}, offsets {self.records[0].offset} to {self.next_offset - 1}"


class Partition:
    """State of one partition between two rebalances. ``fold`` runs in the agent's thread, ``checkpoint`` in any other."""

    def __init__(
        self,
        settings: Settings,
        number: int,
        checkpointer: Checkpointer,
        engine: PartitionEngine,
        restored: Restored,
        metrics: Metrics,
        controls: ControlLog,
        latest: Callable[[], float],
    ) -> None:
        self.number = number
        self.checkpointer = checkpointer
        self.position = restored.offset  # of the next record to fold; None: at the beginning of the log
        self.durable = restored.offset  # the position in the last checkpoint
        self.requested_offset = restored.offset  # of the next record that the consumer's thread hands over
        self.start_is_sure = False  # records from there came, or what was a gap at first was read again
        self.identity = restored.identity  # of the topic that all these offsets belong to
        self.waiting_since: float | None = None  # when the oldest thing that is not yet durable was folded
        self.moved_at = self.heard_at = time.monotonic()  # when the position moved, when a record was folded
        self.now = engine.now  # Unix s, of the reports
        self.ends: LogEnds | None = None  # as the broker told lately
        self.held_since: float | None = None  # since when an open transaction holds the log's stable end
        self.closed = False
        self.fenced_at: float | None = None
        self.on_durable: Callable[[CheckpointPayload], None] = lambda cut: None
        self.controls_requested = 0  # number of the first control record that no run was handed over for
        self._settings = settings
        self._metrics = metrics
        self._engine = engine
        self._controls = ControlFollower(settings, number, engine, restored, controls, latest, metrics)
        self._placement: KeyPlacement | None = None
        self._told_misplaced = False
        self._out: list[ProducerRecord] = []
        self._verdicts: dict[int, ProducerRecord] = {}  # the last of each vessel is enough: the topic is compacted
        self._fold_lock = threading.Lock()
        self._commit_lock = threading.Lock()

    @classmethod
    def open(
        cls,
        settings: Settings,
        number: int,
        open_engine: OpenEngine,
        metrics: Metrics,
        controls: ControlLog,
        latest: Callable[[], float],
        stopping: threading.Event | None = None,
    ) -> Partition:
        """Fence the former owner, then restore what it made durable. Raises ``Stopped`` when ``stopping`` is set meanwhile."""
        start = time.monotonic()
        checkpointer = Checkpointer(settings, number)
        checkpointer.fence(stopping)
        restored = restore(settings, number, stopping)
        checkpointer.busy_since = None
        engine = open_engine(restored.vessels.items(), restored.partition_state)
        log.info(
            "partition %d: restored %d vessels at offset %s in %.2f s",
            number, len(restored.vessels), "beginning" if restored.offset is None else restored.offset, time.monotonic() - start,
            extra={"partition": number, "offset": restored.offset},
        )  # fmt: skip
        return cls(settings, number, checkpointer, engine, restored, metrics, controls, latest)

    def begin(self, position: int, identity: TopicIdentity, control_topic_id: str) -> None:
        """Where the log is taken up, in which topic. A control topic that was made again is read from its beginning."""
        self.position = self.requested_offset = position
        if self.durable is None:
            self.durable = position
        self.identity = identity
        self._placement = KeyPlacement(self.number, identity.partitions) if identity.partitions else None
        self._controls.begin(control_topic_id)

    def fold(self, run: RecordBatch) -> None:
        """Move the state over a run. A run of a closed partition is void: its new owner reads it again.

        A run without records only looks whether control records are due.
        """
        with self._fold_lock:
            if self.closed:
                return
            start = time.perf_counter()
            decoded = wire.decode(run.records, self._settings.record_max_bytes)
            self._count_misplaced(run.records)
            for i, reason in decoded.bad:
                self._dead_letter(run.records[i], reason)
            offsets = [run.records[i].offset for i in decoded.record_of]
            due = self._controls.due(run.records[0].offset if run.records else run.next_offset, run.next_offset)
            at = {record.number: offset for offset, record in due}
            controls = [(bisect_left(offsets, offset), record) for offset, record in due]
            for first, events in process_batch(
                self._engine, decoded.reports, controls, lambda record: self._controls.decide(record, at[record.number])
            ):
                for i, reason in events.rejected:
                    if reason in QUARANTINED:
                        self._dead_letter(run.records[decoded.record_of[first + i]], reason, count=False)
                self._take(events)
            moved = run.next_offset != self.position
            if moved:
                self.moved_at = time.monotonic()
            if run.records:
                self.heard_at = time.monotonic()
            self.position = run.next_offset
            self.now = self._engine.now
            if moved or self._controls.undurable:
                self.waiting_since = self.waiting_since or time.monotonic()
            self._metrics.folded(self.number, len(run.records), time.perf_counter() - start)

    def _count_misplaced(self, records: Sequence[wire.ConsumerRecord]) -> None:
        if self._placement is None or not (found := self._placement.misplaced(r.key for r in records)):
            return
        self._metrics.misplaced.inc(len(found))
        if not self._told_misplaced:
            self._told_misplaced = True
            log.warning(
                "partition %d: records with the key %s belong in another partition by murmur2: where two feeders have different "
                "partitioners, a vessel's reports lie in two; set partitioner=murmur2_random in all of them",
                self.number, found[0][:40],
                extra={"partition": self.number, "offset": records[0].offset},
            )  # fmt: skip

    # ---------------------------------------------------------------- what follows

    def _take(self, events: Events) -> None:
        self._metrics.counted(events)
        self._out += [ProducerRecord(self._settings.alert_topic, *wire.encode_alert(a)) for a in events.alerts]
        for fault in events.station_clocks:
            log.warning("partition %d: %s UTC: %s", self.number, control.utc(fault.t), plain(fault.message), extra={"partition": self.number})  # fmt: skip
            self._out.append(self._buried(fault))
        for verdict in events.verdicts:
            self._verdicts[verdict.mmsi] = ProducerRecord(self._settings.verdict_topic, *wire.encode_verdict(verdict))
        self._out += [ProducerRecord(self._settings.sample_topic, *s) for s in wire.encode_samples(events.samples)]

    def _buried(self, fault: StationClock) -> ProducerRecord:
        headers = [("reason", str(Reason.STATION_CLOCK).encode()), ("partition", str(self.number).encode())]
        return ProducerRecord(self._settings.dead_topic, None, wire.encode_station_event(fault), headers)

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
            if self.closed or self.position is None or (self.position == self.durable and not self._controls.undurable):
                return None
            if self.ends is not None:
                self._controls.forget_before(self.ends.low)
            vessels = self._bounded(self._engine.snapshot())
            records = [*self._out, *self._verdicts.values()]
            controls, decisions = self._controls.cut()
            self._out, self._verdicts, self.waiting_since = [], {}, None
            return CheckpointPayload(
                self.position, records, vessels, self._engine.partition_state(), self.identity, controls, decisions
            )

    def _bounded(self, vessels: dict[int, bytes | None]) -> dict[int, bytes | None]:
        """A vessel whose state is too long to be kept is ended and begins again: it must not cost the others their checkpoint."""
        for key, state in vessels.items():
            mmsi = key % FAST
            if state is None or len(state) <= self._settings.state_max_bytes:
                continue
            log.error(
                "vessel %d: its state has %d bytes, more than STATE_MAX_BYTES: its tracks are ended and it begins again",
                mmsi,
                len(state),
                extra={"partition": self.number, "offset": self.position, "mmsi": mmsi},
            )
            self._take(self._engine.forget(key))
            vessels[key] = None
            letter = {"mmsi": str(mmsi), "state_bytes": len(state), "tagblock_timestamp": self._engine.now}
            self._dead_letter(
                wire.ConsumerRecord(self.position or 0, str(mmsi).encode(), msgspec.json.encode(letter)),
                Reason.STATE_TOO_LARGE,
            )
        return vessels

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
                log.warning(
                    "partition %d: fenced, closing it (%s)",
                    self.number,
                    e,
                    extra={"partition": self.number, "offset": self.durable},
                )
                self.close()
                self.fenced_at = time.monotonic()
                return
            self.durable = cut.offset
            self._metrics.checkpointed(self.number, time.perf_counter() - start, len(cut.vessels))
            self.on_durable(cut)

    def open_track_counts(self) -> dict[tuple[str, str], int]:
        """Open tracks by (verdict, reason). Waits for a running fold."""
        with self._fold_lock:
            return {} if self.closed else self._engine.open_track_counts()

    def models(self) -> Sequence[tuple[Model, str]]:
        """The models in use, with their roles. Waits for a running fold."""
        with self._fold_lock:
            return [] if self.closed else self._engine.models()

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

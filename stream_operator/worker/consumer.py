"""The consumer's thread: owns the Kafka consumer and the partitions, hands runs to the agent, keeps the checkpoints going.

Only this thread calls the consumer (a commit from another thread deadlocks against a rebalance). On assign: fence, restore,
go on at the offset found in the state. On revoke: wait for the running fold, checkpoint, close. On lost: close.

An offset is trusted in one topic only (``topic_identity``). A gap between two records is no loss: markers of transactions, aborted
and compacted records leave gaps. What is lost is what lies below the log's first offset; the consumer is told to stop there and
ask (``auto.offset.reset=error``), and here is the answer.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from multitaskais.errors import MultitaskAISError, OperatorError, TryAgain
from multitaskais.model.folder import Model

from .. import exit_codes as exits
from ..kafka import client as kafka
from ..kafka.codec import ConsumerRecord
from ..kafka.errors import explain, is_access_denied
from ..settings import Settings
from .checkpoint import CheckpointPayload, InDoubt, Stopped
from .control_log import ControlLog
from .engines import OpenEngine
from .metrics import Metrics
from .partition import Partition, RecordBatch
from .peers import Peers
from .topic_identity import TopicIdentity, TopicLookup, mismatch
from .topic_watch import TopicWatch

log = logging.getLogger("stream_operator")

POLL_S = 0.1
ENDS_S = 5.0  # one question for the ends of a partition; asked again
TELL_GROUP_S = 5.0  # the group's own offsets are for lag monitors only
SETTLE_S = (
    10.0  # a log that seems to end before our position gets so long: a broker that comes back finds its end again
)
REOPEN_SESSIONS = 2.0  # session timeouts after which a fenced partition that is still ours is opened again


class KafkaSource:
    """``put`` receives each run; it must not block. ``slots`` bounds how many are under way."""

    def __init__(
        self, settings: Settings, open_engine: OpenEngine, metrics: Metrics, put: Callable[[RecordBatch], None]
    ) -> None:
        self._settings = settings
        self._open_engine = open_engine
        self._metrics = metrics
        self._put = put
        self.slots = threading.BoundedSemaphore(settings.queue_runs)
        self.partitions: dict[int, Partition] = {}
        self.last_heartbeat = time.monotonic()
        self.opening: dict[int, float] = {}  # partitions that are being fenced and restored, since when
        self.on_durable: Callable[[CheckpointPayload], None] = lambda cut: None
        self.controls = ControlLog(settings, self._control_is_none)
        self._lookup = TopicLookup(settings)
        self.watch = TopicWatch(
            settings, self._lookup, lambda: list(self.partitions.values()), metrics, Peers(settings)
        )
        self._assigned: set[int] = set()  # what the consumer reads
        self._reread: set[int] = set()  # partitions of which a first gap was read again
        self._stopping = threading.Event()
        self._told_group_at = 0.0
        self._thread = threading.Thread(target=self._main, name="source", daemon=True)
        self._ticker = threading.Thread(target=self._checkpoints, name="checkpoints", daemon=True)
        self._pool = ThreadPoolExecutor(16, thread_name_prefix="partition")
        self._consumer: Consumer

    def start(self) -> None:
        self.controls.start()
        self._thread.start()
        self._ticker.start()
        self.watch.start()

    def stop(self) -> None:
        """Checkpoint, leave the group, and wait for that."""
        self._stopping.set()
        self.controls.stop()
        self.watch.stop()
        self._thread.join()

    @property
    def rebalancing(self) -> bool:
        return bool(self.opening)

    def latest(self) -> float:
        """The newest time (Unix s) that anything here bears witness to: the reports of all partitions, and the time of day."""
        return max([time.time(), *(p.now for p in list(self.partitions.values()))])

    def _control_is_none(self, number: int, why: str) -> None:
        self._metrics.control("unknown", True)
        log.warning("control record %d is refused: %s", number, why, extra={"control": number})

    def open_track_counts(self) -> Counter[tuple[str, str]]:
        """Open tracks of all partitions by (verdict, reason)."""
        total: Counter[tuple[str, str]] = Counter()
        for partition in list(self.partitions.values()):
            total.update(partition.open_track_counts())
        return total

    def models(self) -> list[tuple[Model, str]]:
        """The models of all partitions, with their roles."""
        return [found for partition in list(self.partitions.values()) for found in partition.models()]

    # ---------------------------------------------------------------- the thread

    def _main(self) -> None:
        in_order = False
        try:
            self._consumer = self._connect()
            self._wait_for_controls()
            while not self._stopping.is_set():
                self.last_heartbeat = time.monotonic()
                by_partition: dict[int, list[Message]] = defaultdict(list)
                at_end: dict[int, int] = {}
                for message in self._consumer.consume(self._settings.run_size, POLL_S):
                    if message.error() is None:
                        by_partition[message.partition()].append(message)
                    elif message.error().code() == KafkaError._PARTITION_EOF:
                        at_end[message.partition()] = message.offset()
                    else:
                        self._complain(message)
                for number, messages in by_partition.items():
                    self._hand_over(number, messages)
                for number, end in at_end.items():
                    self._reached_the_end(number, end)
                self._hand_over_controls()
                self._housekeeping()
            self._consumer.close()  # revokes: checkpoint and close
            in_order = True
        except MultitaskAISError as e:
            exits.end_now(exits.of(e), str(e))
        except KafkaException as e:
            error = explain(self._settings, e, "Read", f"topic {self._settings.topic} or group {self._settings.app_id}")
            exits.end_now(exits.USAGE if is_access_denied(e) else exits.TEMPFAIL, str(error))
        except BaseException as e:
            exits.end_now(exits.SOFTWARE, f"the source stopped: {e!r}", e)
        finally:
            # A KafkaException that leaves a rebalance callback comes back from the C library as a bare KafkaError, which is no
            # exception to Python: no `except` catches it. Without this line the thread would be gone and the worker still there.
            if not in_order:
                exits.end_now(exits.TEMPFAIL, f"the source stopped: {sys.exc_info()[1]!r}")

    def _connect(self) -> Consumer:
        s = self._settings
        config = kafka.client(s, group_id=s.app_id, isolation_level="read_committed") | {
            "client.id": self.watch.peers.client_id,
            "enable.auto.commit": False,
            "enable.partition.eof": True,  # reports where the log ends when its last offsets hold no record
            "auto.offset.reset": "error",  # an offset that is not there is a question, see _answer_out_of_range
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": int(s.session_timeout_s * 1000),
            "heartbeat.interval.ms": int(s.session_timeout_s * 1000 / 4),
            "max.poll.interval.ms": max(300_000, int(s.session_timeout_s * 1000)),
            "fetch.queue.backoff.ms": 5,
            "queued.max.messages.kbytes": 32_768,
            "on_commit": lambda error, partitions: None,
        }
        consumer = Consumer(config, logger=kafka.log)
        consumer.subscribe([s.topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
        return consumer

    def _wait_for_controls(self) -> None:
        """Until all that is in the control topic has been read: a first fold must know it."""
        give_up_at = time.monotonic() + 3 * self._settings.outage_max_s
        while not self.controls.wait_until_read(POLL_S):
            self.last_heartbeat = time.monotonic()
            if self._stopping.is_set():
                return
            if time.monotonic() > give_up_at:
                raise TryAgain(f"{self._settings.control_topic} could not be read: no answer from the brokers")

    def _complain(self, message: Message) -> None:
        error = message.error()
        if is_access_denied(error):
            group = error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
            what = f"group {self._settings.app_id}" if group else f"topic {self._settings.topic}"
            raise explain(self._settings, error, "Read", what)
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            if (partition := self.partitions.get(message.partition())) is not None:
                self._answer_out_of_range(partition)
            return
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_ID):
            self.watch.look_now()
        kafka.log.warning("%s", error.str())

    def _hand_over(self, number: int, messages: list[Message]) -> None:
        partition = self.partitions.get(number)
        if partition is None or partition.closed or partition.requested_offset is None:
            return
        records = [ConsumerRecord(m.offset(), m.key(), m.value()) for m in messages]
        if records[0].offset < partition.requested_offset:
            self._require_same_topic()
            kafka.log.debug(
                "partition %d: %d came again, %d is asked for", number, records[0].offset, partition.requested_offset,
                extra={"partition": number, "offset": records[0].offset},
            )  # fmt: skip
            records = [r for r in records if r.offset >= partition.requested_offset]
            if not records:
                return
        if records[0].offset > partition.requested_offset and not self._gap_is_real(partition, records[0].offset):
            return
        self._reread.add(number)
        self._queue(partition, records, records[-1].offset + 1)

    def _reached_the_end(self, number: int, end: int) -> None:
        """All up to ``end`` was given to us; behind the last record there may be markers of transactions."""
        partition = self.partitions.get(number)
        if (
            partition is None
            or partition.closed
            or partition.requested_offset is None
            or end <= partition.requested_offset
        ):
            return
        if self._gap_is_real(partition, end):
            self._queue(partition, [], end)

    def _queue(self, partition: Partition, records: list[ConsumerRecord], next_offset: int) -> bool:
        while not self.slots.acquire(timeout=POLL_S):  # backpressure: the agent is slower than the log
            self.last_heartbeat = time.monotonic()
            if self._stopping.is_set() or partition.closed:
                return False
        partition.requested_offset = next_offset
        self._put(RecordBatch(partition, records, next_offset))
        return True

    def _hand_over_controls(self) -> None:
        """A partition without reports must hear of a new control record, too: a run without records."""
        if self.controls.failed is not None:
            raise self.controls.failed
        end = self.controls.end
        for partition in list(self.partitions.values()):
            if (
                partition.controls_requested < end
                and not partition.closed
                and partition.requested_offset is not None
                and self._queue(partition, [], partition.requested_offset)
            ):
                partition.controls_requested = end

    def _gap_is_real(self, partition: Partition, found: int) -> bool:
        """After a rebalance a consumer was seen to start past the offset it was given: read again before believing a first gap."""
        assert partition.requested_offset is not None
        if partition.number not in self._reread:
            try:
                self._consumer.seek(TopicPartition(self._settings.topic, partition.number, partition.requested_offset))
                self._reread.add(partition.number)
            except KafkaException as e:
                kafka.log.warning("seek to %d: %s", partition.requested_offset, e, extra={"partition": partition.number, "offset": partition.requested_offset})  # fmt: skip
            return False
        log.debug(
            "partition %d: no records at offsets %d to %d (markers, aborted or compacted)", partition.number, partition.requested_offset, found - 1,
            extra={"partition": partition.number, "offset": partition.requested_offset},
        )  # fmt: skip
        self._metrics.without_records.inc(found - partition.requested_offset)
        return True

    def _answer_out_of_range(self, partition: Partition) -> None:
        """The broker has no record at the offset that we asked for: deleted before it was read, or another log altogether."""
        asked = partition.requested_offset
        assert asked is not None
        self._require_same_topic()
        source = TopicPartition(self._settings.topic, partition.number)
        low, _ = self._settled_ends(source, asked)
        self._count_lost(partition, asked, low)
        source.offset = max(asked, low)
        partition.requested_offset = source.offset
        self._consumer.seek(source)

    def _count_lost(self, partition: Partition, asked: int, low: int) -> None:
        if low > asked:
            log.error(
                "partition %d: %d records (offsets %d to %d) were deleted before they were read: raise RETENTION_HOURS and run "
                "`python -m stream_operator topics --mend`",
                partition.number, low - asked, asked, low - 1,
                extra={"partition": partition.number, "offset": asked},
            )  # fmt: skip
            self._metrics.lost.inc(low - asked)

    # ---------------------------------------------------------------- assignment

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        """Also comes with an empty list, when the others changed and we did not."""
        numbers = [p.partition for p in assigned]
        self.watch.look_now()  # the group has changed: are its members alike?
        try:
            if numbers:
                self._require_same_topic(at_once=False)
            # Partitions that were added while the operator runs have no state, and the vessels in them are those of others.
            known = [n for n in numbers if self.watch.known is None or n < self.watch.known.partitions]
            if len(known) < len(numbers):
                self.watch.look_now()
            opened = self._open(known)
            starts = [self._start(p) for p in opened]
        except Stopped:
            for number in numbers:
                if (partition := self.partitions.pop(number, None)) is not None:
                    partition.close()
            starts = []
        consumer.incremental_assign(starts)
        self._assigned.update(s.partition for s in starts)

    def _open(self, numbers: list[int]) -> list[Partition]:
        # What is restored stays: to search it for garbage again and again while it is made took two thirds of the time.
        gc.disable()
        self.opening = dict.fromkeys(numbers, time.monotonic())
        try:
            jobs = [
                self._pool.submit(
                    Partition.open, self._settings, n, self._open_engine, self._metrics, self.controls, self.latest, self._stopping
                )
                for n in numbers
            ]  # fmt: skip
            while wait(jobs, timeout=POLL_S).not_done:
                self.last_heartbeat = time.monotonic()  # it is limited: by outage_max_s, and by who asks us to stop
            opened = [job.result() for job in jobs]
        finally:
            self.opening = {}
            gc.enable()
        for partition in opened:
            partition.on_durable = self.on_durable
            self.partitions[partition.number] = partition
            self._reread.discard(partition.number)
        self._metrics.partitions.set(len(self.partitions))
        return opened

    def _start(self, partition: Partition) -> TopicPartition:
        source = TopicPartition(self._settings.topic, partition.number)
        identity = self.watch.known or TopicIdentity("", 0)
        if (problem := mismatch(self._settings, partition.identity, identity)) is not None:
            raise OperatorError(problem)
        position = partition.position
        low, _ = self._settled_ends(source, position)
        if position is not None:
            self._count_lost(partition, position, low)
        source.offset = low if position is None else max(low, position)
        partition.begin(source.offset, identity, self.watch.control_topic_id)
        return source

    def _require_same_topic(self, at_once: bool = True) -> None:
        """Raise unless the source is the topic that our offsets belong to.

        Args:
            at_once: without an answer, go on; the watch asks again. Else wait for one.
        """
        give_up_at = time.monotonic() + self._settings.outage_max_s
        while True:
            try:
                self.watch.compare(self._lookup.identity(self._settings.topic), confirmed=False)
                if self.watch.known is not None:
                    return
            except KafkaException as e:
                if is_access_denied(e):
                    raise explain(self._settings, e, "Describe", f"topic {self._settings.topic}") from None
                if at_once and self.watch.known is not None:
                    return
                kafka.log.warning("asking for the identity of %s: %s", self._settings.topic, e.args[0].str())
            self.last_heartbeat = time.monotonic()
            if self._stopping.wait(POLL_S):
                raise Stopped
            if time.monotonic() > give_up_at:
                raise InDoubt(f"{self._settings.topic}: no answer from the brokers")

    def _settled_ends(self, source: TopicPartition, position: int | None) -> tuple[int, int]:
        """First and next offset of the log, which must not end before ``position``."""
        give_up_at = time.monotonic() + SETTLE_S
        while True:
            low, high = self._ends(source)
            if position is None or position <= high:
                return low, high
            if time.monotonic() > give_up_at:
                s = self._settings
                raise OperatorError(
                    f"the state of partition {source.partition} stands at offset {position}, but {s.topic} ends at {high}: the log was cut "
                    f"(an unclean election, a disk that was restored). Use another APP_ID, or delete {s.states} (all state is then built "
                    f"again from {s.topic}) and run `python -m stream_operator topics`"
                )
            self._require_same_topic()
            self._wait()

    def _wait(self) -> None:
        self.last_heartbeat = time.monotonic()
        if self._stopping.wait(POLL_S):
            raise Stopped

    def _ends(self, source: TopicPartition) -> tuple[int, int]:
        """First and next offset of the log. A broker that has just come back does not know its partitions for a moment."""
        give_up_at = time.monotonic() + self._settings.outage_max_s
        while True:
            try:
                ends: tuple[int, int] = self._consumer.get_watermark_offsets(source, timeout=ENDS_S)
                return ends
            except KafkaException as e:
                if time.monotonic() > give_up_at:
                    raise InDoubt(f"{source.topic}, partition {source.partition}: {e.args[0].str()}") from None
                kafka.log.warning("asking for the ends of partition %d: %s", source.partition, e.args[0].str(), extra={"partition": source.partition})  # fmt: skip
                self._wait()

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        give_up_at = time.monotonic() + self._settings.stop_timeout_s
        leaving = [p for r in revoked if (p := self.partitions.pop(r.partition, None)) is not None]
        jobs = [self._pool.submit(self._leave, p, give_up_at) for p in leaving]
        while wait(jobs, timeout=POLL_S).not_done:
            self.last_heartbeat = time.monotonic()
        for job in jobs:
            job.result()
        self._unassign(consumer, revoked)
        self._metrics.partitions.set(len(self.partitions))

    def _leave(self, partition: Partition, give_up_at: float) -> None:
        partition.checkpoint(give_up_at)
        partition.close()
        # What was folded between the two is not durable and was seen by nobody: its next owner folds it again.
        log.info("partition %d: revoked; committed offset %s", partition.number, partition.durable, extra={"partition": partition.number, "offset": partition.durable})  # fmt: skip

    def _on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        for p in lost:
            if (partition := self.partitions.pop(p.partition, None)) is not None:
                partition.close()
                log.warning(
                    "partition %d: lost to another worker; what was not durable is folded again there",
                    p.partition,
                    extra={"partition": p.partition, "offset": partition.durable},
                )
        self._unassign(consumer, lost)
        self._metrics.partitions.set(len(self.partitions))

    def _unassign(self, consumer: Consumer, given: list[TopicPartition]) -> None:
        """Of those that we took: an added partition never was."""
        if taken := [p for p in given if p.partition in self._assigned]:
            consumer.incremental_unassign(taken)
            self._assigned.difference_update(p.partition for p in taken)

    # ---------------------------------------------------------------- now and then

    def _housekeeping(self) -> None:
        now = time.monotonic()
        reopen_s = REOPEN_SESSIONS * self._settings.session_timeout_s
        for number, partition in list(self.partitions.items()):
            if partition.fenced_at is not None and now - partition.fenced_at > reopen_s:
                log.info("partition %d: still ours, opening it again", number, extra={"partition": number})
                source = [TopicPartition(self._settings.topic, number)]
                self._consumer.incremental_unassign(source)
                self._consumer.incremental_assign([self._start(p) for p in self._open([number])])
        if now - self._told_group_at < TELL_GROUP_S:
            return
        self._told_group_at = now
        offsets = []
        for number, p in self.partitions.items():
            topic = self._settings.topic
            if p.durable is not None:
                offsets.append(TopicPartition(topic, number, p.durable))
                self._metrics.durable.labels(number).set(p.durable)
            if p.position is not None:
                self._metrics.position.labels(number).set(p.position)
        if offsets:
            try:
                self._consumer.commit(offsets=offsets, asynchronous=True)
            except KafkaException as e:
                kafka.log.debug("group offsets: %s", e)

    def _checkpoints(self) -> None:
        """A checkpoint of each partition every interval; and the watchdog over hanging calls.

        One after the other, spread over the interval: all at once, each would wait for the others' writes, and its alerts with it.
        """
        running: dict[int, object] = {}
        limit_s = 3 * self._settings.outage_max_s
        turn = 0
        while not self._stopping.wait(self._settings.checkpoint_interval_s / max(1, len(self.partitions))):
            partitions = list(self.partitions.values())
            if partitions:
                turn = (turn + 1) % len(partitions)
                p = partitions[turn]
                job = running.get(id(p))
                if job is None or job.done():  # type: ignore[attr-defined]
                    running[id(p)] = self._pool.submit(self._checkpoint, p)
            for p in partitions:
                if (since := p.checkpointer.busy_since) is not None and time.monotonic() - since > limit_s:
                    exits.end_now(
                        exits.TEMPFAIL, f"partition {p.number}: a checkpoint has hung for more than {limit_s:.0f} s"
                    )
            running = {id(p): running[id(p)] for p in partitions if id(p) in running}
            self._metrics.waiting.set(max((p.waiting_s for p in partitions), default=0.0))

    def _checkpoint(self, partition: Partition) -> None:
        try:
            partition.checkpoint()
        except MultitaskAISError as e:
            exits.end_now(exits.of(e), str(e))
        except BaseException as e:
            exits.end_now(exits.SOFTWARE, f"a checkpoint of partition {partition.number} failed: {e!r}", e)

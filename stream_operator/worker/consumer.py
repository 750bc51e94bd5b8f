"""The consumer's thread: owns the Kafka consumer and the partitions, hands runs to the agent, keeps the checkpoints going.

Only this thread calls the consumer (a commit from another thread deadlocks against a rebalance). On assign: fence, restore,
go on at the offset found in the state. On revoke: wait for the running fold, checkpoint, close. On lost: close.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from multitaskais.errors import MultitaskAISError, OperatorError
from multitaskais.model.folder import Model

from .. import exit_codes as exits
from ..kafka import client as kafka
from ..kafka.codec import ConsumerRecord
from ..settings import Settings
from .checkpoint import InDoubt
from .engines import OpenEngine
from .metrics import Metrics
from .partition import Partition, RecordBatch

log = logging.getLogger("stream_operator")

POLL_S = 0.1
ENDS_S = 5.0  # one question for the ends of a partition; asked again
TELL_GROUP_S = 5.0  # the group's own offsets are for lag monitors only
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
        self.rebalancing = False
        self.on_durable: Callable = lambda cut: None
        self._reread: dict[int, int] = {}
        self._stopping = threading.Event()
        self._told_group_at = 0.0
        self._thread = threading.Thread(target=self._main, name="source", daemon=True)
        self._ticker = threading.Thread(target=self._checkpoints, name="checkpoints", daemon=True)
        self._pool = ThreadPoolExecutor(16, thread_name_prefix="partition")
        self._consumer: Consumer

    def start(self) -> None:
        self._thread.start()
        self._ticker.start()

    def stop(self) -> None:
        """Checkpoint, leave the group, and wait for that."""
        self._stopping.set()
        self._thread.join()

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
            while not self._stopping.is_set():
                self.last_heartbeat = time.monotonic()
                by_partition: dict[int, list[Message]] = defaultdict(list)
                for message in self._consumer.consume(self._settings.run_size, POLL_S):
                    if message.error() is None:
                        by_partition[message.partition()].append(message)
                    else:
                        self._complain(message.error())
                for number, messages in by_partition.items():
                    self._hand_over(number, messages)
                self._housekeeping()
            self._consumer.close()  # revokes: checkpoint and close
            in_order = True
        except MultitaskAISError as e:
            exits.end_now(exits.TEMPFAIL if isinstance(e, InDoubt) else exits.USAGE, str(e))
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
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
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

    def _complain(self, error: KafkaError) -> None:
        if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
            raise OperatorError(f"the broker refuses: {error.str()}")
        kafka.log.warning("%s", error.str())

    def _hand_over(self, number: int, messages: list[Message]) -> None:
        partition = self.partitions.get(number)
        if partition is None or partition.closed:
            return
        records = [ConsumerRecord(m.offset(), m.key(), m.value()) for m in messages]
        if partition.requested_offset is not None:
            if records[0].offset < partition.requested_offset:
                records = [r for r in records if r.offset >= partition.requested_offset]
                if not records:
                    return
            if records[0].offset > partition.requested_offset and not self._gap_is_real(partition, records[0].offset):
                return
        partition.requested_offset = records[-1].offset + 1
        while not self.slots.acquire(timeout=POLL_S):  # backpressure: the agent is slower than the log
            self.last_heartbeat = time.monotonic()
            if self._stopping.is_set() or partition.closed:
                return
        self._put(RecordBatch(partition, records, partition.requested_offset))

    def _gap_is_real(self, partition: Partition, found: int) -> bool:
        """After a rebalance a consumer was seen to start past the offset it was given: read again before believing a gap."""
        assert partition.requested_offset is not None
        if self._reread.get(partition.number) != partition.requested_offset:
            try:
                self._consumer.seek(TopicPartition(self._settings.topic, partition.number, partition.requested_offset))
                self._reread[partition.number] = partition.requested_offset
            except KafkaException as e:
                kafka.log.warning("seek to %d: %s", partition.requested_offset, e)
            return False
        log.warning(
            "partition %d: offsets %d to %d are not in the log any more (retention, or transaction markers)",
            partition.number,
            partition.requested_offset,
            found - 1,
        )
        self._metrics.skipped.inc(found - partition.requested_offset)
        return True

    # ---------------------------------------------------------------- assignment

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        """Also comes with an empty list, when the others changed and we did not."""
        self.rebalancing = True
        opened = self._open([p.partition for p in assigned])
        consumer.incremental_assign([self._start(p) for p in opened])
        self.rebalancing = False

    def _open(self, numbers: list[int]) -> list[Partition]:
        # What is restored stays: to search it for garbage again and again while it is made took two thirds of the time.
        gc.disable()
        try:
            jobs = [
                self._pool.submit(Partition.open, self._settings, n, self._open_engine, self._metrics) for n in numbers
            ]
            opened = [job.result() for job in jobs]
        finally:
            gc.enable()
        for partition in opened:
            partition.on_durable = self.on_durable
            self.partitions[partition.number] = partition
            self._reread.pop(partition.number, None)
        self._metrics.partitions.set(len(self.partitions))
        return opened

    def _start(self, partition: Partition) -> TopicPartition:
        source = TopicPartition(self._settings.topic, partition.number)
        low, high = self._ends(source)
        if partition.position is None:
            partition.position = partition.durable = partition.requested_offset = low
        elif partition.position > high:
            raise OperatorError(
                f"the state of partition {partition.number} stands at offset {partition.position}, but {self._settings.topic} ends at {high}: "
                f"was the topic made again? Then use another APP_ID, or delete {self._settings.states} and run `python -m stream_operator topics`"
            )
        source.offset = partition.position if partition.position > 0 else OFFSET_BEGINNING
        return source

    def _ends(self, source: TopicPartition) -> tuple[int, int]:
        """First and next offset of the log. A broker that has just come back does not know its partitions for a moment."""
        give_up_at = time.monotonic() + self._settings.outage_max_s
        while True:
            try:
                return self._consumer.get_watermark_offsets(source, timeout=ENDS_S)
            except KafkaException as e:
                if time.monotonic() > give_up_at:
                    raise InDoubt(f"{source.topic}, partition {source.partition}: {e.args[0].str()}") from None
                kafka.log.warning("asking for the ends of partition %d: %s", source.partition, e.args[0].str())
                time.sleep(POLL_S)

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        give_up_at = time.monotonic() + self._settings.stop_timeout_s
        leaving = [p for r in revoked if (p := self.partitions.pop(r.partition, None)) is not None]
        for job in [self._pool.submit(self._leave, p, give_up_at) for p in leaving]:
            job.result()
        consumer.incremental_unassign(revoked)
        self._metrics.partitions.set(len(self.partitions))

    def _leave(self, partition: Partition, give_up_at: float) -> None:
        partition.checkpoint(give_up_at)
        partition.close()
        # What was folded between the two is not durable and was seen by nobody: its next owner folds it again.
        log.info("partition %d: revoked; committed offset %s", partition.number, partition.durable)

    def _on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        for p in lost:
            if (partition := self.partitions.pop(p.partition, None)) is not None:
                partition.close()
                log.warning("partition %d: lost; the new owner reprocesses from the last checkpoint", p.partition)
        consumer.incremental_unassign(lost)
        self._metrics.partitions.set(len(self.partitions))

    # ---------------------------------------------------------------- now and then

    def _housekeeping(self) -> None:
        now = time.monotonic()
        reopen_s = REOPEN_SESSIONS * self._settings.session_timeout_s
        for number, partition in list(self.partitions.items()):
            if partition.fenced_at is not None and now - partition.fenced_at > reopen_s:
                log.info("partition %d: still ours, opening it again", number)
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
                _, high = self._consumer.get_watermark_offsets(TopicPartition(topic, number), cached=True)
                self._metrics.lag.labels(number).set(max(0, high - p.position))
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
            exits.end_now(exits.TEMPFAIL if isinstance(e, InDoubt) else exits.USAGE, str(e))
        except BaseException as e:
            exits.end_now(exits.SOFTWARE, f"a checkpoint of partition {partition.number} failed: {e!r}", e)

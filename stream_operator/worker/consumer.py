"""The consumer's thread: reads the log and hands batches of records to the agent.

Only this thread calls the consumer (a commit from another thread deadlocks against a rebalance). Which partitions it reads:
``assignment``; from which offset, in which topic: ``source_log``.

A gap between two records is no loss: markers of transactions, aborted and compacted records leave gaps. What is lost is what lies
below the log's first offset; the consumer is told to stop there and ask (``auto.offset.reset=error``), and ``source_log`` answers.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from multitaskais.errors import MultitaskAISError, OperatorError, TryAgain

from .. import exit_codes as exits
from ..kafka import client as kafka
from ..kafka.codec import ConsumerRecord
from ..kafka.errors import explain, is_access_denied
from ..settings import Settings
from .assignment import Assignment
from .checkpoint_schedule import CheckpointSchedule
from .control_log import ControlLog
from .engines import OpenEngine
from .heartbeat import POLL_S, Heartbeat
from .metrics import Metrics
from .partition import Partition, RecordBatch
from .peers import Peers
from .source_log import SourceLog
from .topic_identity import TopicLookup
from .topic_watch import TopicWatch

log = logging.getLogger("stream_operator")

TELL_GROUP_S = 5.0  # the group's own offsets are for lag monitors only
OPENING_THREADS = 16  # partitions that are restored at once
CHECKPOINT_THREADS = 16  # partitions that are made durable at once; they never wait for those that are opened


class KafkaSource:
    """``put`` receives each batch; it must not block. ``slots`` bounds how many are under way."""

    def __init__(
        self, settings: Settings, open_engine: OpenEngine, metrics: Metrics, put: Callable[[RecordBatch], None]
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._put = put
        self.slots = threading.BoundedSemaphore(settings.queue_runs)
        self.heart = Heartbeat()
        self.controls = ControlLog(settings, self._control_is_none)
        openers = ThreadPoolExecutor(OPENING_THREADS, thread_name_prefix="open")
        pool = ThreadPoolExecutor(CHECKPOINT_THREADS, thread_name_prefix="checkpoint")
        self.assignment = Assignment(settings, open_engine, metrics, self.controls, self.heart, openers, pool)
        lookup = TopicLookup(settings)
        self.watch = TopicWatch(settings, lookup, self.assignment.all, metrics, Peers(settings))
        self._log = SourceLog(settings, lookup, self.watch, metrics, self.heart)
        self._checkpoints = CheckpointSchedule(settings, self.assignment.all, pool, self.heart.stopping, metrics)
        self._told_group_at = 0.0
        self._thread = threading.Thread(target=self._main, name="source", daemon=True)
        self._consumer: Consumer

    def start(self) -> None:
        self.controls.start()
        self._thread.start()
        self._checkpoints.start()
        self.watch.start()

    def stop(self) -> None:
        """Checkpoint, leave the group, and wait for that."""
        self.heart.stopping.set()
        self.controls.stop()
        self.watch.stop()
        self._thread.join()

    def _control_is_none(self, number: int, why: str) -> None:
        self._metrics.control("unknown", True)
        log.warning("control record %d is refused: %s", number, why, extra={"control": number})

    # ---------------------------------------------------------------- the thread

    def _main(self) -> None:
        in_order = False
        try:
            self._consumer = self._connect()
            self._wait_for_controls()
            while not self.heart.stopping.is_set():
                self.heart.beat()
                self._read()
                self._hand_over_controls()
                self.assignment.reopen_fenced(self._consumer, self._log)
                self._tell_group()
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
            "auto.offset.reset": "error",  # an offset that is not there is a question, see SourceLog.seek_past_deleted
            "max.poll.interval.ms": max(300_000, int(s.session_timeout_s * 1000)),
            "fetch.queue.backoff.ms": 5,
            "queued.max.messages.kbytes": 32_768,
            "on_commit": lambda error, partitions: None,
        }
        config |= kafka.membership(s)
        consumer = Consumer(config, logger=kafka.log)
        consumer.subscribe(
            [s.topic],
            on_assign=lambda consumer, parts: self.assignment.assign(consumer, parts, self._log, self.watch),
            on_revoke=self.assignment.revoke,
            on_lost=self.assignment.lose,
        )
        return consumer

    def _wait_for_controls(self) -> None:
        """Until all that is in the control topic has been read: a first fold must know it."""
        give_up_at = time.monotonic() + 3 * self._settings.outage_max_s
        while not self.controls.wait_until_read(POLL_S):
            self.heart.beat()
            if self.heart.stopping.is_set():
                return
            if time.monotonic() > give_up_at:
                raise TryAgain(f"{self._settings.control_topic} could not be read: no answer from the brokers")

    # ---------------------------------------------------------------- reading

    def _read(self) -> None:
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

    def _complain(self, message: Message) -> None:
        error, s = message.error(), self._settings
        if is_access_denied(error):
            group = error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
            what = f"group {self._settings.app_id}" if group else f"topic {self._settings.topic}"
            raise explain(self._settings, error, "Read", what)
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            if (partition := self.assignment.partitions.get(message.partition())) is not None:
                self._log.seek_past_deleted(self._consumer, partition)
            return
        if error.fatal() or error.code() == KafkaError._FATAL:
            hint = "; brokers before Kafka 4.0 know GROUP_PROTOCOL=classic alone" * (s.group_protocol == "consumer")
            raise OperatorError(f"the group {s.app_id} cannot be joined or kept: {error.str()}{hint}")
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_ID):
            self.watch.look_now()
        kafka.log.warning("%s", error.str())

    def _hand_over(self, number: int, messages: list[Message]) -> None:
        partition = self.assignment.partitions.get(number)
        if partition is None or partition.closed or partition.requested_offset is None:
            return
        records = [ConsumerRecord(m.offset(), m.key(), m.value()) for m in messages]
        if records[0].offset < partition.requested_offset:
            self._log.require_same_topic()
            kafka.log.debug(
                "partition %d: %d came again, %d is asked for", number, records[0].offset, partition.requested_offset,
                extra={"partition": number, "offset": records[0].offset},
            )  # fmt: skip
            records = [r for r in records if r.offset >= partition.requested_offset]
            if not records:
                return
        if records[0].offset > partition.requested_offset and not self._gap_is_real(partition, records[0].offset):
            return
        partition.start_is_sure = True
        self._queue(partition, records, records[-1].offset + 1)

    def _reached_the_end(self, number: int, end: int) -> None:
        """All up to ``end`` was given to us; behind the last record there may be markers of transactions."""
        partition = self.assignment.partitions.get(number)
        if (
            partition is None
            or partition.closed
            or partition.requested_offset is None
            or end <= partition.requested_offset
        ):
            return
        if self._gap_is_real(partition, end):
            self._queue(partition, [], end)

    def _gap_is_real(self, partition: Partition, found: int) -> bool:
        """After a rebalance a consumer was seen to start past the offset it was given: read again before believing a first gap."""
        assert partition.requested_offset is not None
        if not partition.start_is_sure:
            try:
                self._consumer.seek(TopicPartition(self._settings.topic, partition.number, partition.requested_offset))
                partition.start_is_sure = True
            except KafkaException as e:
                kafka.log.warning("seek to %d: %s", partition.requested_offset, e, extra={"partition": partition.number, "offset": partition.requested_offset})  # fmt: skip
            return False
        log.debug(
            "partition %d: no records at offsets %d to %d (markers, aborted or compacted)", partition.number, partition.requested_offset, found - 1,
            extra={"partition": partition.number, "offset": partition.requested_offset},
        )  # fmt: skip
        self._metrics.without_records.inc(found - partition.requested_offset)
        return True

    def _hand_over_controls(self) -> None:
        """A partition without reports must hear of a new control record, too: a batch without records."""
        if self.controls.failed is not None:
            raise self.controls.failed
        end = self.controls.end
        for partition in self.assignment.all():
            if (
                partition.controls_requested < end
                and not partition.closed
                and partition.requested_offset is not None
                and self._queue(partition, [], partition.requested_offset)
            ):
                partition.controls_requested = end

    def _queue(self, partition: Partition, records: list[ConsumerRecord], next_offset: int) -> bool:
        while not self.slots.acquire(timeout=POLL_S):  # backpressure: the agent is slower than the log
            self.heart.beat()
            if self.heart.stopping.is_set() or partition.closed:
                return False
        partition.requested_offset = next_offset
        self._put(RecordBatch(partition, records, next_offset))
        return True

    # ---------------------------------------------------------------- now and then

    def _tell_group(self) -> None:
        """The durable offsets, as the group's own: what monitors of lag read, and with whom the other workers compare themselves."""
        now = time.monotonic()
        if now - self._told_group_at < TELL_GROUP_S:
            return
        self._told_group_at = now
        offsets, note = [], self.watch.peers.note()
        for p in self.assignment.all():
            if p.durable is not None:
                offsets.append(TopicPartition(self._settings.topic, p.number, p.durable, metadata=note))
                self._metrics.durable.labels(p.number).set(p.durable)
            if p.position is not None:
                self._metrics.position.labels(p.number).set(p.position)
        if offsets:
            try:
                self._consumer.commit(offsets=offsets, asynchronous=True)
            except KafkaException as e:
                kafka.log.debug("group offsets: %s", e)

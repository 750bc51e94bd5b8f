"""The source's log as the broker has it: is it still our topic, where does each partition begin and end, what was deleted unread?

An offset is trusted in one topic only (``topic_identity``). The questions are asked again until the broker answers, for as long as
an outage may last. Only the consumer's thread asks, and it keeps its heartbeat meanwhile.
"""

from __future__ import annotations

import logging
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

from multitaskais.errors import OperatorError

from ..kafka import client as kafka
from ..kafka.errors import explain, is_access_denied
from ..settings import Settings
from .checkpoint import InDoubt
from .heartbeat import Heartbeat
from .metrics import Metrics
from .partition import Partition
from .topic_identity import TopicIdentity, TopicLookup, mismatch
from .topic_watch import TopicWatch

log = logging.getLogger("stream_operator")

ENDS_S = 5.0  # one question for the ends of a partition; asked again
# A log that seems to end before our position gets so long: a broker that comes back finds its end again.
SETTLE_S = 10.0


class SourceLog:
    """Asks by the consumer it is given (``start``, ``seek_past_deleted``), or by a client of its own (``require_same_topic``)."""

    def __init__(
        self, settings: Settings, lookup: TopicLookup, watch: TopicWatch, metrics: Metrics, heart: Heartbeat
    ) -> None:
        self._settings = settings
        self._lookup = lookup
        self._watch = watch
        self._metrics = metrics
        self._heart = heart

    def require_same_topic(self, at_once: bool = True) -> None:
        """Raise unless the source is the topic that our offsets belong to.

        Args:
            at_once: without an answer, go on; the watch asks again. Else wait for one.

        Raises:
            OperatorError: it is another topic, or the right to describe it is missing.
            InDoubt: no answer within OUTAGE_MAX_S.
            Stopped: the worker is to stop.
        """
        give_up_at = time.monotonic() + self._settings.outage_max_s
        while True:
            try:
                self._watch.compare(self._lookup.identity(self._settings.topic), confirmed=False)
                if self._watch.known is not None:
                    return
            except KafkaException as e:
                if is_access_denied(e):
                    raise explain(self._settings, e, "Describe", f"topic {self._settings.topic}") from None
                if at_once and self._watch.known is not None:
                    return
                kafka.log.warning("asking for the identity of %s: %s", self._settings.topic, e.args[0].str())
            self._heart.pause()
            if time.monotonic() > give_up_at:
                raise InDoubt(f"{self._settings.topic}: no answer from the brokers")

    def start(self, consumer: Consumer, partition: Partition) -> TopicPartition:
        """Where an opened partition is read from: the offset of its state, or the log's first; the partition learns it.

        Raises:
            OperatorError: the state belongs to another topic, or to a log that was cut.
        """
        source = TopicPartition(self._settings.topic, partition.number)
        identity = self._watch.known or TopicIdentity("", 0)
        if (problem := mismatch(self._settings, partition.identity, identity)) is not None:
            raise OperatorError(problem)
        position = partition.position
        low, _ = self._settled_ends(consumer, source, position)
        if position is not None:
            self._count_lost(partition, position, low)
        source.offset = low if position is None else max(low, position)
        partition.begin(source.offset, identity, self._watch.control_topic_id)
        return source

    def seek_past_deleted(self, consumer: Consumer, partition: Partition) -> None:
        """The broker has no record at the offset that we asked for: deleted before it was read, or another log altogether."""
        asked = partition.requested_offset
        assert asked is not None
        self.require_same_topic()
        source = TopicPartition(self._settings.topic, partition.number)
        low, _ = self._settled_ends(consumer, source, asked)
        self._count_lost(partition, asked, low)
        source.offset = max(asked, low)
        partition.requested_offset = source.offset
        kafka.read_from(consumer, source)

    def _count_lost(self, partition: Partition, asked: int, low: int) -> None:
        if low > asked:
            log.error(
                "partition %d: %d records (offsets %d to %d) were deleted before they were read: raise RETENTION_HOURS and run "
                "`python -m stream_operator topics --mend`",
                partition.number, low - asked, asked, low - 1,
                extra={"partition": partition.number, "offset": asked},
            )  # fmt: skip
            self._metrics.lost.inc(low - asked)

    def _settled_ends(self, consumer: Consumer, source: TopicPartition, position: int | None) -> tuple[int, int]:
        """First and next offset of the log, which must not end before ``position``."""
        give_up_at = time.monotonic() + SETTLE_S
        while True:
            low, high = self._ends(consumer, source)
            if position is None or position <= high:
                return low, high
            if time.monotonic() > give_up_at:
                s = self._settings
                raise OperatorError(
                    f"the state of partition {source.partition} stands at offset {position}, but {s.topic} ends at {high}: the log was cut "
                    f"(an unclean election, a disk that was restored). Use another APP_ID, or delete {s.states} (all state is then built "
                    f"again from {s.topic}) and run `python -m stream_operator topics`"
                )
            self.require_same_topic()
            self._heart.pause()

    def _ends(self, consumer: Consumer, source: TopicPartition) -> tuple[int, int]:
        """First and next offset of the log. A broker that has just come back does not know its partitions for a moment."""
        give_up_at = time.monotonic() + self._settings.outage_max_s
        while True:
            try:
                ends: tuple[int, int] = consumer.get_watermark_offsets(source, timeout=ENDS_S)
                return ends
            except KafkaException as e:
                if time.monotonic() > give_up_at:
                    raise InDoubt(f"{source.topic}, partition {source.partition}: {e.args[0].str()}") from None
                kafka.log.warning("asking for the ends of partition %d: %s", source.partition, e.args[0].str(), extra={"partition": source.partition})  # fmt: skip
                self._heart.pause()

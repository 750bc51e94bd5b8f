"""Which partitions this worker owns. On assign: fence, restore, go on at the offset found in the state. On revoke: wait for the
running fold, checkpoint, close. On lost: close.
"""

from __future__ import annotations

import gc
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from multitaskais.model.folder import Model

from ..settings import Settings
from .checkpoint import CheckpointPayload, Stopped
from .control_log import ControlLog
from .engines import OpenEngine
from .heartbeat import POLL_S, Heartbeat
from .metrics import Metrics
from .partition import Partition
from .source_log import SourceLog
from .topic_watch import TopicWatch

log = logging.getLogger("stream_operator")

REOPEN_SESSIONS = 2.0  # session timeouts after which a fenced partition that is still ours is opened again


class Assignment:
    """``partitions``: those that are open, by number. Only the consumer's thread changes them; other threads take a copy.

    Args:
        openers: restore partitions; each may wait for the brokers as long as an outage lasts.
        pool: makes partitions durable before they are given away.
    """

    def __init__(
        self,
        settings: Settings,
        open_engine: OpenEngine,
        metrics: Metrics,
        controls: ControlLog,
        heart: Heartbeat,
        openers: ThreadPoolExecutor,
        pool: ThreadPoolExecutor,
    ) -> None:
        self.partitions: dict[int, Partition] = {}
        self.opening: dict[int, float] = {}  # partitions that are being fenced and restored, since when (monotonic s)
        self.on_durable: Callable[[CheckpointPayload], None] = lambda cut: None
        self._settings = settings
        self._open_engine = open_engine
        self._metrics = metrics
        self._controls = controls
        self._heart = heart
        self._openers = openers
        self._pool = pool
        self._read: set[int] = set()  # partitions that the consumer reads

    # ---------------------------------------------------------------- what they hold

    def all(self) -> list[Partition]:
        return list(self.partitions.values())

    def latest(self) -> float:
        """The newest time (Unix s) that anything here bears witness to: the reports of all partitions, and the time of day."""
        return max([time.time(), *(p.now for p in self.all())])

    def open_track_counts(self) -> Counter[tuple[str, str]]:
        """Open tracks of all partitions by (verdict, reason)."""
        total: Counter[tuple[str, str]] = Counter()
        for partition in self.all():
            total.update(partition.open_track_counts())
        return total

    def models(self) -> list[tuple[Model, str]]:
        """The models of all partitions, with their roles."""
        return [found for partition in self.all() for found in partition.models()]

    # ---------------------------------------------------------------- rebalances

    def assign(
        self, consumer: Consumer, assigned: list[TopicPartition], source_log: SourceLog, watch: TopicWatch
    ) -> None:
        """Also called with an empty list, when the others changed and we did not."""
        numbers = [p.partition for p in assigned]
        watch.look_now()  # the group has changed: are its members alike?
        try:
            if numbers:
                source_log.require_same_topic(at_once=False)
            # Partitions that were added while the operator runs have no state, and the vessels in them are those of others.
            known = [n for n in numbers if watch.known is None or n < watch.known.partitions]
            if len(known) < len(numbers):
                watch.look_now()
            starts = [source_log.start(consumer, p) for p in self.open(known)]
        except Stopped:
            for number in numbers:
                if (partition := self.partitions.pop(number, None)) is not None:
                    partition.close()
            starts = []
        consumer.incremental_assign(starts)
        self._read.update(s.partition for s in starts)

    def open(self, numbers: list[int]) -> list[Partition]:
        """Fence the former owners and restore. Raises ``Stopped`` when the worker is to stop meanwhile."""
        # What is restored stays: to search it for garbage again and again while it is made took two thirds of the time.
        gc.disable()
        self.opening = dict.fromkeys(numbers, time.monotonic())
        try:
            jobs = [
                self._openers.submit(
                    Partition.open, self._settings, n, self._open_engine, self._metrics, self._controls, self.latest, self._heart.stopping
                )
                for n in numbers
            ]  # fmt: skip
            self._wait_for(jobs)  # it is limited: by outage_max_s, and by who asks us to stop
            opened = [job.result() for job in jobs]
        finally:
            self.opening = {}
            gc.enable()
        for partition in opened:
            partition.on_durable = self.on_durable
            self.partitions[partition.number] = partition
        self._metrics.partitions.set(len(self.partitions))
        return opened

    def revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        give_up_at = time.monotonic() + self._settings.stop_timeout_s
        leaving = [p for r in revoked if (p := self.partitions.pop(r.partition, None)) is not None]
        jobs = [self._pool.submit(self._leave, p, give_up_at) for p in leaving]
        self._wait_for(jobs)
        for job in jobs:
            job.result()
        self._unassign(consumer, revoked)

    def lose(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        """Another worker has them already: close, and write nothing."""
        for p in lost:
            if (partition := self.partitions.pop(p.partition, None)) is not None:
                partition.close()
                log.warning(
                    "partition %d: lost to another worker; what was not durable is folded again there",
                    p.partition,
                    extra={"partition": p.partition, "offset": partition.durable},
                )
        self._unassign(consumer, lost)

    def reopen_fenced(self, consumer: Consumer, source_log: SourceLog) -> None:
        """A partition that was fenced, and that the group has not taken from us since, is still ours."""
        now = time.monotonic()
        reopen_s = REOPEN_SESSIONS * self._settings.session_timeout_s
        for partition in self.all():
            if partition.fenced_at is not None and now - partition.fenced_at > reopen_s:
                number = partition.number
                log.info("partition %d: still ours, opening it again", number, extra={"partition": number})
                consumer.incremental_unassign([TopicPartition(self._settings.topic, number)])
                consumer.incremental_assign([source_log.start(consumer, p) for p in self.open([number])])

    def _wait_for(self, jobs: Sequence[Future[Any]]) -> None:
        while wait(jobs, timeout=POLL_S).not_done:
            self._heart.beat()

    def _leave(self, partition: Partition, give_up_at: float) -> None:
        partition.checkpoint(give_up_at)
        partition.close()
        # What was folded between the two is not durable and was seen by nobody: its next owner folds it again.
        log.info("partition %d: revoked; committed offset %s", partition.number, partition.durable, extra={"partition": partition.number, "offset": partition.durable})  # fmt: skip

    def _unassign(self, consumer: Consumer, given: list[TopicPartition]) -> None:
        """Of those that we took: an added partition never was."""
        if taken := [p for p in given if p.partition in self._read]:
            consumer.incremental_unassign(taken)
            self._read.difference_update(p.partition for p in taken)
        self._metrics.partitions.set(len(self.partitions))

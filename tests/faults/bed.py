"""The bed on which faults are made: a real broker behind a TCP proxy, two workers, and a feeder that never stops."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from stream_operator import devbroker
from stream_operator.devbroker.cluster import DevCluster
from stream_operator.kafka import client as kafka
from stream_operator.kafka import codec as wire
from stream_operator.kafka import topics
from stream_operator.kafka.topics import Admin
from stream_operator.worker.checkpoint import restore
from tests.faults.proxy import Proxy
from tests.faults.traffic import FaultTraffic
from tests.faults.watch import Watch
from tests.stream.conftest import Worker, finish, own_settings

os.environ.setdefault("KAFKA_CACHE", str(Path(__file__).resolve().parent.parent.parent / ".cache" / "kafka"))

WORKERS = 2
LARGEST_BYTES = 3_000_000  # the source topic takes poison of 2 MB
STATES = {
    "message.timestamp.type": "LogAppendTime",
    "segment.bytes": "16000000",  # small, so that the topic is compacted while workers restore from it
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": "20000",
}
DRAIN_S = 300.0
LEAVE_S = 30.0
PATIENT_PARTITIONS = 16


@dataclass(frozen=True)
class Plan:
    """What a run is made with."""

    engine: str = "product"  # of tests.support.worker
    model: str = "brittany"
    rate: float = 1000.0  # reports/s
    vessels: int = 240  # of a day of event time
    brokers: int = 1
    partitions: int = 4
    group_protocol: str = "classic"
    session_timeout_s: float = 6.0
    checkpoint_interval_s: float = 0.5


class Bed:
    """``begin`` a round, make faults, ``finish`` it; then everything that was sent is durable, and the workers have left."""

    def __init__(self, folder: Path, rng: random.Random, plan: Plan) -> None:
        self.folder, self.rng, self.plan = folder, rng, plan
        self.proxy: Proxy | None = None
        if plan.brokers > 1:
            self.cluster = DevCluster(folder / "cluster", plan.brokers)
            self.cluster.start()
            self.bootstrap = self.cluster.bootstrap
        else:
            port = devbroker.free_port()
            self.broker = devbroker.DevBroker(folder / "broker", advertised_port=port, heap_mb=768)
            self.broker.start()
            self.proxy = Proxy(port, self.broker.port)
            self.bootstrap = self.broker.bootstrap
        self._asker: AdminClient | None = None
        self.workers: list[Worker] = []
        self.started = 0
        self.asked_to_end: set[int] = set()  # pids
        self.ended: Counter[int] = Counter()  # exit codes of workers that nobody had asked to end
        self.takeovers: list[float] = []
        self.returns: list[float] = []

    # ------------------------------------------------------------ a round

    def begin(self, traffic: FaultTraffic) -> None:
        plan = self.plan
        self.settings = replace(
            own_settings(self.bootstrap, model=plan.model),
            partitions=plan.partitions, replication_factor=min(3, plan.brokers), run_size=500, session_timeout_s=plan.session_timeout_s,
            checkpoint_interval_s=plan.checkpoint_interval_s, group_protocol=plan.group_protocol,
        )  # fmt: skip
        self._topics()
        self.traffic = traffic
        self.watch = Watch(self.settings)
        self.feeding = threading.Event()
        self.feeding.set()
        self.fed: list[tuple[float, int]] = []
        self.keep_two_workers()
        # Else many partitions begin behind, and the last of them is reached when all before it have been read.
        for worker in self.workers:
            self.opened(worker)
        self.feeder = threading.Thread(target=self._feed, daemon=True)
        self.feeder.start()

    def _topics(self) -> None:
        wanted = topics.wanted(self.settings, self.settings.partitions)
        for t in wanted:
            if t.name == self.settings.topic:
                t.config["max.message.bytes"] = str(LARGEST_BYTES)
            if t.name == self.settings.states:
                t.config.update(STATES)
        Admin(self.settings).create(wanted)

    def producer(self, **more: str) -> Producer:
        timeout = {} if more else {"message.timeout.ms": 0}  # a transaction has one of its own
        return Producer(
            kafka.client(self.settings, partitioner=kafka.PARTITIONER, enable_idempotence=True, linger_ms=5, **more)
            | {"message.max.bytes": LARGEST_BYTES} | timeout, logger=kafka.log,
        )  # fmt: skip

    def send(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """(key, value) each, to where their keys belong."""
        producer = self.producer()
        for key, value in records:
            kafka.produce(producer, self.settings.topic, value, key)
        producer.flush()

    def leader(self, partition: int) -> devbroker.DevBroker:
        """The broker that leads a partition of the source."""
        found = self._admin().list_topics(self.settings.topic, timeout=30).topics[self.settings.topic]
        return self.cluster.nodes[found.partitions[partition].leader - 1]

    def in_sync(self, within: float = 90.0) -> None:
        """Wait until every replica of every topic is in sync."""
        give_up_at = time.monotonic() + within
        while time.monotonic() < give_up_at:
            try:
                topics_ = self._admin().list_topics(timeout=10).topics.values()
                if all(len(p.isrs) == len(p.replicas) for t in topics_ for p in t.partitions.values()):
                    return
            except KafkaException:
                pass
            time.sleep(0.5)
        raise AssertionError(f"not all replicas are in sync within {within:.0f} s")

    def _admin(self) -> AdminClient:
        if self._asker is None:
            self._asker = AdminClient(kafka.client(self.settings), logger=kafka.log)
        return self._asker

    def _feed(self) -> None:
        producer = self.producer()
        start = time.monotonic()
        for sent, row in enumerate(self.traffic, 1):
            if not self.feeding.is_set():
                break
            key, value = wire.encode_report(row)
            kafka.produce(producer, self.settings.topic, value, key)
            if sent % 50 == 0:
                producer.poll(0)
                late = time.monotonic() - start - sent / self.plan.rate
                if late > 0:
                    start += late / 2  # after an outage the rest comes faster, but not all at once
                else:
                    time.sleep(-late)
        producer.flush()

    def poison(self, records: list[tuple[bytes | None, bytes | None]]) -> None:
        producer = self.producer()
        for key, value in records:
            kafka.produce(producer, self.settings.topic, value, key, self.rng.randrange(self.settings.partitions))
        producer.flush()

    def finish(self) -> list[str]:
        """End of input; wait until all of it is durable; SIGTERM to the workers. Returns what went wrong."""
        wrong = []
        self.feeding.clear()
        self.feeder.join(120)
        if self.feeder.is_alive():
            wrong.append("the feeder did not come to its end within 120 s")
        if left := self._drained():
            wrong.append(f"{left} records are not durable after {DRAIN_S:.0f} s")
        # Tracks are open now: their states are compared, too.
        self.open_states = {}
        for number in range(self.settings.partitions):
            self.open_states |= restore(self.settings, number).vessels
        self.last_control = finish(self.settings, self.traffic.t_end)
        give_up_at = time.monotonic() + DRAIN_S
        while ((left := self._left()) or not self._ended()) and time.monotonic() < give_up_at:
            self.keep_two_workers()
            time.sleep(0.5)
        if left:
            wrong.append(f"{left} records are not durable after {DRAIN_S:.0f} s")
        for worker in self.workers:
            try:
                if (code := self.end(worker)) != 0:
                    wrong.append(f"a worker left with exit code {code}")
            except AssertionError as e:
                wrong.append(str(e))
        self.workers = []
        self.watch.close()
        return wrong

    def _drained(self) -> int:
        """Wait until all that was sent is durable; how much is not."""
        give_up_at = time.monotonic() + DRAIN_S
        while (left := self._left()) and time.monotonic() < give_up_at:
            self.keep_two_workers()
            time.sleep(0.5)
        return left

    def forget(self) -> None:
        """Delete the round's topics: a long run would fill the disk."""
        names = [t.name for t in topics.wanted(self.settings, self.settings.partitions)]
        client = AdminClient(kafka.client(self.settings), logger=kafka.log)
        for future in client.delete_topics(names).values():
            try:
                future.result()
            except KafkaException as e:
                print(f"  (a topic of the round stays: {e.args[0].str()})")

    def _ended(self) -> bool:
        """Every partition has made durable what it decided on the control record that ends the input."""
        return self._decided(self.last_control)

    def _decided(self, control: int) -> bool:
        numbers = range(self.settings.partitions)
        return all(control in restore(self.settings, n).decisions for n in numbers)

    def decided(self, control: int, within: float = 90.0) -> None:
        """Wait until every partition has made durable what it decided on a control record."""
        give_up_at = time.monotonic() + within
        while not self._decided(control):
            assert time.monotonic() < give_up_at, f"control record {control} is not decided within {within:.0f} s"
            time.sleep(0.5)

    def log_ends(self) -> dict[int, int]:
        """Of each partition of the source the offset behind its last record."""
        consumer = Consumer(kafka.reader(self.settings), logger=kafka.log)
        try:
            return {
                n: consumer.get_watermark_offsets(TopicPartition(self.settings.topic, n), 30)[1]
                for n in range(self.settings.partitions)
            }
        finally:
            consumer.close()

    def _left(self) -> int:
        try:
            ends = self.log_ends()
        except KafkaException:
            return 1
        return sum(ends.values()) - sum(self.watch.offsets())

    def close(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
        if self.proxy is not None:
            self.proxy.close()
            self.broker.stop()
        else:
            self.cluster.stop()

    # ------------------------------------------------------------ workers

    def worker(self, **env: str) -> Worker:
        self.started += 1
        worker = Worker(self.settings, self.folder / f"worker-{self.started}.log", self.plan.engine, **env)
        self.workers.append(worker)
        return worker

    def keep_two_workers(self) -> None:
        """As a supervisor does: who has ended is started again."""
        for w in self.workers:
            if (code := w.process.poll()) is not None and w.process.pid not in self.asked_to_end:
                self.ended[code] += 1
                print(
                    f"  (a worker ended by itself with exit code {code}: {w.text()[-300:] if w.log.exists() else ''})"
                )
        self.workers = [w for w in self.workers if w.process.poll() is None]
        while len(self.workers) < WORKERS:
            self.worker()

    def pick(self) -> Worker:
        """One of the workers at random, once all have been given partitions: another one must be there to take over."""
        self.keep_two_workers()
        for worker in self.workers:
            self.opened(worker)
        return self.rng.choice(self.workers)

    def opened(self, worker: Worker) -> None:
        """Wait until a worker has been given partitions (as far as its log tells)."""
        give_up_at = time.monotonic() + 60
        while worker.log.exists() and "restored" not in worker.text() and time.monotonic() < give_up_at:
            time.sleep(0.1)

    def end(self, worker: Worker, number: int = signal.SIGTERM) -> int:
        """The exit code; a worker that does not go is killed."""
        self.asked_to_end.add(worker.process.pid)
        try:
            return worker.end(number, within=LEAVE_S)
        except subprocess.TimeoutExpired:
            print(f"  (a worker did not leave: {worker.text()[-1500:] if worker.log.exists() else 'no log'})")
            worker.end(signal.SIGKILL)
            raise AssertionError(f"a worker did not leave within {LEAVE_S:.0f} s of signal {number}") from None

    def expect_end(self, worker: Worker) -> None:
        """It was armed to end at a fault point."""
        self.asked_to_end.add(worker.process.pid)

    # ------------------------------------------------------------ how it goes on

    def went_on(self, since: float | None = None, within: float = 60.0) -> float:
        """Seconds (of the broker's clock) after ``since`` until every partition had a checkpoint; more partitions have more time."""
        within *= max(1.0, self.plan.partitions / PATIENT_PARTITIONS)
        return max(self.watch.went_on(time.time() if since is None else since, within))

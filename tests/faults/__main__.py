"""``python -m tests.faults [--seed N] [--count N] [--short] [--core stream_operator.core:fleet]``

A real broker behind a TCP proxy, two workers under load, and a seeded script of faults. In rounds: faults while reports come in, then
the end of input, then what was made durable is compared with a run without faults. Exit code 0 only when all rounds are exact.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from confluent_kafka import Producer

from stream_operator import devbroker, faultpoints, kafka, wire
from stream_operator.checkpoint import restore
from stream_operator.topics import Admin
from tests.faults.compare import compare
from tests.faults.proxy import Proxy
from tests.faults.traffic import Traffic
from tests.stream.conftest import Worker, own_settings

os.environ.setdefault("KAFKA_CACHE", str(Path(__file__).resolve().parent.parent.parent / ".cache" / "kafka"))

POISON = [
    (b"227000001", b"not json"), (b"227000001", b'{"mmsi":"227000001","x":NaN}'), (None, b"{}"), (b"227000001", None),
    (b"227000001", b'{"mmsi":"\xff"}'), (b"227000001", b'{"mmsi":"227000009","tagblock_timestamp":1}'), (b"x", b'{"mmsi":"x"}'),
    (b"227000001", b'{"mmsi":"227000001","sog":"fast","tagblock_timestamp":1700000000}'), (b"227000001", b'"' + b"x" * 900_000 + b'"'),
]  # fmt: skip


class Bed:
    """Broker, proxy, two workers, and a feeder that never stops while faults happen."""

    def __init__(
        self, folder: Path, rng: random.Random, core: str, rate: float, model: str, session_timeout_s: float
    ) -> None:
        self.folder, self.rng, self.rate, self.session_timeout_s = folder, rng, rate, session_timeout_s
        port = devbroker.free_port()
        self.broker = devbroker.DevBroker(folder / "broker", advertised_port=port)
        self.broker.start()
        self.proxy = Proxy(port, self.broker.port)
        self.core, self.model = core, model
        self.workers: list[Worker] = []
        self.started = 0
        self.takeovers: list[float] = []
        self.returns: list[float] = []

    # ------------------------------------------------------------ a round

    def begin(self, traffic: Traffic) -> None:
        self.settings = own_settings(self.broker.bootstrap, model=self.model)
        self.settings = replace(self.settings, core=self.core, run_size=300, session_timeout_s=self.session_timeout_s)
        Admin(self.settings).create()
        self.traffic = traffic
        self.feeding = threading.Event()
        self.feeding.set()
        self.workers = [self.worker(), self.worker()]
        self.feeder = threading.Thread(target=self._feed, daemon=True)
        self.feeder.start()

    def _producer(self) -> Producer:
        return Producer(
            kafka.client(self.settings, partitioner=kafka.PARTITIONER, enable_idempotence=True, linger_ms=5)
            | {"message.timeout.ms": 0}, logger=kafka.log,
        )  # fmt: skip

    def _feed(self) -> None:
        producer = self._producer()
        start = time.monotonic()
        for sent, row in enumerate(self.traffic, 1):
            if not self.feeding.is_set():
                break
            key, value = wire.encode_report(row)
            producer.produce(self.settings.topic, value, key)
            if sent % 50 == 0:
                producer.poll(0)
                time.sleep(max(0.0, sent / self.rate - (time.monotonic() - start)))
        producer.flush()
        for partition in range(self.settings.partitions):
            key, value = wire.encode_watermark(self.traffic.t_end)
            producer.produce(self.settings.topic, value, key, partition)
        producer.flush()

    def finish(self) -> None:
        """End of input; wait until all of it is durable; SIGTERM to the workers."""
        self.feeding.clear()
        self.feeder.join(120)
        self.keep_two_workers()
        deadline = time.monotonic() + 180
        while (left := self.left()) and time.monotonic() < deadline:
            self.keep_two_workers()
            time.sleep(0.5)
        if left:
            print(f"  still {left} records left after 180 s")
        for worker in self.workers:
            if (code := worker.end(within=30)) != 0:
                print(f"  a worker left with {code}")

    def left(self) -> int:
        admin = Admin(self.settings)
        ends = {n: self._end(n) for n in range(admin.partitions[self.settings.topic])}
        return sum(end - (restore(self.settings, n).offset or 0) for n, end in ends.items())

    def _end(self, number: int) -> int:
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(kafka.reader(self.settings), logger=kafka.log)
        try:
            return consumer.get_watermark_offsets(TopicPartition(self.settings.topic, number), 30)[1]
        finally:
            consumer.close()

    # ------------------------------------------------------------ workers

    def worker(self, **env: str) -> Worker:
        self.started += 1
        return Worker(self.settings, self.folder / f"worker-{self.started}.log", **env)

    def keep_two_workers(self) -> None:
        self.workers = [w for w in self.workers if w.process.poll() is None]
        while len(self.workers) < 2:
            self.workers.append(self.worker())

    def pick(self) -> Worker:
        self.keep_two_workers()
        return self.rng.choice(self.workers)

    def progress(self) -> list[int]:
        return [restore(self.settings, n).offset or 0 for n in range(self.settings.partitions)]

    def wait_for_progress(self, within: float = 60.0) -> float:
        """Seconds until every partition has moved on (the feeder feeds all of them)."""
        start, before = time.monotonic(), self.progress()
        while time.monotonic() - start < within:
            if all(now > then for now, then in zip(self.progress(), before, strict=True)):
                return time.monotonic() - start
            time.sleep(0.3)
        raise AssertionError(f"no progress on all partitions within {within} s")


# ---------------------------------------------------------------- faults


def kill(bed: Bed) -> None:
    bed.pick().end(signal.SIGKILL)
    bed.takeovers.append(bed.wait_for_progress())


def kill_inside_a_checkpoint(bed: Bed) -> None:
    victim = bed.pick()
    victim.end(signal.SIGTERM, within=30)
    point = bed.rng.choice(faultpoints.POINTS)
    times = 1 if point in ("fenced", "restored") else bed.rng.randint(1, 6)
    armed = bed.worker(FAULT_POINT=f"{point}:{times}")
    bed.workers.append(armed)
    armed.process.wait(60)
    bed.wait_for_progress()


def sigterm(bed: Bed) -> None:
    victim = bed.pick()
    deadline = time.monotonic() + 60
    while (
        victim.log.exists() and not victim.text() and time.monotonic() < deadline
    ):  # before its first line Python itself ends on the signal
        time.sleep(0.2)
    start = time.monotonic()
    code = victim.end(signal.SIGTERM, within=30)
    assert code == 0, f"SIGTERM: exit code {code}"
    assert time.monotonic() - start < 10, "SIGTERM: more than 10 s"
    bed.wait_for_progress()


def stop_past_the_session(bed: Bed) -> None:
    worker = bed.pick()
    worker.process.send_signal(signal.SIGSTOP)
    time.sleep(bed.settings.session_timeout_s + bed.rng.uniform(1, 4))
    worker.process.send_signal(signal.SIGCONT)
    bed.wait_for_progress()


def stop_inside_a_checkpoint(bed: Bed) -> None:
    armed = bed.worker(FAULT_POINT=f"{bed.rng.choice(('begun', 'produced'))}:{bed.rng.randint(1, 5)}:STOP")
    bed.workers.append(armed)
    deadline = time.monotonic() + 90
    while not _stopped(armed) and armed.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    assert _stopped(armed), "the worker did not come to the point at which it stops"
    time.sleep(bed.settings.session_timeout_s + bed.rng.uniform(1, 4))
    armed.process.send_signal(signal.SIGCONT)
    bed.wait_for_progress()
    armed.end(within=30)


def _stopped(worker: Worker) -> bool:
    """Whether the process stands still (state T in /proc)."""
    try:
        return Path(f"/proc/{worker.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
    except OSError:
        return False


def kill_the_broker(bed: Bed) -> None:
    bed.broker.kill()
    time.sleep(bed.rng.uniform(0.5, 5))
    bed.broker.start()
    bed.returns.append(bed.wait_for_progress())


def restart_the_broker(bed: Bed) -> None:
    bed.broker.stop()
    bed.broker.start()
    bed.returns.append(bed.wait_for_progress())


def broker_away_for_a_minute(bed: Bed) -> None:
    bed.broker.stop()
    time.sleep(60)
    bed.broker.start()
    bed.returns.append(bed.wait_for_progress(within=90))


def cut_connections(bed: Bed) -> None:
    for _ in range(bed.rng.randint(1, 5)):
        bed.proxy.cut()
        time.sleep(bed.rng.uniform(0, 1))
    bed.wait_for_progress()


def half_open_connections(bed: Bed) -> None:
    bed.proxy.hold()
    time.sleep(bed.rng.uniform(1, 12))
    bed.proxy.release()
    bed.wait_for_progress()


def slow_connections(bed: Bed) -> None:
    bed.proxy.delay_s = 0.1
    time.sleep(5)
    bed.proxy.delay_s = 0.0
    bed.wait_for_progress()


def third_worker_joins_and_leaves(bed: Bed) -> None:
    third = bed.worker()
    bed.workers.append(third)
    time.sleep(bed.rng.uniform(3, 8))
    third.end(bed.rng.choice((signal.SIGTERM, signal.SIGKILL)), within=30)
    bed.wait_for_progress()


def poison(bed: Bed) -> None:
    producer = bed._producer()
    for key, value in bed.rng.sample(POISON, len(POISON)):
        producer.produce(bed.settings.topic, value, key, bed.rng.randrange(bed.settings.partitions))
    producer.flush()
    bed.wait_for_progress()


def duplicates_and_shuffle(bed: Bed) -> None:
    bed.traffic.disorder(2000)
    bed.wait_for_progress()


def no_disk(bed: Bed) -> None:
    victim = bed.pick()
    victim.end(within=30)
    bed.workers.append(bed.worker(NO_FILES="1"))
    bed.wait_for_progress()


QUICK = [kill_inside_a_checkpoint, poison, duplicates_and_shuffle, kill_the_broker, cut_connections]
ALL = [*QUICK, kill, sigterm, third_worker_joins_and_leaves, stop_past_the_session, stop_inside_a_checkpoint, restart_the_broker, half_open_connections, slow_connections, no_disk, broker_away_for_a_minute]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=105, help="faults to make")
    parser.add_argument("--per-round", type=int, default=15, help="faults between two comparisons")
    parser.add_argument("--short", action="store_true", help="one round of the quick kinds")
    parser.add_argument("--kinds", nargs="*", help="only these kinds")
    parser.add_argument("--core", default="stream_operator.core:fleet")
    parser.add_argument("--model", default="brittany")
    parser.add_argument("--rate", type=float, default=2000.0, help="reports/s")
    args = parser.parse_args()
    if (reason := devbroker.missing()) is not None:
        print(reason)
        return 2
    rng = random.Random(args.seed)
    kinds = QUICK if args.short else [k for k in ALL if not args.kinds or k.__name__ in args.kinds]
    script: list = []
    count = len(QUICK) if args.short else args.count
    while len(script) < count:
        script += rng.sample(kinds, len(kinds))
    script = script[:count]
    made: Counter[str] = Counter()
    survived: Counter[str] = Counter()
    exact = True
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        bed = Bed(Path(folder), rng, args.core, args.rate, args.model, 3.0 if args.short else 6.0)
        try:
            for first in range(0, count, args.per_round):
                faults = script[first : first + args.per_round]
                bed.begin(Traffic(seed=args.seed + first))
                bed.wait_for_progress(within=90)
                failed: Counter[str] = Counter()
                for fault in faults:
                    start = time.monotonic()
                    told = ""
                    try:
                        fault(bed)
                    except AssertionError as e:  # what it promises did not hold; the comparison still follows
                        failed[fault.__name__] += 1
                        exact = False
                        told = f"; FAILED: {e}"
                    bed.keep_two_workers()
                    print(f"  {fault.__name__}: {time.monotonic() - start:.1f} s{told}", flush=True)
                bed.finish()
                want, differences = compare(bed.settings)
                made.update(f.__name__ for f in faults)
                if differences.none:
                    survived.update(Counter(f.__name__ for f in faults) - failed)
                else:
                    exact = False
                print(
                    f"round of {len(faults)}: {want.reports} reports, {sum(want.alerts.values())} alerts, {sum(want.dead.values())} dead letters; {differences}",
                    flush=True,
                )
        except BaseException:
            print("--- logs of the last workers")
            for log in sorted(Path(folder).glob("worker-*.log"))[-3:]:
                print(log.name, log.read_text(errors="replace")[-2000:], sep="\n")
            raise
        finally:
            for worker in bed.workers:
                if worker.process.poll() is None:
                    worker.process.kill()
                    worker.process.wait()
            bed.proxy.close()
            bed.broker.stop()
    for name in made:
        print(f"{name:<32} {survived[name]:>4} of {made[name]}")
    for name, times in (("take-over after kill -9", bed.takeovers), ("broker's return picked up", bed.returns)):
        if times:
            print(f"{name}: {min(times):.1f} to {max(times):.1f} s")
    print(f"faults survived / made: {sum(survived.values())} / {sum(made.values())}")
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())

"""Claim: 100,000 vessels are restored from the state topic within 10 s; beside it, a plain consumer that reads the same bytes and builds nothing.

The states are those of real ships past their warm-up; they are written by the operator's own checkpoints, each twice, as they lie in the
topic before it is compacted. What is timed is what a worker does when it gets all partitions: fence, read, decode, build the fold.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from multitaskais.engine.engine import PartitionEngine
from stream_operator import devbroker
from stream_operator.kafka import client as kafka
from stream_operator.settings import Settings
from stream_operator.worker.checkpoint import Checkpointer, CheckpointPayload
from stream_operator.worker.consumer import KafkaSource
from stream_operator.worker.engines import OpenEngine, engine_opener
from stream_operator.worker.metrics import Metrics
from stream_operator.worker.partition import Partition

from .harness import Result, figure, of_rates, require
from .live import settings_for, until_ready, worker
from .workload import model, usual

VESSELS, QUICK_VESSELS = 100_000, 4_000
REAL, QUICK_REAL = 4_000, 1_000  # vessels that are folded; the others have the states of these under other numbers
TWICE = 2
CUT_VESSELS = 1_000
GOAL_S = 10.0
ROUNDS = 3
HOURS, EVERY_S = 2.6, 360.0
FIRST_MMSI = 227_000_000
T = TypeVar("T")


def states(vessels: int, real: int) -> tuple[list[bytes], bytes]:
    """(states of so many vessels, the partition's state)."""
    fleet = PartitionEngine(model()[0])
    reports = usual(real, HOURS, EVERY_S, seed=31, first_mmsi=FIRST_MMSI)
    for start in range(0, len(reports), 20_000):
        fleet.process(reports[start : start + 20_000])
    blobs = [b for b in fleet.snapshot().values() if b is not None]
    return list(itertools.islice(itertools.cycle(blobs), vessels)), fleet.partition_state()


def write(settings: Settings, blobs: list[bytes], partition_state: bytes) -> None:
    for number in range(settings.partitions):
        checkpointer = Checkpointer(settings, number)
        checkpointer.fence()
        mine = range(number, len(blobs), settings.partitions)
        for _ in range(TWICE):
            for start in range(0, len(mine), CUT_VESSELS):
                vessels: dict[int, bytes | None] = {FIRST_MMSI + i: blobs[i] for i in mine[start : start + CUT_VESSELS]}
                checkpointer.commit(CheckpointPayload(0, [], vessels, partition_state))


def restored(settings: Settings, open_engine: OpenEngine) -> list[Partition]:
    """All partitions, as a worker opens them when it is given them."""
    return KafkaSource(settings, open_engine, Metrics(), lambda run: None).assignment.open(
        list(range(settings.partitions))
    )


def read_only(settings: Settings) -> tuple[int, int]:
    """(records, bytes) of the state topic, by a plain consumer."""
    consumer = Consumer(kafka.reader(settings, fetch_wait_max_ms=10), logger=kafka.log)
    consumer.assign([TopicPartition(settings.states, n, OFFSET_BEGINNING) for n in range(settings.partitions)])
    records, size, ended = 0, 0, set[int]()
    while len(ended) < settings.partitions:
        for m in consumer.consume(2000, 0.1):
            if (error := m.error()) is None:
                records += 1
                size += len(m.value() or b"")
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(m.partition())
    consumer.close()
    return records, size


def clocked(work: Callable[[], T]) -> tuple[float, T]:
    began = time.monotonic()
    out = work()
    return time.monotonic() - began, out


def ready_seconds(settings: Settings, log: Path) -> float:
    """From the start of a worker's process until ``/ready`` says yes."""
    began = time.monotonic()
    with worker(settings, log) as (at, _):
        until_ready(at)
        return time.monotonic() - began


def run(quick: bool = False) -> list[Result]:
    if reason := devbroker.missing():
        raise RuntimeError(reason)
    vessels, real = (QUICK_VESSELS, QUICK_REAL) if quick else (VESSELS, REAL)
    with tempfile.TemporaryDirectory() as name, devbroker.DevBroker(Path(name) / "kafka") as broker:
        settings = settings_for(broker, "restore")
        write(settings, *states(vessels, real))
        open_engine = engine_opener(settings)
        records, size = read_only(settings)
        pairs, took = [], []
        for _ in range(1 if quick else ROUNDS):
            ours, partitions = clocked(lambda: restored(settings, open_engine))
            found = sum(sum(p.open_track_counts().values()) for p in partitions)
            require(found == vessels, f"{found:,} of {vessels:,} vessels were restored")
            del partitions
            theirs, _ = clocked(lambda: read_only(settings))
            pairs.append((vessels / ours, vessels / theirs))
            took.append(ours)
        ready_s = ready_seconds(settings, Path(name) / "worker.log")
    seconds = sorted(took)[len(took) // 2]
    notes = (
        f"{records:,} records, {size / 1e6:,.0f} MB in the topic, each state twice; states of {real:,} folded vessels under {vessels:,} numbers",
        f"{min(took):.1f} to {max(took):.1f} s; from the start of a worker's process (Python, model, group) to /ready {ready_s:.1f} s",
    )
    return [
        figure(
            "restore/seconds", work=f"seconds to fence and restore {vessels:,} vessels of 4 partitions in one worker", unit="s",
            value=seconds, goal=None if quick else GOAL_S, notes=notes,
            figures={"seconds": seconds, "ready_s": ready_s, "bytes": size},
        ),
        of_rates(
            "restore/plain", pairs, work=f"{vessels:,} vessels restored", unit="vessels/s",
            reference="a plain consumer that reads the same bytes and builds nothing",
        ),
    ]  # fmt: skip

"""Claim: through a real broker one worker (Faust agent, transactions, durable state) reaches half the rate of the same engine on a plain consumer and ten times that of a stock Faust agent.

All three read the same topic in catch-up, each as a process of its own with the same engine and model; also with an engine that does next to
nothing, which shows what moving the records alone costs. Latency is from the moment a report was sent to the moment its alert is durable
and read, at a steady rate. Rates are by the clock on the wall: the broker and the processes share this machine's cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, Message, Producer, TopicPartition

from multitaskais.types import Reports
from stream_operator import devbroker
from stream_operator.kafka import client as kafka
from stream_operator.kafka import codec as wire
from stream_operator.kafka.topics import Admin
from stream_operator.settings import Settings

from .harness import Result, figure, of_rates, require
from .workload import MODEL, usual

REPORTS, STOCK_REPORTS, ROUNDS = 300_000, 30_000, 2
QUICK_REPORTS, QUICK_STOCK_REPORTS = 20_000, 4_000
GOAL_PLAIN, GOAL_STOCK = 0.5, 10.0
GOAL_SAMPLES = 0.9
SAMPLES_A_DAY = 144
LATENCY_RATE, LATENCY_S = 10_000.0, 60.0
QUICK_LATENCY_RATE, QUICK_LATENCY_S = 1_000.0, 17.0
LATENCY_EVERY_S = 10.0  # time of the ships between two reports of one, in which a second passes here
JUMPS_A_SECOND = 20.0  # at most
JUMPED_SHARE = 0.01  # of the ships within three minutes: from 5 % on it would be a fault of the station, and no alert
GOAL_LATENCY_S = 1.0  # p99, beyond the checkpoint interval
LIMIT_S = 300.0
READY_LIMIT_S = 120.0
TRIES = 3
ENGINES = {"real": "product", "stand-in": "silent"}  # of tests.support.worker


def fleet_reports(n: int) -> Reports:
    """Some hundred vessels that report each minute, as on a coast."""
    vessels = max(20, n // 240)
    return usual(vessels, 4.1, 60.0, seed=11)[:n]


def send(settings: Settings, reports: Reports) -> None:
    # Not compressed: stock Faust reads through aiokafka, which has no lz4 of its own.
    producer = Producer(kafka.client(settings, partitioner=kafka.PARTITIONER, linger_ms=20))
    for i, row in enumerate(reports.tolist()):
        key, value = wire.encode_report(row)
        kafka.produce(producer, settings.topic, value, key)
        if i % 1000 == 0:
            producer.poll(0)
    producer.flush()


def environment(settings: Settings) -> dict[str, str]:
    values = {n: getattr(settings, n) for n in Settings.__dataclass_fields__}
    return {**os.environ, "OMP_NUM_THREADS": "1"} | {
        k.upper(): str(v) for k, v in values.items() if v not in (None, "")
    }


@contextmanager
def worker(
    settings: Settings, log: Path, engine: str = ENGINES["real"], tree: Path | None = None
) -> Iterator[tuple[Settings, subprocess.Popen[bytes]]]:
    """A worker as a process of its own, and its settings with its health port; that of another checkout where ``tree`` is one."""
    settings = replace(settings, health_port=devbroker.free_port())
    how = ["tests.support.worker", engine] if tree is None else ["stream_operator", "worker"]
    env = environment(settings) | ({} if tree is None else {"PYTHONPATH": str(tree)})
    with log.open("ab") as out:
        process = subprocess.Popen([sys.executable, "-m", *how], env=env, stdout=out, stderr=out, cwd=tree)
    try:
        yield settings, process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def reports_folded(settings: Settings) -> float:
    """What the worker's own counter says; 0 while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{settings.health_port}/metrics", timeout=5) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith("multitaskais_reports_total "):
                    return float(line.split()[1])
    except OSError:
        pass
    return 0.0


def until_ready(settings: Settings) -> None:
    """Wait until the worker has its partitions."""
    give_up_at = time.monotonic() + READY_LIMIT_S
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{settings.health_port}/ready", timeout=1).close()
            return
        except OSError:  # no answer yet, or 503
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"the worker was not ready within {READY_LIMIT_S:.0f} s") from None
            time.sleep(0.05)


def worker_rate(
    settings: Settings, expected: int, log: Path, engine: str = ENGINES["real"], tree: Path | None = None
) -> float:
    """Reports per second from the last look at which nothing was folded yet to the one at which all were."""
    with worker(settings, log, engine, tree) as (at, _):
        began = time.monotonic()
        deadline = began + LIMIT_S
        while time.monotonic() < deadline:
            done, now = reports_folded(at), time.monotonic()
            if not done:
                began = now
            elif done >= expected:
                return done / max(now - began, 1e-3)
            time.sleep(0.02)
    raise RuntimeError(f"the worker did not fold {expected} reports in {LIMIT_S:.0f} s: {log.read_text()[-1000:]}")


def process_rate(module: str, settings: Settings, expected: int, engine: str, *how: str) -> float:
    command = [sys.executable, "-m", f"benchmarks.reference.{module}", str(expected), engine, *how]
    for attempt in range(TRIES):
        # Another group each time; a broker that has just started may have no coordinator for it yet, which ends a stock agent.
        at = environment(replace(settings, app_id=f"{settings.app_id}-{attempt}"))
        done = subprocess.run(command, env=at, capture_output=True, text=True, timeout=LIMIT_S)
        if lines := [x for x in done.stdout.splitlines() if "{" in x]:
            found = json.loads(lines[-1][lines[-1].index("{") :])  # a terminal's escape may stand before it
            rate: float = found["records"] / max(found["seconds"], 1e-3)
            return rate
        time.sleep(2)
    raise RuntimeError(f"{module} ended with {done.returncode}: {(done.stdout + done.stderr)[-1000:]}")


def settings_for(broker: devbroker.DevBroker, name: str, partitions: int = 4) -> Settings:
    settings = Settings(
        app_id=f"bench-{name}", bootstrap_servers=broker.bootstrap, model=MODEL,
        topic=f"{name}.dynamic", alert_topic=f"{name}.alerts", verdict_topic=f"{name}.verdicts", sample_topic=f"{name}.samples", dead_topic=f"{name}.dead",
        feedback_topic=f"{name}.feedback", partitions=partitions, log_level="WARNING",
    )  # fmt: skip
    Admin(settings).create()
    return settings


def catch_up(broker: devbroker.DevBroker, folder: Path, kind: str, quick: bool) -> list[Result]:
    engine = ENGINES[kind]
    n, few = (QUICK_REPORTS, QUICK_STOCK_REPORTS) if quick else (REPORTS, STOCK_REPORTS)
    reports = fleet_reports(n)
    many, some = settings_for(broker, f"{kind}-many"), settings_for(broker, f"{kind}-some")
    send(many, reports)
    send(some, reports[:few])
    pairs: dict[str, list[tuple[float, float]]] = {"plain": [], "stock": [], "stock take": []}
    for i in range(1 if quick else ROUNDS):
        again = replace(many, app_id=f"{many.app_id}-{i}")
        Admin(again).create()
        ours = worker_rate(again, len(reports), folder / f"{kind}-{i}.log", engine)
        pairs["plain"].append((ours, process_rate("plain_consumer", again, len(reports), engine)))
        for name, how in (("stock", ()), ("stock take", ("take",))):
            at = replace(some, app_id=f"{some.app_id}-{i}{len(how)}")
            pairs[name].append((ours, process_rate("stock_faust", at, few, engine, *how)))
    goals = {"plain": GOAL_PLAIN, "stock": GOAL_STOCK} if kind == "real" and not quick else {}
    references = {
        "plain": "a plain consumer, no transactions, fold in its thread",
        "stock": "a stock Faust agent, `async for`",
        "stock take": "a stock Faust agent, `take(1000)`",
    }
    what = "the model's engine" if kind == "real" else "an engine that only counts"
    return [
        of_rates(
            f"live/{kind} {name}", found, reference=references[name], goal=goals.get(name), unit="reports/s",
            work=f"{len(reports):,} reports in catch-up, one worker, {what}",
        )
        for name, found in pairs.items()
    ]  # fmt: skip


def samples_cost(broker: devbroker.DevBroker, folder: Path, quick: bool) -> Result:
    """The same catch-up with and without the topic of samples, in turns; what the topic holds on the broker's disk."""
    reports = fleet_reports(QUICK_REPORTS if quick else REPORTS)
    source = settings_for(broker, "samples")
    send(source, reports)
    pairs, on_disk, raw, count = [], 0, 0, 0
    for i in range(1 if quick else ROUNDS):
        rates = {}
        for samples in ("on", "off") if i % 2 else ("off", "on"):
            name = f"samples-{samples}-{i}"
            at = replace(source, app_id=f"bench-{name}", samples=samples, sample_topic=name)
            Admin(at).create()
            rates[samples] = worker_rate(at, len(reports), folder / f"{name}.log", ENGINES["real"])
        pairs.append((rates["on"], rates["off"]))
        on_disk += sum(f.stat().st_size for f in broker.folder.rglob(f"samples-on-{i}-*/*.log"))
        for m in read_all(replace(source, sample_topic=f"samples-on-{i}")):
            if m.error() is None:
                count += 1
                raw += len(m.key()) + len(m.value())
    require(count > 0, "no sample was written")
    return of_rates(
        "live/samples", pairs, reference="the same with SAMPLES=off", goal=None if quick else GOAL_SAMPLES, unit="reports/s",
        work=f"{len(reports):,} reports, one a minute, in catch-up, one worker, samples written",
        notes=(
            f"a sample has {raw / count:.0f} bytes, {on_disk / count:.0f} on the broker's disk in these large batches (lz4): a vessel heard all day "
            f"{raw / count * SAMPLES_A_DAY / 1000:,.1f} and {on_disk / count * SAMPLES_A_DAY / 1000:,.1f} kB",
        ),
        figures={"bytes_a_vessel_day": raw / count * SAMPLES_A_DAY, "disk_bytes_a_vessel_day": on_disk / count * SAMPLES_A_DAY},
    )  # fmt: skip


def read_all(settings: Settings) -> Iterator[Message]:
    consumer = Consumer(kafka.reader(settings))
    consumer.assign([TopicPartition(settings.sample_topic, p, OFFSET_BEGINNING) for p in range(settings.partitions)])
    ended = 0
    while ended < settings.partitions:
        for m in consumer.consume(5000, 0.2):
            ended += m.error() is not None
            yield m
    consumer.close()


def latency(
    broker: devbroker.DevBroker,
    folder: Path,
    rate: float,
    seconds: float,
    name: str = "latency",
    tree: Path | None = None,
) -> Result:
    """Ships that jump: the alert's ``decided_at`` is the time of the report that let it be decided; when was that one sent?

    Each ship reports each ``LATENCY_EVERY_S`` of its own time, which runs so fast that each is heard once a second.
    """
    settings = settings_for(broker, name)
    vessels = int(rate)
    reports = usual(vessels, seconds * LATENCY_EVERY_S / 3600.0, LATENCY_EVERY_S, seed=12)
    # Now and then a ship says, for one report, that it is 30 km to the north (or south): an impossible displacement.
    rng = np.random.default_rng(0)
    odd = np.flatnonzero(rng.random(len(reports)) < min(JUMPS_A_SECOND / rate, JUMPED_SHARE * LATENCY_EVERY_S / 180.0))
    reports["lat"][odd] += np.where(reports["lat"][odd] > 48.5, -0.3, 0.3)
    rows = reports.tolist()
    records = [wire.encode_report(row) for row in rows]
    number = {(str(row[0]), row[1]): i for i, row in enumerate(rows)}
    sent = np.full(len(rows), np.nan)
    waits: list[float] = []
    stop = threading.Event()

    def read() -> None:
        consumer = Consumer(kafka.reader(settings) | {"enable.partition.eof": False})
        consumer.assign([TopicPartition(settings.alert_topic, p, OFFSET_END) for p in range(settings.partitions)])
        while not stop.is_set():
            for m in consumer.consume(100, 0.02):
                if m.error() is None:
                    alert, now = json.loads(m.value()), time.monotonic()
                    if (i := number.get((alert["mmsi"], alert["decided_at"]))) is not None:
                        waits.append(now - sent[i])
        consumer.close()

    reader = threading.Thread(target=read)
    with worker(settings, folder / f"{name}.log", tree=tree) as (at, _):
        reader.start()
        producer = Producer(kafka.client(settings, partitioner=kafka.PARTITIONER, linger_ms=5))
        until_ready(at)
        time.sleep(2)  # the reader has its place
        began = time.monotonic()
        for i, (key, value) in enumerate(records):
            if i % 100 == 0:
                producer.poll(0)
                if (ahead := i / rate - (time.monotonic() - began)) > 0:
                    time.sleep(ahead)
            sent[i] = time.monotonic()
            producer.produce(settings.topic, value, key)
        producer.flush()
        reached = len(records) / (time.monotonic() - began)
        behind = len(records) - reports_folded(at)
        time.sleep(3)
        stop.set()
        reader.join()
    require(len(waits) > 0, "no alert was seen whose report was sent")
    p50, p99 = (float(np.quantile(waits, q)) for q in (0.5, 0.99))
    goal = settings.checkpoint_interval_s + GOAL_LATENCY_S
    return figure(
        "live/latency", work=f"report sent to alert read, {reached:,.0f} reports/s of {vessels:,} vessels, p99", unit="s",
        value=p99, goal=goal if rate == LATENCY_RATE else None,
        notes=(
            f"p50 {p50:.2f} s, p99 {p99:.2f} s, greatest {max(waits):.2f} s over {len(waits):,} alert revisions, read with read_committed; a checkpoint "
            f"comes each {settings.checkpoint_interval_s:g} s, half of that is waited on average; {max(behind, 0):,.0f} reports were not folded when the last was sent",
        ),
        figures={"p50_s": p50, "p99_s": p99, "rate": reached},
    )  # fmt: skip


def run(quick: bool = False) -> list[Result]:
    if reason := devbroker.missing():
        raise RuntimeError(reason)
    out: list[Result] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with devbroker.DevBroker(folder / "kafka") as broker:
            out += catch_up(broker, folder, "real", quick)
            if not quick:
                out += catch_up(broker, folder, "stand-in", quick)
            out.append(samples_cost(broker, folder, quick))
            how = (QUICK_LATENCY_RATE, QUICK_LATENCY_S) if quick else (LATENCY_RATE, LATENCY_S)
            out.append(latency(broker, folder, *how))
    return out

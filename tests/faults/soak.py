"""``python -m tests.faults.soak [--rounds N] [--short]``: an hour of event time at full speed over and over; does memory stay flat?

A real broker and one worker with the real core and model. Each round is the same hour, six hours later each time: half of the ships come
again, the other half are new in each round, so that all tracks must end and, a day later, the states of those that stayed away must be
forgotten. Printed per round: reports, reports/s, the worker's resident memory, its open tracks. Flat means: the mean memory of the last third of the
rounds is no more than 5 % above that of the second third.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from confluent_kafka import Producer

from multitaskais.types import Reports
from stream_operator import devbroker
from stream_operator.kafka import client as kafka
from stream_operator.kafka import codec as wire
from stream_operator.kafka.topics import Admin
from stream_operator.settings import Settings
from tests.faults.traffic import hour
from tests.faults.watch import Watch
from tests.stream.conftest import Worker, own_settings

STAY, COME_AND_GO, EVERY_S = 200, 200, 60.0
SHORT = (40, 40, 60.0)
FLAT = 0.05  # growth between the last two thirds of the rounds
ROUND_LIMIT_S = 300.0


def send(settings: Settings, producer: Producer, rows: Reports) -> None:
    for row in rows.tolist():
        key, value = wire.encode_report(row)
        kafka.produce(producer, settings.topic, value, key)
    producer.flush()


def resident_mb(worker: Worker) -> float:
    pages = int(Path(f"/proc/{worker.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_tracks(worker: Worker) -> int:
    with urllib.request.urlopen(f"{worker.url}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return int(sum(float(x.split()[-1]) for x in lines if x.startswith("multitaskais_tracks_open{")))


def soak(folder: Path, rounds: int, ships: tuple[int, int, float]) -> Iterator[dict[str, float]]:
    """One row of figures after each round."""
    with devbroker.DevBroker(folder / "broker") as broker:
        settings = replace(own_settings(broker.bootstrap), checkpoint_interval_s=1.0)
        Admin(settings).create()
        worker, watch = Worker(settings, folder / "worker.log"), Watch(settings)
        producer = Producer(
            kafka.client(settings, partitioner=kafka.PARTITIONER, enable_idempotence=True, linger_ms=20)
        )
        sent = 0
        try:
            for number in range(rounds):
                rows = hour(number, *ships)
                start = time.monotonic()
                send(settings, producer, rows)
                sent += len(rows)
                while sum(watch.offsets()) < sent:
                    if worker.process.poll() is not None or time.monotonic() - start > ROUND_LIMIT_S:
                        raise RuntimeError(f"round {number} was not durable in time: {worker.text()[-1500:]}")
                    time.sleep(0.02)
                seconds = time.monotonic() - start
                yield {
                    "round": number + 1, "reports": len(rows), "reports_per_s": round(len(rows) / seconds),
                    "resident_mb": round(resident_mb(worker), 1), "open_tracks": open_tracks(worker),
                }  # fmt: skip
            if (code := worker.end(within=30)) != 0:
                raise RuntimeError(f"the worker left with exit code {code}: {worker.text()[-1500:]}")
        finally:
            watch.close()
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()


def growth(values: list[float]) -> float:
    """Of the last third of the rounds over the second third, as a share."""
    third = max(1, len(values) // 3)
    return statistics.fmean(values[-third:]) / statistics.fmean(values[-2 * third : -third]) - 1


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.faults.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--short", action="store_true", help="few ships")
    parser.add_argument("--out", type=Path, default=Path("out/faults"))
    args = parser.parse_args()
    if (reason := devbroker.missing()) is not None:
        print(reason)
        return 2
    rows = []
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        for row in soak(Path(folder), args.rounds, SHORT if args.short else (STAY, COME_AND_GO, EVERY_S)):
            rows.append(row)
            print("  ".join(f"{k} {v:,}" for k, v in row.items()), flush=True)
    grown = growth([r["resident_mb"] for r in rows])
    flat = grown <= FLAT
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "soak.json").write_text(json.dumps({"rounds": rows, "growth": round(grown, 4), "flat": flat}) + "\n")
    print(f"memory {'flat' if flat else 'GROWS'}: last third {grown:+.1%} over the second")
    return 0 if flat else 1


if __name__ == "__main__":
    os.environ.setdefault("KAFKA_CACHE", str(Path(__file__).resolve().parent.parent.parent / ".cache" / "kafka"))
    sys.exit(main())

"""``python -m benchmarks.live_beside TREE``: the operator of this checkout beside that of another one, through one broker in one run.

TREE is a folder with another state of this repository (``git worktree add TREE COMMIT``). Of each, in turns: the rate in catch-up, the
time from a report sent to its alert read, the time of a take-over after a worker was killed, and the time after the broker came back,
both until every partition had a checkpoint. Writes a table, and OUT/live_beside.json. Five minutes.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from confluent_kafka import Producer

from stream_operator import devbroker
from stream_operator.kafka import client as kafka
from stream_operator.kafka import codec as wire
from stream_operator.kafka.topics import Admin
from stream_operator.settings import Settings
from tests.faults.watch import Watch

from . import machine
from .live import LATENCY_EVERY_S, fleet_reports, latency, send, settings_for, until_ready, worker, worker_rate
from .workload import usual

HERE = Path(__file__).resolve().parent.parent
REPORTS, LATENCY_RATE, LATENCY_S = 200_000, 5_000.0, 25.0
QUICK_REPORTS, QUICK_LATENCY_RATE, QUICK_LATENCY_S = 10_000, 1_000.0, 17.0
SESSION_S = 6.0
STEADY_RATE, STEADY_VESSELS, STEADY_HOURS = 400.0, 400, 2.0
SETTLE_S = 3.0
WITHIN_S = 120.0

Figures = dict[str, list[float]]


def commit(tree: Path) -> str:
    found = subprocess.run(["git", "-C", str(tree), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return found.stdout.strip() or tree.name


@contextmanager
def feeding(settings: Settings) -> Iterator[None]:
    """Reports at a steady rate into all partitions, until the end of the block."""
    stop = threading.Event()
    rows = usual(STEADY_VESSELS, STEADY_HOURS, LATENCY_EVERY_S, seed=13).tolist()

    def run() -> None:
        producer = Producer(
            kafka.client(settings, partitioner=kafka.PARTITIONER, enable_idempotence=True, linger_ms=5),
            logger=kafka.log,
        )
        began = time.monotonic()
        for i, row in enumerate(rows):
            if stop.is_set():
                break
            key, value = wire.encode_report(row)
            kafka.produce(producer, settings.topic, value, key, while_full=lambda: None)
            if i % 20 == 0:
                producer.poll(0)
                if (ahead := i / STEADY_RATE - (time.monotonic() - began)) > 0:
                    time.sleep(ahead)
                elif ahead < -1.0:  # after an outage: go on at the rate
                    began -= ahead
        producer.flush(10)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def disturbances(broker: devbroker.DevBroker, folder: Path, name: str, tree: Path, rounds: int) -> Figures:
    """Seconds until all partitions had a checkpoint: after kill -9 of one of two workers, and after the broker was there again."""
    settings = replace(settings_for(broker, f"{name}-disturbed"), session_timeout_s=SESSION_S)
    figures: Figures = {"take_over_s": [], "broker_return_s": []}
    watch = Watch(settings)
    with ExitStack() as stack:
        stack.callback(watch.close)

        def start(i: int) -> tuple[Settings, subprocess.Popen[bytes]]:
            return stack.enter_context(worker(settings, folder / f"{name}-disturbed-{i}.log", tree=tree))

        two = [start(i) for i in range(2)]
        for at, _ in two:
            until_ready(at)
        stack.enter_context(feeding(settings))
        for i in range(rounds):
            watch.went_on(time.time(), WITHIN_S)
            time.sleep(SETTLE_S)
            _, victim = two.pop(0)
            since = time.time()
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            figures["take_over_s"].append(max(watch.went_on(since, WITHIN_S)))
            two.append(start(2 + i))
            until_ready(two[-1][0])
        for _ in range(rounds):
            watch.went_on(time.time(), WITHIN_S)
            time.sleep(SETTLE_S)
            broker.kill()
            time.sleep(SETTLE_S)
            broker.start()
            figures["broker_return_s"].append(max(watch.went_on(time.time(), WITHIN_S)))
    return figures


def in_turns(trees: dict[str, Path], rounds: int, measure: Callable[[str, Path, int], Figures]) -> dict[str, Figures]:
    """The figures of each tree; in every other round the second goes first."""
    found: dict[str, Figures] = {name: {} for name in trees}
    for i in range(rounds):
        for name in list(trees) if i % 2 == 0 else list(trees)[::-1]:
            print(f"{name}, round {i + 1} ...", file=sys.stderr, flush=True)
            for figure, values in measure(name, trees[name], i).items():
                found[name].setdefault(figure, []).extend(values)
    return found


def run(trees: dict[str, Path], rounds: int, quick: bool = False) -> dict[str, Figures]:
    """Figures by tree and name: ``catch_up`` (reports/s), ``p50_s``, ``p99_s``, ``take_over_s``, ``broker_return_s``."""
    if reason := devbroker.missing():
        raise RuntimeError(reason)
    reports = fleet_reports(QUICK_REPORTS if quick else REPORTS)
    how = (QUICK_LATENCY_RATE, QUICK_LATENCY_S) if quick else (LATENCY_RATE, LATENCY_S)
    with tempfile.TemporaryDirectory() as name, devbroker.DevBroker(Path(name) / "kafka") as broker:
        folder = Path(name)
        source = settings_for(broker, "beside")
        send(source, reports)

        def measure(tree: str, path: Path, i: int) -> Figures:
            again = replace(source, app_id=f"{tree}-{i}")
            Admin(again).create()
            found = {"catch_up": [worker_rate(again, len(reports), folder / f"{tree}-{i}.log", tree=path)]}
            told = latency(broker, folder, *how, name=f"{tree}-latency-{i}", tree=path).figures
            return found | {"p50_s": [told["p50_s"]], "p99_s": [told["p99_s"]]}

        found = in_turns(trees, 1 if quick else 2, measure)
        more = in_turns(trees, 1, lambda tree, path, _: disturbances(broker, folder, tree, path, rounds))
    return {tree: found[tree] | more[tree] for tree in trees}


def table(found: dict[str, Figures]) -> str:
    """Medians, with the least and the greatest."""
    lines = ["| | " + " | ".join(found) + " |", "|---|" + "---|" * len(found)]
    for figure in next(iter(found.values())):
        cells = []
        for values in (of_tree[figure] for of_tree in found.values()):
            digits = ".0f" if figure == "catch_up" else ".2f"
            cells.append(f"{median(values):{digits}} ({min(values):{digits}} to {max(values):{digits}})")
        lines.append(f"| {figure} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live_beside", description=__doc__)
    parser.add_argument("tree", type=Path, help="a folder with another state of this repository")
    parser.add_argument("--rounds", type=int, default=3, help="take-overs and broker's returns of each (default 3)")
    parser.add_argument("--quick", action="store_true", help="small workloads, to see that it runs")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), metavar="DIR", help="default: out/bench")
    args = parser.parse_args(argv)
    tree = args.tree.resolve()
    if not (tree / "stream_operator" / "__main__.py").is_file():
        parser.error(f"{args.tree} holds no stream_operator")
    names = {f"before-{commit(tree)}": tree, f"now-{commit(HERE)}": HERE}
    found = run(names, args.rounds, args.quick)
    args.out.mkdir(parents=True, exist_ok=True)
    values = {"when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "machine": machine.describe(), "found": found}
    (args.out / "live_beside.json").write_text(json.dumps(values, indent=1) + "\n")
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

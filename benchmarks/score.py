"""Claim: an archive of 70,000 reports is answered over HTTP within 1.2 times what the fold takes in process, a track of a day within 100 ms (p50), two judges answer 1.8 times as fast as one, and a new version of the model fails no request.

The server is a process of its own (``python -m score_server serve``), its judges too; requests come from threads of this one. Times are by the
clock on the wall: server, judges and clients share the machine's cores, so other work on it counts against the server.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from multitaskais.engine import batch
from multitaskais.model import folder as modelfolder
from multitaskais.model.objects import StoreSettings
from multitaskais.model.store import ModelStore
from multitaskais.records import Alert
from multitaskais.types import Reports
from score_server.scoring import score
from score_server.wire import ScoreRequest
from tests.support.serving import Serving

from .harness import Result, figure, of_rates, require
from .workload import MODEL, usual

VESSELS, HOURS, EVERY_S = 120, 24.0, 148.0  # 70,000 reports
QUICK_VESSELS = 12
DAY_EVERY_S = 86.0  # a day's track of 1,000 reports
GOAL_ARCHIVE = 1 / 1.2
GOAL_DAY_MS = 100.0
GOAL_JUDGES = 1.8
ROUNDS = 5
DAYS, QUICK_DAYS = 100, 5
CLIENTS, LOAD_S, QUICK_LOAD_S = 4, 20.0, 3.0
SWAP_EVERY_S = 2.0
GOAL_SWAP_P99 = 2.0


def as_request(reports: Reports) -> bytes:
    """The body that asks for these reports to be judged."""
    names = ("t", "lat", "lon", "sog", "cog")
    columns = [reports[n].tolist() for n in names]
    rows = [
        {"mmsi": mmsi, "ship_type": kind} | {n: v for n, v in zip(names, values, strict=True) if v == v}
        for mmsi, kind, *values in zip(reports["mmsi"].tolist(), reports["ship_type"].tolist(), *columns, strict=True)
    ]
    return json.dumps({"model": "bench", "reports": rows}).encode()


class Client:
    """One connection that is kept open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def score(self, body: bytes) -> tuple[int, bytes]:
        self._connection.request("POST", "/v1/score", body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        self._connection.close()


@contextmanager
def serving(place: Path, judges: int) -> Iterator[Serving]:
    """A server on the store in ``place``."""
    env = {
        "STORE_URL": str(place / "store"),
        "STORE_CACHE": str(place / "cache"),
        "JUDGES": str(judges),
        "SYNC_S": "0.5",
        "WAITING_MAX": "64",
        "OPENBLAS_NUM_THREADS": "1",
    }
    server = Serving("score_server", place / "server.log", env)
    try:
        while server.get("/ready")[0] != 200:
            time.sleep(0.05)
        yield server
    finally:
        server.end()


def published(place: Path) -> tuple[ModelStore, list[Path]]:
    """A store that offers the model under the name ``bench``, and folders of two versions of it."""
    base = modelfolder.load(MODEL)
    folders = []
    for k in range(2):
        folders.append(place / f"version{k}" / "bench")
        modelfolder.save(dataclasses.replace(base, name="bench", made_from={"k": k}), folders[-1])
    store = ModelStore(StoreSettings(str(place / "store")), place / "publisher")
    _publish(store, folders[0])
    return store, folders


def _publish(store: ModelStore, source: Path) -> None:
    store.publish(source, t=time.time(), by="bench", token="0123abcd")


def alerts_of(content: bytes) -> list[str]:
    return sorted(a["alert"]["alert_id"] for a in json.loads(content)["anomalies"])


def wall(work: Callable[[], Any]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def archive(server: Serving, model: modelfolder.Model, vessels: int, rounds: int) -> Result:
    reports = usual(vessels, HOURS, EVERY_S, seed=41)
    body, client = as_request(reports), Client(server.port)

    def ours() -> None:
        require(client.score(body)[0] == 200, "the server refused the archive")

    def theirs() -> list[Alert]:
        together = batch.run_fleet(model, reports).alerts if model.patterns is not None else []
        return batch.run(model, reports).alerts + together

    status, content = client.score(body)
    require(status == 200, content.decode()[:300])
    require(alerts_of(content) == sorted({a.alert_id for a in theirs()}), "alerts of server and fold")
    pairs = [(len(reports) / wall(ours), len(reports) / wall(theirs)) for _ in range(rounds)]
    client.close()
    return of_rates(
        "score/archive",
        pairs,
        work=f"`POST /v1/score` with {len(reports):,} reports of {vessels} vessels ({len(body) / 1e6:.1f} MB)",
        reference="`batch.run` and `run_fleet` of the same reports in process, as `detect` looks at them",
        unit="reports/s",
        goal=GOAL_ARCHIVE,
        same="the alerts of server and fold are the same",
        notes=("the server also reads and writes JSON, which the reference does not",),
    )


def day(server: Serving, model: modelfolder.Model, times: int) -> list[Result]:
    tracks = [usual(1, 24.0, DAY_EVERY_S, seed=100 + k, first_mmsi=227_100_000 + k) for k in range(8)]
    bodies, client = [as_request(t) for t in tracks], Client(server.port)
    status, content = client.score(bodies[0])
    require(status == 200, content.decode()[:300])
    pairs = []
    for k in range(times):
        mine = wall(partial(client.score, bodies[k % 8]))
        pairs.append((1 / mine, 1 / wall(partial(batch.run, model, tracks[k % 8]))))
    client.close()
    took = sorted(1e3 / a for a, _ in pairs)
    p50, p99 = took[len(took) // 2], took[min(len(took) - 1, int(0.99 * len(took)))]
    rows = [
        of_rates(
            "score/day in process",
            pairs,
            work=f"`POST /v1/score` with one track of a day, {len(tracks[0]):,} reports",
            reference="`batch.run` of the same track in process",
            unit="requests/s",
        ),
        figure(
            "score/day",
            work="the same: p50 of one client",
            unit="ms",
            value=p50,
            goal=GOAL_DAY_MS,
            reference="the clock",
            notes=(
                f"p99 {p99:.0f} ms, of {len(took)} requests; in process p50 {statistics.median(1e3 / b for _, b in pairs):.0f} ms",
            ),
        ),
    ]
    return rows


class Load:
    """Clients that ask one after another until told to stop; each answer's time and status."""

    def __init__(self, port: int, bodies: list[bytes], clients: int) -> None:
        self.took: list[float] = []
        self.failed: list[str] = []
        self.versions: set[str] = set()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(port, bodies[k::clients])) for k in range(clients)]

    def _ask(self, port: int, bodies: list[bytes]) -> None:
        client, k = Client(port), 0
        while not self._stop.is_set():
            began = time.monotonic()
            status, content = client.score(bodies[k % len(bodies)])
            self.took.append(time.monotonic() - began)
            if status == 200:
                self.versions.add(json.loads(content)["model_version"])
            else:
                self.failed.append(content.decode()[:200])
            k += 1
        client.close()

    def run(self, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> float:
        """Answers a second."""
        began = time.monotonic()
        for thread in self._threads:
            thread.start()
        while (left := began + seconds - time.monotonic()) > 0:
            time.sleep(min(left, SWAP_EVERY_S))
            meanwhile()
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return len(self.took) / (time.monotonic() - began)

    @property
    def p99(self) -> float:
        took = sorted(self.took)
        return took[min(len(took) - 1, int(0.99 * len(took)))]


def one_vessel(n: int) -> list[bytes]:
    """Tracks of a day of the same vessel: no two of them can share a fold."""
    return [as_request(usual(1, 24.0, DAY_EVERY_S, seed=200 + k)) for k in range(n)]


def _judge_on(model: str, body: bytes, seconds: float, begin: Any, counts: Any) -> None:
    """Judge one request again and again, and tell how often."""
    loaded, request = modelfolder.load(model), msgspec.json.decode(body, type=ScoreRequest)
    score(loaded, [request])
    begin.wait()
    until, n = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        score(loaded, [request])
        n += 1
    counts.put(n)


def without_server(model: Path, body: bytes, seconds: float) -> float:
    """How much faster two processes judge than one where nothing else is done: what the machine gives at most."""
    context, rates = multiprocessing.get_context("spawn"), []
    for n in (1, 2):
        begin, counts = context.Barrier(n), context.Queue()
        processes = [context.Process(target=_judge_on, args=(str(model), body, seconds, begin, counts)) for _ in range(n)]  # fmt: skip
        for p in processes:
            p.start()
        rates.append(sum(counts.get(timeout=300) for _ in processes))
        for p in processes:
            p.join()
    return float(rates[1] / rates[0])


def judges(place: Path, model: Path, seconds: float, rounds: int) -> list[Result]:
    alone, shared = (
        one_vessel(CLIENTS),
        [as_request(usual(1, 24.0, DAY_EVERY_S, seed=300 + k, first_mmsi=227_200_000 + k)) for k in range(CLIENTS)],
    )
    rates: dict[tuple[str, int], list[float]] = {}
    at_most = []
    for _ in range(rounds):
        at_most.append(without_server(model, alone[0], seconds))
        for n in (1, 2):
            with serving(place, n) as server:
                for name, bodies in (("alone", alone), ("shared", shared)):
                    load = Load(server.port, bodies, CLIENTS)
                    rates.setdefault((name, n), []).append(load.run(seconds))
                    require(not load.failed, f"no request fails: {load.failed[:1]}")
    cores = len(os.sched_getaffinity(0))
    texts = {
        "alone": "tracks of a day of one vessel, so that no two share a fold",
        "shared": "tracks of a day of different vessels: who waits together is judged together",
    }
    return [
        of_rates(
            f"score/judges, {name}",
            list(zip(rates[name, 2], rates[name, 1], strict=True)),
            work=f"{CLIENTS} clients, two judges; {texts[name]}",
            reference="one judge",
            unit="requests/s",
            goal=GOAL_JUDGES if name == "alone" else None,
            notes=(
                f"clients, server and judges share {cores} cores; two processes that judge without a server: {statistics.median(at_most):.2f} times one",
            ),
        )
        for name in texts
    ]


def swap(place: Path, store: ModelStore, folders: list[Path], seconds: float) -> list[Result]:
    bodies = one_vessel(8)
    with serving(place, 2) as server:
        calm = Load(server.port, bodies, CLIENTS)
        calm.run(seconds)
        number = iter(range(1, 1_000_000))
        busy = Load(server.port, bodies, CLIENTS)
        busy.run(seconds, lambda: _publish(store, folders[next(number) % 2]))
    require(not calm.failed, f"no request fails: {calm.failed[:1]}")
    swaps = int(seconds / SWAP_EVERY_S)
    return [
        figure(
            "score/swap failed",
            work=f"{len(busy.took):,} requests of {CLIENTS} clients while {swaps} versions are published",
            unit="failed",
            value=float(len(busy.failed)),
            goal=0.0,
            reference="the same load without",
            notes=(f"{len(busy.versions)} versions answered", *busy.failed[:1]),
        ),
        figure(
            "score/swap p99",
            work="the same: p99",
            unit="times",
            value=busy.p99 / calm.p99,
            goal=GOAL_SWAP_P99,
            reference="the same load without",
            notes=(f"p99 {1e3 * busy.p99:.0f} ms, without {1e3 * calm.p99:.0f} ms",),
        ),
    ]


def run(quick: bool = False) -> list[Result]:
    seconds = QUICK_LOAD_S if quick else LOAD_S
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        store, folders = published(place)
        model = modelfolder.load(folders[0])
        with serving(place, 1) as server:
            results = [archive(server, model, QUICK_VESSELS if quick else VESSELS, 1 if quick else ROUNDS)]
            results += day(server, model, QUICK_DAYS if quick else DAYS)
        results += judges(place, folders[0], seconds / 2, 1 if quick else 3)
        results += swap(place, store, folders, seconds)
    return results

"""Claim: 300 pages that show the map cost the server less than a fifth of a core while the sea is quiet; beside it, the same with reports coming in.

Each page is what a browser holds: one stream of changes, read as it comes, after one snapshot. A page that is told to come again later does.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from confluent_kafka import Producer

from stream_operator import devbroker
from stream_operator.kafka import client as kafka
from stream_operator.kafka import codec as wire
from stream_operator.settings import Settings

from .harness import Result, figure, require
from .live import environment, fleet_reports, send, settings_for

PAGES, QUICK_PAGES = 300, 30
MEASURED_S, QUICK_MEASURED_S = 30.0, 3.0
SETTLE_S = 3.0
REPORTS = 20_000
RATE = 200.0  # reports/s of a busy coast
GOAL_CORES = 0.2
START_S = 60.0


class Pages:
    """So many pages in an event loop of their own thread."""

    def __init__(self, port: int, n: int) -> None:
        self._port = port
        self.open = 0
        self.events = 0
        self.turned_away = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all(n)), daemon=True)
        self._thread.start()

    async def _all(self, n: int) -> None:
        pages = [asyncio.create_task(self._page()) for _ in range(n)]
        while not self._stop.is_set():
            await asyncio.sleep(0.1)
        for page in pages:
            page.cancel()
        await asyncio.gather(*pages, return_exceptions=True)

    async def _page(self) -> None:
        while True:
            try:
                wait_s = await self._follow()
            except (OSError, EOFError):
                wait_s = 1.0
            await asyncio.sleep(wait_s)

    async def _follow(self) -> float:
        """As a page does: the picture, then the changes since, to the stream's end; after how many seconds to come again."""
        reader, writer = await self._ask("/api/state")
        try:
            wait_s, length = await self._head(reader)
            if wait_s:
                return wait_s
            since = json.loads(await reader.readexactly(length))["id"]
        finally:
            writer.close()
        reader, writer = await self._ask(f"/api/stream?since={since}")
        try:
            wait_s, _ = await self._head(reader)
            if wait_s:
                return wait_s
            self.open += 1
            try:
                while data := await reader.read(65536):
                    self.events += data.count(b"id: ")
            finally:
                self.open -= 1
            return 1.0
        finally:
            writer.close()

    async def _ask(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n\r\n".encode())
        return reader, writer

    async def _head(self, reader: asyncio.StreamReader) -> tuple[float, int]:
        """(after how many seconds to come again, 0 when it is served; length of the body)."""
        first, *rest = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        said = dict(line.split(b": ", 1) for line in rest if b": " in line)
        if b" 200 " in first:
            return 0.0, int(said.get(b"content-length", 0))
        self.turned_away += 1
        return float(said.get(b"retry-after", 1)), 0

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process has used, in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cores(pid: int, seconds: float) -> float:
    """Share of a core that a process uses for so long."""
    began, used = time.monotonic(), processor_s(pid)
    time.sleep(seconds)
    return (processor_s(pid) - used) / (time.monotonic() - began)


def trickle(settings: Settings, stop: threading.Event) -> None:
    """Reports of now, at ``RATE``."""
    producer = Producer(kafka.client(settings, partitioner=kafka.PARTITIONER, linger_ms=20))
    reports = fleet_reports(REPORTS)
    reports["t"] += time.time() - reports["t"][0]
    began = time.monotonic()
    for i, row in enumerate(reports.tolist()):
        key, value = wire.encode_report(row)
        kafka.produce(producer, settings.topic, value, key)
        producer.poll(0)
        if stop.wait(max(0.0, i / RATE - (time.monotonic() - began))):
            break
    producer.flush(30)


def until_it_answers(port: int) -> None:
    give_up_at = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return
        except OSError:
            require(time.monotonic() < give_up_at, f"the map does not answer within {START_S:.0f} s")
            time.sleep(0.2)


def run(quick: bool = False) -> list[Result]:
    if reason := devbroker.missing():
        raise RuntimeError(reason)
    n, seconds = (QUICK_PAGES, QUICK_MEASURED_S) if quick else (PAGES, MEASURED_S)
    with tempfile.TemporaryDirectory() as name, devbroker.DevBroker(Path(name) / "kafka") as broker:
        settings = settings_for(broker, "map-pages")
        send(settings, fleet_reports(REPORTS))
        port = devbroker.free_port()
        with (Path(name) / "map.log").open("ab") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", "stream_operator", "map"],
                env=environment(settings) | {"MAP_PORT": str(port)}, stdout=log, stderr=log,
            )  # fmt: skip
        stop = threading.Event()
        busy = threading.Thread(target=trickle, args=(settings, stop), daemon=True)
        pages: Pages | None = None
        try:
            until_it_answers(port)
            time.sleep(SETTLE_S)
            alone = cores(server.pid, seconds)
            pages = Pages(port, n)
            time.sleep(SETTLE_S)
            events = pages.events
            at_rest = cores(server.pid, seconds)
            events = pages.events - events
            require(pages.open > 0 and events > 0, "no page is served")
            busy.start()
            time.sleep(SETTLE_S)
            at_work = cores(server.pid, seconds)
            held, away = pages.open, pages.turned_away
        finally:
            stop.set()
            if pages is not None:
                pages.close()
            server.terminate()
            server.wait(20)
    what = f"{held} of {n} pages are served, {away} times one was told to come again later"
    return [
        figure(
            "map_pages/at_rest", work=f"the map's server with {n} pages open, no reports coming", unit="cores", value=at_rest, goal=GOAL_CORES,
            notes=(what, f"{events / max(held, 1) / seconds:.2f} events/s to each page; without pages {alone:.3f} cores"), figures={"cores": at_rest},
        ),
        figure(
            "map_pages/at_work", work=f"the same, {RATE:.0f} reports/s coming", unit="cores", value=at_work,
            notes=("told, not judged: each page gets each change",), figures={"cores": at_work},
        ),
    ]  # fmt: skip

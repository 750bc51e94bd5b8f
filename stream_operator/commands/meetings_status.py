"""How the process that looks at all ships together is doing: its metrics, and its pages ``/health``, ``/ready``, ``/metrics``."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from multitaskais.engine.fleet import FleetEngine, FleetEvents
from multitaskais.errors import OperatorError

from ..page_limits import BoundedConnections
from ..settings import Settings

BEAT_S = 60.0  # a turn takes 0.1 s, a checkpoint through an outage longer
START_S = 10.0
UNKNOWN = float("nan")


class FleetMetrics:
    """What the process counts, in Prometheus form."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        prefix = {"namespace": "multitaskais_meetings", "registry": r}
        self.active = Gauge("active", "1 while this process works, 0 while it waits for another to end.", **prefix)
        self._reports = Counter("reports", "Position reports read.", **prefix)
        self._rejected = Counter("reports_rejected", "Reports left out.", ["reason"], **prefix)
        self._alerts = Counter("alerts", "Alert revisions.", ["status", "alert_type"], **prefix)
        self.lost = Counter("records_lost", "Records that were deleted before they were read.", **prefix)
        self._outages = Counter("station_outages", "Outages of stations.", **prefix)
        self._decided = Gauge("decided_seconds", "Event time (Unix s) up to which all is decided.", **prefix)
        self._behind = Gauge("behind_seconds", "Event time between the newest report and what is decided.", **prefix)
        self._ships = Gauge("ships", "Ships in the state.", **prefix)
        self._zones = Gauge("zones", "Zones that are watched.", **prefix)
        self._open = Gauge(
            "open", "Pairs near each other, ships reported silent, ships inside zones.", ["kind"], **prefix
        )
        self.checkpoint = Histogram(
            "checkpoint_seconds", "One checkpoint.", buckets=(0.005, 0.02, 0.05, 0.1, 0.5, 1, 5, 60), **prefix
        )
        self.active.set(0)

    def counted(self, events: FleetEvents) -> None:
        self._reports.inc(events.counts.received)
        for reason, n in events.counts.rejected.items():
            self._rejected.labels(str(reason)).inc(n)
        for alert in events.alerts:
            self._alerts.labels(str(alert.status), str(alert.alert_type)).inc()
        self._outages.inc(len(events.outages))

    def state(self, engine: FleetEngine) -> None:
        if math.isfinite(engine.decided):
            self._decided.set(engine.decided)
            self._behind.set(max(0.0, engine.newest - engine.decided))
        self._ships.set(len(engine.fleet))
        self._zones.set(len(engine.zones.watches))
        for kind, n in engine.open_counts().items():
            self._open.labels(kind).set(n)

    def text(self) -> bytes:
        page: bytes = generate_latest(self.registry)
        return page


class MeetingsStatus:
    """What the pages say. The loop writes, the pages read; every field is one assignment."""

    def __init__(self) -> None:
        self.metrics = FleetMetrics()
        self.beat = time.monotonic()
        self.works = False
        self.decided = -math.inf  # durable, event time
        self.newest = -math.inf
        self.slowest: tuple[int, float] | None = None
        self.lag_records: int | None = None  # to the end of the logs, where all ends are known

    def alive(self) -> tuple[bool, dict[str, Any]]:
        age = time.monotonic() - self.beat
        return age < BEAT_S, {"alive": age < BEAT_S, "beat_age_s": round(age, 1), "works": self.works}

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Ready: it works and goes round. One that waits for its turn is alive and not ready: it is a spare."""
        why = [] if self.works else ["another `meetings` works; this one waits"]
        if not self.alive()[0]:
            why.append(f"it stands since {time.monotonic() - self.beat:.0f} s")
        return not why, {
            "ready": not why,
            "why_not": why,
            "decided": _known(self.decided),
            "newest": _known(self.newest),
            "waits_for_partition": None if self.slowest is None else self.slowest[0],
            "lag_records": self.lag_records,
        }


def _known(t: float) -> float | None:
    return t if math.isfinite(t) else None


class StatusPages:
    """The three pages, in a thread of their own."""

    def __init__(self, settings: Settings, status: MeetingsStatus) -> None:
        self._settings = settings
        self._status = status
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pages", daemon=True)
        self._runner: web.AppRunner | None = None

    def start(self) -> None:
        """Raises ``OperatorError`` when the address cannot be listened on."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(START_S)

    def stop(self) -> None:
        if self._runner is not None:
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(START_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_S)

    async def _serve(self) -> None:
        status = self._status

        async def health(_: web.Request) -> web.Response:
            ok, body = status.alive()
            return web.json_response(body, status=200 if ok else 503)

        async def ready(_: web.Request) -> web.Response:
            ok, body = status.ready()
            return web.json_response(body, status=200 if ok else 503)

        async def metrics(_: web.Request) -> web.Response:
            return web.Response(body=status.metrics.text(), content_type="text/plain")

        app = web.Application()
        app.add_routes([web.get("/health", health), web.get("/ready", ready), web.get("/metrics", metrics)])
        bounded = BoundedConnections(lambda: self._runner.server())  # type: ignore[union-attr]
        app.middlewares.insert(0, bounded.middleware())
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        s = self._settings
        try:
            await self._loop.create_server(bounded, s.health_bind, s.meetings_port, reuse_address=True)
        except OSError as e:
            raise OperatorError(
                f"MEETINGS_PORT: {s.health_bind}:{s.meetings_port} cannot be listened on ({e.strerror}); give another MEETINGS_PORT"
            ) from None

"""The Faust application: one agent, fed with runs of records through a channel, and the pages that show its health.

    Kafka -> source (its thread) -> channel of runs -> agent -> Partition.fold (a thread) -> checkpoint (one transaction) -> Kafka

Faust's own Kafka is off (its public switch): stock consumption cost a factor of forty and lost records in each of its usual
patterns. What remains of Faust is service life, signals, the agent, the web server.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faust
from faust.app import BootStrategy
from mode import Service

from multitaskais.errors import ConfigError

from .. import exit_codes as exits
from .. import pages
from ..pages import Answer, Pages, as_json
from ..settings import Settings
from . import health
from .checkpoint import CheckpointPayload
from .consumer import KafkaSource
from .engines import OpenEngine
from .metrics import Metrics
from .partition import RecordBatch

log = logging.getLogger("stream_operator")


class NoKafka(BootStrategy):
    enable_kafka = False
    enable_web = False  # its server has no bounds before a request, and pages that nobody needs


class Shell(faust.App):
    BootStrategy = NoKafka


def build(settings: Settings, open_engine: OpenEngine, listener: socket.socket) -> faust.App:
    """The Faust app of a worker; its pages are served on ``listener``."""
    metrics = Metrics()
    app = Shell(
        settings.app_id,
        datadir=Path(tempfile.gettempdir())
        / f"{settings.app_id}-faust",  # Faust wants folders; nothing is written there
    )
    runs = app.channel()
    fold_thread = ThreadPoolExecutor(1, thread_name_prefix="fold")
    loop: asyncio.AbstractEventLoop

    def put(run: RecordBatch) -> None:
        asyncio.run_coroutine_threadsafe(runs.put(run), loop)

    source = KafkaSource(settings, open_engine, metrics, put)
    if settings.output_dir:
        source.assignment.on_durable = _copy_alerts(settings)

    @app.agent(runs)
    async def judge(stream: AsyncIterator[RecordBatch]) -> None:
        async for run in stream:
            try:
                await asyncio.get_running_loop().run_in_executor(fold_thread, run.partition.fold, run)
            except asyncio.CancelledError:
                raise
            except BaseException as e:  # a restarted agent would go on without this run
                exits.end_now(exits.SOFTWARE, f"the engine failed at {run.where}: {e!r}", e)
            finally:
                source.slots.release()

    @app.service
    class RecordSource(Service):
        async def on_start(self) -> None:
            nonlocal loop
            loop = asyncio.get_running_loop()
            app.flow_control.resume()  # else every put waits for ever
            while not runs.subscriber_count:  # a run put before the agent listens is lost
                await asyncio.sleep(0.02)
            source.start()
            log.info(
                "worker started: %s -> %s; health on http://%s:%d",
                settings.topic,
                settings.alert_topic,
                settings.health_bind,
                settings.health_port,
            )

        async def on_stop(self) -> None:
            await asyncio.get_running_loop().run_in_executor(None, source.stop)
            log.info("worker stopped cleanly")

    async def health_page() -> Answer:
        return as_json(*health.alive(source))

    async def ready_page() -> Answer:
        return as_json(*health.ready(source, settings))

    async def metrics_page() -> Answer:
        # In a thread: it waits for running folds, and the pages must not.
        loop = asyncio.get_running_loop()
        metrics.tracks(await loop.run_in_executor(None, source.assignment.open_track_counts))
        metrics.models(await loop.run_in_executor(None, source.assignment.models), time.time())
        return Answer(200, "text/plain", metrics.text())

    @app.service
    class HealthPages(Service):
        async def on_start(self) -> None:
            self._pages = Pages(listener, {"/health": health_page, "/ready": ready_page, "/metrics": metrics_page})
            await self._pages.start()

        async def on_stop(self) -> None:
            await self._pages.stop()

    return app


def listen(settings: Settings) -> socket.socket:
    """The socket of the pages, taken at once: of two workers that start together with one port, one must see it."""
    return pages.listen(settings.health_bind, settings.health_port, "HEALTH_BIND, HEALTH_PORT")


def _copy_alerts(settings: Settings) -> Callable[[CheckpointPayload], None]:
    """Append durable alerts to a file; trouble with the disk is told once and stops nothing."""
    path = Path(settings.output_dir) / "alerts.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"OUTPUT_DIR={settings.output_dir}: no folder can be made there ({e.strerror})") from None
    failed = False

    def copy(cut: CheckpointPayload) -> None:
        nonlocal failed
        lines = [r.value + b"\n" for r in cut.records if r.topic == settings.alert_topic and r.value]
        try:
            if lines:
                with path.open("ab") as f:
                    f.write(b"".join(lines))
        except OSError as e:
            if not failed:
                log.warning("%s cannot be written (%s); alerts are safe in %s", path, e.strerror, settings.alert_topic)
            failed = True

    return copy


def run(settings: Settings, open_engine: OpenEngine, listener: socket.socket | None = None) -> int:
    """Run a worker until SIGTERM or SIGINT. Returns the exit code.

    Args:
        open_engine: makes the engine of each partition.
        listener: where its pages are served (``listen``); made here when None.
    """
    app = build(settings, open_engine, listener or listen(settings))
    worker = faust.Worker(app, override_logging=False, redirect_stdouts=False, quiet=True, loglevel=settings.log_level)
    worker.spinner = None  # it writes control codes into the log
    try:
        worker.execute_from_commandline()
    except SystemExit as e:
        return exits.SOFTWARE if e.code else 0
    return 0

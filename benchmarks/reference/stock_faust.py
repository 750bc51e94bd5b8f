"""The same engine in a stock Faust agent: the fold in the agent, ``send`` for what was found.

    python -m benchmarks.reference.stock_faust EXPECTED ENGINE [take]   # settings from the environment, as the worker's

Faust as its documentation shows it: its own consumer, at least once, no state that outlives the process. By default one report after the
other (``async for``), as in each of its examples; with ``take`` up to 1,000 at once, which is kinder to an engine of arrays. Prints one JSON line.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from typing import Any

import faust

from multitaskais.engine.engine import PartitionEngine
from stream_operator.kafka import codec as wire
from stream_operator.settings import Settings
from tests.support.worker import opener

TAKE, WITHIN_S = 1000, 0.1


def main(expected: int, engine: str, take: bool) -> None:
    settings = Settings.load()
    open_engine = opener(engine, settings)
    app = faust.App(
        f"{settings.app_id}.stock",
        broker=f"kafka://{settings.bootstrap_servers}",
        value_serializer="raw",
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
        datadir=tempfile.mkdtemp(prefix="stock-faust-"),
        topic_partitions=settings.partitions,
    )
    source = app.topic(settings.topic, value_serializer="raw", key_serializer="raw")
    alerts = app.topic(settings.alert_topic, value_serializer="raw", key_serializer="raw")
    verdicts = app.topic(settings.verdict_topic, value_serializer="raw", key_serializer="raw")
    engines: defaultdict[int, PartitionEngine] = defaultdict(lambda: open_engine([], None))
    began, done = 0.0, 0

    async def judge(batch: list[Any]) -> None:
        nonlocal began, done
        began = began or time.monotonic()
        by_partition: dict[int, list[wire.ConsumerRecord]] = defaultdict(list)
        for event in batch:
            m = event.message
            by_partition[m.partition].append(wire.ConsumerRecord(m.offset, m.key, m.value))
        for number, records in by_partition.items():
            events = engines[number].process(wire.decode(records).reports)
            for alert in events.alerts:
                key, value = wire.encode_alert(alert)
                await alerts.send(key=key, value=value)
            for verdict in events.verdicts:
                key, value = wire.encode_verdict(verdict)
                await verdicts.send(key=key, value=value)
        done += len(batch)
        if done >= expected:
            print(json.dumps({"seconds": time.monotonic() - began, "records": done}), flush=True)
            os._exit(0)

    @app.agent(source)
    async def agent(stream: Any) -> None:
        if take:
            async for batch in stream.take_events(TAKE, WITHIN_S):
                await judge(batch)
        else:
            async for event in stream.events():
                await judge([event])

    faust.Worker(app, override_logging=False, redirect_stdouts=False, quiet=True, loglevel="ERROR").execute_from_commandline()  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], "take" in sys.argv[3:])

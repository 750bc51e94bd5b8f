"""The shipped model through the real broker: live says what batch says on the same reports, also when workers die on the way."""

from __future__ import annotations

import itertools
import json
import signal
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from multitaskais import modelfolder
from multitaskais.batch import run as run_batch
from multitaskais.records import REPORT_DTYPE
from stream_operator import alerts, feed, wire
from stream_operator.topics import Admin

from .conftest import ROOT, own_settings, producer, wait_until
from .reading import drain
from .test_schema import VALID

sys.path.insert(0, str(ROOT))
from tests.faults.traffic import EVERY_S, VESSELS, Traffic

HOURS = 6


def without_order(alert: dict) -> dict:
    """What another arrival order within the lateness may not change (contract, "Equality")."""
    return {k: v for k, v in alert.items() if k not in ("revision", "decided_at")}


@pytest.mark.broker
def test_live_gives_the_alerts_of_batch_though_workers_are_killed(broker, start_worker):
    if "brittany" not in modelfolder.shipped():
        pytest.skip("no shipped model brittany")
    settings = replace(own_settings(broker.bootstrap), core="stream_operator.core:fleet", model="brittany")
    Admin(settings).create()
    traffic = Traffic(seed=11)
    rows = list(itertools.islice(iter(traffic), int(HOURS * 3600 / EVERY_S) * VESSELS))
    batch = run_batch(modelfolder.load("brittany"), np.array(rows, REPORT_DTYPE))
    p = producer(settings)
    for row in rows:
        key, value = wire.encode_report(row)
        p.produce(settings.topic, value, key)
        p.poll(0)
    for partition in range(settings.partitions):
        key, value = wire.encode_watermark(traffic.t_end + feed.GAP_S)
        p.produce(settings.topic, value, key, partition)
    p.flush()
    assert start_worker(settings, FAULT_POINT="produced:4").process.wait(90) == -signal.SIGKILL
    assert start_worker(settings, FAULT_POINT="committed:3").process.wait(90) == -signal.SIGKILL
    worker = start_worker(settings)
    last = {a["alert_id"] for a in (json.loads(wire.encode_alert(a)[1]) for a in batch.alerts)}
    wait_until(lambda: last <= {a["alert_id"] for a in drain(settings, settings.alert_topic)}, within=120, every=1.0)
    time.sleep(2)  # what would be false comes after what is right
    wait_until(lambda: _all_closed(settings), within=30)
    assert worker.end() == 0
    live = drain(settings, settings.alert_topic)
    assert len({(a["alert_id"], a["revision"]) for a in live}) == len(live) > 0
    for alert in live:
        VALID.validate(alert)
    want = alerts.last_revisions(json.loads(wire.encode_alert(a)[1]) for a in batch.alerts)
    key = lambda a: a["alert_id"]  # noqa: E731
    assert sorted(map(without_order, alerts.last_revisions(live)), key=key) == sorted(map(without_order, want), key=key)


def _all_closed(settings) -> bool:
    return all(
        a["status"] in ("closed", "retracted") for a in alerts.last_revisions(drain(settings, settings.alert_topic))
    )

"""64 partitions: two workers share them, one dies, the other takes all, and nothing is lost or twice. Figures with ``-s``."""

from __future__ import annotations

import re
import signal
import time
from dataclasses import replace

import pytest

from stream_operator.kafka.topics import Admin
from tests.stream.conftest import own_settings, wait_for_closed, wait_until
from tests.stream.test_exactness import assert_exact, end, rows, send
from tests.stream.test_topic_identity import metric, ready

pytestmark = [pytest.mark.broker, pytest.mark.slow]

PARTITIONS, VESSELS = 64, 640


def partitions_of(worker) -> int:
    status, page = ready(worker)
    return len(page.get("partitions", {})) if status == 200 else 0


def told(what: str, worker, since: float) -> None:
    times = [float(s) for s in re.findall(r"restored \d+ vessels at offset \S+ in ([0-9.]+) s", worker.text())]
    print(
        f"{what}: {time.monotonic() - since:.1f} s; partitions restored in {min(times):.2f} to {max(times):.2f} s each; "
        f"worker's memory {metric(worker, 'multitaskais_memory_bytes') / 1e6:.0f} MB"
    )


def test_two_workers_share_64_partitions_and_one_takes_over_all_of_them(broker, start_worker):
    settings = replace(own_settings(broker.bootstrap), partitions=PARTITIONS, checkpoint_interval_s=2.0)
    Admin(settings).create()
    reports = rows(40_000, VESSELS, seed=4)
    since = time.monotonic()
    first = start_worker(settings)
    wait_until(lambda: partitions_of(first) == PARTITIONS, within=120)
    told("start to 64 partitions open", first, since)
    since = time.monotonic()
    second = start_worker(settings)
    wait_until(lambda: partitions_of(first) == partitions_of(second) == PARTITIONS // 2, within=120)
    told("a second worker started to 32 partitions each", second, since)
    send(settings, reports[:30_000], finish=False)
    since = time.monotonic()
    first.end(signal.SIGKILL)
    send(settings, reports[30_000:], finish=False)
    wait_until(lambda: partitions_of(second) == PARTITIONS, within=120)
    told(f"kill -9 to 64 partitions open (session timeout {settings.session_timeout_s:g} s)", second, since)
    end(settings)
    wait_for_closed(settings, VESSELS, within=180)
    assert second.end() == 0
    assert_exact(settings, reports)

"""Whatever happens to a worker, the alerts are those that the log calls for: none lost, none twice, none made up."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from multitaskais.records import REPORT_DTYPE
from stream_operator import devbroker
from stream_operator.kafka import codec as wire
from stream_operator.kafka.topics import Admin
from stream_operator.worker.checkpoint import Checkpointer
from tests.stream.conftest import finish as end_of_archive
from tests.stream.conftest import own_settings, producer, wait_for_closed, wait_until
from tests.support.standin_engine import EVERY, CountingEngine
from tests.support.topic_reading import drain, messages

pytestmark = pytest.mark.broker

T0 = 1_700_000_000.0


def rows(n: int, vessels: int, seed: int = 1) -> list[tuple]:
    rng = np.random.default_rng(seed)
    mmsi = 227_000_000 + rng.integers(0, vessels, n)
    out = np.zeros(n, REPORT_DTYPE)
    out["mmsi"], out["t"], out["lat"], out["lon"], out["sog"] = mmsi, T0 + np.arange(n) / 10, 48.0, -5.0, 10.0
    return out.tolist()


def send(settings, reports: list[tuple], *, per_s: float | None = None, finish: bool = True) -> None:
    p = producer(settings)
    start = time.monotonic()
    for i, row in enumerate(reports):
        key, value = wire.encode_report(row)
        p.produce(settings.topic, value, key)
        if i % 1000 == 0:
            p.poll(0)
            if per_s:
                time.sleep(max(0.0, i / per_s - (time.monotonic() - start)))
    p.flush()
    if finish:
        end(settings)


def end(settings) -> None:
    end_of_archive(settings, T0 + 1e6)


def expected(reports: list[tuple]) -> dict[str, int]:
    return {str(m): n for m, n in Counter(r[0] for r in reports).items()}


def assert_exact(settings, reports: list[tuple]) -> None:
    alerts = drain(settings, settings.alert_topic)
    counts = expected(reports)
    wanted = Counter((m, k) for m, n in counts.items() for k in range(EVERY, n + 1, EVERY))
    raised = Counter((a["mmsi"], a["revision"]) for a in alerts if a["status"] == "raised")
    closed = Counter((a["mmsi"], a["revision"]) for a in alerts if a["status"] == "closed")
    assert raised == wanted
    assert closed == Counter(counts.items())
    verdicts: dict[str, float] = {}
    for v in drain(settings, settings.verdict_topic):
        verdicts[v["mmsi"]] = v["t"]
    assert verdicts == counts


def test_every_report_counts_once_and_alerts_are_keyed_by_vessel(settings, start_worker):
    reports = rows(10_000, 100)
    worker = start_worker(settings)
    send(settings, reports)
    wait_for_closed(settings, 100, within=60)
    assert worker.end() == 0
    assert_exact(settings, reports)
    assert all(m.key().decode() == json.loads(m.value())["mmsi"] for m in messages(settings, settings.alert_topic))


def test_a_worker_killed_again_and_again_loses_and_doubles_nothing(settings, start_worker):
    reports = rows(12_000, 100)
    send(settings, reports)
    for point in ("begun:2", "produced:3", "committed:2"):
        worker = start_worker(settings, FAULT_POINT=point, STANDIN_PAUSE_S="0.1", RUN_SIZE="150")
        assert worker.process.wait(60) == -signal.SIGKILL, worker.text()
    worker = start_worker(settings)
    wait_for_closed(settings, 100, within=60)
    assert worker.end() == 0
    assert_exact(settings, reports)


def test_two_workers_share_the_partitions_and_one_may_die_or_leave(settings, start_worker):
    reports = rows(20_000, 100, seed=2)
    slow = {"STANDIN_PAUSE_S": "0.05", "RUN_SIZE": "100"}
    first, second = start_worker(settings, **slow), start_worker(settings, **slow)
    send(settings, reports)
    wait_until(lambda: len(drain(settings, settings.alert_topic)) > 20, within=60)
    first.end(signal.SIGKILL)
    third = start_worker(settings)
    time.sleep(1)
    assert second.end() == 0
    wait_for_closed(settings, 100, within=90)
    assert third.end() == 0
    assert_exact(settings, reports)


def test_a_zombie_that_wakes_up_is_fenced(settings, start_worker):
    reports = rows(10_000, 100, seed=3)
    first = start_worker(settings, STANDIN_PAUSE_S="0.1", RUN_SIZE="100")
    send(settings, reports)
    wait_until(lambda: len(drain(settings, settings.alert_topic)) > 5, within=60)
    first.process.send_signal(signal.SIGSTOP)
    second = start_worker(settings)
    wait_for_closed(settings, 100, within=90)
    first.process.send_signal(signal.SIGCONT)
    wait_until(lambda: "fenced" in first.text() or "lost" in first.text(), within=20)
    assert second.end() == 0
    first.end()
    assert_exact(settings, reports)


def test_a_partition_that_was_fenced_and_is_still_ours_is_opened_again(settings, start_worker):
    reports = rows(6_000, 60, seed=6)
    worker = start_worker(settings)
    send(settings, reports[:3000], finish=False)
    wait_until(lambda: len(drain(settings, settings.alert_topic)) >= 20, within=60)
    for number in range(settings.partitions):
        Checkpointer(settings, number).fence()  # somebody with our transactional id, who never joins the group
    send(settings, reports[3000:])
    wait_until(lambda: worker.text().count("fenced, closing it") == settings.partitions, within=30)
    wait_for_closed(settings, 60, within=60)
    assert worker.text().count("still ours, opening it again") == settings.partitions
    assert "lost" not in worker.text()
    assert worker.end() == 0
    assert_exact(settings, reports)


def test_sigterm_leaves_within_ten_seconds_and_nothing_is_folded_twice(settings, start_worker):
    reports = rows(10_000, 100, seed=4)
    send(settings, reports)
    worker = start_worker(settings, STANDIN_PAUSE_S="0.1", RUN_SIZE="100")
    wait_until(lambda: len(drain(settings, settings.alert_topic)) > 5, within=60)
    start = time.monotonic()
    assert worker.end() == 0
    assert time.monotonic() - start < 10
    worker = start_worker(settings)
    wait_for_closed(settings, 100, within=60)
    assert worker.end() == 0
    assert_exact(settings, reports)


def test_a_worker_whose_source_ends_does_not_stay(settings, start_worker):
    """An error out of a rebalance callback passes every `except`; the worker must still go, so that another takes over."""
    worker = start_worker(settings, engine="without-a-leader")
    assert worker.process.wait(60) == 75, worker.text()


POISON = {
    "bad_json": (b"227000001", b"not json"),
    "bad_value": (b"227000001", b'{"mmsi":"227000001","tagblock_timestamp":"noon"}'),
    "no_key": (None, b'{"mmsi":"227000001","tagblock_timestamp":1700000000}'),
    "key_mismatch": (b"227000002", b'{"mmsi":"227000001","tagblock_timestamp":1700000000}'),
    "tombstone": (b"227000001", None),
    "bad_mmsi": (b"ship", b'{"mmsi":"ship","tagblock_timestamp":1700000000}'),
    "too_large": (
        b"227000001",
        b'{"mmsi":"227000001","tagblock_timestamp":1700000000,"note":"' + b"x" * 200_000 + b'"}',
    ),
}


def test_poison_goes_to_the_dead_letters_with_reason_and_origin_and_takes_no_neighbour_along(settings, start_worker):
    reports = rows(2_000, 20, seed=5)
    p = producer(settings)
    for key, value in POISON.values():
        p.produce(settings.topic, value, key, 0)
    p.produce(settings.topic, b'{"mmsi":"227000001","x":NaN,"tagblock_timestamp":1700000000}', b"227000001", 1)
    p.produce(settings.topic, b'{"mmsi":"\xff\xfe"}', b"227000001", 2)
    p.flush()
    worker = start_worker(settings)
    send(settings, reports)
    wait_for_closed(settings, 20, within=60)
    with urllib.request.urlopen(f"{worker.url}/ready", timeout=5) as answer:
        assert json.load(answer)["ready"] is True
    with urllib.request.urlopen(f"{worker.url}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    assert 'multitaskais_reports_rejected_total{reason="bad_json"} 3.0' in text
    assert "multitaskais_reports_total 2000.0" in text
    assert 'multitaskais_tracks_open{reason="",verdict="normal"} 20.0' in text
    assert worker.end() == 0
    assert_exact(settings, reports)
    dead = messages(settings, settings.dead_topic)
    assert Counter(dict(m.headers())["reason"].decode() for m in dead) == Counter([*POISON, "bad_json", "bad_json"])
    origin = {(int(dict(m.headers())["partition"]), int(dict(m.headers())["offset"])) for m in dead}
    assert origin == {(0, i) for i in range(len(POISON))} | {(1, 0), (2, 0)}


def test_the_worker_refuses_to_start_without_its_topics_and_says_what_mends_it(broker, start_worker):
    worker = start_worker(own_settings(broker.bootstrap))
    assert worker.process.wait(30) == 2
    last = worker.text().strip().splitlines()[-1]
    assert last.startswith("error: topic dynamic-")
    assert "python -m stream_operator topics" in last


def test_without_partitions_the_worker_is_alive_but_not_ready(broker, start_worker):
    settings = replace(own_settings(broker.bootstrap), partitions=1)
    Admin(settings).create()
    first = start_worker(settings)

    def page(path):
        try:
            with urllib.request.urlopen(first.url + path, timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as e:
            return e.code, json.load(e)
        except OSError:
            return 0, {}

    wait_until(lambda: page("/ready")[0] == 200, within=30)
    assert page("/health")[0] == 200
    second = start_worker(settings)  # 2 workers, 1 partition: one has none
    wait_until(lambda: any(_status(w) == 503 for w in (first, second)), within=40)
    assert page("/health")[0] == 200
    assert first.end() == second.end() == 0


def _status(worker) -> int:
    try:
        return urllib.request.urlopen(worker.url + "/ready", timeout=5).status
    except urllib.error.HTTPError as e:
        return e.code if b"no partition" in e.read() else 0
    except OSError:
        return 0


def test_the_stand_in_counts():
    core = CountingEngine({}, None)
    reports = np.array(rows(EVERY, 1), REPORT_DTYPE)
    assert [a.revision for a in core.process(reports).alerts] == [EVERY]


def test_under_the_newer_group_protocol_partitions_are_shared_and_taken_over_and_nothing_is_lost(
    settings, start_worker
):
    reports = rows(20_000, 100, seed=3)
    slow = {"STANDIN_PAUSE_S": "0.05", "RUN_SIZE": "100", "GROUP_PROTOCOL": "consumer"}
    first, second = start_worker(settings, **slow), start_worker(settings, **slow)
    send(settings, reports)
    wait_until(lambda: all("restored" in w.text() for w in (first, second)), within=60)
    first.end(signal.SIGKILL)
    third = start_worker(settings, GROUP_PROTOCOL="consumer")
    wait_until(lambda: "restored" in third.text(), within=60)
    assert second.end() == 0
    wait_for_closed(settings, 100, within=120)
    assert third.end() == 0
    assert_exact(settings, reports)


def test_brokers_that_do_not_know_the_newer_group_protocol_are_one_line(tmp_path, start_worker):
    classic_alone = ("group.coordinator.rebalance.protocols=classic",)
    with devbroker.DevBroker(tmp_path / "kafka", more=classic_alone) as old:
        settings = own_settings(old.bootstrap)
        Admin(settings).create()
        worker = start_worker(settings, GROUP_PROTOCOL="consumer")
        assert worker.process.wait(60) == 2
        assert "GROUP_PROTOCOL=classic" in worker.text()
        assert "Traceback" not in worker.text()

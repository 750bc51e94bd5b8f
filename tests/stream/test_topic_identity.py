"""State belongs to a topic, not to an offset: a topic that was deleted, made again, cut or grown is told with the way on."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from dataclasses import replace
from types import SimpleNamespace

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions
from hypothesis import given
from hypothesis import strategies as st

from stream_operator.kafka import client as kafka
from stream_operator.kafka.topics import Admin
from stream_operator.settings import Settings
from stream_operator.worker.heartbeat import Heartbeat
from stream_operator.worker.metrics import Metrics
from stream_operator.worker.source_log import SourceLog
from stream_operator.worker.topic_identity import TopicIdentity, TopicLookup, mismatch
from tests.stream.conftest import producer, wait_for_closed, wait_until
from tests.stream.test_exactness import rows, send

SETTINGS = Settings()
identities = st.builds(TopicIdentity, st.sampled_from(["", "aaaa", "bbbb"]), st.integers(0, 6))


@given(identities, st.none() | st.builds(TopicIdentity, st.sampled_from(["aaaa", "bbbb"]), st.integers(1, 6)))
def test_a_state_goes_on_with_the_topic_of_its_id_and_its_number_of_partitions_and_with_no_other(stored, found):
    same = found is not None and stored.topic_id in ("", found.topic_id) and stored.partitions in (0, found.partitions)
    problem = mismatch(SETTINGS, stored, found)
    assert (problem is None) == same
    if problem is not None:
        assert "\n" not in problem
        assert "python -m stream_operator topics" in problem
        assert "APP_ID" in problem


_clients: dict[str, AdminClient] = {}  # a client that nobody holds takes its unanswered requests with it


def admin(settings) -> AdminClient:
    at = settings.bootstrap_servers
    return _clients.setdefault(at, AdminClient({"bootstrap.servers": at}))


def ready(worker) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(f"{worker.url}/ready", timeout=5) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as e:
        return e.code, json.loads(e.read())
    except OSError:
        return 0, {}


def metric(worker, name: str) -> float:
    with urllib.request.urlopen(f"{worker.url}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name) and "created" not in line)


def folded(worker, n: int, within: float = 40.0) -> None:
    wait_until(lambda: sum((p["durable"] or 0) for p in ready(worker)[1].get("partitions", {}).values()) >= n, within)


def make_anew(settings) -> None:
    [future] = admin(settings).delete_topics([settings.topic]).values()
    future.result()
    wait_until(lambda: settings.topic not in admin(settings).list_topics(timeout=5).topics, 20)
    Admin(settings).create()


@pytest.mark.broker
def test_a_source_that_is_made_anew_under_a_running_worker_ends_it_with_the_way_on(settings, start_worker):
    worker = start_worker(settings)
    send(settings, rows(2000, 40), finish=False)
    folded(worker, 2000)
    make_anew(settings)
    send(settings, rows(1000, 40, seed=2), finish=False)
    assert worker.process.wait(60) == 2
    last = worker.text().splitlines()[-1]
    assert "was made again" in last or "was deleted" in last
    assert f"delete {settings.states}" in last
    assert "Traceback" not in worker.text()


@pytest.mark.broker
def test_a_source_that_was_made_anew_while_the_worker_was_away_is_told_at_the_start_also_when_it_is_longer(
    settings, start_worker
):
    worker = start_worker(settings)
    send(settings, rows(1000, 40), finish=False)
    folded(worker, 1000)
    assert worker.end() == 0
    make_anew(settings)
    send(settings, rows(3000, 40, seed=2), finish=False)  # past the old offsets: numbers alone would not tell
    worker = start_worker(settings)
    assert worker.process.wait(60) == 2
    assert "was made again" in worker.text().splitlines()[-1]
    # The way on that the line gives.
    [future] = admin(settings).delete_topics([settings.states]).values()
    future.result()
    wait_until(lambda: settings.states not in admin(settings).list_topics(timeout=5).topics, 20)
    Admin(settings).create()
    worker = start_worker(settings)
    folded(worker, 3000)


@pytest.mark.broker
def test_partitions_that_are_added_are_told_within_ten_seconds_and_the_old_ones_go_on(settings, start_worker):
    worker = start_worker(settings)
    send(settings, rows(1000, 40), finish=False)
    folded(worker, 1000)
    [future] = admin(settings).create_partitions([NewPartitions(settings.topic, 8)]).values()
    future.result()
    told = f"{settings.topic} has 8 partitions, but the state {settings.states} belongs to 4"
    wait_until(lambda: told in worker.text(), 10)
    p = producer(settings)
    for i in range(400):
        p.produce(settings.topic, b"not json", b"1", partition=i % 4)
    p.flush()
    folded(worker, 1400)
    code, body = ready(worker)
    assert code == 503
    assert any("8 partitions" in why for why in body["why_not"])
    # Also once the group has been given the new partitions.
    wait_until(lambda: worker.text().count(told) == 1, 5)
    assert worker.end(signal.SIGTERM, within=15) == 0
    worker = start_worker(settings)
    assert worker.process.wait(60) == 2
    assert "has 4 partitions, but" in worker.text().splitlines()[-1]


@pytest.mark.broker
def test_what_was_deleted_before_it_was_read_is_counted_once_also_when_the_log_is_empty(settings, start_worker):
    one = replace(settings, topic=settings.topic)
    worker = start_worker(one)
    send(one, rows(400, 40), finish=False)
    folded(worker, 400)
    assert worker.end() == 0
    send(one, rows(1000, 40, seed=3), finish=False)
    parts = [TopicPartition(one.topic, n, -1) for n in range(4)]
    for future in admin(one).delete_records(parts).values():
        future.result()
    worker = start_worker(one)
    wait_until(lambda: ready(worker)[0] == 200, 40)
    assert metric(worker, "multitaskais_records_lost_total") == 1000
    assert worker.text().count("were deleted before they were read") == 4
    wait_until(lambda: all(p["log_end"] is not None for p in ready(worker)[1]["partitions"].values()), 15)
    assert metric(worker, "multitaskais_lag_records{") == 0


@pytest.mark.broker
def test_what_is_deleted_in_front_of_a_running_worker_is_counted_and_it_reads_on_behind_it(settings):
    p = producer(settings)
    for _ in range(50):
        kafka.produce(p, settings.topic, b"{}", b"1", 0)
    assert p.flush(30) == 0
    [deleted] = admin(settings).delete_records([TopicPartition(settings.topic, 0, 30)]).values()
    deleted.result()
    lookup = TopicLookup(settings)
    watch = SimpleNamespace(known=lookup.identity(settings.topic), compare=lambda *_, **__: None)
    metrics = Metrics()
    log = SourceLog(settings, lookup, watch, metrics, Heartbeat())
    partition = SimpleNamespace(number=0, requested_offset=10)
    consumer = Consumer(kafka.reader(settings, auto_offset_reset="error"))
    consumer.assign([TopicPartition(settings.topic, 0, 10)])
    try:
        assert consumer.consume(1, 20)[0].error() is not None
        log.seek_past_deleted(consumer, partition)
        assert partition.requested_offset == 30
        assert b"records_lost_total 20.0" in metrics.text()
        assert consumer.consume(1, 20)[0].offset() == 30
    finally:
        consumer.close()


@pytest.mark.broker
def test_markers_of_transactions_are_no_loss(settings, start_worker):
    worker = start_worker(settings)
    wait_until(lambda: ready(worker)[0] == 200, 40)
    from confluent_kafka import Producer

    from stream_operator.kafka import client as kafka

    tx = Producer(kafka.client(settings, transactional_id=f"{settings.app_id}-bridge", partitioner=kafka.PARTITIONER))
    tx.init_transactions(20)
    reports = rows(600, 40)
    from stream_operator.kafka import codec as wire

    for i in range(0, 600, 20):
        tx.begin_transaction()
        for row in reports[i : i + 20]:
            key, value = wire.encode_report(row)
            tx.produce(settings.topic, value, key)
        tx.commit_transaction(20)
        if i % 100 == 0:  # an aborted one between them
            tx.begin_transaction()
            tx.produce(settings.topic, b"never", b"1")
            tx.flush()
            tx.abort_transaction(20)
    send(settings, [], finish=True)
    wait_for_closed(settings, 40, within=60)
    assert metric(worker, "multitaskais_records_lost_total") == 0
    assert metric(worker, "multitaskais_reports_total") == 600
    assert "deleted before" not in worker.text()
    assert "WARNING" not in worker.text()


@pytest.mark.broker
def test_an_open_transaction_is_named_and_makes_the_worker_not_ready(settings, start_worker):
    from confluent_kafka import Producer

    from stream_operator.kafka import client as kafka

    worker = start_worker(settings, READY_AGE_S="2")
    wait_until(lambda: ready(worker)[0] == 200, 40)
    tx = Producer(kafka.client(settings, transactional_id=f"{settings.app_id}-hangs"))
    tx.init_transactions(20)
    tx.begin_transaction()
    tx.produce(settings.topic, b"{}", b"1", 2)
    tx.flush()
    send(settings, rows(400, 40), finish=False)
    held = wait_until(
        lambda: [why for why in ready(worker)[1].get("why_not", []) if "open transaction" in why], within=30
    )
    assert held[0].startswith("partition 2: held at offset 0 of ")
    wait_until(lambda: metric(worker, 'multitaskais_open_transaction_seconds{partition="2"}') > 0, 15)
    assert metric(worker, 'multitaskais_open_transaction_seconds{partition="1"}') == 0
    tx.abort_transaction(20)
    wait_until(lambda: ready(worker)[0] == 200, 30)
    time.sleep(0.1)
    folded(worker, 400)

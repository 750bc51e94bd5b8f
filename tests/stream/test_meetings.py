"""All ships together, live: through a real broker, with kills, a second process that waits, and zones as control records."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from confluent_kafka import Consumer, TopicPartition

from multitaskais.engine import batch
from multitaskais.errors import OperatorError
from multitaskais.model import folder as modelfolder
from multitaskais.zones.zone import read_zones
from stream_operator.commands import meetings
from stream_operator.commands import zones as zones_command
from stream_operator.commands.meetings import IDLE_S, Meetings
from stream_operator.devbroker import free_port
from stream_operator.kafka import client as kafka
from stream_operator.kafka import codec
from stream_operator.kafka.topics import Admin
from stream_operator.settings import Settings
from stream_operator.worker.topic_identity import TopicIdentity, TopicLookup
from tests.stream.conftest import ROOT, finish, own_settings, producer, wait_until
from tests.stream.test_topic_identity import admin, make_anew
from tests.support import small_model
from tests.support.builders import T0, merged, sail
from tests.support.encounter_scenes import bystanders, patterns, rendezvous
from tests.support.topic_reading import drain

pytestmark = pytest.mark.broker

ZONES = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"name": "Reserve", "rule": "enter", "severity": "high"},
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[-5.7, 47.9], [-5.3, 47.9], [-5.3, 48.1], [-5.7, 48.1], [-5.7, 47.9]]],
            },
        }
    ],
}


def scene() -> np.ndarray:
    silent = sail(600, 60.0, mmsi=227000050, lat=48.2, lon=-5.9, sog=9.0, cog=90.0)
    hours = (silent["t"] - T0) / 3600
    return merged(rendezvous(), bystanders(9, hours=10), silent[(hours < 3) | (hours > 6)])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    known = dataclasses.replace(small_model.model(), name="together", patterns=patterns())
    return modelfolder.save(known, tmp_path_factory.mktemp("models") / "together")


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    where = tmp_path_factory.mktemp("models") / "together"
    modelfolder.save(model, where)
    return where


def start(settings: Settings, log, **env: str) -> subprocess.Popen:
    variables = {
        name.upper(): str(value)
        for name in Settings.__dataclass_fields__
        if (value := getattr(settings, name)) not in (None, "")
    }
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "stream_operator", "meetings"],
            env={**os.environ, **variables, "OMP_NUM_THREADS": "1", "MEETINGS_PORT": str(free_port()), **env}, stdout=out, stderr=out, cwd=ROOT,
        )  # fmt: skip


class Message:
    """One record, as the client gives it."""

    def __init__(self, offset: int, key: bytes, value: bytes) -> None:
        self.offset, self.key, self.value = (lambda: offset), (lambda: key), (lambda: value)


def test_an_idle_partition_holds_the_others_back_for_a_minute_alone(model):
    work = Meetings(Settings(app_id="idle", bootstrap_servers="127.0.0.1:9"), model, 2, TopicIdentity("t", 2))
    work.take(0, [Message(i, *codec.encode_report(row)) for i, row in enumerate(scene().tolist())])
    work.reached_end(1, 0)
    now = time.monotonic()
    work.pass_idle(now + IDLE_S - 5)
    assert work.engine.decide().ticks == 0
    work.pass_idle(now + IDLE_S + 5)
    assert work.engine.decide().ticks > 0


def told(alerts: list[dict]) -> list[dict]:
    return sorted(alerts, key=lambda a: (a["decided_at"], a["alert_id"], a["revision"]))


@pytest.mark.parametrize("partitions", [1, 4])
def test_live_gives_the_alerts_of_batch_though_it_is_killed(broker, model, folder, tmp_path, partitions):
    settings = dataclasses.replace(own_settings(broker.bootstrap), model=str(folder), partitions=partitions)
    Admin(settings).create()
    (tmp_path / "zones.geojson").write_text(json.dumps(ZONES))
    environment = {
        "BOOTSTRAP_SERVERS": broker.bootstrap,
        "CONTROL_TOPIC": settings.control_topic,
        "APP_ID": settings.app_id,
    }
    os.environ.update(environment)
    try:
        assert zones_command.main(["put", str(tmp_path / "zones.geojson"), "--from", "2017-01-01"]) == 0
        assert [z["properties"]["name"] for z in zones_command.standing(settings)] == ["Reserve"]
    finally:
        for name in environment:
            os.environ.pop(name)
    reports = scene()
    end = float(reports["t"].max()) + 7321.0
    archive = batch.run_fleet(model, reports, read_zones(json.dumps(ZONES)), complete_until=end)
    wanted = told([a.as_dict() for a in archive.alerts])
    assert {a["alert_type"] for a in wanted} == {"meeting", "silence", "zone"}
    log = tmp_path / "log"
    points = ["begun:2", "produced:3", "committed:2", "results:4", "cut:5"]
    running = start(settings, log, FAULT_POINT=points[0])
    wait_until(lambda: "watching all ships" in log.read_text(), 30.0)
    second = start(settings, log)
    p = producer(settings)
    parts = np.array_split(reports, 6)
    for i, part in enumerate(parts):
        for row in part.tolist():
            key, value = codec.encode_report(row)
            p.produce(settings.topic, value, key)
            p.poll(0)
        p.flush()
        if running.poll() is not None:  # killed at its point: the other has taken over, and a third waits
            running, second = second, start(settings, log, FAULT_POINT=points[i % len(points)])
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(2.0)
    finish(settings, end)
    try:

        def done():
            nonlocal running, second
            if running.poll() is not None:
                running, second = second, start(settings, log)
            return len(drain(settings, settings.alert_topic)) >= len(wanted)

        wait_until(done, 60.0)
    finally:
        for process in (running, second):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        codes = [process.wait(20) for process in (running, second)]
    found = told(drain(settings, settings.alert_topic))
    assert found == json.loads(json.dumps(wanted)), log.read_text()[-3000:]
    assert log.read_text().count("watching all ships") > 1  # one was killed, another took over
    assert set(codes) <= {0, -9, 75}, log.read_text()[-3000:]


def test_what_was_deleted_before_it_was_read_is_counted_and_a_log_that_was_cut_is_one_line(broker, model, monkeypatch):
    settings = dataclasses.replace(own_settings(broker.bootstrap), partitions=1)
    Admin(settings).create()
    p = producer(settings)
    for row in scene().tolist()[:50]:
        key, value = codec.encode_report(row)
        p.produce(settings.topic, value, key)
    assert p.flush(30) == 0
    [deleted] = admin(settings).delete_records([TopicPartition(settings.topic, 0, 30)]).values()
    deleted.result()
    lookup = TopicLookup(settings)
    known = lookup.identity(settings.topic)
    work = meetings.Meetings(settings, model, 1, known)
    source = meetings.Source(settings, lookup, known, settings.fleet_states)
    consumer = Consumer(kafka.reader(settings, auto_offset_reset="error"))
    work.at[0] = 10
    consumer.assign([TopicPartition(settings.topic, 0, 10)])
    try:
        [odd] = consumer.consume(1, 20)
        assert odd.error().code() in meetings._NOT_THERE
        meetings._seek_past_deleted(settings, work, consumer, source, odd)
        assert (work.at[0], work.status.metrics.lost._value.get()) == (30, 20)
        assert consumer.consume(1, 20)[0].offset() == 30
        monkeypatch.setattr(meetings, "SETTLE_S", 0.2)
        work.at[0] = 99
        with pytest.raises(OperatorError, match="the log was cut"):
            meetings._seek_past_deleted(settings, work, consumer, source, odd)
    finally:
        consumer.close()


def test_a_source_that_is_made_again_under_a_running_process_ends_it_with_the_way_on(broker, folder, tmp_path):
    settings = dataclasses.replace(own_settings(broker.bootstrap), model=str(folder), partitions=2)
    Admin(settings).create()
    running = start(settings, log := tmp_path / "log")
    try:
        wait_until(lambda: "watching all ships" in log.read_text(), 40.0)
        make_anew(settings)
        assert running.wait(40) == 2
    finally:
        if running.poll() is None:
            running.kill()
            running.wait()
    last = log.read_text().strip().splitlines()[-1]
    assert f"{settings.topic} was " in last
    assert settings.fleet_states in last
    assert "Traceback" not in log.read_text()

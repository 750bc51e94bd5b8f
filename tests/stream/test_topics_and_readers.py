"""Topics are made right and checked; alerts and dead letters can be read and replayed."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from multitaskais.errors import OperatorError
from multitaskais.records import Status
from stream_operator import alerts, dead, topics, wire
from stream_operator.settings import Settings

from .conftest import ROOT, own_settings, producer
from .reading import messages
from .standin import an_alert
from .test_feed import run


@pytest.mark.broker
def test_what_is_missing_is_created_and_then_all_is_right(broker):
    s = own_settings(broker.bootstrap)
    admin = topics.Admin(s)
    assert len(admin.problems()) == 6
    assert len(admin.create()) == 6
    assert admin.problems() == []
    assert admin.partitions[s.states] == admin.partitions[s.topic] == 4
    assert admin.create() == []


@pytest.mark.broker
def test_a_wrong_topic_is_named_with_the_command_that_mends_it(broker):
    s = own_settings(broker.bootstrap)
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    for future in client.create_topics(
        [NewTopic(s.states, 3), NewTopic(s.topic, 4), NewTopic(s.verdict_topic, 4)]
    ).values():
        future.result()
    topics.Admin(s).create()
    found = dict(topics.Admin(s).problems())
    assert any(f"{s.states} has 3 partitions, but {s.topic} has 4" in p for p in found)
    assert any(
        f"topic {s.verdict_topic} has cleanup.policy=delete" in p and r.endswith("topics --mend")
        for p, r in found.items()
    )
    topics.Admin(s).mend()
    assert not any("cleanup.policy" in p for p, _ in topics.Admin(s).problems())
    with pytest.raises(OperatorError, match="has 3 partitions"):
        topics.require(s)


def test_a_broker_that_is_not_there_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr(topics, "CALL_S", 1.0)
    with pytest.raises(OperatorError, match=r"no answer from the brokers 127.0.0.1:1 .* is BOOTSTRAP_SERVERS right"):
        topics.require(Settings(bootstrap_servers="127.0.0.1:1"))


@pytest.mark.broker
def test_alerts_read_in_every_format(broker):
    s = own_settings(broker.bootstrap)
    topics.Admin(s).create()
    first = replace(an_alert(227000001, 1.7e9, 1, 2.0), ship_name="MARION")
    last = replace(first, revision=2, status=Status.CLOSED)
    other = an_alert(227000002, 1.7e9, 1, 3.0)
    p = producer(s)
    for a in (first, last, other):
        key, value = wire.encode_alert(a)
        p.produce(s.alert_topic, value, key)
    p.flush()

    def out(*args: str) -> str:
        env = {**os.environ, "BOOTSTRAP_SERVERS": s.bootstrap_servers, "ALERT_TOPIC": s.alert_topic}
        command = [sys.executable, "-m", "stream_operator", "alerts", *args]
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "MARION" in out()
    assert len(out("--format", "json", "--since", "2h").splitlines()) == 3
    features = json.loads(out("--format", "geojson"))["features"]
    assert {f["properties"]["mmsi"]: f["properties"]["revision"] for f in features} == {"227000001": 2, "227000002": 1}
    rows = list(csv.DictReader(io.StringIO(out("--format", "kepler"))))
    assert [r["start_lat"] for r in rows] == ["48.0"] * 3


@pytest.mark.parametrize(("text", "s"), [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604800)])
def test_times_back(text, s):
    assert alerts.seconds(text) == s


@pytest.mark.broker
def test_a_dead_letter_is_shown_and_replayed_once(settings):
    p = producer(settings)
    for reason, value in (("bad_json", b"nope"), ("bad_value", b"{}")):
        head = [("reason", reason.encode()), ("topic", settings.topic.encode()), ("partition", b"2"), ("offset", b"7")]
        p.produce(settings.dead_topic, value, b"227000001", headers=head)
    p.produce(settings.dead_topic, b"xxx", b"1", headers=[("reason", b"too_large"), ("clipped_from_bytes", b"99999")])
    p.flush()
    assert dead.describe(messages(settings, settings.dead_topic)[0])["reason"] == "bad_json"
    assert dead.replay(settings, None) == (2, 1)
    assert dead.replay(settings, None) == (0, 0)
    assert sorted(m.value() for m in messages(settings, settings.topic)) == [b"nope", b"{}"]


def test_an_unknown_command_is_refused_with_the_list():
    done = run(Settings(), "sail")
    assert done.returncode == 2
    assert b"no command 'sail'" in done.stderr

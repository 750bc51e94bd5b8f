"""Topics are made right and checked; dead letters can be read and replayed."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from multitaskais.errors import OperatorError
from stream_operator.commands import dead_letters as dead
from stream_operator.kafka import topics
from stream_operator.settings import Settings
from tests.stream.conftest import own_settings, producer
from tests.stream.test_feed import run
from tests.support.topic_reading import messages


@pytest.mark.broker
def test_what_is_missing_is_created_and_then_all_is_right(broker):
    s = own_settings(broker.bootstrap)
    admin = topics.Admin(s)
    assert len(admin.problems()) == 8
    assert len(admin.create()) == 8
    assert admin.problems() == []
    assert admin.partitions[s.states] == admin.partitions[s.topic] == 4
    assert admin.create() == []


@pytest.mark.broker
def test_the_command_says_what_it_made_and_what_was_there(broker, monkeypatch, capsys):
    s = own_settings(broker.bootstrap)
    for name in (
        "bootstrap_servers",
        "app_id",
        "topic",
        "alert_topic",
        "verdict_topic",
        "dead_topic",
        "feedback_topic",
        "control_topic",
    ):
        monkeypatch.setenv(name.upper(), getattr(s, name))
    topics.Admin(s).create([topics.Topic(s.topic, 3, {})])
    lines = []
    for _ in range(2):
        assert topics.main([]) == 0
        lines.append(capsys.readouterr().out.splitlines())
    assert len(lines[0]) == 8
    assert f"created {s.states} (3 partitions)" in lines[0]
    assert lines[0][-1] == "7 created, 1 were there before; all topics are right"
    assert lines[1] == ["all topics are right"]


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
    topics.Admin(s).repair()
    assert not any("cleanup.policy" in p for p, _ in topics.Admin(s).problems())
    with pytest.raises(OperatorError, match="has 3 partitions"):
        topics.require(s)


def test_a_broker_that_is_not_there_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr(topics, "CALL_S", 1.0)
    with pytest.raises(OperatorError, match=r"no answer from the brokers 127.0.0.1:1 .* is BOOTSTRAP_SERVERS right"):
        topics.require(Settings(bootstrap_servers="127.0.0.1:1"))


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

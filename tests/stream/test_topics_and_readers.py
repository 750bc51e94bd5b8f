"""Topics are made right and checked; dead letters can be read and replayed."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.errors import OperatorError
from stream_operator.commands import dead_letters as dead
from stream_operator.kafka import topics
from stream_operator.plain_text import json_line
from stream_operator.settings import Settings
from tests.stream.conftest import own_settings, producer
from tests.stream.test_feed import run
from tests.support.topic_reading import messages


@pytest.mark.broker
def test_what_is_missing_is_created_and_then_all_is_right(broker):
    s = own_settings(broker.bootstrap)
    admin = topics.Admin(s)
    assert len(admin.problems()) == 9
    assert len(admin.create()) == 9
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
        "sample_topic",
        "dead_topic",
        "feedback_topic",
        "control_topic",
    ):
        monkeypatch.setenv(name.upper(), getattr(s, name))
    [source, *_] = topics.wanted(s, 3)
    topics.Admin(s).create([source])
    lines = []
    for _ in range(2):
        assert topics.main([]) == 0
        lines.append(capsys.readouterr().out.splitlines())
    assert len(lines[0]) == 9
    assert f"created {s.states} (3 partitions)" in lines[0]
    assert lines[0][-1] == "8 created, 1 were there before; all topics are right"
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
    found = topics.Admin(s).problems()
    assert any(f"{s.states} has 3 partitions, but {s.topic} has 4" in p.what for p in found)
    assert any(
        f"topic {s.verdict_topic} has cleanup.policy=delete" in p.what and p.remedy.endswith("topics --mend")
        for p in found
    )
    topics.Admin(s).repair()
    assert not any("cleanup.policy" in p.what for p in topics.Admin(s).problems())
    with pytest.raises(OperatorError, match="has 3 partitions"):
        topics.require(s)


LOSES = {  # setting -> a value with which records are lost
    "message.timestamp.type": "CreateTime",
    "retention.ms": "60000",
    "retention.bytes": "1000000",
    "unclean.leader.election.enable": "true",
    "max.message.bytes": "1000",
}


@pytest.mark.broker
def test_each_setting_that_loses_records_is_named_and_mended_and_what_keeps_more_is_left(broker, caplog, monkeypatch):
    s = own_settings(broker.bootstrap)
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    ten_years = str(10 * 365 * 24 * 3_600_000)
    new = [
        NewTopic(s.topic, 4, config=LOSES),
        NewTopic(s.control_topic, 1, config={"cleanup.policy": "compact", "min.compaction.lag.ms": "0"}),
        NewTopic(s.alert_topic, 4, config={"message.timestamp.type": "LogAppendTime", "retention.ms": ten_years}),
    ]
    for future in client.create_topics(new).values():
        future.result()
    topics.Admin(s).create()
    named = {p.setting[:2] for p in topics.Admin(s).problems() if p.setting}
    assert named == {(s.topic, key) for key in LOSES} | {(s.control_topic, "min.compaction.lag.ms")}
    with pytest.raises(OperatorError, match=r"max\.message\.bytes=1000, needed is .*topics --mend$"):
        topics.require(s)  # a report could not be written: it does not start
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
        monkeypatch.setenv(name.upper(), getattr(s, name))  # fmt: skip
    for future in client.incremental_alter_configs(
        [ConfigResource(ResourceType.TOPIC, s.topic, incremental_configs=[
            ConfigEntry("max.message.bytes", "2000000", incremental_operation=AlterConfigOpType.SET)])]
    ).values():  # fmt: skip
        future.result()
    topics.require(s)  # of the others it warns
    warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and s.topic in r.getMessage()]
    assert len(warned) == len(LOSES) - 1
    assert all("; to repair it: python -m stream_operator topics --mend" in w for w in warned)
    assert topics.main([]) == 1
    assert topics.main(["--mend"]) == 0
    assert topics.Admin(s).problems() == []
    kept = topics.Admin(s)._configs([s.alert_topic])[0]
    assert kept["retention.ms"] == ten_years


@given(st.sampled_from(sorted(topics.CHECKED)), st.integers(-1, 10**12), st.integers(-1, 10**12))
def test_a_setting_is_enough_when_it_keeps_at_least_what_is_wanted(key, have, want):
    if key not in topics.AT_LEAST:
        assert topics.is_enough(key, str(have), str(want)) == (have == want)
    elif key in topics.UNBOUNDED:
        bound = {-1: 10**13}
        assert topics.is_enough(key, str(have), str(want)) == (bound.get(have, have) >= bound.get(want, want))
    else:
        assert topics.is_enough(key, str(have), str(want)) == (have >= want)
    assert not topics.is_enough(key, "", str(want))


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


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["reason", "partition", "offset", "clipped_from_bytes", "x"]),
            st.none() | st.binary(max_size=8) | st.integers().map(lambda n: str(n).encode()),
        )
    ),
    st.none() | st.binary(max_size=8),
    st.none() | st.binary(max_size=8),
)
def test_whatever_another_program_wrote_to_the_dead_letters_is_shown(headers, key, value):
    letter = dead.describe(SimpleNamespace(headers=lambda: headers, key=lambda: key, value=lambda: value))
    assert len(json_line(letter).splitlines()) == 1


def test_an_unknown_command_is_refused_with_the_list():
    done = run(Settings(), "sail")
    assert done.returncode == 2
    assert b"no command 'sail'" in done.stderr


@pytest.mark.broker
def test_without_samples_their_topic_is_neither_made_nor_asked_for(broker):
    s = own_settings(broker.bootstrap, samples="off")
    topics.Admin(s).create()
    assert s.sample_topic not in topics.Admin(s).partitions
    topics.require(s)
    with pytest.raises(OperatorError, match=f"topic {s.sample_topic} is missing"):
        topics.require(replace(s, samples="on"))

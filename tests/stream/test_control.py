"""Control records: of a topic of their own, bounded, told once, listed, and taken back."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.errors import ConfigError, OperatorError
from multitaskais.model import folder as modelfolder
from stream_operator.commands import control as command
from stream_operator.commands import replay
from stream_operator.kafka import codec as wire
from stream_operator.kafka import control
from stream_operator.kafka.control import ModelAnnouncement, SuppressionRecord, Watermark, Withdrawal, Zone
from stream_operator.kafka.control_writer import ControlWriter
from stream_operator.kafka.topics import Admin
from stream_operator.worker.checkpoint import ControlPosition, Decision, Restored
from stream_operator.worker.control_log import ControlLog, planned
from stream_operator.worker.engines import engine_opener
from stream_operator.worker.topic_identity import TopicIdentity
from tests.stream.conftest import own_settings, producer, wait_until
from tests.stream.test_topic_identity import folded, metric, ready
from tests.support.topic_reading import drain

T0 = 1_767_225_600.0  # 2026-01-01
YEAR_2099 = 4_085_000_000.0

times = st.floats(1.0, 4e9)
controls = st.one_of(
    st.builds(
        Watermark, t=times, final=st.booleans(), after=st.dictionaries(st.integers(0, 99), st.integers(0, 2**60))
    ),
    st.builds(ModelAnnouncement, model=st.text(min_size=1), version=st.text(min_size=1), since=times),
    st.builds(Zone, name=st.text(min_size=1, max_size=200), since=times, zone=st.none() | st.just({"rule": "enter"})),
    st.builds(
        SuppressionRecord,
        alert_type=st.text(min_size=1, max_size=20),
        cause=st.text(min_size=1, max_size=20),
        stretch=st.tuples(st.floats(-90, 90), st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180)),
        since=times,
        least_score=st.floats(1, 1e6),
        mmsi=st.none() | st.integers(0, 10**9),
        why=st.text(max_size=200),
    ),
    st.builds(Withdrawal, number=st.integers(0, 2**60)),
)


@given(controls)
def test_what_is_sent_is_what_is_read_and_unknown_fields_are_passed_over(record):
    key, value = control.encode(record)
    assert key
    assert control.decode(value) == record
    assert control.decode(json.dumps({**json.loads(value), "new_field": [1]}).encode()) == record
    assert record.summary().isprintable()


@given(st.none() | st.binary(max_size=80) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=9) | st.sampled_from(["watermark", "model", "zone", "withdraw", "suppress"]),
    lambda inner: st.dictionaries(st.sampled_from(["kind", "t", "after", "from", "name", "number", "zone", "model"]), inner), max_leaves=6,
).map(lambda v: json.dumps(v).encode()))  # fmt: skip
def test_whatever_lies_in_the_topic_is_a_control_record_or_a_reason(value):
    found = control.decode(value)
    assert isinstance(found, str | Watermark | ModelAnnouncement | Zone | SuppressionRecord | Withdrawal)
    log = ControlLog(own_settings("127.0.0.1:1"))
    log.take(7, value)
    assert log.end == 8
    assert len(log.since(0)) == (0 if isinstance(found, str) else 1)


@pytest.mark.parametrize(
    "value",
    [
        b'{"kind":"watermark","t":1767225600000}', b'{"kind":"watermark","t":-1}', b'{"kind":"watermark"}', b'{"kind":"sail"}',
        b'{"kind":"model","model":"","version":"x","from":1e9}', b'{"kind":"zone","name":"","from":1e9}', b"later",
    ],
)  # fmt: skip
def test_what_no_worker_would_follow_has_its_reason(value):
    assert isinstance(control.decode(value), str)


def test_what_a_writer_would_send_wrong_is_said_before_anything_is_sent():
    with pytest.raises(OperatorError, match="1970 and 2100"):
        ControlWriter(own_settings("127.0.0.1:1")).send(Watermark(t=1e12))


def test_a_replay_acts_where_the_operator_did_and_else_where_the_record_says():
    def numbered(n, record):
        return control.Numbered(n, record, control.encode(record)[1])

    held = [
        numbered(0, Watermark(t=T0)), numbered(1, Watermark(t=T0 + 1)), numbered(2, Watermark(t=T0 + 2, after={3: 40})),
        numbered(3, Watermark(t=T0 + 3, after={3: 7})), numbered(4, Watermark(t=T0 + 4)), numbered(5, Withdrawal(number=4)),
    ]  # fmt: skip
    decisions = {0: Decision(30, "", held[0].value), 1: Decision(31, "no", held[1].value)}
    restored = Restored(50, None, {}, TopicIdentity("a", 4), ControlPosition("b", 3, (2,)), decisions)
    acts = planned(restored, held, 3)
    assert [(at, record.number) for at, record in acts] == [(0, 5), (7, 3), (30, 0), (40, 2)]


# ---------------------------------------------------------------- with a broker, a worker and the real engine


def north(mmsi: int, t: float, *, lat0: float = 48.2, lon: float = -5.8, sog: float = 12.0) -> tuple:
    lat = lat0 + sog * (t - T0) / 3600 / 60
    return mmsi, t, lat, lon, sog, 0.0, math.nan, 0, 1, 70, b""


@pytest.fixture
def engine() -> str:
    return "product"


@pytest.fixture
def live(broker):
    s = replace(own_settings(broker.bootstrap), model="brittany", partitions=1)
    Admin(s).create()
    return s


def send(settings, reports) -> None:
    p = producer(settings)
    for row in reports:
        key, value = wire.encode_report(row)
        p.produce(settings.topic, value, key)
    p.flush()


def fleet_of(n: int, begin: int, end: int) -> list[tuple]:
    return [north(227_000_000 + s, T0 + 30.0 * k, lon=-5.8 + 0.05 * s) for k in range(begin, end) for s in range(n)]


@pytest.mark.broker
def test_a_watermark_of_2099_is_refused_told_once_and_silences_nothing(live, start_worker, capsys, monkeypatch):
    for name in ("bootstrap_servers", "app_id", "topic", "control_topic"):
        monkeypatch.setenv(name.upper(), getattr(live, name))
    worker = start_worker(live)
    send(live, fleet_of(6, 0, 60))
    folded(worker, 360)
    number = ControlWriter(live).send(Watermark(t=YEAR_2099, by="a test"))
    p = producer(live)
    p.produce(live.topic, b'{"watermark": 4085000000}', b"watermark")  # as it was before: in the reports
    p.flush()
    wait_until(lambda: "is refused" in worker.text(), 20)
    send(live, fleet_of(6, 60, 120))
    folded(worker, 721)
    assert metric(worker, 'multitaskais_reports_rejected_total{reason="control"}') == 1
    assert metric(worker, 'multitaskais_reports_rejected_total{reason="behind"}') == 0
    assert metric(worker, 'multitaskais_controls_total{kind="watermark",refused="true"}') == 1
    told = [line for line in worker.text().splitlines() if f"control record {number} " in line]
    assert len(told) == 1
    assert "by a test" in told[0]
    assert "leads the newest report and the time of day" in told[0]
    assert worker.end() == 0
    assert command.main(["list", "--json", "--all"]) == 0
    [row] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert row["number"] == number
    assert row["by"] == "a test"
    assert [what.split(":")[0] for what in row["partitions"]] == ["refused"]
    worker = start_worker(live)
    send(live, fleet_of(6, 120, 130))
    folded(worker, 781)
    assert metric(worker, 'multitaskais_reports_rejected_total{reason="behind"}') == 0
    assert f"control record {number} " not in worker.text()


@pytest.mark.broker
def test_a_watermark_ends_the_wait_of_a_lone_ship_and_a_replay_tells_the_same(live, start_worker, tmp_path):
    worker = start_worker(live)
    alone = [north(227_000_001, T0 + 60.0 * k) for k in range(60)]
    jumped = [north(227_000_001, T0 + 60.0 * k, lat0=48.9, lon=-6.5) for k in range(60, 66)]
    send(live, [*alone, *jumped])
    folded(worker, 66)
    before = drain(live, live.alert_topic)
    ControlWriter(live).send(Watermark(t=T0 + 4 * 3600.0))
    wait_until(lambda: any(a["status"] == "closed" for a in drain(live, live.alert_topic)), 20)
    told = drain(live, live.alert_topic)
    assert len(told) > len(before)
    # It does not make what comes later unwelcome, however old.
    send(live, [north(227_000_002, T0 + 3600.0 + 60.0 * k, lon=-5.0) for k in range(30)])
    folded(worker, 96)
    assert metric(worker, "multitaskais_reports_accepted_total") == 66 + 30 - 3  # three still wait to be put in order
    assert worker.end() == 0
    out = tmp_path / "again.jsonl"
    replay.replay(live, engine_opener(live), replay.Range(T0, math.inf, math.inf), sink := replay.FileSink(out))
    sink.close()
    assert [json.loads(line) for line in out.read_text().splitlines()] == drain(live, live.alert_topic)


@pytest.mark.broker
def test_a_record_that_is_withdrawn_before_it_is_due_never_acts(live, start_worker):
    worker = start_worker(live)
    send(live, [north(227_000_001, T0 + 60.0 * k) for k in range(30)])
    folded(worker, 30)
    writer = ControlWriter(live)
    waits = writer.send(Watermark(t=T0 + 4 * 3600.0, after={0: 10_000}))
    writer.send(Withdrawal(number=waits))
    wait_until(lambda: f"control record {waits} " in worker.text(), 20)
    assert "withdrawn by 1" in worker.text()
    assert metric(worker, "multitaskais_tracks_open") == 1
    assert ready(worker)[0] == 200


@pytest.mark.broker
def test_a_model_that_is_withdrawn_hands_over_to_the_one_before_it(live, start_worker, tmp_path):
    from tests.support.builders import another

    old = modelfolder.load("brittany").version
    new = modelfolder.save(another(modelfolder.load("brittany"), name="second"), tmp_path / "second").version
    worker = start_worker(live)
    send(live, fleet_of(6, 0, 60))
    folded(worker, 360)
    writer = ControlWriter(live)
    number = writer.send(ModelAnnouncement(model=str(tmp_path / "second"), version=new, since=T0 + 600.0))
    active = 'multitaskais_model_partitions{{role="active",version="{}"}}'
    wait_until(lambda: metric(worker, active.format(new)) == 1, 20)
    writer.send(Withdrawal(number=number))
    wait_until(lambda: metric(worker, active.format(old)) == 1, 20)
    assert worker.end() == 0


@pytest.mark.broker
def test_only_what_is_there_can_be_withdrawn_by_the_command(live, monkeypatch):
    for name in ("bootstrap_servers", "app_id", "topic", "control_topic"):
        monkeypatch.setenv(name.upper(), getattr(live, name))
    with pytest.raises(ConfigError, match="there is no such record"):
        command.main(["withdraw", "0"])
    assert command.main(["watermark", "2026-01-01T12:00"]) == 0
    assert command.main(["withdraw", "0"]) == 0
    assert [r["kind"] for r in drain(live, live.control_topic)] == ["watermark", "withdraw"]

"""``python -m stream_operator alerts``: every format, from a real broker, as a program of its own."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.errors import ConfigError
from multitaskais.records import Alert, AlertType, Cause, Partner, Place, Status, ZoneOfAlert
from stream_operator.commands import alerts
from stream_operator.kafka import codec as wire
from stream_operator.kafka import topics
from stream_operator.plain_text import json_line
from stream_operator.settings import Settings
from tests.stream.conftest import ROOT, own_settings, producer
from tests.support.standin_engine import an_alert

T = 1_767_265_200.0
FIRST = replace(an_alert(227000001, T, 1, 2.0), ship_name="MARION", segment_start=Place(T - 7200, 48.0, -5.0),
                segment_end=Place(T - 3600, 48.1, -5.1))  # fmt: skip
GREW = replace(FIRST, revision=2, status=Status.UPDATED, segment_end=Place(T, 48.2, -5.3), decided_at=T + 130)
ENDED = replace(GREW, revision=3, status=Status.CLOSED, decided_at=T + 3730)
JUMP = replace(an_alert(227000002, T, 1, 3.0), decided_at=T + 125)  # of one moment: its segment has one end


@pytest.fixture
def topic(broker) -> Settings:
    settings = own_settings(broker.bootstrap)
    own = topics.wanted(settings, settings.partitions)
    own[1].config["message.timestamp.type"] = "CreateTime"  # the tests choose when an alert was written
    topics.Admin(settings).create(own)
    return settings


def publish(settings: Settings, *said: Alert, written: float | None = None) -> None:
    p = producer(settings)
    for a in said:
        key, value = wire.encode_alert(a)
        p.produce(settings.alert_topic, value, key, timestamp=int((written or time.time()) * 1000))
    assert p.flush(30) == 0


def begin(settings: Settings, *args: str, out: int = subprocess.PIPE) -> subprocess.Popen:
    env = {**os.environ, "BOOTSTRAP_SERVERS": settings.bootstrap_servers, "ALERT_TOPIC": settings.alert_topic}
    command = [sys.executable, "-m", "stream_operator", "alerts", *args]
    return subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True, env=env, cwd=ROOT)


def out(settings: Settings, *args: str) -> str:
    process = begin(settings, *args)
    said, wrong = process.communicate(timeout=60)
    assert process.returncode == 0, wrong
    return said


@pytest.mark.broker
def test_the_table_has_one_line_for_each_revision(topic):
    publish(topic, FIRST, GREW, JUMP)
    lines = out(topic).splitlines()
    assert len(lines) == 3
    assert sum("MARION" in line for line in lines) == 2


@pytest.mark.broker
def test_json_lines_are_the_records_of_the_topic(topic):
    publish(topic, FIRST, ENDED, JUMP)
    rows = [json.loads(line) for line in out(topic, "--format", "json").splitlines()]
    assert sorted(rows, key=str) == sorted((a.as_dict() for a in (FIRST, ENDED, JUMP)), key=str)


@pytest.mark.broker
def test_geojson_has_the_last_revision_of_each_alert(topic):
    publish(topic, FIRST, GREW, JUMP)
    features = {f["properties"]["mmsi"]: f for f in json.loads(out(topic, "--format", "geojson"))["features"]}
    assert features["227000001"]["properties"]["revision"] == 2
    assert features["227000001"]["geometry"] == {"type": "LineString", "coordinates": [[-5.0, 48.0], [-5.3, 48.2]]}
    assert features["227000002"]["geometry"] == {"type": "Point", "coordinates": [-5.0, 48.0]}


@pytest.mark.broker
def test_kepler_gets_trips_through_every_place_that_the_alert_told(topic):
    publish(topic, FIRST, GREW, ENDED, JUMP)
    collection = json.loads(out(topic, "--format", "kepler"))
    are_trips(collection)
    marion, jump = sorted(collection["features"], key=lambda f: f["properties"]["mmsi"])
    assert marion["geometry"]["coordinates"] == [
        [-5.0, 48.0, 0.0, T - 7200], [-5.1, 48.1, 0.0, T - 3600], [-5.3, 48.2, 0.0, T],
    ]  # fmt: skip
    assert (marion["properties"]["status"], marion["properties"]["ship_name"]) == ("closed", "MARION")
    # It stands where it was until it was decided.
    assert jump["geometry"]["coordinates"] == [[-5.0, 48.0, 0.0, T], [-5.0, 48.0, 0.0, T + 125]]


@pytest.mark.broker
def test_since_leaves_out_what_was_written_before(topic):
    publish(topic, FIRST, written=time.time() - 3 * 3600)
    publish(topic, JUMP)
    for since, mmsis in (("2h", ["227000002"]), ("1d", ["227000001", "227000002"])):
        rows = [json.loads(line) for line in out(topic, "--format", "json", "--since", since).splitlines()]
        assert sorted(r["mmsi"] for r in rows) == mmsis


@pytest.mark.broker
def test_several_followers_and_a_reader_each_get_all_committed_alerts_and_leave_no_group_behind(topic, tmp_path):
    publish(topic, FIRST)
    files = [tmp_path / f"{n}.jsonl" for n in range(3)]
    followers = []
    for file in files:
        with file.open("wb") as f:
            followers.append(begin(topic, "--follow", "--format", "json", out=f.fileno()))
    try:
        wait_for(files, 1)
        unsaid(topic, replace(JUMP, mmsi=227000003))
        publish(topic, JUMP)
        wait_for(files, 2)
        assert len(out(topic, "--format", "json").splitlines()) == 2
        for file in files:
            assert [json.loads(line)["mmsi"] for line in file.read_text().splitlines()] == ["227000001", "227000002"]
        assert [f.poll() for f in followers] == [None] * 3
        admin = AdminClient({"bootstrap.servers": topic.bootstrap_servers})
        groups = [g.group_id for g in admin.list_consumer_groups(request_timeout=15).result().valid]
        assert not [g for g in groups if topic.app_id in g or "alerts" in g]
    finally:
        for f in followers:
            f.send_signal(signal.SIGINT)
    assert [f.wait(15) for f in followers] == [130] * 3


def wait_for(files: list[Path], lines: int) -> None:
    deadline = time.monotonic() + 30
    while any(len(f.read_text().splitlines()) < lines for f in files):
        assert time.monotonic() < deadline, f"not {lines} lines in each"
        time.sleep(0.1)


def unsaid(settings: Settings, alert: Alert) -> None:
    """What a worker leaves behind that was fenced inside its checkpoint."""
    p = Producer({"bootstrap.servers": settings.bootstrap_servers, "transactional.id": settings.alert_topic})
    p.init_transactions(30)
    p.begin_transaction()
    key, value = wire.encode_alert(alert)
    p.produce(settings.alert_topic, value, key)
    p.flush(30)
    p.abort_transaction(30)


# ---------------------------------------------------------------- without a broker


def are_trips(collection: dict) -> None:
    """What kepler.gl asks of a file of trips before it offers the layer."""
    assert collection["type"] == "FeatureCollection"
    for feature in collection["features"]:
        assert feature["type"] == "Feature"
        assert feature["geometry"]["type"] == "LineString"
        line = feature["geometry"]["coordinates"]
        assert len(line) >= 2
        for coordinate in line:
            assert len(coordinate) == 4
            assert all(isinstance(x, int | float) and math.isfinite(x) for x in coordinate)
            lon, lat, altitude, t = coordinate
            assert -180 <= lon <= 180
            assert -90 <= lat <= 90
            assert altitude == 0
            assert len(str(t)) == 10  # seconds: kepler.gl separates them from milliseconds by their digits
        assert all(a[3] < b[3] for a, b in itertools.pairwise(line))
        assert all(not isinstance(v, dict | list) for v in feature["properties"].values())


places = st.builds(Place, st.floats(1.2e9, 1.9e9), st.floats(-90, 90), st.floats(-180, 180))


@given(st.lists(st.tuples(places, places, st.floats(1.2e9, 1.9e9), st.integers(0, 3)), max_size=12))
def test_whatever_alerts_say_trips_go_forward_in_time(said):
    """Also an alert whose start moves, whose log was judged again, or whose ends lie before its start."""
    life = [
        replace(FIRST, alert_id=f"a-{which}", revision=n, segment_start=start, segment_end=end, decided_at=t)
        for n, (start, end, t, which) in enumerate(said)
    ]
    collection = alerts.kepler(a.as_dict() for a in life)
    are_trips(collection)
    assert len(collection["features"]) == len({a.alert_id for a in life})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.binary(max_size=50)
    | anything.map(lambda x: json.dumps(x).encode())
    | st.dictionaries(st.sampled_from(sorted(FIRST.as_dict())), anything, max_size=3).map(
        lambda change: json.dumps(FIRST.as_dict() | change).encode()
    )
)
def test_whatever_lies_in_the_topic_of_alerts_is_an_alert_in_every_format_or_none(value):
    if (a := alerts.alert_of(value)) is not None:
        shown = [alerts.table_line(a), *(json_line(form([a])) for form in alerts.COLLECTIONS.values())]
        for line in shown:
            line.encode()
            assert len(line.splitlines()) == 1


def test_an_alert_of_ours_is_one():
    assert alerts.alert_of(wire.encode_alert(FIRST)[1]) == FIRST.as_dict()


@pytest.mark.broker
def test_what_is_no_alert_is_left_out_and_said(topic):
    p = producer(topic)
    p.produce(topic.alert_topic, b"\xff", b"1")
    p.produce(topic.alert_topic, b"{}", b"1")
    assert p.flush(30) == 0
    publish(topic, FIRST)
    for form in ("table", "json", "geojson", "kepler"):
        process = begin(topic, "--format", form)
        said, wrong = process.communicate(timeout=60)
        assert process.returncode == 0, wrong
        assert "227000001" in said
        assert wrong.strip() == f"2 records of {topic.alert_topic} are no alerts and are left out"


def test_partner_and_zone_are_in_every_format():
    meeting = replace(FIRST, alert_type=AlertType.MEETING, cause=Cause.MEETING, partner=Partner(227000009, "BRAVO", 80))
    zone = replace(JUMP, alert_type=AlertType.ZONE, cause=Cause.ZONE, zone=ZoneOfAlert("Reserve", "enter"))
    silence = replace(an_alert(227000003, T, 1, 3.0), alert_type=AlertType.SILENCE, cause=Cause.SILENCE)
    told = [a.as_dict() for a in (meeting, zone, silence)]
    columns = "partner_mmsi", "partner_name", "zone", "zone_rule"
    assert [[f["properties"][c] for c in columns] for f in alerts.kepler(told)["features"]] == [
        ["227000009", "BRAVO", None, None], [None, None, "Reserve", "enter"], [None] * 4,
    ]  # fmt: skip
    first, second, third = (f["properties"] for f in alerts.geojson(told)["features"])
    assert first["partner"]["mmsi"] == "227000009"
    assert second["zone"] == {"name": "Reserve", "rule": "enter"}
    assert third["alert_type"] == "silence"
    for a in told:
        assert str(a["alert_type"]) in alerts.table_line(a)


def test_the_challengers_alerts_are_trips_of_their_own():
    both = (FIRST.as_dict(), FIRST.as_dict() | {"challenger": True})
    assert [f["properties"]["challenger"] for f in alerts.kepler(both)["features"]] == [False, True]


@pytest.mark.parametrize("form", ["geojson", "kepler"])
def test_a_format_that_needs_an_end_cannot_follow(form):
    with pytest.raises(ConfigError, match=f"--format {form} needs an end"):
        alerts.main(["--follow", "--format", form])


@pytest.mark.parametrize(("text", "s"), [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604800)])
def test_times_back(text, s):
    assert alerts.seconds(text) == s


@pytest.mark.parametrize("text", ["", "h", "-1h", "0", "2 weeks", "nan", "inf"])
def test_a_time_back_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="--since"):
        alerts.seconds(text)

"""A time range of the log, judged again: the revisions of the first time, into a file or into other topics."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from multitaskais.config import REGIONS
from multitaskais.engine import batch
from multitaskais.errors import ConfigError
from multitaskais.model import folder as modelfolder
from multitaskais.simulate import SimulationSettings, simulate
from stream_operator.commands import replay as command
from stream_operator.kafka import codec as wire
from stream_operator.kafka.topics import Admin, wanted
from tests.stream.conftest import own_settings, producer
from tests.support.topic_reading import drain

START = 1_767_225_600.0  # 2026-01-01
DAYS = 2
NOON = START + 86400.0 + 43200.0


@pytest.fixture(scope="module")
def reports():
    """Two days of 20 ships, 8 of them abnormal, in the order of time."""
    found = simulate(REGIONS["brittany"], SimulationSettings(START, DAYS, 20, 8), np.random.default_rng(3)).reports
    return found[np.argsort(found["t"], kind="stable")]


@pytest.fixture(scope="module")
def logged(broker, reports):
    """Settings whose source topic holds the reports, each with its own time."""
    settings = replace(
        own_settings(broker.bootstrap),
        model="brittany",
        partitions=2,
        retention_hours=1e6,
    )
    topics = wanted(settings, settings.partitions)
    topics[0].config["message.timestamp.type"] = (
        "CreateTime"  # as a log that was heard over days: arrival is the report's time
    )
    Admin(settings).create(topics)
    p = producer(settings)
    for row in reports.tolist():
        key, value = wire.encode_report(row)
        p.produce(settings.topic, value, key, timestamp=int(row[1] * 1000))
        p.poll(0)
    p.flush()
    return settings


@pytest.fixture(scope="module")
def first_time(reports):
    """What an operator that heard these reports has told, nothing closed by an end of input."""
    result = batch.run(modelfolder.load("brittany"), reports, finish=False)
    return [json.loads(wire.encode_alert(a)[1]) for a in result.alerts]


def run(settings, monkeypatch, *args: str) -> int:
    for name in ("bootstrap_servers", "app_id", "topic", "control_topic", "model"):
        monkeypatch.setenv(name.upper(), getattr(settings, name))
    return command.main(list(args))


def lines(path) -> Counter[str]:
    return counted(json.loads(line) for line in path.read_text().splitlines())


def counted(alerts) -> Counter[str]:
    return Counter(json.dumps(a, sort_keys=True) for a in alerts)


@pytest.mark.broker
def test_a_range_gives_the_revisions_that_were_decided_in_it(logged, first_time, tmp_path, monkeypatch):
    whole, late, early = (tmp_path / f"{name}.jsonl" for name in ("whole", "late", "early"))
    assert run(logged, monkeypatch, "--from", "2026-01-01", "--out", str(whole)) == 0
    assert run(logged, monkeypatch, "--from", "2026-01-02T12:00", "--out", str(late)) == 0
    assert run(logged, monkeypatch, "--from", str(START), "--to", "2026-01-02T12:00:00Z", "--out", str(early)) == 0
    assert lines(whole) == counted(first_time)
    assert lines(late) == counted(a for a in first_time if a["decided_at"] >= NOON)
    assert lines(early) + lines(late) == lines(whole)
    assert lines(late)
    assert lines(early)


@pytest.mark.broker
def test_with_a_lead_in_vessels_that_began_within_it_are_judged_as_the_first_time(
    logged, reports, first_time, tmp_path, monkeypatch
):
    out = tmp_path / "out.jsonl"
    hours = 12
    assert run(logged, monkeypatch, "--from", "2026-01-02T12:00", "--lead-in", f"{hours}h", "--out", str(out)) == 0
    silent = NOON - hours * 3600.0 - 7200.0  # nothing heard in the gap before the lead-in: its track begins in it
    before = set(reports["mmsi"][(reports["t"] >= silent) & (reports["t"] < NOON - hours * 3600.0)].tolist())
    began = {str(m) for m in np.unique(reports["mmsi"]).tolist()} - {str(m) for m in before}
    want = counted(a for a in first_time if a["decided_at"] >= NOON and a["mmsi"] in began)
    assert want
    assert counted(a for a in map(json.loads, out.read_text().splitlines()) if a["mmsi"] in began) == want


@pytest.mark.broker
def test_other_topics_get_the_same_and_must_be_new(logged, first_time, monkeypatch):
    prefix = f"again-{logged.app_id}"
    assert run(logged, monkeypatch, "--from", "2026-01-01", "--topics", prefix) == 0
    assert counted(drain(logged, f"{prefix}.alerts")) == counted(first_time)
    assert {v["mmsi"] for v in drain(logged, f"{prefix}.verdicts")}
    assert not drain(logged, logged.alert_topic)
    with pytest.raises(ConfigError, match="is there already"):
        run(logged, monkeypatch, "--from", "2026-01-01", "--topics", prefix)


def test_times_are_dates_moments_or_unix_seconds():
    assert command.moment("--from", "2026-01-01") == START
    assert command.moment("--from", "2026-01-01T01:00+01:00") == START
    assert command.moment("--from", "1767225600") == START
    with pytest.raises(ConfigError, match="--to yesterday: give a time such as"):
        command.moment("--to", "yesterday")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--from", "2026-01-01"], "give --out FILE or --topics PREFIX"),
        (["--from", "2026-01-02", "--to", "2026-01-01", "--out", "x"], "must be later than"),
        (["--from", "2026-01-01", "--lead-in", "long", "--out", "x"], "--lead-in long: give a time"),
        (["--from", "nan", "--out", "x"], "--from nan: give a time"),
        (["--from", "1e999", "--lead-in", "24h", "--out", "x"], "--from 1e999: give a time"),
    ],
)
def test_a_wrong_range_is_one_line(args, message):
    with pytest.raises(ConfigError, match=message):
        command.main(args)

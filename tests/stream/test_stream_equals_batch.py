"""A whole simulated day through the real broker: live says what batch says on the same reports, though workers die on the way."""

from __future__ import annotations

import contextlib
import json
import math
import signal
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from multitaskais.config import REGIONS
from multitaskais.engine import batch
from multitaskais.export import latest_revisions
from multitaskais.model import folder as modelfolder
from multitaskais.records import Status, six_digits
from multitaskais.simulate import SimulationSettings, simulate
from stream_operator.commands import replay
from stream_operator.kafka import codec as wire
from stream_operator.kafka.topics import Admin
from stream_operator.map.ships import Limits
from stream_operator.map.state import AROUND_S, MapState
from stream_operator.worker.engines import engine_opener
from tests.stream.conftest import finish, own_settings, producer, wait_until
from tests.stream.test_schema import VALID
from tests.support.topic_reading import drain, messages

pytestmark = pytest.mark.broker

START = 1_767_225_600.0  # 2026-01-01
MODEL = "brittany"
LATENESS_S = 119.0  # reports come up to so late; 120 s is allowed


@pytest.fixture(scope="module")
def reports():
    """A day of 50 ships, 12 of them abnormal, in the order of time."""
    settings = SimulationSettings(START, 1, 50, 12)
    found = simulate(REGIONS[MODEL], settings, np.random.default_rng(11)).reports
    return found[np.argsort(found["t"], kind="stable")]


@pytest.fixture(scope="module")
def from_batch(reports):
    return batch.run(modelfolder.load(MODEL), reports, trace=True)


@pytest.fixture
def engine() -> str:
    return "product"


@pytest.fixture
def live_settings(broker):
    settings = replace(own_settings(broker.bootstrap), model=MODEL)
    Admin(settings).create()
    return settings


def send(settings, reports) -> None:
    p = producer(settings)
    for row in reports.tolist():
        key, value = wire.encode_report(row)
        p.produce(settings.topic, value, key)
        p.poll(0)
    p.flush()
    finish(settings, float(reports["t"].max()) + 7321.0)


def wait_for_the_end(settings, result) -> tuple[list[dict], dict[str, dict]]:
    """All that was told, once every alert is closed and every vessel has its last verdict; else what there was after a while."""
    vessels = {str(v.mmsi): v.t for v in result.verdicts}  # of a vessel its last track comes last
    emitted: list[dict] = []
    verdicts: dict[str, dict] = {}

    def done() -> bool:
        emitted[:] = drain(settings, settings.alert_topic)
        verdicts.update((v["mmsi"], v) for v in drain(settings, settings.verdict_topic))
        open_ = [a for a in latest_revisions(emitted, challengers=True) if a["status"] not in ("closed", "retracted")]
        return (
            len({a["alert_id"] for a in emitted}) >= len({a.alert_id for a in result.alerts})
            and not open_
            and {m: v["t"] for m, v in verdicts.items()} == vessels
        )

    with contextlib.suppress(AssertionError):  # the comparison says what differs
        wait_until(done, within=60, every=0.5)
    return emitted, verdicts


def times_in_the_log(settings) -> dict[int, list[float]]:
    found = defaultdict(list)
    for m in messages(settings, settings.topic):
        found[m.partition()].append(json.loads(m.value())["tagblock_timestamp"])
    return found


def on_the_wire(result) -> list[dict]:
    return [json.loads(wire.encode_alert(a)[1]) for a in result.alerts]


def revisions(emitted: list[dict]) -> dict[str, list[dict]]:
    found = defaultdict(list)
    for a in emitted:
        found[a["alert_id"]].append(a)
    return {i: sorted(rows, key=lambda a: a["revision"]) for i, rows in found.items()}


def last(emitted: list[dict]) -> dict[str, dict]:
    """What another order of arrival within the lateness may not change (docs/contract.md#alerts)."""
    return {
        i: {k: v for k, v in rows[-1].items() if k not in ("revision", "decided_at")}
        for i, rows in revisions(emitted).items()
    }


def last_verdicts(result) -> dict[str, dict]:
    found = (json.loads(wire.encode_verdict(v)[1]) for v in sorted(result.verdicts, key=lambda v: v.t))
    return {v["mmsi"]: v for v in found}


def samples_of(result) -> dict[tuple[str, float], tuple]:
    """(track, time) -> what was said of each sample: number, place, score, each detector's z."""
    found = {}
    for row in result.trace:
        z = {n: round(x, 3) for n, x in zip(result.detector_names, row["z"].tolist(), strict=True) if x == x}
        place = round(float(row["lat"]), 5), round(float(row["lon"]), 5)
        found[str(row["track_id"]), float(row["t"])] = (int(row["n"]), *place, six_digits(row["score"]), z)
    return found


def test_a_day_through_the_broker_gives_every_revision_of_batch_though_workers_are_killed_and_so_does_its_replay(
    live_settings, start_worker, reports, from_batch, tmp_path
):
    settings = live_settings
    send(settings, reports)
    assert all(np.all(np.diff(times) >= 0) for times in times_in_the_log(settings).values())
    for point in ("produced:3", "committed:2"):
        worker = start_worker(settings, FAULT_POINT=point)
        assert worker.process.wait(60) == -signal.SIGKILL, worker.text()
    worker = start_worker(settings)
    emitted, verdicts = wait_for_the_end(settings, from_batch)
    assert worker.end() == 0
    assert sum(a["status"] == "raised" for a in emitted) >= 6
    assert len({(a["alert_id"], a["revision"]) for a in emitted}) == len(emitted)
    for alert in emitted:
        VALID.validate(alert)
    assert revisions(emitted) == revisions(on_the_wire(from_batch))
    assert verdicts == last_verdicts(from_batch)
    samples = drain(settings, settings.sample_topic)
    assert len(samples) == len(from_batch.trace)
    assert {(s["track_id"], s["t"]): (s["n"], s["y"], s["x"], s.get("score"), s["z"]) for s in samples} == samples_of(
        from_batch
    )
    by_vessel = defaultdict(list)
    for s in samples:
        by_vessel[s["track_id"]].append(s["t"])
    assert all(times == sorted(times) for times in by_vessel.values())
    charts_are_full(settings, from_batch)
    again, last_said = tmp_path / "again.jsonl", tmp_path / "verdicts.jsonl"
    everything = replay.Range(START, math.inf, math.inf)
    replay.replay(settings, engine_opener(settings), everything, sink := replay.FileSink(again, last_said))
    sink.close()
    assert revisions([json.loads(line) for line in again.read_text().splitlines()]) == revisions(emitted)
    assert {v["mmsi"]: v for v in map(json.loads, last_said.read_text().splitlines())} == verdicts


def charts_are_full(settings, result) -> None:
    """The map's story of each alert has every step around it, though the log went through in seconds."""
    picture = MapState(Limits(hours=48.0))
    for topic, take in (
        (settings.verdict_topic, picture.verdict),
        (settings.sample_topic, picture.sample),
        (settings.alert_topic, picture.alert),
    ):
        for m in messages(settings, topic):
            take(m.value())
    for alert in {a.alert_id: a for a in result.alerts}.values():
        begin, end = alert.segment_start.t, max(alert.segment_end.t, alert.decided_at)
        steps = json.loads(picture.story(alert.alert_id))["steps"]
        mine = result.trace[result.trace["mmsi"] == alert.mmsi]
        around = mine["t"][(mine["t"] >= begin - AROUND_S) & (mine["t"] <= end + AROUND_S)]
        assert [s[0] for s in steps] == sorted(around.tolist())


def test_a_day_that_arrives_late_and_twice_gives_the_last_revisions_of_batch(
    live_settings, start_worker, reports, from_batch
):
    settings = live_settings
    rng = np.random.default_rng(2)
    late = reports[np.argsort(reports["t"] + rng.uniform(0, LATENESS_S, len(reports)), kind="stable")]
    twice = np.repeat(late, np.where(rng.random(len(late)) < 0.1, 2, 1))
    send(settings, twice)
    worker = start_worker(settings)
    emitted, verdicts = wait_for_the_end(settings, from_batch)
    assert worker.end() == 0
    assert last(emitted) == last(on_the_wire(from_batch))
    assert {m: (v["t"], v["verdict"], v["reason"], v["score"]) for m, v in verdicts.items()} == {
        m: (v["t"], v["verdict"], v["reason"], v["score"]) for m, v in last_verdicts(from_batch).items()
    }
    assert {a.status for a in from_batch.alerts} >= {Status.RAISED, Status.CLOSED}

"""Workers of one APP_ID that run with different settings are told at once, by each of them, and only while both are there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_operator import devbroker
from stream_operator.settings import Settings
from stream_operator.worker import peers
from tests.stream.conftest import ROOT, wait_until
from tests.stream.test_topic_identity import metric, ready

SETTINGS = Settings()
CHANGES: dict[str, list[dict]] = {
    "model": [{"model": "gulf"}, {"challenger": "gulf"}, {"model": "store:a@1"}, {"model": "/no/such/folder"}],
    "rules": [{"speed_max": 40.0}, {"interval_max": 3600.0}, {"min_timespan": 1.0}, {"record_max_bytes": 500}],
    "topics": [{"alert_topic": "other"}, {"control_topic": "other"}, {"state_topic": "other"}, {"topic": "other"}],
}
changes = st.sampled_from([(what, change) for what, several in CHANGES.items() for change in several])


@given(changes, st.text(max_size=20).filter(bool))
def test_each_setting_that_must_be_equal_is_seen_in_the_client_id_whatever_the_name_of_the_operator(change, app_id):
    what, values = change
    mine, theirs = replace(SETTINGS, app_id=app_id), replace(SETTINGS, app_id=app_id, **values)
    names = [peers.client_id(s, peers.digests(s)) for s in (mine, mine, theirs)]
    found = peers.compare(peers.digests(mine), [(name, f"/10.0.0.{i}") for i, name in enumerate(names)])
    expected = {what, "topics"} if values.get("state_topic") or app_id == "" else {what}
    assert {d.what for d in found} == expected
    assert {d.host for d in found} == {"/10.0.0.2"}


def test_what_a_worker_may_have_of_its_own_makes_no_difference():
    own = replace(
        SETTINGS, health_port=7000, map_port=9000, log_level="DEBUG", output_dir="/tmp", bootstrap_servers="b:1"
    )
    assert peers.digests(own) == peers.digests(SETTINGS)


def test_a_model_is_known_by_its_version_wherever_it_lies():
    from multitaskais.model import folder

    there = str(folder.find("brittany"))
    assert peers.digests(replace(SETTINGS, model=there)) == peers.digests(SETTINGS)


def test_a_member_without_digests_is_another_program():
    [found] = peers.compare(peers.digests(SETTINGS), [("multitaskais", "/10.0.0.1")])
    assert found.what == "program"


def test_a_note_speaks_for_its_writer_only_while_it_changes():
    now = 0.0
    notes = peers.Notes(lambda: now)
    assert notes.take({0: "tower/1 7 op~a", 1: "tower/2 3 op~b"}) == []
    now = 5.0
    assert notes.take({0: "tower/1 8 op~a", 1: "tower/2 3 op~b"}) == [("op~a", "tower/1")]
    now = 5.0 + peers.NOTE_LIVES_S
    assert notes.take({0: "tower/1 8 op~a"}) == [("op~a", "tower/1")]
    now += 0.1
    assert notes.take({0: "tower/1 8 op~a"}) == []


@given(st.dictionaries(st.integers(0, 3), st.text(max_size=30), max_size=4), st.text(max_size=30))
def test_whatever_other_programs_commit_is_no_error(committed, then):
    notes = peers.Notes(lambda: 0.0)
    notes.take(committed)
    found = notes.take(dict.fromkeys(committed, then))
    assert {d.what for d in peers.compare(peers.digests(SETTINGS), found)} <= {"program"}


@pytest.mark.broker
def test_under_the_newer_group_protocol_two_workers_with_different_settings_say_so_too(settings, start_worker):
    newer = replace(settings, group_protocol="consumer")
    first = start_worker(newer)
    wait_until(lambda: ready(first)[0] == 200, 60)
    other = start_worker(replace(newer, model="gulf"))
    for worker in (first, other):
        wait_until(lambda w=worker: "another MODEL" in "".join(ready(w)[1].get("warnings", [])), 60)
        assert "another MODEL" in worker.text()
    assert other.end() == 0
    wait_until(lambda: ready(first)[1]["warnings"] == [], 60)
    assert first.end() == 0


@pytest.mark.broker
def test_two_workers_with_different_settings_both_say_so_at_once_and_no_longer_when_one_has_gone(
    settings, start_worker
):
    first = start_worker(settings)
    wait_until(lambda: ready(first)[0] == 200, 40)
    alike = start_worker(settings)
    wait_until(lambda: ready(alike)[0] == 200, 40)
    assert ready(first)[1]["warnings"] == ready(alike)[1]["warnings"] == []
    other = start_worker(replace(settings, model="gulf", speed_max=25.0))
    for worker in (first, alike, other):
        wait_until(lambda w=worker: len(ready(w)[1].get("warnings", [])) == 2, 30)
        told = [line for line in worker.text().splitlines() if "runs with another" in line]
        assert {"MODEL or CHALLENGER" in line for line in told} == {True, False}
        assert all("at 127.0.0.1" in line for line in told)
    assert metric(first, 'multitaskais_settings_differ{what="model"}') == 1
    assert metric(other, 'multitaskais_settings_differ{what="rules"}') == 2
    assert metric(first, 'multitaskais_settings_differ{what="topics"}') == 0
    assert other.end() == 0
    wait_until(lambda: ready(first)[1]["warnings"] == [], 30)
    wait_until(lambda: "run with the same settings again" in first.text(), 10)


ASKS = """
import time
from stream_operator.settings import Settings
from stream_operator.worker.peers import Peers
peers = Peers(Settings.load())
while True:
    peers.look()
    print("asked", flush=True)
    time.sleep(0.05)
"""


@pytest.mark.slow
@pytest.mark.broker
def test_who_asks_for_the_others_outlives_a_broker_that_goes_away_again_and_again(tmp_path):
    if (reason := devbroker.missing()) is not None:
        pytest.skip(reason)
    with devbroker.DevBroker(tmp_path / "kafka") as own:
        env = os.environ | {"BOOTSTRAP_SERVERS": own.bootstrap}
        process = subprocess.Popen([sys.executable, "-c", ASKS], env=env, cwd=ROOT, stdout=subprocess.PIPE)
        try:
            for _ in range(5):
                assert process.stdout.readline()
                own.kill()
                time.sleep(3.0)
                own.start()
                time.sleep(2.0)
            assert process.poll() is None
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

"""What another program wrote into the state topic, and a copy of the alerts that cannot be written."""

from __future__ import annotations

import msgspec
import pytest

from multitaskais.errors import StateError
from stream_operator.kafka import client as kafka
from stream_operator.worker.checkpoint import POSITION_KEY, POSITION_VERSION, Position, restore
from tests.stream.conftest import producer, wait_for_closed
from tests.stream.test_exactness import rows, send

pytestmark = pytest.mark.broker

POSITION = msgspec.msgpack.encode(Position(POSITION_VERSION, 5, b"clock"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"v:12x", b"state"),
        (b"v:" + b"1" * 5000, b"state"),
        (b"c:" + b"1" * 5000, b"decision"),
        (b"c:-1", b"decision"),
        (b"c:7", b"no decision"),
        (POSITION_KEY, b"no position"),
        (POSITION_KEY, msgspec.msgpack.encode(Position(POSITION_VERSION, -5, b""))),
    ],
)
def test_what_no_worker_wrote_into_the_state_topic_is_one_line_that_names_it(settings, key, value):
    p = producer(settings)
    kafka.produce(p, settings.states, POSITION, POSITION_KEY, 0)
    kafka.produce(p, settings.states, value, key, 0)
    assert p.flush(30) == 0
    with pytest.raises(StateError, match=f"{settings.states}, partition 0") as told:
        restore(settings, 0)
    assert "\n" not in str(told.value)


def test_keys_of_a_newer_program_are_passed_over(settings):
    p = producer(settings)
    for key, value in ((POSITION_KEY, POSITION), (b"x:new", b"?"), (b"v:227000001", b"state"), (b"v:227000002", None)):
        kafka.produce(p, settings.states, value, key, 0)
    assert p.flush(30) == 0
    restored = restore(settings, 0)
    assert (restored.offset, restored.vessels) == (5, {227000001: b"state"})


def test_a_folder_for_copies_that_is_full_is_told_once_and_the_alerts_are_in_the_topic(
    settings, start_worker, tmp_path
):
    (tmp_path / "alerts.jsonl").symlink_to("/dev/full")
    worker = start_worker(settings, OUTPUT_DIR=str(tmp_path))
    send(settings, rows(3_000, 20))
    wait_for_closed(settings, 20, within=60)
    assert worker.end() == 0
    assert worker.text().count("alerts.jsonl cannot be written") == 1


def test_a_folder_for_copies_that_cannot_be_made_is_one_line(settings, start_worker, tmp_path):
    (tmp_path / "file").write_text("")
    worker = start_worker(settings, OUTPUT_DIR=str(tmp_path / "file" / "folder"))
    assert worker.process.wait(60) == 2
    assert "OUTPUT_DIR" in worker.text()
    assert "Traceback" not in worker.text()

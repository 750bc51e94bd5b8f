"""What was stored can be read: by the program that wrote it, and by its successor."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from multitaskais.config import REGIONS
from multitaskais.engine import state
from multitaskais.engine.engine import Fleet
from multitaskais.errors import StateError
from multitaskais.model import folder as modelfolder
from multitaskais.records import REPORT_DTYPE
from multitaskais.simulate import SimulationSettings, simulate
from multitaskais.tracks.resample import LINE_DTYPE

START = 1_767_225_600.0  # 2026-01-01
FROZEN = json.loads(Path(__file__).with_name("state_v1.json").read_text())  # written by the program of version 1


@pytest.fixture(scope="module")
def model():
    return modelfolder.load("brittany")


@pytest.fixture(scope="module")
def log():
    """A day of 15 ships, 6 of them abnormal, in the order of time."""
    found = simulate(REGIONS["brittany"], SimulationSettings(START, 1, 15, 6), np.random.default_rng(8)).reports
    return found[np.argsort(found["t"], kind="stable")]


def in_version_1(blob: bytes) -> bytes:
    """The same vessel as the program of version 1 would have written it."""
    _, tracker, lines = msgspec.msgpack.decode(blob)
    old = [[*line[:5], line[5][1], {model: row[1] for model, row in line[6].items()}] for line in lines]
    return msgspec.msgpack.encode([1, tracker, old])


def rest_of(fleet: Fleet, log: np.ndarray) -> list[dict]:
    events = [fleet.advance(log), fleet.advance_watermark(START + 3 * 86400.0)]
    return [a.as_dict() for e in events for a in e.alerts]


def test_a_state_of_version_1_goes_on_as_if_nothing_had_happened(model, log):
    first, second = np.split(log, [len(log) // 2])
    whole = Fleet(model)
    whole.advance(first)
    vessels = {m: b for m, b in whole.snapshot().items() if b is not None}
    clock = msgspec.msgpack.encode([1, msgspec.msgpack.decode(whole.partition_state())[1]])
    again = Fleet(model)
    again.restore(((m, in_version_1(b)) for m, b in vessels.items()), clock)
    want = rest_of(whole, second)
    assert want == rest_of(again, second)
    assert want


def test_bytes_that_version_1_wrote_are_read(model):
    fleet = Fleet(model)
    mmsi = FROZEN["mmsi"]
    fleet.restore([(mmsi, base64.b64decode(FROZEN["vessel"]))], base64.b64decode(FROZEN["partition"]))
    clock = fleet.clock.now
    row = np.zeros(1, REPORT_DTYPE)
    row["mmsi"], row["t"], row["lat"], row["lon"], row["sog"] = mmsi, clock + 60.0, 48.0, -5.0, 10.0
    assert fleet.advance(row).counts.received == 1
    fleet.advance_watermark(clock + 60.0)
    stored = state.read_vessel(mmsi, fleet.snapshot()[mmsi] or b"")
    assert stored.version == state.STATE_VERSION
    assert [line.track_id for line in stored.lines] == [FROZEN["track_id"]]


def test_what_was_written_is_written_in_the_newest_version_and_says_the_same(model, log):
    fleet = Fleet(model)
    fleet.advance(log[: len(log) // 2])
    vessels, clock, census = fleet.snapshot(), fleet.partition_state(), fleet.census()
    again = Fleet(model)
    again.restore(((m, b) for m, b in vessels.items() if b is not None), clock)
    assert again.census() == census
    assert sum(census.values()) > 0
    assert {state.read_vessel(m, b).version for m, b in vessels.items() if b is not None} == {state.STATE_VERSION}


def test_a_state_of_a_later_program_is_refused(model):
    later = msgspec.msgpack.encode([state.STATE_VERSION + 1, "what is not known yet"])
    with pytest.raises(StateError, match=f"vessel 7 has version {state.STATE_VERSION + 1}, this program reads 1 to"):
        Fleet(model).restore([(7, later)], None)
    with pytest.raises(StateError, match="clock has version"):
        Fleet(model).restore([], later)


def test_a_row_of_another_layout_is_refused_even_when_it_is_as_long():
    row = np.ones((), LINE_DTYPE)
    stored = state.StoredRow(state.layout(LINE_DTYPE), row.tobytes())
    assert state.read_row(stored, LINE_DTYPE, "vessel 7") == row
    swapped = np.dtype([("lon", *LINE_DTYPE.descr[0][1:]), ("lat", *LINE_DTYPE.descr[1][1:]), LINE_DTYPE.descr[2]])
    assert swapped.itemsize == LINE_DTYPE.itemsize
    with pytest.raises(StateError, match="vessel 7"):
        state.read_row(stored, swapped, "vessel 7")
    with pytest.raises(StateError, match="another version of its detectors"):
        state.read_row(state.StoredRow(b"", row.tobytes()[:-1]), LINE_DTYPE, "vessel 7")


def test_a_timer_tells_the_steps_of_the_model_and_changes_nothing(model, log):
    ticks = iter(range(10**9))
    timed = Fleet(model, trace=True, timer=lambda: float(next(ticks)))
    events = timed.advance(log)
    assert [a.as_dict() for a in events.alerts] == [a.as_dict() for a in Fleet(model).advance(log).alerts]
    assert {s.seconds for s in events.steps} == {1.0}
    assert [s.lines for s in events.steps] == [len(seen.samples) for seen in events.seen]

"""What was stored can be read: by the program that wrote it, and by its successor."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.config import REGIONS
from multitaskais.engine import state
from multitaskais.engine.engine import PartitionEngine
from multitaskais.errors import MultitaskAISError, StateError
from multitaskais.exact import ARITHMETIC
from multitaskais.model import folder as modelfolder
from multitaskais.records import REPORT_DTYPE
from multitaskais.simulate import SimulationSettings, simulate
from multitaskais.tracks.resample import TARGET_DTYPE

START = 1_767_225_600.0  # 2026-01-01
FROZEN = json.loads(Path(__file__).with_name("state_v1.json").read_text())  # written by the program of version 1
FROZEN_3 = json.loads(Path(__file__).with_name("state_v3.json").read_text())  # of version 3, under arithmetic 1

# Before stations were watched. Its alerts are of the model's thresholds: written again when it was calibrated again, by a program that had
# raised the former alerts from the same state with the former thresholds, and that raises the same without a restart.
FROZEN_4 = json.loads(Path(__file__).with_name("state_v4.json").read_text())


@pytest.fixture(scope="module")
def model():
    return modelfolder.load("brittany")


@pytest.fixture(scope="module")
def log():
    """A day of 15 ships, 6 of them abnormal, in the order of time."""
    found = simulate(REGIONS["brittany"], SimulationSettings(START, 1, 15, 6), np.random.default_rng(8)).reports
    return found[np.argsort(found["t"], kind="stable")]


def under_its_name(model, frozen):
    """Since then the model has been given what is usual among ships (encounters.npz), and so another version; what judges a track is the same."""
    return replace(model, version=frozen["model"])


def in_version_1(blob: bytes) -> bytes:
    """The same vessel as the program of version 1 would have written it."""
    _, tracker, targets = msgspec.msgpack.decode(blob)
    old = [[*target[:5], target[5][1], {model: row[1] for model, row in target[6].items()}] for target in targets]
    return msgspec.msgpack.encode([1, tracker, old])


def rest_of(engine: PartitionEngine, log: np.ndarray) -> list[dict]:
    events = [engine.process(log), engine.advance_watermark(START + 3 * 86400.0)]
    return [a.as_dict() for e in events for a in e.alerts]


def test_a_state_of_version_1_goes_on_as_if_nothing_had_happened(model, log):
    first, second = np.split(log, [len(log) // 2])
    whole = PartitionEngine(model)
    whole.process(first)
    vessels = {m: b for m, b in whole.snapshot().items() if b is not None}
    clock = msgspec.msgpack.encode([1, msgspec.msgpack.decode(whole.partition_state())[1]])
    again = PartitionEngine(model)
    again.restore(((m, in_version_1(b)) for m, b in vessels.items()), clock)
    want = rest_of(whole, second)
    assert want == rest_of(again, second)
    assert want


def test_bytes_that_version_1_wrote_are_read(model):
    engine = PartitionEngine(model)
    mmsi = FROZEN["mmsi"]
    engine.restore([(mmsi, base64.b64decode(FROZEN["vessel"]))], base64.b64decode(FROZEN["partition"]))
    clock = engine.clock.now
    row = np.zeros(1, REPORT_DTYPE)
    row["mmsi"], row["t"], row["lat"], row["lon"], row["sog"] = mmsi, clock + 60.0, 48.0, -5.0, 10.0
    assert engine.process(row).counts.received == 1
    engine.advance_watermark(clock + 60.0)
    stored = state.read_vessel(mmsi, engine.snapshot()[mmsi] or b"")
    assert stored.version == state.STATE_VERSION
    assert [target.track_id for target in stored.targets] == [FROZEN["track_id"]]


def test_a_state_of_before_the_present_arithmetic_goes_on_with_the_same_alerts(model, log):
    """Written in the middle of the log by the program before; its alerts of the rest were written down then, too."""
    mmsi = FROZEN_3["mmsi"]
    engine = PartitionEngine(under_its_name(model, FROZEN_3))
    engine.restore([(mmsi, base64.b64decode(FROZEN_3["vessel"]))], base64.b64decode(FROZEN_3["partition"]))
    found = [a for a in rest_of(engine, log[len(log) // 2 :]) if a["mmsi"] == f"{mmsi:09d}"]
    assert len(found) == len(FROZEN_3["alerts"]) > 2
    for a, b in zip(found, FROZEN_3["alerts"], strict=True):
        assert {k: a[k] for k in b if k != "score"} == {k: v for k, v in b.items() if k != "score"}
        assert a["score"] == pytest.approx(b["score"], rel=1e-4)


def test_a_state_of_before_stations_were_watched_goes_on_with_equal_alerts(model, log):
    mmsi = FROZEN_4["mmsi"]
    engine = PartitionEngine(under_its_name(model, FROZEN_4))
    engine.restore([(mmsi, base64.b64decode(FROZEN_4["vessel"]))], base64.b64decode(FROZEN_4["partition"]))
    found = [a for a in rest_of(engine, log[len(log) // 2 :]) if a["mmsi"] == f"{mmsi:09d}"]
    assert found == FROZEN_4["alerts"]
    assert found


def test_a_state_tells_its_arithmetic_by_its_version(model, log):
    """Whoever changes the arithmetic must add a state version."""
    engine = PartitionEngine(model)
    engine.process(log[:2000])
    for blob in [*engine.snapshot().values(), engine.partition_state()]:
        assert blob is not None
        assert state.ARITHMETIC_OF[msgspec.msgpack.decode(blob)[0]] == ARITHMETIC
    assert list(state.ARITHMETIC_OF) == list(range(1, state.STATE_VERSION + 1))
    assert state.ARITHMETIC_OF[msgspec.msgpack.decode(base64.b64decode(FROZEN_3["vessel"]))[0]] == 1


def test_what_was_written_is_written_in_the_newest_version_and_says_the_same(model, log):
    engine = PartitionEngine(model)
    engine.process(log[: len(log) // 2])
    vessels, clock, open_track_counts = engine.snapshot(), engine.partition_state(), engine.open_track_counts()
    again = PartitionEngine(model)
    again.restore(((m, b) for m, b in vessels.items() if b is not None), clock)
    assert again.open_track_counts() == open_track_counts
    assert sum(open_track_counts.values()) > 0
    assert {state.read_vessel(m, b).version for m, b in vessels.items() if b is not None} == {state.STATE_VERSION}


def test_a_state_of_a_later_program_is_refused(model):
    later = msgspec.msgpack.encode([state.STATE_VERSION + 1, "what is not known yet"])
    with pytest.raises(StateError, match=f"vessel 7 has version {state.STATE_VERSION + 1}, this program reads 1 to"):
        PartitionEngine(model).restore([(7, later)], None)
    with pytest.raises(StateError, match="clock has version"):
        PartitionEngine(model).restore([], later)


@pytest.fixture(scope="module")
def stored(model, log) -> tuple[dict, bytes]:
    engine = PartitionEngine(model)
    engine.process(log[:200])
    return engine.snapshot(), engine.partition_state()


@given(
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 10**6),
)
def test_bytes_of_a_state_that_were_damaged_are_read_or_refused_in_one_line(model, stored, of_partition, changes, cut):
    vessels, partition_state = stored
    mmsi, whole = next((m, b) for m, b in vessels.items() if b is not None)
    damaged = bytearray(partition_state if of_partition else whole)
    for at, byte in changes:
        damaged[at % len(damaged)] = byte
    damaged = bytes(damaged[: cut % (2 * len(damaged)) or None])
    said = ""
    try:
        PartitionEngine(model).restore(
            [] if of_partition else [(mmsi, damaged)], damaged if of_partition else partition_state
        )
    except MultitaskAISError as e:
        said = str(e)
    assert "\n" not in said


def test_a_row_of_another_layout_is_refused_even_when_it_is_as_long():
    row = np.ones((), TARGET_DTYPE)
    stored = state.StoredRow(state.layout(TARGET_DTYPE), row.tobytes())
    assert state.read_row(stored, TARGET_DTYPE, "vessel 7") == row
    swapped = np.dtype(
        [("lon", *TARGET_DTYPE.descr[0][1:]), ("lat", *TARGET_DTYPE.descr[1][1:]), TARGET_DTYPE.descr[2]]
    )
    assert swapped.itemsize == TARGET_DTYPE.itemsize
    with pytest.raises(StateError, match="vessel 7"):
        state.read_row(stored, swapped, "vessel 7")
    with pytest.raises(StateError, match="another version of its detectors"):
        state.read_row(state.StoredRow(b"", row.tobytes()[:-1]), TARGET_DTYPE, "vessel 7")


def test_a_timer_tells_the_steps_of_the_model_and_changes_nothing(model, log):
    ticks = iter(range(10**9))
    timed = PartitionEngine(model, trace=True, timer=lambda: float(next(ticks)))
    events = timed.process(log)
    assert [a.as_dict() for a in events.alerts] == [a.as_dict() for a in PartitionEngine(model).process(log).alerts]
    assert {s.seconds for s in events.steps} == {1.0}
    assert [s.samples for s in events.steps] == [len(traces.samples) for traces in events.traces]

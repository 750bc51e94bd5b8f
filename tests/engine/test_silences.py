"""Ships that are silent for hours and come back: what ends by silence ends on time, whoever holds the state."""

from __future__ import annotations

import numpy as np
import pytest

from multitaskais.engine.engine import PartitionEngine
from multitaskais.model import folder as modelfolder
from multitaskais.records import Status
from tests.support.builders import MMSI, T0, merged, moved, sail

GAP_S = 7200.0


@pytest.fixture(scope="module")
def model():
    return modelfolder.load("anywhere")


def silent_now_and_then(seed: int, ships: int = 8, hours: int = 36) -> np.ndarray:
    """Ships heard every five minutes, each silent for two to ten hours now and then, displaced now and then."""
    rng = np.random.default_rng(seed)
    parts = []
    for i in range(ships):
        ship = sail(
            hours * 12, 300.0, mmsi=MMSI + i, t=T0 + 7.0 * i, lat=10.0 + 5.0 * i, sog=5.0, cog=rng.uniform(0, 360)
        )
        far = rng.random(len(ship)) < 0.01
        ship[far] = moved(ship[far], north_m=60_000)
        heard = np.ones(len(ship), bool)
        for begin in rng.integers(0, len(ship), 4):
            heard[begin : begin + rng.integers(25, 120)] = False
        parts.append(ship[heard])
    return merged(*parts)


def steps(reports: np.ndarray, seed: int) -> list[np.ndarray | float]:
    """The log in runs of any length, with times between them up to which reports of elsewhere have come."""
    rng = np.random.default_rng(seed)
    out: list[np.ndarray | float] = []
    for part in np.split(reports, np.sort(rng.integers(1, len(reports), 20))):
        out.append(part)
        if len(part) and rng.random() < 0.5:
            out.append(float(part["t"][-1]) + rng.uniform(-600.0, 600.0))
    return out


def fold(model, log, kept_for: int):
    """(alerts, last verdicts, states before the end, states after it) of engines each of which goes on from the bytes of the one before it."""
    engine = PartitionEngine(model)
    states: dict[int, bytes | None] = {}
    alerts, verdicts = [], {}

    def take(events):
        alerts.extend(a.as_dict() for a in events.alerts)
        verdicts.update((v.mmsi, v) for v in events.verdicts)

    for number, step in enumerate(log, 1):
        take(engine.end_silent(step) if isinstance(step, float) else engine.process(step))
        if number % kept_for == 0:
            states |= engine.snapshot()
            clock = engine.partition_state()
            engine = PartitionEngine(model)
            engine.restore([(m, s) for m, s in states.items() if s is not None], clock)
    open_states = dict(states | engine.snapshot())
    take(engine.end_silent(log[-1]["t"][-1] + GAP_S + 1.0, reopen=True))
    return alerts, verdicts, open_states, open_states | engine.snapshot()


@pytest.mark.parametrize("seed", range(4))
def test_an_engine_that_runs_for_days_says_what_a_chain_of_restarted_ones_says(model, seed):
    log = [s for s in steps(silent_now_and_then(seed), seed) if isinstance(s, float) or len(s)]
    log = log if not isinstance(log[-1], float) else log[:-1]
    want = fold(model, log, kept_for=10**9)
    assert {a["status"] for a in want[0]} >= {"raised", "closed"}
    for kept_for in (1, 3):
        found = fold(model, log, kept_for)
        assert found == want
    # All have been silent for a gap when the end was said: nothing stays open.
    assert sum(a["status"] == "raised" for a in want[0]) == sum(a["status"] == "closed" for a in want[0])


def test_a_ship_that_was_silent_before_is_ended_at_its_next_silence_and_not_a_day_after_the_first(model):
    first = sail(60, 60.0)
    again = sail(60, 60.0, t=float(first["t"][-1]) + GAP_S + 3600.0)
    again[40] = moved(again[40:41], north_m=60_000)[0]
    engine = PartitionEngine(model)
    engine.process(first)
    engine.end_silent(float(first["t"][-1]) + GAP_S + 1.0)
    engine.process(again)
    silent_at = float(again["t"][-1]) + GAP_S
    assert engine.end_silent(silent_at).alerts == []
    closed = engine.end_silent(silent_at + 1.0).alerts
    assert [a.status for a in closed] == [Status.CLOSED]
    assert closed[0].decided_at == silent_at
    assert engine.open_track_counts() == {}


def test_a_ship_that_came_back_is_forgotten_a_day_after_its_last_report(model):
    first = sail(60, 60.0)
    again = sail(60, 60.0, t=float(first["t"][-1]) + GAP_S + 3600.0)
    engine = PartitionEngine(model)
    engine.process(first)
    engine.end_silent(float(first["t"][-1]) + GAP_S + 1.0)
    engine.process(again)
    forgotten_at = float(again["t"][-1]) + 86_400.0
    engine.end_silent(forgotten_at)
    assert len(engine) == 1
    engine.end_silent(forgotten_at + 1.0)
    assert len(engine) == 0

"""Runs moved as arrays give the events and the states of the engine that moves one report after the other, byte for byte."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitaskais.engine import ordinary
from multitaskais.engine.engine import PartitionEngine
from multitaskais.tracks.tracker import VesselTracker
from tests.support import small_model
from tests.support.builders import NAN, T0, array, sail
from tests.support.track_scenarios import lives


@pytest.fixture(scope="module")
def touchy():
    return small_model.touchy()


@st.composite
def voyages(draw):
    """Reports of one ship: nearly all ordinary, with copies, now and then a gap, a jump or a missing value."""
    n = draw(st.integers(2, 150))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    usual = draw(st.sampled_from([2.0, 10.0, 10.0, 50.0, 60.0, 300.0, 600.0]))
    odd = draw(
        st.sampled_from([[1.0], [0.0, 3.0, 30.0, 51.0], [120.0, 120.5, 600.0, 1800.0], [7200.0, 7200.5, 90000.0]])
    )
    steps = np.where(rng.random(n) < draw(st.sampled_from([0.9, 0.99, 1.0])), usual, rng.choice(odd, n))
    start = (48.0 + rng.normal(0, 0.01), -7.4 + rng.uniform(0, 0.3))
    ship = sail(n, steps[1:], t=T0 + float(rng.integers(0, 4000)), lat=start[0], lon=start[1], sog=8.0, cog=90.0)
    ship["sog"] = np.round(np.maximum(8.0 + rng.normal(0, draw(st.sampled_from([0.1, 6.0])), n), 0.0), 1)
    ship["cog"][rng.random(n) < 0.1] = NAN
    ship["ship_type"] = np.where(rng.random(n) < 0.3, rng.choice([30, 70, 80], n), -1)
    ship["ship_name"] = np.where(rng.random(n) < 0.3, rng.choice([b"ADA", b"BEA"], n), b"")
    ship["nav_status"] = rng.choice([0, 0, 0, 0, 1, 5], n)
    ship["station"] = rng.choice([b"", b"s1", b"s2"], n)
    if draw(st.booleans()):  # it lies still for a while
        a, b = sorted(rng.integers(0, n + 1, 2).tolist())
        for name in ("lat", "lon", "sog"):
            ship[name][a:b] = ship[name][a] if a < n and name != "sog" else 0.0
    ship["lat"][rng.random(n) < draw(st.sampled_from([0.0, 0.0, 0.03]))] += 0.3
    again = ship[rng.random(n) < draw(st.sampled_from([0.0, 0.2, 0.9]))].copy()
    again["t"] += rng.choice(draw(st.sampled_from([[0.0], [0.0, 1.0, 2.0], [4.0, 9.0, 10.0, 25.0]])), len(again))
    again["heading"][rng.random(len(again)) < 0.05] = 12.0
    return np.concatenate([ship, again])


@st.composite
def logs(draw):
    """Reports of some ships in the order in which they arrived, and where the log is cut into runs."""
    ships = draw(st.lists(st.one_of(voyages(), voyages(), voyages(), lives().map(array)), min_size=1, max_size=6))
    for i, ship in enumerate(ships):
        ship["mmsi"] = 227_000_001 + i
    reports = np.concatenate(ships)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    delay = rng.uniform(0, draw(st.sampled_from([1e-3, 1e-3, 5.0, 119.0, 400.0])), len(reports))
    delay *= rng.random(len(reports)) < draw(st.sampled_from([1.0, 0.05]))
    reports = reports[np.argsort(reports["t"] + delay, kind="stable")]
    odd = rng.random(len(reports)) < draw(st.sampled_from([0.02, 0.02, 0.5]))
    reports["sog"][odd] = draw(st.sampled_from([NAN, 45.0, 45.0]))
    cuts = sorted(draw(st.lists(st.integers(0, len(reports)), max_size=8)))
    return reports, cuts


def known(events):
    """All of one run's events, comparable to the last bit."""
    return {
        "alerts": [repr(a) for a in events.alerts],
        "verdicts": [repr(v) for v in events.verdicts],
        "samples": [
            (list(s.numbers), [repr(v) for v in s.verdicts], s.samples.tobytes(), s.z.tobytes()) for s in events.samples
        ],
        "traces": [(ids, samples.tobytes(), *(c.tobytes() for c in result)) for ids, samples, result in events.traces],
        "rejected": events.rejected,
        "dropped": list(zip(events.dropped_at, events.dropped, strict=True)),
        "clocks": events.station_clocks,
        "counts": events.counts,
    }


def fold(model, log, cuts, *, ordered, stored, one_by_one):
    """What each run of the log led to, with the states after it.

    ``one_by_one``: of each run, whether its reports are moved one after the other; ``stored``: a new engine goes on from the bytes.
    """

    def engine():
        return PartitionEngine(model, ordered=ordered, trace=True, keep_samples=True)

    now, vessels, out = engine(), {}, []
    for part, single in zip(np.split(log, cuts), one_by_one, strict=True):
        now._one_by_one = single
        events = known(now.process(part))
        changed = now.snapshot()
        vessels |= changed
        clock = now.partition_state()
        out.append((events, changed, clock, len(now), now.open_track_counts()))
        if stored:
            now = engine()
            now.restore([(m, s) for m, s in vessels.items() if s is not None], clock)
    out.append((known(now.advance_watermark(math.inf)), now.snapshot()))
    return out


@settings(max_examples=60, deadline=None)
@given(
    logs(), st.booleans(), st.booleans(), st.sampled_from([1, 3]), st.sampled_from([[False], [False, True]]), st.data()
)
def test_any_log_and_any_cut_give_the_events_and_states_of_one_report_after_the_other(
    touchy, log, ordered, stored, least, ways, data
):
    reports, cuts = log
    # Also to and fro between arrays and one after the other.
    n = len(cuts) + 1
    mixed = data.draw(st.lists(st.sampled_from(ways), min_size=n, max_size=n))
    if ordered:
        reports = reports[np.lexsort((reports["mmsi"], reports["t"]))]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RUN_MIN", "VESSEL_MIN", "FROM_LISTS_MIN"):
            patch.setattr(ordinary, name, least)
        got = fold(touchy, reports, cuts, ordered=ordered, stored=stored, one_by_one=mixed)
    want = fold(touchy, reports, cuts, ordered=ordered, stored=stored, one_by_one=[True] * n)
    assert got == want


def fleet(n=8, reports=240, every_s=10.0):
    rng = np.random.default_rng(3)
    ships = []
    for i in range(n):
        ship = sail(reports, every_s, mmsi=227_000_001 + i, t=T0 + i, lat=48.0 + 0.02 * i, lon=-7.4, cog=90.0)
        ship["sog"] = np.round(np.maximum(8.0 + rng.normal(0, 1, reports), 0.0), 1)
        ships.append(ship)
    log = np.concatenate(ships)
    return log[np.argsort(log["t"], kind="stable")]


def test_ordinary_ships_are_not_moved_one_by_one(touchy, monkeypatch):
    log = fleet()
    engine = PartitionEngine(touchy)
    engine.process(log[: len(log) // 2])
    monkeypatch.setattr(ordinary, "awake", lambda vessel: pytest.fail("a vessel went back to lists"))
    monkeypatch.setattr("multitaskais.tracks.tracker.VesselTracker.offer", None)
    events = engine.process(log[len(log) // 2 :])
    assert events.counts.accepted > 0.4 * len(log)
    assert len(events.verdicts) == 8


def test_copies_by_a_second_station_leave_a_ship_ordinary(touchy, monkeypatch):
    log = fleet()
    again = log.copy()
    again["t"] += np.random.default_rng(1).choice([0.0, 2.0], len(log))
    log = np.concatenate([log, again])
    log = log[np.argsort(log["t"], kind="stable")]
    engine = PartitionEngine(touchy)
    engine.process(log[: len(log) // 2])
    monkeypatch.setattr("multitaskais.tracks.tracker.VesselTracker.offer", None)
    events = engine.process(log[len(log) // 2 :])
    assert len(events.dropped) > 0.2 * len(log)


def test_a_ship_that_jumps_does_not_hold_up_the_others(touchy, monkeypatch):
    log = fleet()
    engine = PartitionEngine(touchy)
    engine.process(log[:960])
    rest = log[960:].copy()
    rest["lat"][np.flatnonzero(rest["mmsi"] == 227_000_003)[10:12]] += 0.5
    offered = []
    offer = VesselTracker.offer
    monkeypatch.setattr(VesselTracker, "offer", lambda self, r, rules: (offered.append(r[0]), offer(self, r, rules))[1])
    events = engine.process(rest)
    assert set(offered) == {227_000_003}
    assert [a.alert_type for a in events.alerts if a.mmsi == 227_000_003]

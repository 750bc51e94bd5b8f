"""Whole vessels as arrays give what the engine gives report by report: any log, any cut, however much is held."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitaskais.engine import batch, judging, line_arrays
from multitaskais.engine.batch import VesselFold
from multitaskais.engine.engine import PartitionEngine
from multitaskais.evaluation.alert_files import order_of
from multitaskais.records import REPORT_DTYPE, Counts
from tests.support import small_model
from tests.support.builders import NAN, T0, array, sail
from tests.support.track_scenarios import lives

# Steps that reach every rule: equal times, close pairs, the lateness and its edge, slots, gaps and their edge, cuts.
CALM = st.sampled_from([0.0, 1.0, 10.0, 30.0, 60.0, 120.0, 120.0, 121.0, 300.0, 600.0, 600.0, 7200.0, 7200.5, 9000.0])


@pytest.fixture(scope="module")
def touchy():
    return small_model.touchy()


@st.composite
def voyages(draw):
    """Reports of one ship: nearly all of them ordinary, what it says of itself now and then."""
    n = draw(st.integers(1, 120))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    usual = draw(st.sampled_from([10.0, 60.0, 300.0, 600.0]))
    steps = np.where(rng.random(n) < 0.9, usual, np.array(draw(st.lists(CALM, min_size=n, max_size=n))))
    start = (48.0 + rng.normal(0, 0.01), -7.4 + rng.uniform(0, 0.3))
    ship = sail(n, steps[1:], t=T0 + float(rng.integers(0, 4000)), lat=start[0], lon=start[1], sog=8.0, cog=90.0)
    ship["sog"] = np.round(np.maximum(8.0 + rng.normal(0, draw(st.sampled_from([0.1, 6.0])), n), 0.0), 1)
    ship["cog"][rng.random(n) < 0.1] = NAN
    ship["ship_type"] = np.where(rng.random(n) < 0.3, rng.choice([30, 70, 80], n), -1)
    ship["ship_name"] = np.where(rng.random(n) < 0.3, rng.choice([b"ADA", b"BEA"], n), b"")
    ship["nav_status"] = rng.choice([0, 0, 0, 0, 1, 5], n)
    again = ship[rng.random(n) < draw(st.sampled_from([0.0, 0.2]))].copy()
    again["t"] += rng.choice([0.0, 4.0, 9.0], len(again))
    return np.concatenate([ship, again])


@st.composite
def logs(draw):
    ships = draw(st.lists(st.one_of(voyages(), voyages(), voyages(), lives().map(array)), min_size=1, max_size=4))
    for i, ship in enumerate(ships):
        ship["mmsi"] = 227_000_001 + i
    reports = np.concatenate(ships)
    odd = np.random.default_rng(len(reports)).random(len(reports)) < draw(st.sampled_from([0.02, 0.02, 0.5]))
    reports["sog"][odd] = draw(st.sampled_from([NAN, 45.0, 45.0]))
    return reports


def by_engine(model, reports):
    result = batch.run(model, reports, trace=True)
    alerts = sorted((a.as_dict() for a in result.alerts), key=order_of)
    return alerts, batch.track_verdicts(result), result.counts


def by_arrays(model, reports, whole_rows, cut, together=line_arrays.TOGETHER):
    reports = reports[np.lexsort((reports["t"], reports["mmsi"]))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "WHOLE_ROWS", whole_rows)
        patch.setattr(line_arrays, "TOGETHER", together)
        fold = VesselFold(model)
        for start in range(0, len(reports), cut):
            fold.add(reports[start : start + cut])
        verdicts = fold.close()
    return sorted((a.as_dict() for a in fold.alerts), key=order_of), verdicts, fold.counts


@settings(max_examples=60, deadline=None)
@given(logs(), st.sampled_from([3, 40, 150, 10**6]), st.integers(1, 300), st.sampled_from([1, 3, 1024]))
def test_any_log_gives_the_alerts_verdicts_and_counts_of_the_engine(touchy, reports, whole_rows, cut, together):
    assert by_arrays(touchy, reports, whole_rows, cut, together) == by_engine(touchy, reports)


def test_ordinary_ships_with_alerts_never_reach_the_engine(touchy, monkeypatch):
    rng = np.random.default_rng(6)
    ships = []
    for i in range(6):
        ship = sail(400, rng.choice([30.0, 60.0, 120.0, 600.0], 399), mmsi=227_000_001 + i, lon=-7.4, cog=90.0)
        ship["sog"] = np.round(np.maximum(8.0 + rng.normal(0, 4, 400), 0.0), 1)
        ships.append(ship)
    reports = np.concatenate(ships)
    want = by_engine(touchy, reports)
    assert {"raised", "updated", "closed"} == {a["status"] for a in want[0]}
    monkeypatch.setattr(batch, "PartitionEngine", None)
    assert by_arrays(touchy, reports, 10**6, 10**6) == want


def test_no_report_is_no_alert(touchy):
    assert by_arrays(touchy, np.zeros(0, REPORT_DTYPE), 10, 10) == ([], [], Counts())


@settings(max_examples=30, deadline=None)
@given(logs(), st.integers(1, 4))
def test_the_engine_tells_the_same_in_the_same_order_whether_it_judges_several_samples_at_once_or_one(
    touchy, reports, parts
):
    reports = reports[np.lexsort((reports["mmsi"], reports["t"]))]

    def told():
        engine = PartitionEngine(touchy, ordered=True, trace=True, keep_samples=True)
        events = [engine.process(part) for part in np.array_split(reports, parts)]
        events.append(engine.advance_watermark(float("inf")))
        samples = [
            (number, verdict, sample.tobytes(), z.tobytes())
            for e in events
            for s in e.samples
            for number, verdict, sample, z in zip(s.numbers, s.verdicts, s.samples, s.z, strict=True)
        ]
        traces = [t.samples["t"].tolist() for e in events for t in e.traces]
        return (
            [[a.as_dict() for a in e.alerts] for e in events],
            [e.verdicts for e in events],
            sorted(repr(s) for s in samples),
            sorted(t for steps in traces for t in steps),
            engine.snapshot(),
        )

    at_once = told()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "block_steps", lambda longest, n_lines: 1)
        assert told() == at_once

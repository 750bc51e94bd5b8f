"""The fold of the whole product: the same log gives the same alerts, however it is cut, stored, spread or shuffled."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from multitaskais.config import REGIONS
from multitaskais.engine import batch
from multitaskais.engine.engine import PartitionEngine
from multitaskais.errors import StateError
from multitaskais.model import folder as modelfolder
from multitaskais.records import Reason, Status
from multitaskais.simulate import SimulationSettings, simulate

START = 1_767_225_600.0  # 2026-01-01
DAY_END = START + 3 * 86400.0


@pytest.fixture(scope="module")
def model():
    return modelfolder.load("brittany")


@pytest.fixture(scope="module")
def reports():
    """A day of 60 ships, 12 of them abnormal, in the order of time."""
    settings = SimulationSettings(START, 1, 60, 12)
    found = simulate(REGIONS["brittany"], settings, np.random.default_rng(5)).reports
    return found[np.argsort(found["t"], kind="stable")]


def fold(model, log, cuts=(), store=False):
    """All alerts of a log that is cut at ``cuts``; with ``store`` a new fleet goes on from bytes after each cut."""
    engine, stored, alerts, counts = PartitionEngine(model), {}, [], []
    for part in np.split(log, sorted(cuts)):
        events = engine.process(part)
        alerts += events.alerts
        counts.append(events.counts)
        if store:
            stored.update(engine.snapshot())
            clock = engine.partition_state()
            engine = PartitionEngine(model)
            engine.restore(((m, s) for m, s in stored.items() if s is not None), clock)
    events = engine.advance_watermark(DAY_END)
    return alerts + events.alerts, [*counts, events.counts]


def revisions(alerts):
    """By alert, all its revisions: what the contract calls equal for the same log order."""
    out = {}
    for a in alerts:
        out.setdefault(a.alert_id, []).append(a.as_dict())
    return out


def last(alerts):
    """What the contract calls equal for another order of arrival: the last revision, without revision and decided_at."""
    return {
        i: {k: v for k, v in rows[-1].items() if k not in ("revision", "decided_at")}
        for i, rows in revisions(alerts).items()
    }


@pytest.fixture(scope="module")
def whole(model, reports):
    return fold(model, reports)


def test_abnormal_ships_are_found_and_every_alert_is_closed_in_the_end(whole):
    alerts, _ = whole
    assert len(revisions(alerts)) >= 8
    assert {rows[-1]["status"] for rows in revisions(alerts).values()} == {"closed"}
    for rows in revisions(alerts).values():
        assert [r["revision"] for r in rows] == list(range(1, len(rows) + 1))
        assert rows[0]["status"] == "raised"


def test_what_comes_in_is_accepted_or_rejected_with_its_reason(whole, reports):
    _, counts = whole
    assert sum(c.received for c in counts) == len(reports)
    assert sum(c.accepted + sum(c.rejected.values()) for c in counts) == len(reports)


@pytest.mark.parametrize("seed", [1, 2])
def test_any_cut_of_the_log_gives_every_revision_equal(model, reports, whole, seed):
    cuts = np.random.default_rng(seed).integers(0, len(reports), 40)
    assert revisions(fold(model, reports, cuts)[0]) == revisions(whole[0])


def test_a_fleet_that_was_bytes_goes_on_as_if_nothing_had_happened(model, reports, whole):
    cuts = np.random.default_rng(3).integers(0, len(reports), 12)
    assert revisions(fold(model, reports, cuts, store=True)[0]) == revisions(whole[0])


def test_batch_gives_every_revision_of_the_stream(model, reports, whole):
    result = batch.run(model, reports)
    assert revisions(result.alerts) == revisions(whole[0])


def test_another_order_of_arrival_within_the_lateness_gives_the_same_alerts(model, reports, whole):
    delay = np.random.default_rng(4).uniform(0, 119.0, len(reports))
    shuffled = reports[np.argsort(reports["t"] + delay, kind="stable")]
    assert last(fold(model, shuffled)[0]) == last(whole[0])


def test_the_number_of_partitions_does_not_matter(model, reports, whole):
    alerts = [a for k in range(3) for a in fold(model, reports[reports["mmsi"] % 3 == k])[0]]
    assert revisions(alerts) == revisions(whole[0])


def test_duplicates_by_a_second_station_change_nothing(model, reports, whole):
    again = reports.copy()
    again["t"] += 2.0
    both = np.concatenate([reports, again])
    both = both[np.argsort(both["t"], kind="stable")]
    alerts, counts = fold(model, both)
    assert last(alerts) == last(whole[0])
    assert sum(c.rejected.get(Reason.DUPLICATE, 0) for c in counts) >= 0.9 * len(reports)


def test_a_silent_ship_is_closed_by_its_own_time_and_forgotten_a_day_later(model, reports):
    mmsi = next(a.mmsi for a in fold(model, reports)[0] if a.status is Status.RAISED)
    mine = reports[reports["mmsi"] == mmsi]
    engine = PartitionEngine(model)
    alerts = engine.process(mine).alerts
    events = engine.advance_watermark(mine["t"][-1] + 7201.0)
    closed = [a for a in alerts + events.alerts if a.status is Status.CLOSED]
    assert closed[-1].decided_at <= mine["t"][-1] + 7200.0
    assert engine.snapshot()[mmsi] is not None
    engine.advance_watermark(mine["t"][-1] + 86401.0)
    assert engine.snapshot() == {mmsi: None}
    assert len(engine) == 0


def test_a_challenger_marks_its_alerts_and_changes_none_of_the_first_models(model, reports, whole):
    challenger = dataclasses.replace(model, version="challenger")
    engine = PartitionEngine(model, challenger=challenger)
    alerts = engine.process(reports).alerts + engine.advance_watermark(DAY_END).alerts
    assert revisions([a for a in alerts if not a.challenger]) == revisions(whole[0])
    silent = [a for a in alerts if a.challenger]
    assert {a.model_version for a in silent} == {"challenger"}
    assert len(silent) == len(whole[0])


def test_bytes_that_are_no_state_are_refused(model):
    with pytest.raises(StateError, match="vessel 7"):
        PartitionEngine(model).restore([(7, b"\x00rubbish")], None)

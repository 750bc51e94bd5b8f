"""A model takes over from another in the midst of the log: which model is active is a function of the vessels' own time, and no alert suffers by it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitaskais.config import REGIONS
from multitaskais.engine import batch
from multitaskais.engine.engine import PartitionEngine
from multitaskais.engine.rollout import WARM_UP_S
from multitaskais.engine.state import read_partition
from multitaskais.errors import ModelError, ModelNotFound, WrongRegion
from multitaskais.model import folder as modelfolder
from multitaskais.records import Status
from multitaskais.simulate import SimulationSettings, simulate
from tests.support.builders import another

START = 1_767_225_600.0  # 2026-01-01
END = START + 3 * 86400.0
SINCE = START + 43_200.0  # noon
OLD, NEW = "old", "new"


@pytest.fixture(scope="module")
def old():
    return dataclasses.replace(modelfolder.load("brittany"), version=OLD)


@pytest.fixture(scope="module")
def new(old):
    return another(old, version=NEW)


@pytest.fixture(scope="module")
def reports():
    """A day of 30 ships, 12 of them abnormal, in the order of time."""
    found = simulate(REGIONS["brittany"], SimulationSettings(START, 1, 30, 12), np.random.default_rng(21)).reports
    return found[np.argsort(found["t"], kind="stable")]


class Run:
    """A log with announcements, folded; bytes and back at each cut when ``store``."""

    def __init__(self, old, new, log, announced, cuts=(), store=False, **more):
        self.models = {m.version: m for m in (old, new)}
        self.more = more
        self.stored = {}
        self.engine = self.fresh()
        self.alerts = []
        self.verdicts = []
        bounds = [0, *sorted({*cuts, *(at for at, _, _ in announced)}), len(log)]
        for i, j in itertools.pairwise(bounds):
            for at, version, since in announced:
                if at == i:
                    self.engine.announce(version, "here", since)
            self.take(self.engine.process(log[i:j]))
            if store:
                self.go_on_from_bytes()
        self.take(self.engine.advance_watermark(END))

    def fresh(self):
        return PartitionEngine(
            self.models[OLD], find=lambda version, _: self.models[version], source="here", **self.more
        )

    def take(self, events):
        self.alerts += events.alerts
        self.verdicts += events.verdicts

    def go_on_from_bytes(self):
        self.stored.update(self.engine.snapshot())
        clock = self.engine.partition_state()
        self.engine = self.fresh()
        self.engine.restore(((m, s) for m, s in self.stored.items() if s is not None), clock)


def revisions(alerts):
    out = defaultdict(list)
    for a in alerts:
        out[a.alert_id, a.challenger].append(a.as_dict())
    return out


@pytest.fixture(scope="module")
def swapped(old, new, reports):
    return Run(old, new, reports, [(0, NEW, SINCE)])


@pytest.fixture(scope="module")
def alone(old, new, reports):
    """(alerts of the old model alone, of the new one alone)."""
    return batch.run(old, reports).alerts, batch.run(new, reports).alerts


def test_each_sample_is_spoken_of_by_the_model_of_its_time(swapped, old, new, reports):
    result = batch.run(old, reports, then=[(new, SINCE)])
    assert {v.model_version for v in result.verdicts} == {OLD, NEW}
    assert all((v.t >= SINCE) == (v.model_version == NEW) for v in [*result.verdicts, *swapped.verdicts])
    raised = [a for a in swapped.alerts if a.status is Status.RAISED]
    assert {a.model_version for a in raised} == {OLD, NEW}
    learnt = [a for a in raised if a.alert_type not in ("jump", "identity_conflict")]  # those come between two samples
    assert all((a.segment_end.t >= SINCE) == (a.model_version == NEW) for a in learnt)


def test_an_alert_that_stands_goes_over_with_its_id_and_nothing_is_closed_or_raised_twice(swapped):
    crossing = 0
    for rows in revisions(swapped.alerts).values():
        assert [r["revision"] for r in rows] == list(range(1, len(rows) + 1))
        assert [r["status"] for r in rows].count("raised") == 1
        assert [r["status"] for r in rows].count("closed") == 1
        versions = [r["model_version"] for r in rows]
        assert versions == sorted(versions, reverse=True)  # old, then new
        crossing += len(set(versions)) == 2
    assert crossing >= 2


def test_before_the_moment_all_is_told_as_without_a_successor_and_tracks_that_begin_after_it_as_by_the_successor_alone(
    swapped, alone
):
    by_old, by_new = alone
    assert [a.as_dict() for a in swapped.alerts if a.decided_at < SINCE] == [
        a.as_dict() for a in by_old if a.decided_at < SINCE
    ]
    begun = {a.track_id for a in by_new if a.track_id[10:] >= "20260101T120000Z"}
    assert begun
    mine, theirs = ([a.as_dict() for a in emitted if a.track_id in begun] for emitted in (swapped.alerts, by_new))
    assert mine == theirs


def test_where_in_the_log_it_was_announced_does_not_matter_when_it_was_announced_a_warm_up_before(
    old, new, reports, swapped
):
    at = int(np.searchsorted(reports["t"], SINCE - WARM_UP_S - 600.0))
    assert revisions(Run(old, new, reports, [(at, NEW, SINCE)]).alerts) == revisions(swapped.alerts)
    assert revisions(batch.run(old, reports, then=[(new, SINCE)]).alerts) == revisions(swapped.alerts)


def test_the_number_of_partitions_and_the_order_of_arrival_do_not_matter(old, new, reports, swapped):
    parts = [Run(old, new, reports[reports["mmsi"] % 3 == k], [(0, NEW, SINCE)]) for k in range(3)]
    assert revisions(a for p in parts for a in p.alerts) == revisions(swapped.alerts)
    delay = np.random.default_rng(4).uniform(0, 119.0, len(reports))
    late = Run(old, new, reports[np.argsort(reports["t"] + delay, kind="stable")], [(0, NEW, SINCE)])

    def last(alerts):
        return {
            i: {k: v for k, v in rows[-1].items() if k not in ("revision", "decided_at")}
            for i, rows in revisions(alerts).items()
        }

    assert last(late.alerts) == last(swapped.alerts)


@pytest.fixture(scope="module")
def few(reports):
    """Six ships with alerts around the moment, from six hours before it to six after."""
    ships = np.unique(reports["mmsi"])[:6]
    near = np.abs(reports["t"] - SINCE) < 6 * 3600.0
    return reports[np.isin(reports["mmsi"], ships) & near]


@pytest.fixture(scope="module")
def few_whole(old, new, few):
    return {at: revisions(Run(old, new, few, [(at, NEW, SINCE)]).alerts) for at in (0, len(few) // 3)}


@settings(max_examples=15)
@given(data=st.data())
def test_bytes_at_any_cut_before_within_and_after_the_change_give_every_revision_equal(old, new, few, few_whole, data):
    at = data.draw(st.sampled_from(sorted(few_whole)))
    cuts = data.draw(st.lists(st.integers(0, len(few)), min_size=1, max_size=6))
    run = Run(old, new, few, [(at, NEW, SINCE)], cuts, store=True)
    assert revisions(run.alerts) == few_whole[at]
    assert few_whole[at]


def test_the_state_names_both_models_until_the_old_one_has_said_its_last_word(old, new, few):
    at = len(few) // 2
    engine = PartitionEngine(old, find=lambda version, _: new, source="a")
    engine.process(few[:at])
    assert [(r.version, r.source) for r in read_partition(engine.partition_state()).activations] == [(OLD, "a")]
    assert engine.announce(NEW, "b", SINCE)
    assert not engine.announce(NEW, "b", SINCE)
    want = [(OLD, "a", -math.inf), (NEW, "b", SINCE)]
    assert [tuple(r) for r in read_partition(engine.partition_state()).activations] == want
    assert {(m.version, role) for m, role in engine.models()} == {(OLD, "active"), (NEW, "staged")}
    engine.process(few[at:])
    assert {(m.version, role) for m, role in engine.models()} == {(NEW, "active")}
    assert [r.version for r in read_partition(engine.partition_state()).activations] == [NEW]
    again = PartitionEngine(old, find=lambda version, _: new)
    again.restore([(m, b) for m, b in engine.snapshot().items() if b], engine.partition_state())
    assert again.model.version == NEW
    assert again.advance_watermark(END).alerts == engine.advance_watermark(END).alerts


def test_a_successor_that_is_taken_back_in_time_leaves_no_trace(old, new, reports, alone):
    at, back = (int(np.searchsorted(reports["t"], SINCE - s)) for s in (5 * 3600.0, 3600.0))
    run = Run(old, new, reports, [(at, NEW, SINCE), (back, OLD, SINCE - 1800.0)])
    assert revisions(run.alerts) == revisions(alone[0])
    assert [r.version for r in read_partition(run.engine.partition_state()).activations] == [OLD]


def test_after_the_change_one_can_go_back_and_alerts_go_along(old, new, few):
    at, back = (int(np.searchsorted(few["t"], SINCE + s)) for s in (-5 * 3600.0, 1800.0))
    announced = [(at, NEW, SINCE), (back, OLD, SINCE + 3600.0)]
    whole = Run(old, new, few, announced)
    for rows in revisions(whole.alerts).values():
        assert [r["revision"] for r in rows] == list(range(1, len(rows) + 1))
        assert [r["status"] for r in rows].count("closed") == 1
    assert {v.model_version for v in whole.verdicts if v.t >= SINCE + 3600.0} == {OLD}
    assert NEW in {v.model_version for v in whole.verdicts}
    cuts = [back - 1, back + 1, *np.searchsorted(few["t"], SINCE + 3600.0 + np.arange(0, 3600.0, 700.0)).tolist()]
    assert revisions(Run(old, new, few, announced, cuts, store=True).alerts) == revisions(whole.alerts)


def test_without_a_warm_up_lines_are_not_judged_until_they_had_the_models_own(old, new, reports):
    at = int(np.searchsorted(reports["t"], SINCE))
    engine = PartitionEngine(old, find=lambda version, _: new, trace=True)
    engine.process(reports[:at])
    engine.announce(NEW, "", START)
    decided = engine.process(reports[at : int(np.searchsorted(reports["t"], SINCE + 7200.0 - 1200.0))]).verdicts
    assert {v.model_version for v in decided} == {NEW}
    assert {v.verdict for v in decided} <= {"not_judged", "abnormal"}
    assert {v.reason for v in decided if v.verdict == "not_judged"} <= {"too_short", "moored", "outside_region"}
    later = engine.process(reports[int(np.searchsorted(reports["t"], SINCE + 7200.0 - 1200.0)) :]).verdicts
    assert "normal" in {v.verdict for v in later}


def test_a_model_of_another_region_or_of_other_track_rules_is_refused_and_nothing_has_changed(old, few):
    strangers = {
        "gulf": (dataclasses.replace(modelfolder.load("gulf"), version="gulf"), WrongRegion, "region 'gulf'"),
        "gap": (
            dataclasses.replace(old, version="gap", track_rules=dataclasses.replace(old.track_rules, gap_max_s=3600.0)),
            ModelError,
            "gap_max_s=3600, the running one 7200",
        ),
    }

    def find(version, source):
        if version not in strangers:
            raise ModelNotFound(f"no model {version}")
        return strangers[version][0]

    engine = PartitionEngine(old, find=find)
    engine.process(few[:100])
    before = engine.partition_state()
    for version, (_, kind, message) in strangers.items():
        with pytest.raises(kind, match=message):
            engine.announce(version, "", SINCE)
    with pytest.raises(ModelNotFound):
        engine.announce("nowhere", "", SINCE)
    assert engine.partition_state() == before
    assert [m.version for m, _ in engine.models()] == [OLD]


def test_a_state_goes_on_with_the_model_that_it_names_or_says_that_it_is_missing(old, new, few):
    engine = PartitionEngine(old, find=lambda version, _: new)
    engine.process(few[: len(few) // 2])
    vessels, clock = {m: b for m, b in engine.snapshot().items() if b}, engine.partition_state()
    other = PartitionEngine(new, find=lambda version, _: old)
    other.restore(vessels.items(), clock)
    assert other.model.version == OLD
    assert other.process(few[len(few) // 2 :]).alerts == engine.process(few[len(few) // 2 :]).alerts
    with pytest.raises(ModelNotFound, match="old"):
        PartitionEngine(new).restore(vessels.items(), clock)


def test_a_challenger_says_what_it_would_say_alone_so_both_can_be_compared_on_the_same_traffic(old, new, few):
    run = Run(old, new, few, [], challenger=new)
    silent = [dataclasses.replace(a, challenger=False) for a in run.alerts if a.challenger]
    assert silent
    assert revisions(silent) == revisions(batch.run(new, few).alerts)
    assert revisions(a for a in run.alerts if not a.challenger) == revisions(batch.run(old, few).alerts)


def test_a_challenger_can_be_made_the_successor_and_goes_on_as_challenger(old, new, few):
    def silent(run):
        return [a.as_dict() for a in run.alerts if a.challenger]

    plain = Run(old, new, few, [], challenger=new)
    cuts = np.random.default_rng(1).integers(0, len(few), 6).tolist()
    both = Run(old, new, few, [(0, NEW, SINCE)], cuts, store=True, challenger=new)
    assert silent(plain)
    assert silent(both) == silent(plain)
    without = Run(old, new, few, [(0, NEW, SINCE)])
    assert [a for a in both.alerts if not a.challenger] == without.alerts

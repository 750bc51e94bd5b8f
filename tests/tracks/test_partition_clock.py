"""Laws of the partition's clock."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.config import TrackRules
from multitaskais.records import Reason
from multitaskais.tracks.quality import REASONS
from multitaskais.tracks.watermark import VOTES_MAX, WatermarkGenerator
from tests.support.builders import MMSI, T0, array, fleet, merged, moved, report, sail

RULES = TrackRules()
HOUR = 3600.0
DAY = 86400.0


def admit(clock, *said):
    """said: (vessel number, seconds after T0) -> reasons, None where accepted."""
    rows = array([report(T0 + t, mmsi=MMSI + v) for v, t in said])
    codes, _ = clock.admit(rows, np.zeros(len(rows), "u1"), RULES)
    return [REASONS[c] for c in codes.tolist()]


def set_clock(vessels=4, t=0.0):
    clock = WatermarkGenerator()
    assert admit(clock, *((v, t) for v in range(vessels))) == [None] * vessels
    assert clock.is_established
    return clock


SAID = st.lists(
    st.tuples(st.integers(0, 8), st.sampled_from([0, 1, 60, 599, 601, 1300, 3500, 3700, 90_000]), st.booleans()),
    max_size=60,
)


@given(SAID, st.lists(st.integers(0, 60), max_size=6))
def test_however_the_log_is_cut_and_the_state_written_the_same_is_said(said, cuts):
    now, rows, codes = 0.0, [], []
    for vessel, dt, stays in said:
        rows.append(report(T0 + now + dt, mmsi=MMSI + vessel))
        codes.append(1 if dt == 1 else 0)
        now += dt * stays
    rows, codes = array(rows), np.array(codes, "u1")
    whole = WatermarkGenerator()
    want, want_marks = whole.admit(rows, codes, RULES)
    clock, got, got_marks = WatermarkGenerator(), [], []
    edges = sorted({0, len(rows), *(min(c, len(rows)) for c in cuts)})
    for i, j in itertools.pairwise(edges):
        clock = msgspec.msgpack.decode(msgspec.msgpack.encode(clock), type=WatermarkGenerator)
        a, b = clock.admit(rows[i:j], codes[i:j], RULES)
        got += a.tolist()
        got_marks += b.tolist()
    assert got == want.tolist()
    assert got_marks == want_marks.tolist()
    assert clock == whole


@given(SAID)
def test_the_watermark_never_goes_back_and_its_promise_is_kept(said):
    now, rows = 0.0, []
    for vessel, dt, stays in said:
        rows.append(report(T0 + now + dt, mmsi=MMSI + vessel))
        now += dt * stays
    rows = array(rows)
    codes, marks = WatermarkGenerator().admit(rows, np.zeros(len(rows), "u1"), RULES)
    assert sorted(marks) == marks.tolist()
    before = np.concatenate([[-math.inf], marks])[:-1]
    assert (rows["t"][codes == 0] >= before[codes == 0]).all()


def test_ordinary_traffic_is_taken_whole_and_the_watermark_follows_an_hour_behind():
    reports = fleet(3, vessels=12, hours=5)
    codes, marks = WatermarkGenerator().admit(reports, np.zeros(len(reports), "u1"), RULES)
    assert not codes.any()
    assert marks[-1] == reports["t"].max() - HOUR


def test_rejected_reports_do_not_move_the_clock():
    clock = set_clock()
    rows = array([report(T0 + 500)])
    codes, _ = clock.admit(rows, np.array([3], "u1"), RULES)
    assert codes.tolist() == [3]
    assert clock.now == T0


# ---------------------------------------------------------------- the start


def test_the_first_record_sets_nothing_alone():
    clock = WatermarkGenerator()
    assert admit(clock, (0, 10 * DAY)) == [None]
    assert admit(clock, *((v, 60.0 * v) for v in range(1, 20))) == [None] * 19
    assert clock.is_established
    assert clock.now == T0 + 19 * 60
    assert admit(clock, (0, 10 * DAY + 60)) == [Reason.FUTURE]


def test_the_archive_of_one_vessel_is_taken_whole_gaps_and_all():
    track = merged(sail(50), sail(50, t=T0 + 5 * HOUR), sail(50, 900.0, t=T0 + 3 * DAY))
    codes, marks = WatermarkGenerator().admit(track, np.zeros(150, "u1"), RULES)
    assert not codes.any()
    assert np.isinf(marks).all()  # nobody else can end its tracks


def test_three_vessels_with_holes_are_taken_whole():
    parts = [moved(sail(40, 900.0, t=T0 + 17 * v), mmsi=MMSI + v) for v in range(3)]
    parts.append(moved(sail(40, 900.0, t=T0 + 2 * DAY), mmsi=MMSI + 1))
    log = merged(*parts)
    codes, marks = WatermarkGenerator().admit(log, np.zeros(len(log), "u1"), RULES)
    assert not codes.any()
    assert np.isfinite(marks[-1])


# ---------------------------------------------------------------- ahead


def test_ten_minutes_ahead_is_taken_and_more_is_set_aside():
    clock = set_clock()
    assert admit(clock, (0, 601)) == [Reason.FUTURE]
    assert admit(clock, (0, 600), (1, 1200)) == [None, None]


def test_three_other_vessels_confirm():
    clock = set_clock(4)
    assert admit(clock, (10, DAY), (10, DAY + 9), (11, DAY), (12, DAY + 60)) == [Reason.FUTURE] * 4
    assert admit(clock, (13, DAY + 30), (10, DAY + 61)) == [None, None]
    assert clock.now == T0 + DAY + 61
    assert admit(clock, (0, 0)) == [Reason.BEHIND]


def test_vessels_that_say_different_times_do_not_confirm_each_other():
    clock = set_clock(4)
    said = [(10 + v, DAY * (v + 1)) for v in range(8)]
    assert admit(clock, *said) == [Reason.FUTURE] * 8


def test_a_hole_in_the_feed_costs_three_reports():
    clock = set_clock(20)
    reasons = admit(clock, *((v % 20, 5 * HOUR + v) for v in range(100)))
    assert reasons == [Reason.FUTURE] * 3 + [None] * 97


def test_one_broken_clock_among_many_is_set_aside_for_ever_and_carries_nobody_away():
    clock = set_clock(20)
    for minute in range(1, 200):
        assert admit(clock, (99, 30 * DAY + 60 * minute)) == [Reason.FUTURE]
        assert admit(clock, *((v, 60 * minute) for v in range(20))) == [None] * 20


def test_a_station_with_a_wrong_clock_does_not_carry_away_the_others():
    rng = np.random.default_rng(5)
    clock = set_clock(40)
    for minute in range(1, 100):
        said = [(v, 60 * minute + (5 * DAY if v < 6 else 0)) for v in rng.permutation(40).tolist()]
        reasons = admit(clock, *said)
        assert [r is None for r in reasons] == [v >= 6 for v, _ in said]


def test_a_hole_is_passed_also_while_a_broken_clock_is_heard():
    clock = set_clock(12)
    for minute in range(1, 30):
        admit(clock, (99, 30 * DAY + 60 * minute), *((v, 60 * minute) for v in range(12)))
    reasons = admit(clock, *((v % 12, 9 * HOUR + v) for v in range(60)))
    assert None not in reasons[:3]
    assert set(reasons[12:]) == {None}


def test_when_too_few_are_left_to_confirm_the_feed_goes_on_after_ten_minutes():
    clock = set_clock(6)
    reasons = admit(clock, *((0, 4 * HOUR + 60 * i) for i in range(60)))
    assert reasons == [Reason.FUTURE] * 11 + [None] * 49
    # Who comes back with the old time is not lost.
    assert admit(clock, (1, 300)) == [None]


# ---------------------------------------------------------------- behind, and the end


def test_an_hour_behind_is_taken_and_more_is_behind():
    clock = set_clock(4, t=2 * HOUR)
    assert admit(clock, (7, HOUR), (7, HOUR - 1)) == [None, Reason.BEHIND]


def test_when_the_log_is_said_to_be_complete_nothing_older_is_taken_and_any_later_time_is():
    clock = set_clock(4)
    clock.complete_until(T0 + DAY, RULES)
    assert clock.watermark == T0 + DAY
    assert admit(clock, (1, DAY - 1), (1, 9 * DAY), (2, DAY)) == [Reason.BEHIND, None, None]


def test_the_state_is_bounded():
    clock = set_clock(4)
    admit(clock, *((v, DAY * (2 + v)) for v in range(500)))
    assert len(clock.votes) <= VOTES_MAX
    admit(clock, *((v + 1000, 1) for v in range(500)))
    assert len(clock.opposing) <= VOTES_MAX


@pytest.mark.parametrize("confirmations", [1, 3, 5])
def test_the_number_of_confirmations_is_a_rule(confirmations):
    rules = TrackRules(future_confirmations=confirmations)
    clock = WatermarkGenerator()
    start = array([report(T0, mmsi=MMSI + v) for v in range(10)])
    clock.admit(start, np.zeros(10, "u1"), rules)
    ahead = array([report(T0 + DAY, mmsi=MMSI + v) for v in range(20, 40)])
    codes, _ = clock.admit(ahead, np.zeros(20, "u1"), rules)
    assert np.flatnonzero(codes == 0)[0] == confirmations

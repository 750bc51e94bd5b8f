"""Laws of the tracker."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.records import Reason
from multitaskais.tracks.tracker import (
    BUFFERED_MAX,
    RATE_MAX,
    Accepted,
    IdentityConflict,
    Jump,
    Rejected,
    TrackEnded,
    VesselTracker,
)
from tests.support.builders import MMSI, NAN, T0, array, merged, moved, report, sail, shuffled
from tests.support.track_scenarios import RULES, by_target, fold, lives
from tests.support.tracker_oracle import oracle


def of(events, kind):
    return [e for e in events if isinstance(e, kind)]


def run(reports):
    return fold(reports.tolist())


def fates(reports, events):
    """What each report became, as the oracle says it."""
    place = {}
    for e in events:
        if isinstance(e, Accepted):
            place[id(e.report)] = ("", e.target, e.track_id)
        elif isinstance(e, Rejected):
            place[id(e.report)] = (str(e.reason), -1, "")
    return [place[id(r)] for r in reports]


# ---------------------------------------------------------------- against the oracle, and the fold as a fold


@given(lives())
def test_tracks_are_those_of_the_plain_rules(life):
    rows = [tuple(r) for r in life]
    tracker = VesselTracker()
    events = [e for r in rows for e in tracker.offer(r, RULES)] + tracker.flush(RULES, math.inf)
    assert fates(rows, events) == oracle(life, RULES)


@given(lives(), st.integers(0, 10**6))
def test_a_state_written_to_bytes_and_read_back_between_any_two_reports_changes_nothing(life, seed):
    rng = np.random.default_rng(seed)
    tracker, events = VesselTracker(), []
    for r in life:
        events += tracker.offer(tuple(r), RULES)
        if rng.random() < 0.5:
            data = msgspec.msgpack.encode(tracker)
            tracker = msgspec.msgpack.decode(data, type=VesselTracker)
            assert msgspec.msgpack.encode(tracker) == data
    events += tracker.flush(RULES, math.inf)
    assert repr(events) == repr(fold(life))


@given(lives(), st.integers(0, 10**6))
def test_any_arrival_order_within_the_lateness_gives_the_same_events(life, seed):
    delay = np.random.default_rng(seed).uniform(0, RULES.lateness_s, len(life))
    # Rounding must not turn 120 s into more.
    order = np.argsort(np.array([r.t for r in life]) + delay * (1 - 1e-6), kind="stable")
    events = fold([life[i] for i in order])
    assert not [e for e in of(events, Rejected) if e.reason is Reason.LATE]
    assert repr(events) == repr(fold(life))


@given(lives())
def test_every_report_is_accepted_once_or_rejected_once(life):
    events = fold(life)
    assert len(of(events, Accepted)) + len(of(events, Rejected)) == len(life)
    for reports, _ in by_target(events).values():
        t = [r[1] for r in reports]
        assert t == sorted(t)


@given(lives())
def test_flushing_at_watermarks_that_keep_their_promise_changes_no_accepted_report(life):
    plain = [e for e in fold(life) if isinstance(e, Accepted | TrackEnded | Rejected)]
    tracker, events = VesselTracker(), []
    for r in life:
        deadline = tracker.next_deadline(RULES)
        flushed = tracker.flush(RULES, r.t)  # sorted input: nothing older than r comes
        assert bool(flushed) <= (deadline < r.t)
        events += flushed
        events += tracker.offer(tuple(r), RULES)
    events += tracker.flush(RULES, math.inf)
    events = [e for e in events if isinstance(e, Accepted | TrackEnded | Rejected)]
    assert sorted(map(repr, events)) == sorted(map(repr, plain))


def test_nan_survives_the_bytes_bit_by_bit():
    odd_nan = np.array([0x7FF8000000001234], "u8").view("f8")[0].item()
    tracker = VesselTracker()
    tracker.offer(tuple(report(cog=odd_nan)), RULES)
    back = msgspec.msgpack.decode(msgspec.msgpack.encode(tracker), type=VesselTracker)
    assert np.float64(back.buffered[0][5]).view("u8") == 0x7FF8000000001234
    assert isinstance(back.buffered[0], tuple)


def test_the_state_stays_small_however_long_a_vessel_is_tracked():
    tracker = VesselTracker()
    sizes = []
    ships = merged(sail(2000, 10.0), moved(sail(500, 37.0), north_m=40_000), moved(sail(100, 301.0), north_m=90_000))
    for r in ships.tolist():
        tracker.offer(r, RULES)
        sizes.append(len(msgspec.msgpack.encode(tracker)))
    assert max(sizes) < 8_000


def test_a_flood_within_the_lateness_is_bounded_and_all_counted():
    tracker = VesselTracker()
    rows = [tuple(report(lat=48 + i * 1e-6)) for i in range(BUFFERED_MAX + 500)]
    events = [e for r in rows for e in tracker.offer(r, RULES)]
    assert len(tracker.buffered) == RATE_MAX
    events += tracker.flush(RULES, math.inf)
    assert len(of(events, Accepted)) == RATE_MAX
    assert [e.reason for e in of(events, Rejected)] == [Reason.TOO_MANY] * (len(rows) - RATE_MAX)


@pytest.mark.parametrize("per_s", [0.1, 2.0, 10.0, 1000.0, 100_000.0])
@pytest.mark.parametrize("jumping", [False, True])
def test_the_state_of_a_vessel_stays_below_256_kb_whatever_it_sends(per_s, jumping):
    tracker = VesselTracker()
    largest = 0
    for i in range(20_000):
        # Places in turn, none reached from another: each report is displaced from every target.
        lat = 48.0 + (i * 7 % 11 if jumping else 0.0) * 0.5 + i * 1e-9
        row = tuple(report(T0 + i / per_s, lat, heading=90.0, ship_name=b"A NAME OF TWENTY CHR"))
        tracker.offer(row, RULES)
        if i % 500 == 0 or i == 19_999:
            largest = max(largest, len(msgspec.msgpack.encode(tracker)))
    assert largest < 256_000


def test_a_receiver_of_ten_reports_a_second_loses_none():
    tracker = VesselTracker()
    rows = [tuple(report(T0 + i * 0.1, 48.0 + i * 1e-6)) for i in range(6000)]
    events = [e for r in rows for e in tracker.offer(r, RULES)] + tracker.flush(RULES, math.inf)
    assert len(of(events, Accepted)) == len(rows)


def test_after_a_flood_the_next_minute_counts_again():
    tracker = VesselTracker()
    flood = [tuple(report(T0 + i * 1e-5, 48.0 + i * 1e-9)) for i in range(5000)]
    later = [tuple(report(T0 + 60.0 * (1 + i), 48.0)) for i in range(5)]
    events = [e for r in [*flood, *later] for e in tracker.offer(r, RULES)] + tracker.flush(RULES, math.inf)
    assert {r[1] for r in later} <= {e.report[1] for e in of(events, Accepted)}


# ---------------------------------------------------------------- order, lateness, duplicates


def test_a_report_is_released_once_the_vessel_is_more_than_the_lateness_past_it():
    tracker = VesselTracker()
    assert tracker.offer(tuple(report(T0)), RULES) == []
    assert tracker.offer(tuple(report(T0 + 120, 48.005)), RULES) == []
    events = tracker.offer(tuple(report(T0 + 121, 48.006)), RULES)
    assert [e.report[1] for e in of(events, Accepted)] == [T0]


def test_a_report_later_than_the_lateness_is_named_late_and_one_just_within_is_not():
    tracker = VesselTracker()
    tracker.offer(tuple(report(T0 + 200)), RULES)
    assert tracker.offer(tuple(report(T0 + 80)), RULES) == []
    (event,) = tracker.offer(tuple(report(T0 + 79.9)), RULES)
    assert event.reason is Reason.LATE


def test_equal_reports_within_ten_seconds_count_once():
    rows = [report(T0, cog=NAN), report(T0 + 4, cog=NAN), report(T0 + 10, cog=NAN), report(T0 + 10.5, cog=NAN)]
    events = fold(rows)
    assert [e.report[1] for e in of(events, Accepted)] == [T0, T0 + 10.5]
    assert [e.reason for e in of(events, Rejected)] == [Reason.DUPLICATE] * 2


@pytest.mark.parametrize(
    "change", [{"lat": 48.00001}, {"sog": 10.1}, {"cog": NAN}, {"heading": 5.0}, {"nav_status": 1}, {"msg_type": 3}]
)
def test_reports_that_differ_are_no_duplicates(change):
    assert len(of(fold([report(T0), report(T0 + 3, **change)]), Accepted)) == 2


def test_a_duplicate_is_found_behind_another_report():
    rows = [report(T0), report(T0 + 2, 48.0001), report(T0 + 3), report(T0 + 5, 48.0001)]
    assert len(of(fold(rows), Accepted)) == 2


def test_a_copy_does_not_count_again_because_its_ship_name_came_later():
    assert len(of(fold([report(T0), report(T0 + 1, ship_name=b"X", ship_type=80)]), Accepted)) == 1


# ---------------------------------------------------------------- gap and cut


def test_a_gap_over_two_hours_starts_a_new_track_and_two_hours_does_not():
    for gap, tracks in ((7200.0, 1), (7201.0, 2)):
        events = fold([report(T0), report(T0 + gap)])
        assert len({e.track_id for e in of(events, Accepted)}) == tracks
        assert [e.new_target for e in of(events, Accepted)] == [True, tracks == 2]
    assert [e.target for e in of(events, Accepted)] == [0, 1]


def test_the_end_of_a_track_carries_the_vessels_time_and_not_the_watermark():
    for watermark in (T0 + 7200.5, T0 + 1e6, math.inf):
        tracker = VesselTracker()
        tracker.offer(tuple(report(T0)), RULES)
        assert tracker.flush(RULES, T0 + 7200) == []
        (_, ended) = tracker.flush(RULES, watermark)
        assert ended == TrackEnded(0, "227000001-20170714T024000Z", T0, T0 + 7200, "gap")


def test_the_watermark_of_others_does_not_release_what_a_vessel_that_is_not_silent_still_holds():
    tracker = VesselTracker()
    tracker.offer(tuple(report(T0)), RULES)
    assert tracker.flush(RULES, T0 + 3600) == []
    assert tracker.next_deadline(RULES) == T0 + 7200


def test_a_vessel_is_forgotten_a_day_after_it_fell_silent():
    tracker = VesselTracker()
    tracker.offer(tuple(report(T0)), RULES)
    assert not tracker.evictable(RULES, math.inf)  # it still holds something
    tracker.flush(RULES, T0 + 8000)
    assert tracker.next_deadline(RULES) == T0 + 86400
    assert not tracker.evictable(RULES, T0 + 86400)
    assert tracker.evictable(RULES, T0 + 86401)


def test_at_24_hours_the_track_is_cut_and_the_line_goes_on():
    events = run(sail(30, 3600.0))
    ids = [e.track_id for e in of(events, Accepted)]
    assert ids[:24] == [f"{MMSI}-20170714T024000Z"] * 24
    assert ids[24:] == [f"{MMSI}-20170715T024000Z"] * 6
    cut, gap = of(events, TrackEnded)
    assert (cut.why, cut.t_last, cut.t_end, cut.target) == ("cut", T0 + 23 * 3600, T0 + 24 * 3600, 0)
    assert gap.why == "gap"
    assert {e.target for e in of(events, Accepted)} == {0}


# ---------------------------------------------------------------- jumps


def test_one_displaced_report_is_a_jump_and_no_split():
    track = sail(60)
    track[30] = moved(track[30:31], north_m=20_000)[0]
    events = run(track)
    (jump,) = of(events, Jump)
    assert (jump.before[1], jump.after[1]) == (T0 + 29 * 60, T0 + 30 * 60)
    assert jump.excess_knots == pytest.approx(20_000 / 60 / (1852 / 3600), rel=0.03)
    assert [e.reason for e in of(events, Rejected)] == [Reason.DISPLACED]
    assert len({e.track_id for e in of(events, Accepted)}) == 1


def jumps_of(before, after):
    return len(of(fold([before, after]), Jump))


def ahead(knots, seconds, extra_m=0.0, **fields):
    """A report so much farther north, as sailed with ``knots``."""
    return report(T0 + seconds, 48.0 + (knots * 1852 / 3600 * seconds + extra_m) / 111_195.08, **fields)


def test_a_report_may_need_30_knots_and_1_km_more_than_it_says_but_no_more():
    for knots, jumps in ((29.9, 0), (30.1, 1)):
        for seconds in (2.0, 30.0, 600.0):
            assert jumps_of(report(T0, sog=0.0), ahead(29.9, seconds, 990, sog=0.0)) == 0
            assert jumps_of(report(T0, sog=0.0), ahead(knots, seconds, 1000, sog=0.0)) == jumps


def test_a_stamp_some_minutes_wrong_explains_a_place_ahead_on_the_course_or_behind_and_none_beside():
    ship = report(T0, sog=20.0, cog=0.0)
    for late_s, jumps in ((280, 0), (-280, 0), (600, 1), (-600, 1)):
        assert jumps_of(ship, ahead(20.0, 30.0, 20 * 1852 / 3600 * late_s, sog=20.0, cog=0.0)) == jumps
    (beside,) = moved(array([report(T0 + 30, sog=20.0, cog=0.0)]), east_m=2_800).tolist()
    assert jumps_of(ship, beside) == 1
    assert jumps_of(report(T0, sog=20.0, cog=NAN), (*beside[:5], NAN, *beside[6:])) == 0  # no course: any direction


def test_a_message_of_a_tenth_of_a_minute_and_a_table_of_two_decimals_may_lie_a_step_farther():
    still = report(T0, 48.00001, sog=0.0)
    for message, metres, jumps in ((1, 1100, 1), (27, 1100, 0), (27, 1300, 1)):
        there = report(T0 + 1, 48.00001 + metres / 111_195.08, sog=0.0)._replace(msg_type=message)
        assert jumps_of(still, there) == jumps
    assert jumps_of(report(T0, 48.0, sog=0.0), report(T0 + 1, 48.01, sog=0.0)) == 0
    assert jumps_of(report(T0, 48.0, sog=0.0), report(T0 + 1, 48.0101, sog=0.0)) == 1


@pytest.mark.parametrize("bit", range(15, 26))
@pytest.mark.parametrize("field", ["lat", "lon"])
def test_one_report_with_a_flipped_bit_is_left_out_without_a_word(bit, field):
    track = sail(60)
    track[field][30] += (1 << bit) / 600_000 * (-1 if track[field][30] > 0 else 1)
    events = run(track)
    assert not of(events, Jump)
    (rejected,) = of(events, Rejected)
    assert rejected.report[1] == T0 + 1800
    assert rejected.reason in (Reason.DISPLACED, Reason.STATION_CLOCK)  # a place on the course may be either


@pytest.mark.parametrize("hours", [-12.0, -5.5, -1.0, 0.5, 1.0, 9.0])
def test_a_second_station_whose_clock_is_whole_hours_wrong_makes_no_jump_and_no_second_ship(hours):
    heard = sail(400)
    again = sail(400)[7::20]
    again["t"] += hours * 3600
    events = run(merged(heard, again)[: 400 + len(again)])
    assert not of(events, Jump)
    assert not of(events, IdentityConflict)
    inside = [r for r in again.tolist() if T0 < r[1] < heard["t"][-1]]
    clock = [e.report for e in of(events, Rejected) if e.reason is Reason.STATION_CLOCK]
    assert len(clock) >= 0.95 * len(inside)


def test_a_copy_of_a_moving_ships_report_up_to_30_s_late_counts_once_and_a_lying_ships_are_two():
    for late_s, copies in ((12.0, 1), (30.0, 1), (31.0, 0)):
        first = report(T0, 48.00013)
        events = fold([first, first._replace(t=T0 + late_s), report(T0 + 60, 48.0029)])
        assert [e.reason for e in of(events, Rejected)] == [Reason.DUPLICATE] * copies
    still = report(T0, 48.00013, sog=0.0)
    assert not of(fold([still, still._replace(t=T0 + 12)]), Rejected)
    coarse = report(T0, 48.001)  # a table of three decimals: the ship may have moved
    assert not of(fold([coarse, coarse._replace(t=T0 + 12)]), Rejected)


def test_a_report_with_the_rest_of_another_ships_message_is_left_out_but_a_second_one_is_a_jump():
    for n, jumps in ((1, 0), (2, 1), (4, 3)):
        track = sail(60)
        track[30 : 30 + n] = moved(track[30 : 30 + n], east_m=200_000)
        track["cog"][30 : 30 + n] = (track["cog"][30 : 30 + n] + 130.0) % 360.0
        events = run(track)
        assert len(of(events, Jump)) == jumps
        assert len(of(events, Rejected)) == n


def test_a_displaced_stretch_alone_stays_one_track():
    track = sail(90)
    track[30:60] = moved(track[30:60], east_m=25_000)
    events = run(track)
    assert len({e.track_id for e in of(events, Accepted)}) == 1
    assert not of(events, Rejected)  # five alone: the ship is there
    assert len(of(events, Jump)) == 10  # five on the way out, five on the way back
    assert not of(events, IdentityConflict)


def test_a_displaced_stretch_too_short_to_be_believed_is_left_out():
    track = sail(90)
    track[30:34] = moved(track[30:34], east_m=25_000)
    events = run(track)
    assert [e.report[1] for e in of(events, Rejected)] == [T0 + 60 * i for i in range(30, 34)]
    assert len(of(events, Jump)) == 4


def test_the_line_goes_on_where_the_ship_is_when_its_first_report_was_wrong():
    track = sail(30)
    track[0] = moved(track[:1], east_m=50_000)[0]
    events = run(track)
    assert len(of(events, Accepted)) == 30
    assert len({e.track_id for e in of(events, Accepted)}) == 1


def test_two_ships_on_one_mmsi_become_two_tracks():
    a, b = sail(60), moved(sail(60, t=T0 + 30), north_m=60_000)
    events = run(merged(a, b))
    (conflict,) = of(events, IdentityConflict)
    assert (conflict.main_target, conflict.new_target, conflict.since_t) == (0, 1, T0 + 30)
    targets = by_target(events)
    assert [r[1] for r in targets[0][0]] == a["t"].tolist()
    assert [r[1] for r in targets[1][0]] == b["t"].tolist()
    # The jump alerts stop once it is known.
    assert max(e.after[1] for e in of(events, Jump)) <= conflict.report[1] < T0 + 600


@pytest.mark.parametrize(
    ("every_a", "every_b"), [(10.0, 180.0), (180.0, 10.0), (60.0, 300.0), (180.0, 180.0), (7.0, 61.0)]
)
def test_two_ships_that_report_at_uneven_rates_become_two_tracks(every_a, every_b):
    a = sail(int(7200 / every_a), every_a)
    b = moved(sail(int(7200 / every_b), every_b, t=T0 + 3.3), north_m=60_000)
    events = run(merged(a, b))
    assert len(of(events, IdentityConflict)) == 1
    targets = by_target(events)
    assert len(targets) == 2
    # From the conflict on, each line is one ship.
    decided = of(events, IdentityConflict)[0].report[1]
    for reports, _ in targets.values():
        assert len({r[2] > 48.55 for r in reports if r[1] > decided}) == 1
    assert decided < T0 + 1900


def test_two_ships_heard_in_turns_by_long_bursts_become_two_tracks():
    a, b = sail(600, 6.0), moved(sail(600, 6.0, t=T0 + 1), north_m=60_000)
    burst = (np.arange(600) // 20) % 2 == 0
    events = run(merged(a[burst], b[~burst]))
    assert len(of(events, IdentityConflict)) == 1
    assert len(by_target(events)) == 2


def test_two_tracks_that_begin_in_the_same_second_have_different_ids():
    a, b = sail(30), moved(sail(30, t=T0 + 0.5), north_m=60_000)
    events = run(merged(a, b))
    assert {e.track_id for e in of(events, Accepted)} == {
        "227000001-20170714T024000Z",
        "227000001-20170714T024000Z-2",
    }


def test_scattered_single_jumps_far_apart_in_time_are_no_second_ship():
    track = sail(300)
    track[::40] = moved(track[::40], north_m=30_000)
    track[0] = sail(1)[0]
    events = run(track)
    assert len(of(events, Jump)) == 7
    assert not of(events, IdentityConflict)
    assert len(of(events, Rejected)) == 7


def test_when_one_of_two_ships_leaves_the_other_goes_on():
    a, b = sail(300), moved(sail(60, t=T0 + 30), north_m=60_000)
    events = run(merged(a, b))
    ended = of(events, TrackEnded)
    assert [(e.target, e.t_last) for e in ended] == [(1, b["t"][-1]), (0, a["t"][-1])]
    assert len(by_target(events)[0][0]) == 300


def test_a_ship_that_crosses_the_date_line_does_not_jump():
    events = run(sail(60, lon=179.99, lat=0.0, cog=90.0))
    assert not of(events, Jump)
    wrapped = sail(60, lon=179.95, lat=0.0, cog=90.0)
    wrapped["lon"] = (wrapped["lon"] + 180) % 360 - 180
    assert not of(run(wrapped), Jump)


def test_another_arrival_order_of_a_day_gives_the_same_tracks():
    day = merged(sail(600), moved(sail(300, 121.0, t=T0 + 3000), north_m=60_000))
    assert repr(run(shuffled(day, 1))) == repr(run(day))

"""Laws of the 10-minute grid, of interpolation, and of what a line remembers."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod

from multitaskais.records import REPORT_DTYPE, SAMPLE_DTYPE
from multitaskais.tracks.resample import (
    TARGET_DTYPE,
    complete,
    interpolate,
    resample_line,
    resample_lines,
    resample_track,
)
from multitaskais.tracks.sampler import PAIRS_MAX, SlotSampler
from tests.support.builders import NAN, T0, array, moved, report, sail
from tests.support.track_scenarios import DETECTION, by_target, fold, lives, samples_one_by_one

GEOD = Geod(ellps="WGS84")


def feed(rows, marks=None):
    sampler = SlotSampler()
    marks = marks or [i == 0 for i in range(len(rows))]
    return [due for r, new in zip(rows, marks, strict=True) for due in sampler.feed(tuple(r), new)]


def samples(rows):
    return resample_track(array(rows), DETECTION)


# ---------------------------------------------------------------- one path equals the other


@given(lives())
def test_a_whole_line_as_arrays_equals_report_by_report_bit_for_bit(life):
    for reports, marks in by_target(fold(life)).values():
        whole = resample_track(array(reports), DETECTION, np.array(marks))
        assert whole.tobytes() == samples_one_by_one(reports, marks).tobytes()


@given(st.lists(lives(), max_size=4))
def test_many_lines_at_once_are_each_as_alone(several):
    lines = [line for life in several for line in by_target(fold(life)).values()]
    reports = np.concatenate([np.zeros(0, REPORT_DTYPE), *(array(rows) for rows, _ in lines)])
    begin = np.cumsum([0, *(len(rows) for rows, _ in lines)])
    marks = np.array([mark for _, line_marks in lines for mark in line_marks], bool)
    samples, before, own = resample_lines(reports, begin, DETECTION, marks)
    for k, (rows, line_marks) in enumerate(lines):
        alone, alone_before = resample_line(array(rows), DETECTION, np.array(line_marks))
        mine = slice(own[k], own[k + 1])
        assert samples[mine].tobytes() == alone.tobytes() == samples_one_by_one(rows, line_marks).tobytes()
        assert (before[mine] - begin[k]).tolist() == alone_before.tolist()


@given(
    st.integers(0, 10**6),
    st.sampled_from([0.4, 1.9, 2.0, 2.1, 5.0, 40.0, 900.0]),
    st.integers(2, 900),
    st.booleans(),
)
def test_the_same_at_any_rate_of_reports(seed, every_s, n, cut):
    rng = np.random.default_rng(seed)
    track = sail(n, rng.uniform(0.2, 1.8, n - 1) * every_s, t=T0 + rng.uniform(0, 1), cog=rng.normal(0, 20, n).cumsum())
    track["cog"][rng.random(n) < 0.1] = NAN
    track["t"] = np.round(track["t"], int(rng.integers(0, 4)))  # equal times too
    marks = rng.random(n) < (0.01 if cut else 0.0)
    marks[0] = True
    whole = resample_track(track, DETECTION, marks)
    assert whole.tobytes() == samples_one_by_one(track.tolist(), marks.tolist()).tobytes()


@given(lives(), st.integers(0, 10**6))
def test_a_sampler_written_to_bytes_and_read_back_changes_nothing(life, seed):
    rng = np.random.default_rng(seed)
    for reports, marks in by_target(fold(life)).values():
        sampler, dues = SlotSampler(), []
        for r, new in zip(reports, marks, strict=True):
            dues += sampler.feed(r, new)
            if rng.random() < 0.5:
                sampler = msgspec.msgpack.decode(msgspec.msgpack.encode(sampler), type=SlotSampler)
        assert repr(dues) == repr(feed(reports, marks))


@given(st.integers(0, 10**6))
def test_a_sample_does_not_depend_on_the_others_interpolated_with_it(seed):
    rng = np.random.default_rng(seed)
    dues = feed(sail(50, 97.0, cog=rng.uniform(0, 360, 50)).tolist())
    together = interpolate(dues)
    alone = np.concatenate([interpolate([d]) for d in dues])
    assert together.tobytes() == alone.tobytes()
    rows = np.zeros(len(dues), TARGET_DTYPE)
    rows["lat"], rows["lon"], rows["count"] = 48.0, -5.0, rng.integers(0, 4, len(dues))
    new, done = complete(rows, together, DETECTION)
    for i in range(len(dues)):
        new_i, done_i = complete(rows[i : i + 1], together[i : i + 1], DETECTION)
        assert (new_i.tobytes(), done_i.tobytes()) == (new[i : i + 1].tobytes(), done[i : i + 1].tobytes())


# ---------------------------------------------------------------- the grid


def test_the_grid_starts_at_the_first_report_and_samples_lie_between_their_neighbours():
    dues = feed(sail(100, 61.0, t=T0 + 17).tolist())
    assert [d.t for d in dues] == [T0 + 17 + 600 * i for i in range(11)]
    assert [d.n for d in dues] == list(range(11))
    assert all(d.before[1] <= d.t < d.after[1] for d in dues)


def test_the_first_sample_is_the_first_report_due_when_its_successor_comes():
    sampler = SlotSampler()
    first, second = report(T0, 48.1234, -5.4321), report(T0 + 60)
    assert sampler.feed(tuple(first), True) == []
    (due,) = sampler.feed(tuple(second), False)
    (sample,) = interpolate([due])
    assert (sample["t"], sample["lat"], sample["lon"]) == (T0, 48.1234, -5.4321)
    assert math.isnan(due.mismatch)


def test_a_report_on_the_grid_is_the_sample_itself():
    track = sail(30, 300.0)
    got = resample_track(track, DETECTION)
    for name in ("t", "lat", "lon", "sog", "cog"):
        assert got[name].tolist() == track[name][:-1:2].tolist()


def test_at_a_cut_the_grid_starts_again_and_the_count_goes_on():
    track = sail(9, 450.0)
    marks = np.zeros(9, bool)
    marks[[0, 5]] = True
    got = resample_track(track, DETECTION, marks)
    assert got["t"].tolist() == [T0 + x for x in (0, 600, 1200, 1800, 2250, 2850, 3450)]
    assert got["n"].tolist() == list(range(7))


def test_a_track_of_one_report_has_no_sample():
    assert len(samples([report()])) == 0
    assert len(interpolate([])) == 0


# ---------------------------------------------------------------- interpolation


@given(st.floats(-60, 60), st.floats(-179, 179), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(1, 599))
def test_positions_lie_on_the_geodesic_in_proportion_to_time(lat, lon, dlat, dlon, dt):
    rows = [report(T0, lat, lon), report(T0 + dt, lat, lon), report(T0 + 1000, lat + dlat, lon + dlon)]
    p = samples(rows)[1]
    whole = GEOD.inv(lon, lat, lon + dlon, lat + dlat)[2]
    ahead = GEOD.inv(lon, lat, p["lon"], p["lat"])[2]
    behind = GEOD.inv(p["lon"], p["lat"], lon + dlon, lat + dlat)[2]
    assert ahead + behind == pytest.approx(whole, abs=1e-5)
    assert ahead == pytest.approx(whole * (600 - dt) / (1000 - dt), abs=1e-3)


def test_a_leg_across_the_date_line_is_short():
    rows = [report(T0, 10, 179.99), report(T0 + 1200, 10, -179.99)]
    p = samples(rows)[1]
    assert abs(abs(p["lon"]) - 180) < 1e-6


@pytest.mark.parametrize(
    ("a", "b", "middle"), [(350, 20, 5), (20, 350, 5), (359, 1, 0), (90, 180, 135), (181, 0, 270.5)]
)
def test_course_turns_along_the_shorter_arc_through_north(a, b, middle):
    got = samples([report(T0, cog=a), report(T0 + 1200, 48.05, cog=b)])[1]["cog"]
    assert got == pytest.approx(middle)
    assert 0 <= got < 360


@given(st.floats(0, 359.999), st.floats(0, 359.999), st.floats(1, 599))
def test_courses_stay_within_the_compass(a, b, dt):
    got = samples([report(T0, cog=a), report(T0 + dt, cog=a), report(T0 + 1000, 48.05, cog=b)])
    assert ((got["cog"] >= 0) & (got["cog"] < 360)).all()


def test_a_missing_course_is_derived_when_the_vessel_made_50_m():
    got = samples([report(T0, cog=NAN), report(T0 + 1200, 48.0, -5.02, cog=10.0)])
    assert got["cog"] == pytest.approx([270.0, 270.0], abs=0.02)
    still = samples([report(T0, cog=NAN), report(T0 + 1200, 48.0004, cog=NAN)])  # 44 m
    assert np.isnan(still["cog"]).all()


def test_a_missing_course_is_derived_from_the_last_sample_where_reports_come_too_fast_for_it():
    track = sail(300, 6.0, cog=90.0, sog=5.0)
    track["cog"] = NAN  # 15 m from report to report, 1.5 km from sample to sample
    got = resample_track(track, DETECTION)["cog"]
    assert math.isnan(got[0])
    assert got[1:] == pytest.approx(90.0, abs=0.05)


def test_speed_is_linear_and_status_is_the_one_before():
    got = samples([report(T0, sog=4.0, nav_status=3), report(T0 + 1200, 48.05, sog=10.0, nav_status=5, ship_type=30)])
    assert got["sog"].tolist() == [4.0, 7.0]
    assert got["nav_status"].tolist() == [3, 3]
    assert got["ship_type"].tolist() == [70, 70]


def test_samples_have_the_dtype_of_the_house():
    assert samples([report(T0), report(T0 + 60)]).dtype == SAMPLE_DTYPE


# ---------------------------------------------------------------- mismatch


def plain_mismatch(reports, t_from, t_to):
    """With library sines and the ellipsoid; each pair begins where the last one ended, and is longer than 50 s."""
    chain = [reports[0]]
    for r in reports[1:]:
        if r["t"] - chain[-1]["t"] > 50:
            chain.append(r)
    values = []
    for a, b in itertools.pairwise(chain):
        dt = b["t"] - a["t"]
        if not (t_from < b["t"] <= t_to and dt <= 600) or math.isnan(a["cog"]) or math.isnan(b["cog"]):
            continue
        azimuth, _, distance = GEOD.inv(a["lon"], a["lat"], b["lon"], b["lat"])
        made = distance / dt * 3600 / 1852 * np.exp(1j * math.radians(azimuth))
        said = (a["sog"] * np.exp(1j * math.radians(a["cog"])) + b["sog"] * np.exp(1j * math.radians(b["cog"]))) / 2
        values.append(abs(made - said))
    return np.median(values) if values else NAN


@given(st.integers(0, 10**6), st.floats(8, 900))
def test_mismatch_is_the_median_difference_of_made_and_reported_velocity(seed, every_s):
    rng = np.random.default_rng(seed)
    n = int(5000 / every_s) + 3
    track = sail(
        n, rng.uniform(0.6, 1.4, n - 1) * every_s, lat=rng.uniform(-60, 60), sog=12, cog=rng.uniform(0, 360, n)
    )
    track["sog"] = rng.uniform(0, 20, n)
    track["cog"][rng.random(n) < 0.2] = NAN
    got = resample_track(track, DETECTION)
    # Slots with more pairs than are kept have the median of an even part of them. The sphere adds 0.6 % of 12 kn.
    pairs = np.histogram(track["t"], np.append(T0 - 600, got["t"]))[0]
    for i in np.flatnonzero(pairs < PAIRS_MAX):
        want = plain_mismatch(track, got["t"][i] - 600, got["t"][i])
        assert got["mismatch"][i] == pytest.approx(want, abs=0.1, nan_ok=True)


def test_a_ship_that_makes_what_it_says_has_no_mismatch_at_any_rate():
    for every_s in (1.0, 2.0, 2.5, 10.0, 60.0, 360.0):
        got = resample_track(sail(int(7200 / every_s), every_s, sog=14, cog=77.0), DETECTION)["mismatch"][1:]
        assert (got < 0.15).all(), every_s


@pytest.mark.parametrize("every_s", [2.0, 10.0, 30.0, 60.0])
def test_stamps_some_seconds_late_make_no_straight_ship_contradict_itself(every_s):
    rng = np.random.default_rng(3)
    track = sail(int(7200 / every_s), every_s, sog=14, cog=77.0)
    track["t"] = np.sort(track["t"] + rng.uniform(0, 10, len(track)))
    assert (resample_track(track, DETECTION)["mismatch"][1:] < 2.5).all()


def test_a_false_speed_or_course_shows_at_full_size():
    track = sail(120, sog=10, cog=30)
    track["sog"] += 6
    assert resample_track(track, DETECTION)["mismatch"][1:] == pytest.approx(6.0, abs=0.1)
    track = sail(120, sog=10, cog=30)
    track["cog"] = 210
    assert resample_track(track, DETECTION)["mismatch"][1:] == pytest.approx(20.0, abs=0.2)


def test_a_few_bad_reports_do_not_move_the_median():
    track = sail(120)
    track[::10] = moved(track[::10], east_m=200)
    assert np.nanmax(resample_track(track, DETECTION)["mismatch"]) < 0.2


def test_the_sampler_stays_small_in_a_slot_of_any_number_of_pairs():
    sampler = SlotSampler()
    for r in sail(5000, 2.1).tolist():
        sampler.feed(r, False)
        assert len(sampler.kept) <= PAIRS_MAX
    assert len(msgspec.msgpack.encode(sampler)) < 1000


# ---------------------------------------------------------------- made good and moored


def test_made_good_is_the_distance_over_three_slots_or_since_the_start():
    got = resample_track(sail(120), DETECTION)["made_30min"]
    per_slot = 10 * 1852 / 6
    assert got[0] == 0
    assert got[1:] == pytest.approx([per_slot * min(i, 3) for i in range(1, len(got))], rel=2e-3)


@pytest.mark.parametrize(
    ("sog", "status", "made_m", "moored"),
    [
        (0.4, 0, 100, True),
        (0.6, 0, 100, False),
        (0.4, 0, 200, False),
        (9.0, 1, 9e3, True),
        (9.0, 5, 9e3, True),
        (0.1, -1, 0, True),
    ],
)
def test_moored_is_slow_and_still_for_30_minutes_or_says_so(sog, status, made_m, moored):
    track = sail(60, sog=made_m / 1800 * 3600 / 1852, nav_status=status)
    track["sog"] = sog
    assert resample_track(track, DETECTION)["moored"][-1] == moored

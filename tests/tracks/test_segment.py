"""Whole archives: the same tracks as the tracker's, the screen, and the choice of training tracks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.config import REGIONS, Region, TrackRules
from multitaskais.records import Reason
from multitaskais.tracks import segmentation as segment_module
from multitaskais.tracks.quality import REASONS, screen
from multitaskais.tracks.segmentation import segment, track_ids
from multitaskais.tracks.selection import Selection, choose
from multitaskais.tracks.tracker import RATE_MAX, Accepted, Rejected
from tests.support.builders import NAN, T0, array, fleet, merged, moved, report, sail
from tests.support.track_scenarios import RULES, fold, lives


def fates_of_tracker(rows, rules=RULES):
    out = {}
    rows = [tuple(r) for r in rows]
    for mmsi in {r[0] for r in rows}:
        for e in fold([r for r in rows if r[0] == mmsi], rules):
            if isinstance(e, Accepted):
                out[id(e.report)] = (0, e.target, e.track_id)
            elif isinstance(e, Rejected):
                out[id(e.report)] = (REASONS.index(e.reason), -1, "")
    return [out[id(r)] for r in rows]


def fates_of_segment(reports, rules=RULES):
    labels = segment(reports, rules)
    ids = track_ids(reports["mmsi"], labels)
    return list(zip(labels["code"].tolist(), labels["line"].tolist(), ids, strict=True))


@given(lives(), lives(), st.booleans())
def test_segments_of_arrays_are_the_trackers(a, b, calm):
    if calm:  # no jumps: the array path
        a = [r._replace(lat=48.0 + (r.lat - 48) * 1e-3, lon=-5.0) for r in a]
    rows = a + [r._replace(mmsi=r.mmsi + 1) for r in b]
    assert fates_of_segment(array(rows)) == fates_of_tracker(rows)


@given(st.integers(0, 10**6), st.sampled_from([20.0, 300.0, 3000.0]))
def test_long_calm_tracks_take_the_array_path_and_are_the_trackers(seed, every_s):
    reports = fleet(seed, vessels=3, hours=every_s / 12, every_s=every_s)
    reports = merged(reports, moved(reports[::7]))  # duplicates
    reports = reports[np.argsort(reports["mmsi"], kind="stable")]
    special = []
    original = segment_module._segment_special
    segment_module._segment_special = lambda *args: special.append(1) or original(*args)
    try:
        got = fates_of_segment(reports)
    finally:
        segment_module._segment_special = original
    assert got == fates_of_tracker(reports.tolist())
    assert every_s > 1000 or not special


@given(lives(), st.integers(0, 10**6))
def test_the_order_of_the_rows_does_not_matter(life, seed):
    reports = array(life)
    order = np.random.default_rng(seed).permutation(len(reports))
    labels = segment(reports, RULES)
    mixed = segment(reports[order], RULES)
    # Copies that are equal to the last bit may change places.
    key = lambda rows, lab: sorted(zip(map(str, rows.tolist()), map(str, lab.tolist()), strict=True))  # noqa: E731
    assert key(reports[order], mixed) == key(reports, labels)


def test_a_flood_among_calm_tracks_is_thinned_as_the_tracker_does():
    flood = [report(T0 + i * 1e-3, 48.0 + i * 1e-8) for i in range(2000)]
    calm = [report(T0 + 10.0 * i, 48.0 + i * 1e-4, mmsi=flood[0].mmsi + 1) for i in range(200)]
    rows = [*flood, *calm]
    got = fates_of_segment(array(rows))
    assert got == fates_of_tracker(rows)
    assert sum(code == REASONS.index(Reason.TOO_MANY) for code, _, _ in got) == 2000 - RATE_MAX


def test_an_empty_archive_has_no_tracks():
    labels = segment(array([]), RULES)
    assert len(labels) == 0
    assert len(choose(array([]), labels, RULES)[0]) == 0


# ---------------------------------------------------------------- the screen


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, None),
        ({"sog": NAN}, Reason.SOG_NOT_AVAILABLE),
        ({"sog": -0.1}, Reason.SOG_NOT_AVAILABLE),
        ({"sog": 30.0}, None),
        ({"sog": 30.1}, Reason.TOO_FAST),
        ({"sog": 102.2}, Reason.TOO_FAST),
        ({"lat": NAN}, Reason.NO_POSITION),
        ({"lat": 91.0}, Reason.NO_POSITION),
        ({"lon": 181.0}, Reason.NO_POSITION),
        ({"lon": 181.0, "sog": NAN}, Reason.NO_POSITION),
        ({"lat": 47.5}, None),
        ({"lat": 49.5}, Reason.OUT_OF_REGION),
        ({"lon": -7.01}, Reason.OUT_OF_REGION),
        ({"t": NAN}, Reason.NO_TIME),
        ({"t": T0 * 1000}, Reason.NO_TIME),
        ({"t": 0.0}, Reason.NO_TIME),
        ({"cog": NAN}, None),
        ({"mmsi": 201_000_000}, None),
        ({"mmsi": 775_999_999}, None),
        ({"mmsi": 982_271_234}, None),  # a craft of a French ship
        ({"mmsi": 0}, Reason.BAD_MMSI),
        ({"mmsi": 123_456_789}, Reason.BAD_MMSI),
        ({"mmsi": 2_275_000}, Reason.BAD_MMSI),  # a coast station
        ({"mmsi": 111_227_001}, Reason.BAD_MMSI),  # a search aircraft
        ({"mmsi": 970_012_345}, Reason.BAD_MMSI),  # a distress beacon
        ({"mmsi": 992_271_234}, Reason.BAD_MMSI),  # a buoy
        ({"mmsi": 776_000_000}, Reason.BAD_MMSI),
        ({"mmsi": 9_999_999_999}, Reason.BAD_MMSI),
    ],
)
def test_a_report_alone_is_accepted_or_named(fields, reason):
    (code,) = screen(array([report(**fields)]), REGIONS["brittany"], RULES)
    assert REASONS[code] is reason


def test_without_a_region_the_whole_world_is_taken():
    rows = array([report(lat=-90.0, lon=180.0), report(lat=90.0, lon=-180.0)])
    assert screen(rows, None, RULES).tolist() == [0, 0]


def test_screened_reports_are_in_no_track_and_do_not_end_one():
    rows = array([report(T0), report(T0 + 60, lat=NAN), report(T0 + 120, 48.005)])
    labels = segment(rows, RULES, Region("box", 40, 50, -10, 0))
    assert [REASONS[c] for c in labels["code"]] == [None, Reason.NO_POSITION, None]
    assert labels["track"].tolist() == [0, -1, 0]
    assert np.isnan(labels["start"][1])


# ---------------------------------------------------------------- the choice of training tracks


@pytest.mark.parametrize(
    ("track", "choice"),
    [
        (sail(250, 60.0), Selection.CHOSEN),
        (sail(19, 1000.0), Selection.TOO_FEW),
        (sail(20, 1000.0), Selection.CHOSEN),
        (sail(240, 60.0), Selection.TOO_SHORT),
        (sail(250, 60.0, nav_status=5), Selection.MOORED),
        (sail(250, 60.0, nav_status=1), Selection.MOORED),
        (sail(250, 60.0, sog=0.9), Selection.MOORED),
        (sail(250, 60.0, sog=1.9), Selection.SLOW),
        (sail(250, 60.0, sog=2.0), Selection.CHOSEN),
    ],
)
def test_whole_track_rules_choose_training_tracks_and_say_why_not(track, choice):
    tracks, of = choose(track, segment(track, RULES), RULES)
    assert [Selection(c) for c in tracks["choice"]] == [choice]
    assert (of == 0).all()


def test_a_share_of_moored_reports_is_allowed():
    track = sail(300, 60.0)
    track["nav_status"][:210] = 5
    assert choose(track, segment(track, RULES), RULES)[0]["choice"] == [Selection.CHOSEN]
    track["nav_status"][:211] = 5
    assert choose(track, segment(track, RULES), RULES)[0]["choice"] == [Selection.MOORED]


def test_each_track_of_each_vessel_is_listed_once_with_its_span():
    a = merged(sail(30), sail(30, t=T0 + 20_000, lat=48.4))
    b = sail(10, mmsi=228_000_001)
    reports = np.concatenate([b, a])
    tracks, of = choose(reports, segment(reports, RULES), RULES)
    assert tracks["reports"].tolist() == [30, 30, 10]
    assert tracks["track"].tolist() == [0, 1, 0]
    assert tracks["start"].tolist() == [T0, T0 + 20_000, T0]
    assert tracks["end"].tolist() == [T0 + 29 * 60, T0 + 20_000 + 29 * 60, T0 + 9 * 60]
    assert np.bincount(of).tolist() == [30, 30, 10]
    assert TrackRules().min_reports == 20


# ---------------------------------------------------------------- real data


def test_a_day_of_real_traffic_has_the_same_tracks_either_way(shared):
    pq = pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(
        shared / "data/noaa/ais_2020-01-01.parquet",
        filters=[("LAT", ">", 28.0), ("LAT", "<", 31.0), ("LON", ">", -90.5), ("LON", "<", -88.0)],
    )
    rows = array([])
    rows.resize(table.num_rows, refcheck=False)
    for name, column in (("mmsi", "MMSI"), ("lat", "LAT"), ("lon", "LON"), ("sog", "SOG"), ("cog", "COG")):
        rows[name] = table[column].to_numpy()
    rows["t"] = table["BaseDateTime"].to_numpy().astype("M8[ms]").astype("i8") / 1000.0
    rows["heading"] = NAN
    rows["cog"] = np.where((rows["cog"] >= 0) & (rows["cog"] < 360), rows["cog"], NAN)
    vessels = np.unique(rows["mmsi"])[::7]  # a part, for time
    rows = rows[np.isin(rows["mmsi"], vessels)]
    labels = segment(rows, RULES)
    good = rows[screen(rows, None, RULES) == 0]
    assert fates_of_segment(good) == fates_of_tracker(good.tolist())
    assert len(good) > 10_000
    tracks, _ = choose(rows, labels, RULES)
    assert (tracks["choice"] == Selection.CHOSEN).sum() > 10

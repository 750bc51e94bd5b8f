from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitaskais.cli import main
from multitaskais.config import Region, TrackRules
from multitaskais.evaluation.altered import CleanTracks, clean_tracks, labelled, write_altered, write_labelled
from multitaskais.evaluation.inject import KINDS, InjectionSource, alter
from multitaskais.records import REPORT_DTYPE
from multitaskais.units import KNOT_MPS, M_PER_DEG_SEEDED

BOX = Region("box", 28.0, 31.0, -95.0, -88.0)
SAILED = sorted(set(KINDS) - {"spoof", "jump"})


def source(seed: int = 0, hours: float = 14.0, knots: float = 9.0) -> InjectionSource:
    """A ship under way on a wandering course, a report a minute with a metre of noise."""
    rng = np.random.default_rng(seed)
    t = 1.6e9 + np.cumsum(rng.uniform(50, 80, int(hours * 55)))
    dt = np.diff(t, prepend=t[0])
    sog = knots + np.cumsum(rng.normal(0, 0.03, len(t)))
    cog = (80 + np.cumsum(rng.normal(0, 0.8, len(t)))) % 360
    lat = 29.3 + np.cumsum(sog * np.cos(np.radians(cog)) * dt) * KNOT_MPS / M_PER_DEG_SEEDED
    lon = -93.5 + np.cumsum(sog * np.sin(np.radians(cog)) * dt) * KNOT_MPS / M_PER_DEG_SEEDED / np.cos(np.radians(29.3))
    return InjectionSource(t, np.round(lat, 5), np.round(lon, 5), sog, cog, np.round(cog))


def metres(lat_a, lon_a, lat_b, lon_b):
    north = (lat_b - lat_a) * M_PER_DEG_SEEDED
    east = (lon_b - lon_a) * M_PER_DEG_SEEDED * np.cos(np.radians(lat_a))
    return np.hypot(east, north)


def altered(kind: str, seed: int = 0):
    s = source(seed)
    a = alter(s, kind, np.random.default_rng(seed), BOX)
    assert a is not None
    return s, s.t[a.keep], a


@pytest.mark.parametrize("kind", SAILED)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_ship_sails_into_and_out_of_its_anomaly(kind, seed):
    _, t, a = altered(kind, seed)
    knots = metres(a.lat[:-1], a.lon[:-1], a.lat[1:], a.lon[1:]) / np.diff(t) / KNOT_MPS
    assert knots.max() < 20.0


@pytest.mark.parametrize("kind", SAILED)
def test_velocity_is_what_the_new_positions_make(kind):
    _, t, a = altered(kind)
    made = metres(a.lat[:-2], a.lon[:-2], a.lat[2:], a.lon[2:]) / (t[2:] - t[:-2]) / KNOT_MPS
    assert np.quantile(np.abs(made - a.sog[1:-1]), 0.95) < 1.0


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("shift_2km", 1.9, 2.1), ("shift_5km", 4.9, 5.1), ("shift_10km", 9.8, 10.2), ("detour", 9.8, 20.2)],
)
def test_displacements_are_as_wide_as_their_name_says(kind, low, high):
    s, _, a = altered(kind)
    away = metres(s.lat, s.lon, a.lat, a.lon) / 1000.0
    assert low < away.max() < high
    assert away[~a.abnormal].max() < 0.01


@pytest.mark.parametrize(("kind", "rate"), [("slow", 0.5), ("fast", 1.6)])
def test_changed_speeds_are_as_changed_as_their_name_says(kind, rate):
    s, _, a = altered(kind)
    inside = np.flatnonzero(a.abnormal)[15:-15]
    assert np.median(a.sog[inside]) / np.median(s.sog[: inside[0]]) == pytest.approx(rate, rel=0.2)


def test_a_reversed_track_ends_where_the_other_begins():
    s, _, a = altered("reversed")
    assert metres(a.lat[-1], a.lon[-1], s.lat[0], s.lon[0]) < 5.0
    assert a.abnormal.all()


def test_a_drifting_ship_is_slow_and_comes_back():
    _, _, a = altered("drift")
    inside = np.flatnonzero(a.abnormal)
    assert np.quantile(a.sog[inside[20:-20]], 0.95) < 2.6
    assert a.sog[: inside[0]].min() > 5


def test_a_loitering_ship_goes_far_in_a_small_space():
    _, _, a = altered("loiter")
    i = np.flatnonzero(a.abnormal)
    way = metres(a.lat[i[:-1]], a.lon[i[:-1]], a.lat[i[1:]], a.lon[i[1:]]).sum()
    box = metres(a.lat[i].min(), a.lon[i].min(), a.lat[i].max(), a.lon[i].max())
    assert way > 2.0 * box


def test_spoofed_reports_have_true_positions_and_another_velocity():
    s, _, a = altered("spoof")
    assert np.array_equal(a.lat, s.lat)
    turn = np.abs((a.cog - s.cog + 180) % 360 - 180)
    assert turn[a.abnormal].min() > 59.0
    assert turn[~a.abnormal].max() < 0.1


def test_a_jump_is_there_at_once_and_back_at_once():
    s, t, a = altered("jump")
    away = metres(s.lat, s.lon, a.lat, a.lon) / 1000.0
    assert away[a.abnormal].min() > 9.9
    assert away[a.abnormal].max() < 30.5
    assert away[~a.abnormal].max() < 0.01
    knots = metres(a.lat[:-1], a.lon[:-1], a.lat[1:], a.lon[1:]) / np.diff(t) / KNOT_MPS
    assert (knots > 60).sum() == 2


@pytest.mark.parametrize("kind", KINDS)
def test_no_copy_leaves_the_region(kind):
    tight = Region("tight", 29.2, 30.6, -93.6, -90.0)
    for seed in range(3):
        a = alter(source(seed), kind, np.random.default_rng(seed), tight)
        if a is not None:
            assert a.lat.min() >= tight.lat_min
            assert a.lat.max() < tight.lat_max
            assert a.lon.min() >= tight.lon_min
            assert a.lon.max() < tight.lon_max


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_makes_the_same_anomaly(kind):
    one, two = altered(kind, 4)[2], altered(kind, 4)[2]
    assert all(np.array_equal(x, y, equal_nan=True) for x, y in zip(one, two, strict=True))


def test_a_track_that_is_too_short_or_at_rest_carries_nothing():
    rng = np.random.default_rng(0)
    for kind in KINDS:
        assert alter(source(hours=3.0), kind, rng) is None
        assert alter(source(knots=0.2), kind, rng) is None


def fleet() -> np.ndarray:
    parts = []
    for k in range(5):
        s = source(k, knots=7.0 + k)
        r = np.zeros(len(s.t), REPORT_DTYPE)
        r["mmsi"] = 366_000_000 + k
        for name in ("t", "lat", "lon", "sog", "cog", "heading"):
            r[name] = getattr(s, name)
        r["nav_status"] = r["msg_type"] = r["ship_type"] = -1
        parts.append(r)
    parts[2]["lat"][300] += 0.5  # one displaced report
    return np.random.default_rng(1).permutation(np.concatenate(parts))


def test_the_table_holds_every_clean_track_as_it_came_and_the_copies_beside():
    reports = fleet()
    tracks = clean_tracks(reports, TrackRules(), BOX)
    rows, made = labelled(tracks, 3, seed=1, region=BOX)
    clean = rows[rows["kind"] == "clean"]
    assert len(clean) == len(reports)  # the displaced one too
    assert not clean["abnormal"].any()
    assert len(np.unique(clean["track_id"])) == 5
    assert made == dict.fromkeys(KINDS, 3)
    for kind in KINDS:
        mine = rows[rows["kind"] == kind]
        ids = np.unique(mine["track_id"])
        assert len(ids) == 3
        assert all(mine["abnormal"][mine["track_id"] == i].any() for i in ids)
    leaps = np.flatnonzero((np.abs(np.diff(rows["lat"])) > 0.4) & (rows["track_id"][1:] == rows["track_id"][:-1]))
    assert set(rows["kind"][leaps]) == {
        "clean"
    }  # jumps of these seeds are shorter; a copy has not inherited the displaced one


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=3), st.integers(500, 4000))
def test_tracks_on_disk_and_a_table_written_by_parts_are_those_in_memory(cuts, rows_at_once):
    """The archive is cut between vessels, and its last vessels come first."""
    reports = np.sort(fleet(), order=("mmsi", "t"))
    parts = np.split(reports, np.searchsorted(reports["mmsi"], 366_000_000 + np.sort(cuts)))
    want = clean_tracks(reports, TrackRules(), BOX)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr("multitaskais.evaluation.altered.ROWS_AT_ONCE", rows_at_once)
        stored = CleanTracks(Path(name) / "tracks")
        for part in reversed(parts):
            stored.add(clean_tracks(part, TrackRules(), BOX))
        stored.finish()
        assert [t.tobytes() for t in stored] == [t.tobytes() for t in want]
        rows, made = labelled(want, 2, 3, BOX)
        n, made_by_parts = write_altered(stored, 2, 3, BOX, tuple(KINDS), Path(name) / "a.parquet")
        write_labelled(rows, Path(name) / "b.parquet")
        assert (n, made_by_parts) == (len(rows), made)
        assert [p.name for p in Path(name).glob("*a.parquet")] == ["a.parquet"]
        ours, theirs = (pq.read_table(Path(name) / f).to_pydict() for f in ("a.parquet", "b.parquet"))
        assert repr(ours) == repr(theirs)  # NaN is no NaN
        stored.keep(np.array([1, 3]))
        assert [t.tobytes() for t in stored] == [want[1].tobytes(), want[3].tobytes()]


def test_kinds_do_not_disturb_each_other():
    tracks = clean_tracks(fleet(), TrackRules(), BOX)
    all_, _ = labelled(tracks, 2, 3, BOX)
    one, _ = labelled(tracks, 2, 3, BOX, kinds=("drift",))
    assert np.array_equal(all_["lat"][all_["kind"] == "drift"], one["lat"][one["kind"] == "drift"])


def test_more_copies_than_tracks_go_through_the_tracks_again():
    tracks = clean_tracks(fleet(), TrackRules(), BOX)
    rows, made = labelled(tracks, 12, 3, BOX, kinds=("slow",))
    slow = rows[rows["kind"] == "slow"]
    assert made["slow"] == 12
    assert len(np.unique(slow["track_id"])) == 12


def test_the_command_writes_the_contract_s_columns(tmp_path, capsys):
    day = tmp_path / "day.csv"
    lines = ["MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading"]
    for r in np.sort(fleet(), order=("mmsi", "t")):
        when = np.datetime64(int(r["t"]), "s")
        lines.append(
            f"{r['mmsi']},{when},{r['lat']:.5f},{r['lon']:.5f},{r['sog']:.1f},{r['cog']:.1f},{r['heading']:.0f}"
        )
    day.write_text("\n".join(lines) + "\n")
    out = tmp_path / "labelled.parquet"
    assert (
        main(["inject", str(day), "--region", "gulf", "--seed", "2", "--per-kind", "2", "--out", str(out), "--json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["clean_tracks"] == 5
    names = pq.read_schema(out).names
    assert {"track_id", "mmsi", "t", "lat", "lon", "sog", "cog", "kind", "abnormal"} <= set(names)


def test_an_unknown_kind_and_an_archive_without_tracks_are_one_line_errors(tmp_path, capsys):
    day = tmp_path / "day.csv"
    day.write_text("MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading\n366000000,2020-01-01T00:00:00,29.1,-93.2,5.0,90.0,90\n")
    common = ["inject", str(day), "--seed", "1", "--out", str(tmp_path / "x.parquet")]
    assert main([*common, "--kinds", "teleport"]) == 2
    assert "give some of shift_2km" in capsys.readouterr().err
    assert main(common) == 2
    assert "no track is long enough" in capsys.readouterr().err


def test_missing_values_are_written_as_null(tmp_path):
    tracks = clean_tracks(fleet(), TrackRules(), BOX)
    rows, _ = labelled(tracks, 1, 0, BOX, kinds=("spoof",))
    rows["heading"][:7] = np.nan
    write_labelled(rows, tmp_path / "t.parquet")
    assert pq.read_table(tmp_path / "t.parquet")["heading"].null_count == 7

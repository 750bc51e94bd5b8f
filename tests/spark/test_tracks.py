"""Laws of archives -> Parquet tracks, through a real Spark."""

from __future__ import annotations

import gzip
import json
import math
import os
import subprocess
import sys
import time
import zipfile
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multitaskais.ais.archives import read_reports
from multitaskais.config import REGIONS, TrackRules
from multitaskais.errors import FormatError, InputError
from multitaskais.records import Reason
from multitaskais.tracks.quality import screen
from multitaskais.tracks.tracker import Accepted, Rejected, VesselTracker
from tests.spark.conftest import BRITTANY, tracks_in, write_archive, write_lines
from tests.support.builders import MMSI, T0, fleet, merged, moved, sail

RULES = TrackRules()
NEW_YEAR_2018 = 1_514_764_800.0


def live(reports):
    """(mmsi, t, lat, lon) -> (track id, line, code) as the live tracker says, fed one report at a time; and counts of rejections."""
    codes = screen(reports, BRITTANY, RULES)
    rejected = Counter()
    out = []
    for mmsi in np.unique(reports["mmsi"][codes == 0]).tolist():
        tracker = VesselTracker()
        mine = reports[(codes == 0) & (reports["mmsi"] == mmsi)]
        events = [e for r in mine.tolist() for e in tracker.offer(r, RULES)] + tracker.flush(RULES, math.inf)
        for e in events:
            if isinstance(e, Accepted):
                out.append((mmsi, *e.report[1:4], e.track_id, e.target))
            elif isinstance(e, Rejected):
                rejected[str(e.reason)] += 1
    return sorted(out), rejected


def rows(table):
    """The reports of tracks in the form of ``live``."""
    kept = table.filter(pa.compute.is_null(table["left_out"]))
    return sorted(zip(*(kept[c].to_pylist() for c in ("mmsi", "t", "lat", "lon", "track_id", "line")), strict=True))


def lively():
    """A fleet with every rule in it: jumps, a ship that is followed, two ships on one MMSI, gaps, cuts, duplicates, border crossings."""
    ships = fleet(3, vessels=6, hours=5)
    jump = sail(300, mmsi=227_000_101, lat=48.5)
    jump["lat"][100] += 0.3
    follow = sail(300, mmsi=227_000_102, lat=48.2)
    follow["lon"][150:] += 0.4
    two = merged(sail(300, 30.0, mmsi=227_000_103), moved(sail(300, 30.0, mmsi=227_000_103, t=T0 + 11), north_m=40_000))
    # on another line after the gap: the same transmissions within a day would be copies
    gap = np.concatenate([sail(60, mmsi=227_000_104), sail(60, mmsi=227_000_104, t=T0 + 4 * 3600, lat=48.05)])
    long = sail(700, 240.0, mmsi=227_000_105, lat=47.6, sog=1.0)
    doubled = np.repeat(sail(100, mmsi=227_000_106), 2)
    leaver = sail(300, 120.0, mmsi=227_000_107, lat=49.2, sog=20.0)
    return merged(ships, jump, follow, two, gap, long, doubled, leaver)


def test_tracks_are_those_of_the_live_tracker(build, tmp_path):
    pattern = write_archive(tmp_path / "in", lively())
    reports = np.concatenate([b.reports for b in read_reports(sorted((tmp_path / "in").rglob("*.cdv")))])
    summary, table = build(pattern)
    expected, rejected = live(reports)
    assert rows(table) == expected
    assert summary.kept == len(expected)
    assert summary.tracks == len({row[4] for row in expected})
    for reason in (Reason.DISPLACED, Reason.DUPLICATE):
        assert summary.rejected.get(str(reason), 0) == rejected[str(reason)] > 0


def test_displaced_reports_are_kept_as_evidence_and_named(build, tmp_path):
    ship = sail(100)
    ship["lat"][50] += 0.3
    summary, table = build(write_lines(tmp_path / "a.cdv", ship))
    left_out = table.filter(pa.compute.equal(table["left_out"], "displaced")).to_pylist()
    assert [r["t"] for r in left_out] == [ship["t"][50]]
    assert left_out[0]["track_id"] == table["track_id"][0].as_py()
    assert summary.rejected == {"displaced": 1}
    assert summary.kept == 99


def test_in_equals_kept_and_rejected_by_reason(build, tmp_path):
    lines = [
        b"2017/07/14 03:00:00 !AIVDM,1,1,,A,13JEhD7P1>w`ApbK`Q8K??w22@CD,0*13",  # checksum
        b"2017/07/14 03:00:00 hello",
        b"2017/99/99 03:00:00 !AIVDM,1,1,,A,13JEhD7P1>w`ApbK`Q8K??w22@CD,0*12",
        b"\xff\xfe\x00",
        b"2017/07/14 03:00:00 !AIVDM,2,1,3,A,55NMbJ400001L@K;OK@hP,0*22",
    ]
    ships = merged(sail(50), sail(50, mmsi=227_000_002, lat=60.0), sail(50, mmsi=227_000_003, sog=40.0))
    summary, table = build(write_lines(tmp_path / "a.cdv", ships, lines))
    assert summary.lines_in == 155
    assert summary.lines_in == summary.kept + sum(summary.rejected.values())
    assert summary.kept == len(table) == 50
    assert summary.rejected["out_of_region"] == 50
    assert summary.rejected["too_fast"] == 50
    assert summary.rejected["checksum"] >= 1


def test_a_bad_line_is_shown_with_file_number_and_reason(build, tmp_path):
    bad = b"2017/07/14 03:00:00 !AIVDM,1,1,,A,13JEhD7P1>w`ApbK`Q8K??w22@CD,0*13"
    path = write_lines(tmp_path / "bad.cdv", sail(20), [bad])
    build(path)
    shown = [json.loads(line) for line in (tmp_path / "out" / "_rejects.jsonl").read_text().splitlines()]
    assert shown == [{"file": str(path), "line": 21, "reason": "checksum", "text": bad.decode()}]


def test_the_number_of_a_bad_line_counts_from_the_files_beginning_in_any_block(build, spark, tmp_path):
    path = write_lines(tmp_path / "bad.cdv", sail(3000, 5.0, sog=1.0), [b"garbage"])
    before = spark.conf.get("spark.sql.files.maxPartitionBytes")
    try:
        spark.conf.set("spark.sql.files.maxPartitionBytes", "50000")
        from tracks_builder import job

        defaults, job.DEFAULTS = job.DEFAULTS, {}
        build(path)
    finally:
        job.DEFAULTS = defaults
        spark.conf.set("spark.sql.files.maxPartitionBytes", before)
    shown = [json.loads(line) for line in (tmp_path / "out" / "_rejects.jsonl").read_text().splitlines()]
    assert [(r["line"], r["reason"]) for r in shown] == [(3001, "not_ais")]


def test_running_again_replaces_and_never_doubles(build, tmp_path):
    pattern = write_archive(tmp_path / "in", fleet(1, vessels=4, hours=3))
    first, table = build(pattern)
    inode = os.stat(tmp_path / "out").st_ino
    second, again = build(pattern)
    assert again.equals(table)
    assert first.kept == second.kept
    assert os.stat(tmp_path / "out").st_ino == inode  # the folder may be a mount


def test_a_year_is_redone_alone(build, tmp_path):
    ship = sail(700, 600.0, t=NEW_YEAR_2018 - 350 * 600.0, sog=0.6)
    other = np.concatenate(
        [sail(100, mmsi=227_000_009, t=NEW_YEAR_2018 - 9000.0), sail(100, mmsi=227_000_009, t=NEW_YEAR_2018 + 86400)]
    )
    pattern = write_archive(tmp_path / "in", merged(ship, other))
    _, whole = build(pattern)
    assert set(whole["year"].to_pylist()) == {2017, 2018}
    (tmp_path / "out" / "year=2018" / "stale.txt").write_text("left from before")
    untouched = sorted((p.name, p.stat().st_mtime_ns) for p in (tmp_path / "out" / "year=2017").iterdir())
    summary, again = build(pattern, year=2018)
    assert untouched == sorted((p.name, p.stat().st_mtime_ns) for p in (tmp_path / "out" / "year=2017").iterdir())
    assert not (tmp_path / "out" / "year=2018" / "stale.txt").exists()
    assert summary.lines_in == summary.kept + sum(summary.rejected.values())
    keys = [tuple(r[c] for c in ("mmsi", "t")) for r in again.to_pylist()]
    assert len(keys) == len(set(keys)) == len(whole)  # nothing lost at New Year, nothing twice
    assert again.drop_columns(["line"]).equals(whole.drop_columns(["line"]))


def test_a_pattern_without_a_file_is_an_error_of_one_line(build, tmp_path):
    write_lines(tmp_path / "a.cdv", sail(20))
    with pytest.raises(InputError, match=r"nothing-here.*matches nothing"):
        build(tmp_path / "a.cdv", tmp_path / "nothing-here" / "*.cdv")


def test_an_unknown_format_is_an_error_that_lists_the_known(build, tmp_path):
    write_lines(tmp_path / "a.cdv", sail(20))
    with pytest.raises(FormatError, match="give one of cdv"):
        build(tmp_path / "a.cdv", archive_format="cvd")


def test_an_archive_in_which_nothing_is_usable_gives_no_track_and_says_why(build, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"nothing of use\n" * 5)
    summary, table = build(tmp_path / "a.txt")
    assert summary.rejected == {"not_ais": 5}
    assert len(table) == summary.tracks == 0
    assert [p.name for p in (tmp_path / "out").iterdir() if p.name.startswith("year")] == []


def test_plain_gzip_zip_and_csv_give_the_same_tracks(build, tmp_path):
    ships = fleet(2, vessels=4, hours=3)
    ships["t"] = np.floor(ships["t"])
    plain = write_lines(tmp_path / "a.cdv", ships)
    (tmp_path / "a.cdv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        z.write(plain, "2017/a.cdv")
    stamps = [time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t)) for t in ships["t"].tolist()]
    header = "MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselName,VesselType,Status"
    body = [
        f"{r['mmsi']},{when},{r['lat']:.6f},{r['lon']:.6f},{r['sog']},{360.0 if np.isnan(r['cog']) else r['cog']},511,"
        f"{r['ship_name'].decode()},{r['ship_type']},{r['nav_status']}"
        for r, when in zip(ships, stamps, strict=True)
    ]
    (tmp_path / "a.csv").write_text("\n".join([header, *body]) + "\n")
    _, expected = build(plain, output=tmp_path / "plain")
    facts = ["track_id", "mmsi", "t", "sog", "cog", "left_out"]
    for name in ("a.cdv.gz", "a.zip", "a.csv"):
        summary, table = build(tmp_path / name, output=tmp_path / f"out-{name}")
        assert summary.lines_in == len(ships), name
        assert table.select(facts).equals(expected.select(facts)), name
        assert np.abs(table["lat"].to_numpy() - expected["lat"].to_numpy()).max() < 2e-6, name
    assert set(table["ship_name"].to_pylist()) == {f"SHIP {i}" for i in range(4)}


def test_parquet_archives_are_read(build, tmp_path):
    ship = sail(100)
    columns = {"MMSI": ship["mmsi"], "BaseDateTime": ship["t"].astype("datetime64[s]").astype("datetime64[us]")}
    columns |= {"LAT": ship["lat"], "LON": ship["lon"], "SOG": ship["sog"], "COG": ship["cog"]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    summary, table = build(tmp_path / "a.parquet")
    assert summary.kept == len(table) == 100
    assert table["t"].to_pylist() == ship["t"].tolist()


def test_tracks_can_be_read_back_as_reports(build, tmp_path):
    ship = fleet(5, vessels=2, hours=2)
    _, table = build(write_archive(tmp_path / "in", ship))
    files = sorted((tmp_path / "out").rglob("*.parquet"))
    back = np.concatenate([b.reports for b in read_reports([str(f) for f in files], "tracks")])
    assert len(back) == len(table)
    back = back[np.lexsort((back["t"], back["mmsi"]))]
    assert np.array_equal(back["t"], table["t"].to_numpy())
    assert np.array_equal(back["cog"], table["cog"].to_numpy(), equal_nan=True)
    assert set(back["ship_name"].tolist()) == {b"SHIP 0", b"SHIP 1"}


def test_the_whole_world_is_taken_by_the_global_profile(build, tmp_path):
    ship = sail(100, lat=10.0, lon=120.0)
    summary, _ = build(write_lines(tmp_path / "a.cdv", ship), region=REGIONS["global"])
    assert summary.kept == 100


def test_the_schema_is_the_documented_one(build, tmp_path):
    from pathlib import Path

    from tracks_builder.schemas import TRACKS_SCHEMA

    _, table = build(write_lines(tmp_path / "a.cdv", sail(20)))
    assert set(table.column_names) == set(TRACKS_SCHEMA.names)
    text = (Path(__file__).parents[2] / "docs" / "tracks.md").read_text()
    for column in TRACKS_SCHEMA:
        assert f"| `{column.name}` | {column.dataType.simpleString()} |" in text


@pytest.mark.parametrize("zone", [pytest.param("UTC", marks=pytest.mark.slow), "America/St_Johns"])
def test_the_machines_time_zone_changes_nothing(zone, tmp_path):
    """The script as it is run by hand, in a process of its own."""
    path = write_lines(tmp_path / "a.cdv", sail(30))
    env = os.environ | {
        "TZ": zone,
        "PYSPARK_SUBMIT_ARGS": "--conf spark.ui.enabled=false --driver-memory 512m pyspark-shell",
    }
    script = os.path.join(os.path.dirname(__file__), "..", "..", "tracks_builder", "main.py")
    done = subprocess.run(
        [sys.executable, script, str(path), "brittany", "--output", str(tmp_path / "out"), "--json"],
        env=env,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kept"] == 30
    table = tracks_in(tmp_path / "out")
    assert set(table["track_id"].to_pylist()) == {f"{MMSI}-20170714T024000Z"}
    assert table["t"][0].as_py() == T0

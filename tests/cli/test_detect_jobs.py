"""``detect`` over an archive in parts: the files are those of one fold over all of it in memory."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from multitaskais import cli
from multitaskais.config import REGIONS
from multitaskais.engine import batch
from multitaskais.evaluation import archive_input, archive_run
from multitaskais.evaluation.alert_files import order_of
from multitaskais.export import to_geojson
from multitaskais.model import folder as modelfolder
from multitaskais.model.samples import load_reports
from multitaskais.records import REPORT_DTYPE, Reason
from multitaskais.simulate import SimulationSettings, simulate
from multitaskais.simulate.archive import write_parquet
from multitaskais.tracks import shuffle
from multitaskais.tracks.shuffle import Shuffle
from multitaskais.zones.zone import read_zones_file
from tests.cli.test_detect_zones import zones
from tests.support.builders import merged, sail

FIRST_DAY = datetime(2025, 12, 30, tzinfo=UTC).timestamp()  # midnights, and the end of a year


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Three days of ships in two files, the later one first and neither in order of time."""
    folder = tmp_path_factory.mktemp("archive")
    rng = np.random.default_rng(5)
    reports = simulate(REGIONS["brittany"], SimulationSettings(FIRST_DAY, 3, 6, 3), rng).reports
    bad = reports[rng.choice(len(reports), 200)].copy()
    bad["mmsi"][:50], bad["sog"][50:100], bad["lat"][100:150], bad["sog"][150:] = 992_351_000, 90.0, 60.0, np.nan
    reports = np.concatenate([reports, bad])
    reports = reports[rng.permutation(len(reports))]
    late = reports["t"] > FIRST_DAY + 2 * 86400
    write_parquet(reports[late], folder / "a.parquet")
    write_parquet(reports[~late], folder / "b.parquet")
    return folder


@pytest.fixture(scope="module")
def want(archive, tmp_path_factory):
    """In memory: (revisions in order, verdict rows, GeoJSON features by id, counts)."""
    area = zones(tmp_path_factory.mktemp("zones"))
    model = modelfolder.load("brittany")
    reports, counts = load_reports(str(archive), None)
    result = batch.run(model, reports, trace=True)
    together = batch.run_fleet(model, reports, read_zones_file(Path(area)))
    revisions = [a.as_dict() for a in (*result.alerts, *together.alerts)]
    assert {"zone"} < {a["alert_type"] for a in revisions}
    days = {datetime.fromtimestamp(a["decided_at"], UTC).date() for a in revisions}
    assert len({d.year for d in days}) == 2
    features = {f["id"]: f for f in to_geojson(revisions, reports, {})["features"]}
    counts.accepted, counts.rejected = result.counts.accepted, result.counts.rejected
    return area, sorted(revisions, key=order_of), batch.track_verdicts(result), features, counts


def check(out, want):
    _, revisions, verdicts, features, _ = want
    assert (out / "alerts.jsonl").read_text() == "".join(json.dumps(a) + "\n" for a in revisions)
    rows = [tuple(r.values()) for r in pq.read_table(out / "verdicts.parquet").to_pylist()]
    assert rows == [tuple(v) for v in verdicts]
    got = json.loads((out / "alerts.geojson").read_text())["features"]
    assert {f["id"]: f for f in got} == features
    assert len(got) == len(features)
    table = pq.read_table(out / "alerts.parquet")
    for row, feature in zip(table.to_pylist(), got, strict=True):
        shape = shapely.from_wkb(row.pop("geometry"))
        assert shape.equals(shapely.geometry.shape(feature["geometry"]))
        properties = {"partner": None, "zone": None} | feature["properties"]
        assert {**row, "kind": None} == properties
    # GeoParquet 1.1, read by its own specification
    geo = json.loads(table.schema.metadata[b"geo"])
    shapes = [shapely.from_wkb(g) for g in table["geometry"].to_pylist()]
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    column = geo["columns"]["geometry"]
    assert column["encoding"] == "WKB"
    assert column["geometry_types"] == sorted({s.geom_type for s in shapes})
    assert column["bbox"] == list(shapely.total_bounds(shapes))
    summary = json.loads((out / "summary.json").read_text())
    for periods in (summary["months"], summary["years"]):
        assert sum(p["tracks"] for p in periods.values()) == len(verdicts)
        alerts = [n for p in periods.values() for n in p["alerts"].values()]
        assert sum(alerts) == sum(a["status"] == "raised" for a in revisions)
    assert list(summary["years"]) == ["2025", "2026"]
    assert (out / "summary.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("jobs", [1, 2])
def test_any_number_of_processes_writes_what_one_fold_in_memory_finds(
    jobs, archive, want, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(shuffle, "BUFFERED_ROWS", 5_000)
    out = tmp_path / "out"
    command = ["detect", str(archive), "--model", "brittany", "--out", str(out), "--zones", want[0], "--json"]
    assert cli.main([*command, "--jobs", str(jobs)]) == 0
    check(out, want)
    said = json.loads(capsys.readouterr().out)
    counts = want[4]
    assert said["received"] == counts.received == said["accepted"] + sum(said["rejected"].values())
    assert said["rejected"] == {str(r): n for r, n in sorted(counts.rejected.items())}
    assert said["revisions"] == len(want[1])
    assert not (out / ".detect").exists()


def test_a_run_that_was_killed_goes_on_with_the_parts_that_are_left(archive, want, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    command = ["detect", str(archive), "--model", "brittany", "--out", str(out), "--zones", want[0], "--json"]
    monkeypatch.setattr(archive_run, "PART_ROWS", 2_000)
    judge, judged = archive_run.judge_part, []

    def stop_at_the_third(model, shuffle, name, *rest):
        if len(judged) == 2:
            raise KeyboardInterrupt
        judged.append(name)
        judge(model, shuffle, name, *rest)

    monkeypatch.setattr(archive_run, "judge_part", stop_at_the_third)
    assert cli.main(command) == 130
    done = sorted((out / ".detect" / "multitaskais-shuffle" / "parts").glob("part-*.json"))
    assert len(done) == 2
    times = [p.stat().st_mtime_ns for p in done]
    seen = []

    def note(model, shuffle, name, *rest):
        seen.append(name)
        assert [p.stat().st_mtime_ns for p in done] == times
        judge(model, shuffle, name, *rest)

    monkeypatch.setattr(archive_run, "judge_part", note)
    capsys.readouterr()
    assert cli.main([*command, "--resume"]) == 0
    assert seen
    assert not set(seen) & set(judged)
    check(out, want)


def reports_of(rows):
    reports = np.zeros(len(rows), REPORT_DTYPE)
    reports["mmsi"], reports["t"] = [227_000_000 + m for m, _ in rows], [FIRST_DAY + t for _, t in rows]
    reports["lon"] = np.arange(len(rows))  # who is who
    for name in ("lat", "sog", "cog", "heading"):
        reports[name] = np.nan
    reports["ship_name"] = [b"A\0B"[: i % 4] for i in range(len(rows))]
    return reports


ROWS = st.lists(st.tuples(st.integers(0, 40), st.integers(-200_000, 200_000)), max_size=60)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(1, 20), st.integers(1, 30), st.integers(1, 30), st.integers(1, 5))
def test_a_shuffle_gives_back_every_report_in_order_however_full_it_is(rows, waiting, full, cut, bins):
    reports = reports_of(rows)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "BUFFERED_ROWS", waiting)
        patch.setattr(shuffle, "DAY_ROWS", full)
        made = Shuffle.create(Path(folder) / "s", bins)
        for start in range(0, len(reports), cut):
            made.add(reports[start : start + cut])
        made.finish()
        held = Shuffle.open(Path(folder) / "s")
        empty = [reports[:0]]
        in_order = reports[np.lexsort((reports["mmsi"], reports["t"]))]
        assert np.concatenate([*empty, *held.runs()]).tobytes() == in_order.tobytes()
        own = shuffle.bin_of(in_order["mmsi"], bins)
        for b in range(bins):
            assert np.concatenate([*empty, *held.runs([b])]).tobytes() == in_order[own == b].tobytes()
            assert held.in_bins([b]) == (own == b).sum()
        patch.setattr(shuffle, "VESSEL_ROWS", full)
        vessels = list(held.whole_vessels())
        seen = [m for part in vessels for m in np.unique(part["mmsi"]).tolist()]
        assert len(seen) == len(set(seen)), "a vessel stands in one array"
        together = np.concatenate([*empty, *vessels])
        by_vessel = reports[np.lexsort((reports["t"], reports["mmsi"]))]
        assert together[np.argsort(together["mmsi"], kind="stable")].tobytes() == by_vessel.tobytes()
        within = (in_order["t"] >= FIRST_DAY) & (in_order["t"] <= FIRST_DAY + 3600)
        some = np.concatenate([*empty, *held.runs(None, (FIRST_DAY, FIRST_DAY + 3600))])
        assert set(in_order[within]["lon"]) <= set(some["lon"])


@settings(max_examples=40, deadline=None)
@given(ROWS, st.integers(1, 20), st.integers(1, 5), st.integers(1, 4))
def test_what_is_taken_out_of_a_shuffle_is_chosen_among_all_of_a_vessels_reports_and_the_rest_stays(
    rows, waiting, bins, every
):
    reports = reports_of(rows)

    def repeats(mine):
        """All but the first of each vessel, of those that ``every`` chooses."""
        order = np.lexsort((mine["t"], mine["mmsi"]))
        later = np.zeros(len(mine), bool)
        later[order[1:]] = mine["mmsi"][order[1:]] == mine["mmsi"][order[:-1]]
        return later & (mine["lon"] % every == 0)

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "BUFFERED_ROWS", waiting)
        patch.setattr(shuffle, "VESSEL_ROWS", 3 * every)
        made = Shuffle.create(Path(folder) / "s", bins)
        made.add(reports)
        made.finish()
        in_order = reports[np.lexsort((reports["mmsi"], reports["t"]))]
        out = repeats(in_order)
        assert made.drop(repeats) == out.sum()
        left = in_order[~out]
        for held in (made, Shuffle.open(Path(folder) / "s")):
            assert np.concatenate([reports[:0], *held.runs()]).tobytes() == left.tobytes()
            assert len(held) == len(left)
            assert made.drop(lambda mine: np.zeros(len(mine), bool)) == 0


@pytest.mark.parametrize("bins", [1, 7, 300])
def test_of_whole_vessels_not_much_more_is_held_than_what_is_named(bins, tmp_path, monkeypatch):
    monkeypatch.setattr(shuffle, "VESSEL_ROWS", 1_000)
    reports = reports_of([(ship, 1_000 * k) for k in range(50) for ship in range(400)])
    made = Shuffle.create(tmp_path / "s", bins)
    made.add(reports)
    made.finish()
    asked = []
    made.drop(lambda mine: np.zeros(len(mine), bool) if asked.append(len(mine)) is None else mine)
    given = [len(part) for part in made.whole_vessels()]
    assert sum(asked) == sum(given) == len(reports)
    assert max(asked + given) <= 2_500
    assert bins > 20 or len(given) <= 60, "nor is it read in crumbs"


def test_a_transmission_that_comes_again_hours_later_counts_once_however_the_archive_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(shuffle, "BUFFERED_ROWS", 50)
    ships = [sail(200, 60.0, mmsi=227_000_001 + i, t=FIRST_DAY + 80_000.0 + i) for i in range(3)]  # over midnight
    reports = merged(*ships)
    reports["second"] = reports["t"] % 60
    copies = reports[3::7].copy()  # the first three lie on full minutes, where equal positions prove nothing
    copies["t"] += 3 * 3600.0
    table = merged(reports, copies)
    pq.write_table(
        pa.table({name: table[name] for name in REPORT_DTYPE.names if table[name].dtype.kind != "S"}),
        tmp_path / "a.parquet",
    )
    model = modelfolder.load("brittany")
    read = archive_input.read(
        [str(tmp_path / "a.parquet")], None, None, model, tmp_path / "w", "x", 4, 1, lambda n: None
    )
    assert read.counts.rejected == {Reason.DUPLICATE: len(copies)}
    assert read.counts.received == len(table) == read.counts.accepted + len(copies)
    held = np.concatenate(list(Shuffle.open(tmp_path / "w" / archive_input.SHUFFLE).runs()))
    want, _ = load_reports(str(tmp_path / "a.parquet"), None)
    assert held.tobytes() == want[np.lexsort((want["mmsi"], want["t"]))].tobytes()


def test_another_input_is_not_gone_on_with_and_a_folder_of_others_is_not_removed(archive, tmp_path, capsys):
    temp = tmp_path / "mine"
    temp.mkdir()
    (temp / "thesis.txt").write_text("mine")
    command = ["detect", str(archive), "--model", "brittany", "--out", str(tmp_path / "out"), "--temp", str(temp)]
    assert cli.main([*command, "--json"]) == 2
    assert "thesis.txt" in capsys.readouterr().err
    assert (temp / "thesis.txt").read_text() == "mine"
    first = archive_input.fingerprint([str(archive / "a.parquet")], None, None, "m-1", "numpy", None)
    assert first != archive_input.fingerprint([str(archive / "b.parquet")], None, None, "m-1", "numpy", None)
    assert first != archive_input.fingerprint([str(archive / "a.parquet")], None, None, "m-2", "numpy", None)
    assert archive_input.finished(temp, first) is None

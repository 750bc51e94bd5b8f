"""Detection by Spark: what ``multitaskais detect`` finds in the same tracks, for any number of tasks."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from multitaskais import cli
from multitaskais.errors import ConfigError, InputError
from multitaskais.model import folder as modelfolder
from multitaskais.simulate import SimulationSettings, simulate
from tests.cli.test_detect_zones import zones
from tests.spark.conftest import BRITTANY, write_archive
from tests.support import small_model
from tests.support.builders import merged, sail

NEW_YEAR_2018 = 1_514_764_800.0


@pytest.fixture(scope="module")
def tracks(spark, tmp_path_factory):
    """Tracks of some ships on the last day of a year and the first of the next, built by the job; some are 20 km away in the same minutes,
    since the clock of a station is wrong, and one alone later."""
    from tracks_builder.job import Job, run

    folder = tmp_path_factory.mktemp("years")
    settings = SimulationSettings(NEW_YEAR_2018 - 86400, 2, 8, 4)
    reports = simulate(BRITTANY, settings, np.random.default_rng(2)).reports
    fleet = [sail(60, 120.0, mmsi=227_000_001 + i, t=NEW_YEAR_2018 + 7.0 * i, lon=-7.0) for i in range(36)]
    for ship in fleet[:6]:
        ship["lat"][30:35] += 0.2
    fleet[7]["lat"][40:50] += 0.3
    reports = merged(reports, *fleet)
    run(spark, Job((write_archive(folder / "archive", reports),), BRITTANY, str(folder / "tracks")))
    assert {p.name for p in (folder / "tracks").glob("year=*")} == {"year=2017", "year=2018"}
    return folder / "tracks"


@pytest.fixture(scope="module")
def want(tracks, tmp_path_factory):
    """What the command finds on one machine: (folder, zones)."""
    folder = tmp_path_factory.mktemp("want")
    area = zones(folder)
    command = ["detect", str(tracks), "--model", "brittany", "--out", str(folder / "out"), "--zones", area, "--json"]
    assert cli.main(command) == 0
    assert (folder / "out" / "alerts.jsonl").read_text().count("\n") > 5
    assert json.loads((folder / "out" / "summary.json").read_text())["station_clocks"] >= 1
    return folder / "out", area


@pytest.mark.parametrize("partitions", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_any_number_of_tasks_finds_what_the_command_finds_on_one_machine(partitions, spark, tracks, want, tmp_path):
    from tracks_builder.detect import Detection, run

    expected, area = want
    said = run(spark, Detection(str(tracks), "brittany", str(tmp_path), Path(area), partitions))
    first, last = (
        ds.dataset(str(tmp_path / "judged" / part), partitioning="hive").to_table()["what"].to_pylist()
        for part in ("first", "last")
    )
    assert {"alert", "verdict", "special", "spans"} == set(first)
    assert {"alert", "verdict", "clock"} == set(last)
    for name in ("alerts.jsonl", "alerts.geojson"):
        assert (tmp_path / name).read_bytes() == (expected / name).read_bytes()
    assert pq.read_table(tmp_path / "alerts.parquet").equals(pq.read_table(expected / "alerts.parquet"))
    rows = ds.dataset(str(tmp_path / "verdicts"), partitioning="hive").to_table()
    assert set(rows["year"].to_pylist()) == {2017, 2018}
    rows = rows.drop_columns("year").sort_by("track_id")
    assert rows.to_pylist() == pq.read_table(expected / "verdicts.parquet").to_pylist()
    ours, theirs = (json.loads((f / "summary.json").read_text()) for f in (tmp_path, expected))
    assert theirs == ours
    assert ours["first"] < ours["last"]
    assert said.items() <= ours.items()


def test_a_resumed_run_judges_nothing_again_and_a_model_folder_is_brought_to_the_tasks(spark, tracks, tmp_path):
    from tracks_builder.detect import Detection, run

    modelfolder.save(small_model.model(), tmp_path / "lane")
    job = Detection(str(tracks), str(tmp_path / "lane"), str(tmp_path / "out"), None, 2, True)
    first = run(spark, job)
    alerts = (tmp_path / "out" / "alerts.jsonl").read_bytes()
    judged = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "judged").rglob("*.parquet")}
    assert run(spark, job) == first
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "judged").rglob("*.parquet")} == judged
    assert (tmp_path / "out" / "alerts.jsonl").read_bytes() == alerts


def test_a_resumed_run_of_another_model_other_tracks_or_other_zones_is_refused_in_one_line(spark, tracks, tmp_path):
    from tracks_builder.detect import Detection, run

    modelfolder.save(small_model.model(), tmp_path / "lane")
    mine = shutil.copytree(tracks / "year=2017", tmp_path / "tracks" / "year=2017").parent
    area = Path(zones(tmp_path))
    job = Detection(str(mine), str(tmp_path / "lane"), str(tmp_path / "out"), area, 1)
    said = run(spark, job)
    again = dataclasses.replace(job, resume=True, partitions=2)
    assert run(spark, again) == said
    before = (tmp_path / "out" / "alerts.jsonl").read_bytes()
    for change, told in (({"model": "brittany"}, "another model:"), ({"zones": None}, "another --zones:")):
        with pytest.raises(ConfigError, match=told) as raised:
            run(spark, dataclasses.replace(again, **change))
        assert "\n" not in str(raised.value)
    file = next(mine.rglob("*.parquet"))
    pq.write_table(pq.read_table(file).slice(1), file)
    with pytest.raises(ConfigError, match="another state of the tracks"):
        run(spark, again)
    assert (tmp_path / "out" / "alerts.jsonl").read_bytes() == before


def test_what_is_no_folder_of_tracks_is_one_line(spark, tracks, tmp_path):
    from tracks_builder.detect import Detection, run

    with pytest.raises(InputError, match="no built tracks"):
        run(spark, Detection(str(tmp_path / "none"), "brittany", str(tmp_path / "out")))
    pq.write_table(
        pq.read_table(next(tracks.rglob("*.parquet"))).select(["mmsi", "t"]).replace_schema_metadata(),
        tmp_path / "other.parquet",
    )
    with pytest.raises(InputError, match="no column 'cog'"):
        run(spark, Detection(str(tmp_path / "other.parquet"), "brittany", str(tmp_path / "out")))
    with pytest.raises(ConfigError, match="in the folder of the tracks"):
        run(spark, Detection(str(tracks), "brittany", str(tracks / "found")))
    with pytest.raises(ConfigError, match="at least 1"):
        Detection("a", "b", "c", None, 0)

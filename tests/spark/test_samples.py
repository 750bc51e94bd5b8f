"""Samples by Spark: those of the tracks, for any number of tasks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multitaskais.config import DetectionRules, Region, TrackRules
from multitaskais.errors import ConfigError, InputError
from multitaskais.model.samples import load_reports, load_samples
from multitaskais.simulate import SimulationSettings, simulate
from tests.spark.conftest import BRITTANY, write_archive

NEW_YEAR_2018 = 1_514_764_800.0
SILENT_HOURS = ((5.0, 7.5), (12.0, 14.5), (18.5, 21.0))  # of each day: vessels have several lines


@pytest.fixture(scope="module")
def tracks(spark, tmp_path_factory):
    """Tracks of some ships on the last day of a year and the first of the next, with silences, built by the job."""
    from tracks_builder.job import Job, run

    folder = tmp_path_factory.mktemp("years")
    settings = SimulationSettings(NEW_YEAR_2018 - 86400, 2, 8, 4)
    reports = simulate(BRITTANY, settings, np.random.default_rng(2)).reports
    hour = reports["t"] % 86400 / 3600
    reports = reports[~np.any([(hour >= a) & (hour < b) for a, b in SILENT_HOURS], axis=0)]
    run(spark, Job((write_archive(folder / "archive", reports),), BRITTANY, str(folder / "tracks")))
    assert {p.name for p in (folder / "tracks").glob("year=*")} == {"year=2017", "year=2018"}
    return folder / "tracks"


def test_what_is_no_folder_of_tracks_is_one_line(spark, tracks, tmp_path):
    from tracks_builder.samples import run

    with pytest.raises(InputError, match="no built tracks"):
        run(spark, str(tmp_path / "none"), BRITTANY, str(tmp_path / "out"))
    table = pq.read_table(next(tracks.rglob("*.parquet"))).select(["mmsi", "t"]).replace_schema_metadata()
    pq.write_table(table, tmp_path / "other.parquet")
    with pytest.raises(InputError, match="no column 'cog'"):
        run(spark, str(tmp_path / "other.parquet"), BRITTANY, str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="in the folder of the tracks"):
        run(spark, str(tracks), BRITTANY, str(tracks / "samples"))
    with pytest.raises(InputError, match="no sample inside bay"):
        run(spark, str(tracks), Region("bay", 10.0, 11.0, 10.0, 11.0), str(tmp_path / "out"), 1)


@pytest.mark.parametrize("partitions", [1, 3])
def test_samples_of_any_number_of_tasks_are_those_of_the_tracks(partitions, spark, tracks, tmp_path):
    from tracks_builder.samples import run

    said = run(spark, str(tracks), BRITTANY, str(tmp_path), partitions)
    assert {p.relative_to(tmp_path).parts[:2] for p in tmp_path.rglob("*.parquet")} == {
        (f"set={s}", f"year={y}") for s in ("chosen", "all") for y in (2017, 2018)
    }
    for name, all_tracks in (("chosen", False), ("all", True)):
        want = load_samples(str(tracks), BRITTANY, all_tracks=all_tracks)
        got = load_samples(str(tmp_path), BRITTANY, all_tracks=all_tracks)
        assert got.samples.tobytes() == want.samples.tobytes()
        assert got.line.tolist() == want.line.tolist()
        assert said["samples"][name] == len(want.samples)
        assert said["vessels"][name] == len(np.unique(want.samples["mmsi"]))
        assert got.extent() == want.extent()
    assert said["tracks"] == {name: n for name, n in want.tracks.items() if n}
    assert said["days"] >= want.extent().days
    assert max(np.unique(want.samples["mmsi"][want.samples["n"] == 0], return_counts=True)[1]) > 1
    few = load_samples(str(tmp_path), BRITTANY, most=len(want.samples) // 3, all_tracks=True, seed=4)
    again = load_samples(str(tmp_path), BRITTANY, most=len(want.samples) // 3, all_tracks=True, seed=4)
    assert few.samples.tobytes() == again.samples.tobytes()
    assert few.extent() == want.extent()
    assert len(few.samples) < len(want.samples)
    assert set(few.samples["mmsi"]) == set(want.samples["mmsi"])


def test_a_vessel_longer_than_a_task_holds_gives_the_same_samples(spark, tracks):
    from tracks_builder import samples as job

    reports, _ = load_reports(str(tracks), None)
    reports = reports[np.lexsort((reports["t"], reports["mmsi"]))]
    shipped = np.unique(reports["mmsi"])[0]
    mine = [reports[reports["mmsi"] == shipped]]
    for k in range(1, 4):  # the same again after three hours of silence
        again = mine[0].copy()
        again["t"] += k * (again["t"][-1] - again["t"][0] + 3 * 3600.0)
        mine.append(again)
    mine = np.concatenate([*mine, reports[reports["mmsi"] != shipped]])

    def table(at_once, most):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(job, "ROWS_AT_ONCE", at_once)
            patch.setattr(job, "PENDING_MAX", most)
            task = job.SampleTask(BRITTANY, TrackRules(), DetectionRules())
            cut = [r for start in range(0, len(mine), 500) for r in task.rows(mine[start : start + 500])]
            rows = pa.Table.from_batches([*cut, *task.close()]).sort_by(
                [(c, "ascending") for c in ("set", "mmsi", "line", "n")]
            )
            return rows, task.tally.counts

    assert table(100, 200) == table(10**9, 10**9)

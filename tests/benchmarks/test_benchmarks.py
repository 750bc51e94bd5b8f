"""The suite runs, both sides of each claim give the same answer, and no time is asserted anywhere."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import __main__ as suite
from benchmarks import alert_function_archive, live_beside, machine, report, workload
from benchmarks.harness import Result, compare, figure
from multitaskais.config import DetectionRules
from multitaskais.detection import offline
from multitaskais.model import folder as modelfolder
from multitaskais.tracks.resample import resample_track
from stream_operator import devbroker

MINUTES_3 = 180


def left_out() -> list[str]:
    """Benchmarks that this machine cannot run."""
    return (["live", "restore", "workers", "map_pages"] if devbroker.missing() else []) + (
        ["detectors"] if workload.shared_day() is None else []
    )


# The cheap ones: `make test` shows that the suite runs and that their sides agree, `make test-slow` that those of all do.
SAMPLE = ["resample", "decision"]


def run_quickly(names: list[str], folder: Path) -> str:
    """The page that the suite writes."""
    # In a process of its own, as `make bench` does; a side that disagrees with the other ends with an error.
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *names, "--quick", "--plot", "--out", str(folder), "--docs", str(folder / "page.md")],
        capture_output=True, text=True, timeout=850,
        env={**os.environ, "KAFKA_CACHE": os.environ.get("KAFKA_CACHE", str(devbroker.cache_folder()))},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    runs = json.loads((folder / "quick.json").read_text())
    assert list(runs) == names
    assert all(run["results"] for run in runs.values())
    assert (folder / "ratios.png").stat().st_size > 1000
    return (folder / "page.md").read_text()


def test_some_of_the_suite_run_quickly_and_their_claims_agree_with_their_references(tmp_path):
    page = run_quickly(SAMPLE, tmp_path)
    assert all(f"## {name}\n" in page for name in suite.NAMES)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_suite_runs_quickly_and_every_claim_agrees_with_its_reference(tmp_path):
    page = run_quickly([n for n in suite.NAMES if n not in left_out()], tmp_path)
    assert all(f"## {name}\n" in page for name in suite.NAMES)


def test_two_trees_beside_each_other_have_a_column_each_with_the_median_and_the_range():
    found = {
        "before": {"catch_up": [1000.0, 3000.0], "p50_s": [0.5]},
        "now": {"catch_up": [2500.0], "p50_s": [0.25, 0.75]},
    }
    lines = live_beside.table(found).splitlines()
    assert lines[0] == "| | before | now |"
    assert lines[2] == "| catch_up | 2000 (1000 to 3000) | 2500 (2500 to 2500) |"
    assert lines[3] == "| p50_s | 0.50 (0.50 to 0.50) | 0.50 (0.25 to 0.75) |"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_this_tree_runs_beside_itself(tmp_path):
    if (reason := devbroker.missing()) is not None:
        pytest.skip(reason)
    assert live_beside.main([str(live_beside.HERE), "--quick", "--rounds", "1", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "live_beside.json").read_text())["found"]
    figures = {"catch_up", "p50_s", "p99_s", "take_over_s", "broker_return_s"}
    assert all(set(of_tree) == figures and all(of_tree.values()) for of_tree in found.values())


def test_a_result_survives_json_and_knows_whether_its_goal_is_met():
    fast = compare(
        "a", work="w", reference="r", unit="u/s", ours=lambda: None, theirs=lambda: None, units=1.0, rounds=2
    )
    assert fast.met is None
    assert fast.ratio_min <= fast.ratio <= fast.ratio_max
    again = Result.from_dict(json.loads(json.dumps(fast.to_dict())))
    assert again == fast
    assert figure("b", work="w", unit="bytes", value=7.0, goal=8.0).met
    assert not figure("b", work="w", unit="bytes", value=9.0, goal=8.0).met


def test_the_page_names_what_was_not_run_and_what_was_missed():
    missed = figure("memory/vessel", work="a vessel", unit="bytes", value=9000.0, goal=8000.0, notes=("why",)).to_dict()
    run = {"when": "today", "seconds": 1.0, "results": [missed], "machine": machine.describe()}
    page = report.page({"memory": run}, ("memory", "decode"))
    assert "**missed**" in page
    assert "why" in page
    assert "0 of 1 goals are met" in page
    assert "Not run." in page.split("## decode")[1]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A tracks folder of three files, and a model."""
    folder = tmp_path_factory.mktemp("tracks")
    model = modelfolder.save(workload.learnt(40), folder / "model")
    for k in range(3):
        reports = workload.voyages(4, 3.0 + 2 * k, 120.0, seed=k, first_mmsi=228_000_000 + 10 * k)
        reports = reports[np.lexsort((reports["t"], reports["mmsi"]))]
        columns = {n: reports[n] for n in ("mmsi", "t", "lat", "lon", "sog", "cog", "nav_status", "ship_type")}
        ids = [f"{m:09d}-20170714T024000Z" for m in reports["mmsi"].tolist()]
        where = folder / "tracks" / "year=2017"
        where.mkdir(parents=True, exist_ok=True)
        none = pa.nulls(len(ids), pa.string())
        pq.write_table(pa.table({"track_id": ids, **columns, "left_out": none}), where / f"part-{k}.parquet")
    return folder, model


def test_the_alert_function_gives_each_track_a_row_with_the_panels_verdict(archive, tmp_path, capsys):
    folder, model = archive
    command = [
        str(folder / "tracks"),
        "--model",
        str(folder / "model"),
        "--out",
        str(tmp_path),
        "--per-month",
        "--jobs",
        "1",
    ]
    assert alert_function_archive.main(command) == 0
    with (tmp_path / "tracks.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 12
    for file in sorted((folder / "tracks").rglob("*.parquet")):
        for track_id, track in zip(*alert_function_archive.tracks_of(file), strict=True):
            row = next(r for r in rows if r["track_id"] == track_id)
            result = offline.run_panel(model.panel, resample_track(track, DetectionRules()))
            expected = "abnormal" if (result.score >= 1).any() else "normal" if result.judged.any() else "not_judged"
            assert row["verdict"] == expected
            assert int(row["reports"]) == len(track)
            assert float(row["seconds"]) > 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["tracks"] == summary["judged"] + sum(summary["not_judged"].values()) == 12
    assert list(summary["by_month"]) == ["2017-07"]
    assert summary["vessels_in_10_minutes"]["max"] == 12
    assert all((tmp_path / f"{n}.png").is_file() for n in ("seconds", "length", "vessels"))
    beside = "\n".join(report.beside_earlier(summary))
    assert f"| 237,863; 90,077; 6.4 % | 12; {summary['judged']}; " in beside
    assert beside.count("\n") == "\n".join(report.beside_earlier(None)).count("\n")


def test_a_stopped_run_goes_on_with_the_files_that_are_left(archive, tmp_path):
    folder, _ = archive
    command = [str(folder / "tracks"), "--model", str(folder / "model"), "--out", str(tmp_path), "--jobs", "1"]
    assert alert_function_archive.main(command) == 0
    first = (tmp_path / "tracks.csv").read_text()
    parts = sorted((tmp_path / "parts").glob("*.csv"))
    parts[0].unlink()
    kept = parts[1].stat().st_mtime_ns
    assert alert_function_archive.main(command) == 0
    assert parts[1].stat().st_mtime_ns == kept
    columns = [line.split(",") for line in first.splitlines()]
    again = [line.split(",") for line in (tmp_path / "tracks.csv").read_text().splitlines()]
    seconds = columns[0].index("seconds")
    assert [c[:seconds] + c[seconds + 1 :] for c in again] == [c[:seconds] + c[seconds + 1 :] for c in columns]


def test_a_folder_without_tracks_and_a_run_of_another_model_are_refused_in_one_line(archive, tmp_path, capsys):
    folder, _ = archive
    assert (
        alert_function_archive.main([str(tmp_path), "--model", str(folder / "model"), "--out", str(tmp_path / "o")])
        == 2
    )
    assert "no Parquet file" in capsys.readouterr().err
    (tmp_path / "run.json").write_text('{"model": "another-1"}')
    assert alert_function_archive.main([str(folder / "tracks"), "--model", str(folder / "model"), "--out", str(tmp_path)]) == 2  # fmt: skip
    assert "another-1" in capsys.readouterr().err

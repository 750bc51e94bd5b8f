"""Later days: what is measured on them, and which reports they are."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from multitaskais.cli import main
from multitaskais.detection.threshold import Budget
from multitaskais.evaluation.evaluate import budget_kept, per_day
from multitaskais.evaluation.labelled import CLEAN
from multitaskais.evaluation.report import kept


def test_the_share_flagged_is_said_of_each_day_on_which_clean_tracks_began():
    tracks = np.zeros(5, [("kind", "U12"), ("t_first", "f8")])
    tracks["kind"] = [CLEAN, CLEAN, "drift", CLEAN, CLEAN]
    tracks["t_first"] = np.array([0, 0.9, 0.2, 1.0, 3.5]) * 86400.0
    flagged = np.array([True, False, True, False, True])
    result = SimpleNamespace(labelled=SimpleNamespace(tracks=tracks), fused=SimpleNamespace(flagged=flagged))
    assert per_day(result) == {
        "1970-01-01": {"clean_tracks": 2, "clean_flagged": 0.5},
        "1970-01-02": {"clean_tracks": 1, "clean_flagged": 0.0},
        "1970-01-04": {"clean_tracks": 1, "clean_flagged": 1.0},
    }


def two_days(file) -> str:
    """One ship, six hours on each of two days."""
    rows = [
        "MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselName,IMO,CallSign,VesselType,Status,Length,Width,Draft,Cargo,TransceiverClass"
    ]
    for day in (3, 4):
        rows += [
            f"227000001,2026-01-0{day}T{m // 60:02d}:{m % 60:02d}:00,48.20000,{-6.5 + 0.0040 * m:.5f},10.0,90.0,511,,,,70,0,,,,,A"
            for m in range(360)
        ]
    file.write_text("\n".join(rows) + "\n")
    return str(file)


@pytest.mark.parametrize(("since", "tracks"), [(None, 2), ("2026-01-04", 1), ("2026-01-03T00:00", 2)])
def test_only_reports_of_later_days_are_taken(since, tracks, tmp_path, capsys):
    archive = two_days(tmp_path / "a.csv")
    later = [] if since is None else ["--from", since]
    out = str(tmp_path / "labelled.parquet")
    assert (
        main(
            [
                "inject",
                archive,
                "--region",
                "brittany",
                "--seed",
                "1",
                "--per-kind",
                "1",
                "--kinds",
                "drift",
                "--out",
                out,
                "--json",
                *later,
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["clean_tracks"] == tracks


def test_a_time_that_is_none_is_refused(tmp_path, capsys):
    archive = two_days(tmp_path / "a.csv")
    assert main(["inject", archive, "--seed", "1", "--out", str(tmp_path / "x.parquet"), "--from", "soon"]) == 2
    assert "--from soon" in capsys.readouterr().err


def clean_fleet(flagged: int, tracks: int, budget: Budget) -> dict:
    table = np.zeros(tracks, [("kind", "U12"), ("t_first", "f8"), ("t_last", "f8"), ("mmsi", "i8")])
    table["kind"], table["mmsi"], table["t_last"] = CLEAN, np.arange(tracks), 86400.0
    alerts = (np.arange(tracks) < flagged).astype(np.int64)
    fused = SimpleNamespace(flagged=alerts > 0, alerts=alerts)
    return budget_kept(SimpleNamespace(labelled=SimpleNamespace(tracks=table), fused=fused), budget)


@pytest.mark.parametrize(("flagged", "within"), [(0, False), (4, True), (20, False)])
def test_the_report_says_whether_the_budget_that_was_set_is_what_clean_tracks_show(flagged, within):
    found = clean_fleet(flagged, 100, Budget(0.04))
    assert found["set"] == 0.04
    assert found["seen"] == flagged / 100
    assert found["ratio"] == pytest.approx(flagged / 4)
    assert found["within"] is within
    low, high = found["clean_flagged_interval_90"]
    assert low <= flagged / 100 <= high
    assert f"{flagged / 4:.2f} times" in kept(found)


def test_a_budget_of_alerts_a_vessel_day_is_compared_with_alerts():
    found = clean_fleet(6, 100, Budget(alerts_per_vessel_day=0.06))
    assert found["ratio"] == pytest.approx(1.0)
    assert found["within"] is None

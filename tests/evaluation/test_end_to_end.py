"""A real model, fitted to simulated traffic, evaluated by the command on another day of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multitaskais.cli import main
from multitaskais.config import REGIONS
from multitaskais.engine import batch
from multitaskais.evaluation import live
from multitaskais.evaluation.labelled import read_labelled
from multitaskais.evaluation.run import judge
from multitaskais.export import to_geojson
from multitaskais.model import folder as modelfolder
from multitaskais.model.fit import fit_model
from multitaskais.model.samples import samples_of
from multitaskais.simulate import SimulatedTraffic, SimulationSettings, simulate

BRITTANY = REGIONS["brittany"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> modelfolder.Model:
    settings = SimulationSettings(vessels=330, abnormal=0)
    samples, _, _ = samples_of(simulate(BRITTANY, settings, np.random.default_rng(50)).reports, BRITTANY)
    dev = samples["mmsi"] % 4 == 0
    detectors = ("place", "contradiction", "drift")
    fitted = fit_model(samples[~dev], samples[dev], BRITTANY, name="small", detectors=detectors)
    folder = tmp_path_factory.mktemp("models") / "small"
    modelfolder.save(fitted, folder)
    return modelfolder.load(folder)


@pytest.fixture(scope="module")
def folder(model: modelfolder.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("again") / "small"
    modelfolder.save(model, path)
    return path


@pytest.fixture(scope="module")
def traffic() -> SimulatedTraffic:
    settings = SimulationSettings(vessels=50, abnormal=16, lane_shift_m=300.0)
    return simulate(BRITTANY, settings, np.random.default_rng(51))


def write(traffic: SimulatedTraffic, path: Path, mmsi: int | None = None) -> Path:
    """The labelled table of simulated traffic; every row under one ``mmsi`` when it is given."""
    r, label = traffic.reports, {x.mmsi: x for x in traffic.labels}
    ships = r["mmsi"].tolist()
    kind = [label[m].kind if m in label else "clean" for m in ships]
    abnormal = [
        m in label and label[m].t_start <= t <= label[m].t_end for m, t in zip(ships, r["t"].tolist(), strict=True)
    ]
    columns = {name: pa.array(r[name], from_pandas=True) for name in ("t", "lat", "lon", "sog", "cog")}
    own = r["mmsi"] if mmsi is None else np.full(len(r), mmsi)
    table = {"track_id": [str(m) for m in ships], "mmsi": own, "kind": kind, "abnormal": abnormal, **columns}
    pq.write_table(pa.table({**table, "ship_type": r["ship_type"], "nav_status": r["nav_status"]}), path)
    return path


def test_the_command_finds_abnormal_ships_and_writes_its_report(
    traffic: SimulatedTraffic, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled = write(traffic, tmp_path / "labelled.parquet")
    assert (
        main(["evaluate", str(labelled), "--model", str(folder), "--out", str(tmp_path / "out"), "--draws", "20"]) == 0
    )
    assert "AUROC" in capsys.readouterr().out
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert (report["clean_tracks"], report["abnormal_tracks"]) == (34, 16)
    assert report["fused"]["auroc"] > 0.8
    assert report["fused"]["per_kind"]["jump"]["recall"] == 1.0
    assert report["fused"]["clean_flagged"] < 0.3
    assert {"place", "contradiction", "drift", "jump"} <= set(report["detectors"])
    assert report["judged"] + sum(report["not_judged"].values()) == report["tracks"] == 50
    assert set(report["reports_rejected"]) <= {"out_of_region", "duplicate", "displaced", "sog_not_available"}
    assert len((tmp_path / "out/report.html").read_text()) > 100_000


def test_rows_under_one_mmsi_give_the_same_figures(
    traffic: SimulatedTraffic, model: modelfolder.Model, tmp_path: Path
) -> None:
    own = judge(model, read_labelled(write(traffic, tmp_path / "own.parquet")))
    one = judge(model, read_labelled(write(traffic, tmp_path / "one.parquet", 227_000_001)))
    np.testing.assert_array_equal(own.fused.score, one.fused.score)
    np.testing.assert_array_equal(own.fused.alerts, one.fused.alerts)
    np.testing.assert_array_equal(own.fused.hours, one.fused.hours)


def test_flagged_means_an_alert_of_the_same_fold_as_detect(
    traffic: SimulatedTraffic, model: modelfolder.Model, tmp_path: Path
) -> None:
    result = judge(model, read_labelled(write(traffic, tmp_path / "labelled.parquet")))
    flagged = set(result.labelled.tracks["track_id"][result.fused.flagged].tolist())
    assert flagged == {str(a.mmsi) for a in batch.run(model, traffic.reports).alerts}
    scores = result.fused.score[result.fused.flagged]
    assert scores.min() >= 1.0


def test_the_live_summary_agrees_with_the_alerts(traffic: SimulatedTraffic, model: modelfolder.Model) -> None:
    result = batch.run(model, traffic.reports, trace=True)
    alerts = [a.as_dict() for a in result.alerts]
    labels = live.truths(x.as_dict() for x in traffic.labels)
    tracks = [
        live.TrackSeen(v.track_id, v.mmsi, v.t_start, v.t_end, v.reason or "") for v in batch.track_verdicts(result)
    ]
    summary = live.summarise(labels, alerts, tracks, len(traffic.reports), {"fold": 1.0}, 1.0)
    assert summary["recall"] > 0.5
    assert summary["alerts"] == len({a.alert_id for a in result.alerts})
    assert sum(k["positives"] for k in summary["per_kind"].values()) == 16
    shown = to_geojson(alerts, traffic.reports, {x.mmsi: x.kind for x in labels})
    assert len(shown["features"]) == summary["alerts"]

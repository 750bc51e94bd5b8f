"""A model that no longer fits says so, and gets new thresholds as a new version."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from multitaskais.cli import main
from multitaskais.detection.offline import run_panel
from multitaskais.detection.threshold import Budget
from multitaskais.errors import ConfigError
from multitaskais.model import folder as modelfolder
from multitaskais.model.drift import check, recalibrated
from tests.support.small_model import fleet, model


def shifted(ships: int, seed: int, first: int) -> np.ndarray:
    """The lane has moved by 3 km."""
    samples = fleet(ships, seed, first)
    samples["lat"] += 0.03
    return samples


def test_traffic_as_it_was_fits_and_traffic_that_has_moved_does_not():
    same, moved = check(model(), fleet(60, 71, 3000)), check(model(), shifted(60, 71, 3000))
    assert same.fits
    assert same.line().startswith("the model still fits")
    assert not moved.fits
    assert (
        moved.line()
        == f"the model no longer fits: {moved.exceed:.1%} of 60 tracks exceed what {moved.expected:.1%} did"
    )
    assert (np.diff(moved.quantiles) >= 0).all()


def test_a_few_tracks_of_one_kind_do_not_make_a_model_unfit():
    assert check(model(), np.concatenate([fleet(30, 71, 3000), shifted(1, 5, 4000)])).fits
    with pytest.raises(ConfigError, match="too few"):
        check(model(), fleet(3, 71, 3000))


def test_new_thresholds_keep_the_budget_on_the_new_traffic_and_nothing_else_changes():
    new = recalibrated(model(), shifted(60, 72, 5000), Budget(0.05))
    later = shifted(60, 73, 6000)
    score = np.full(60, -np.inf)
    np.fmax.at(score, later["mmsi"] - later["mmsi"].min(), run_panel(new.panel, later).score)
    assert (score >= 1).mean() <= new.panel.thresholds.promise.flagged_at_most
    assert new.panel.detectors == model().panel.detectors
    assert new.panel.calibrations == model().panel.calibrations
    assert new.made_from["recalibrated_from"] == model().version
    assert new.made_from["train_vessels"] == model().made_from["train_vessels"]
    assert check(replace(new, version="x"), later).fits


def table(file: Path, samples: np.ndarray) -> str:
    rows = [
        "MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselName,IMO,CallSign,VesselType,Status,Length,Width,Draft,Cargo,TransceiverClass"
    ]
    for s in samples:
        t = datetime.fromtimestamp(float(s["t"]), UTC)
        rows.append(
            f"{s['mmsi']},{t:%Y-%m-%dT%H:%M:%S},{s['lat']:.5f},{s['lon']:.5f},{s['sog']:.1f},{s['cog']:.1f},511,,,,70,0,,,,,A"
        )
    file.write_text("\n".join(rows) + "\n")
    return str(file)


def test_the_command_answers_no_by_its_exit_code_and_writes_a_new_version(tmp_path: Path, capsys):
    old = modelfolder.save(model(), tmp_path / "old")
    tracks = table(tmp_path / "day.csv", shifted(60, 74, 7000))
    assert main(["recalibrate", tracks, "--model", str(tmp_path / "old"), "--check"]) == 1
    assert "the model no longer fits" in capsys.readouterr().out
    assert (
        main(["recalibrate", tracks, "--model", str(tmp_path / "old"), "--out", str(tmp_path / "new"), "--json"]) == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert said["fits"] is False
    new = modelfolder.load(tmp_path / "new")
    assert new.version == said["version"] != old.version
    assert new.panel.thresholds.promise.to_dict() == said["promise"]
    assert main(["recalibrate", tracks, "--model", str(tmp_path / "new"), "--check"]) == 0
    assert main(["recalibrate", tracks, "--model", str(tmp_path / "old"), "--out", str(tmp_path / "old")]) == 2
    assert "new version" in capsys.readouterr().err
    assert main(["recalibrate", tracks, "--model", str(tmp_path / "old")]) == 2
    assert "--check" in capsys.readouterr().err

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
from multitaskais.detection.threshold import SCORE_LEVELS, TYPES, Budget
from multitaskais.errors import ConfigError
from multitaskais.model import folder as modelfolder
from multitaskais.model.drift import DriftCheck, answered, check, found_again, recalibrated
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


def test_a_model_knows_how_often_scores_come_close_to_its_thresholds_and_says_it_beside_what_is_judged_now(
    tmp_path: Path,
):
    kept = model().panel.thresholds.samples_above
    shares = [kept[level] for level in SCORE_LEVELS]
    assert shares == sorted(shares, reverse=True)
    assert 0 < shares[0] < 1
    again = modelfolder.load(modelfolder.save(model(), tmp_path / "m") and tmp_path / "m").panel.thresholds
    assert again.samples_above == kept

    def close(samples: np.ndarray) -> float:
        score = run_panel(model().panel, samples).score
        return float((score[np.isfinite(score)] > 0.75).mean())

    same, moved = close(fleet(60, 71, 3000)), close(shifted(60, 71, 3000))
    assert same <= 2 * kept[0.75] + 0.005 < moved, "the alert rule tells them apart"


def alert_on(samples: np.ndarray, k: int) -> dict:
    ship = samples[samples["mmsi"] == np.unique(samples["mmsi"])[k]]
    ends = [{"t": float(s["t"]), "lat": float(s["lat"]), "lon": float(s["lon"])} for s in ship[[0, -1]]]
    return {
        "alert_id": f"a{k}",
        "mmsi": str(ship["mmsi"][0]),
        "alert_type": "abnormal",
        "cause": "out_of_place",
        "score": 1.2,
        "segment_start": ends[0],
        "segment_end": ends[1],
    }


def some_astray() -> np.ndarray:
    return np.concatenate([fleet(54, 72, 5000), shifted(6, 5, 6000)])


def test_what_officers_called_normal_uses_up_no_budget_and_what_they_called_real_is_not_normal():
    samples = some_astray()
    alerts = [alert_on(samples, k) for k in range(54, 60)]
    plain = recalibrated(model(), samples, Budget(0.05)).panel.thresholds
    for answer in ("normal_here", "real"):
        said, aside = answered(alerts, [{"alert_id": a["alert_id"], "answer": answer, "who": "Yann"} for a in alerts])
        assert not aside
        new = recalibrated(model(), samples, Budget(0.05), said=said)
        limits = new.panel.thresholds
        abnormal = TYPES.index("abnormal")
        assert limits.by_type[abnormal] < plain.by_type[abnormal], "the odd ones no longer use up the budget"
        assert limits.n_tracks == (54 if answer == "real" else 60)
        assert found_again(new, samples, said.real) == (6 if answer == "real" else 0)


def test_answers_come_as_files_of_which_a_bad_line_is_named(tmp_path: Path, capsys):
    old = str(tmp_path / "old")
    modelfolder.save(model(), tmp_path / "old")
    samples = some_astray()
    tracks = table(tmp_path / "day.csv", samples)
    alerts, answers = tmp_path / "alerts.jsonl", tmp_path / "answers.jsonl"
    alerts.write_text("\n".join(json.dumps(alert_on(samples, k)) for k in range(54, 60)))
    answers.write_text('{"alert_id": "a55", "answer": "real", "who": "Yann"}\n{"alert_id": "gone", "answer": "real"}\n')
    given = ["recalibrate", tracks, "--model", old, "--out", str(tmp_path / "new"), "--alerts", str(alerts)]
    assert main(given) == 2
    assert "--answers" in capsys.readouterr().err
    assert main([*given, "--answers", str(answers)]) == 0
    assert "1 called real" in capsys.readouterr().out
    assert modelfolder.load(tmp_path / "new").made_from["answers_real"] == 1
    answers.write_text("{}\n[1]\n")
    assert main([*given, "--answers", str(answers)]) == 2
    assert "answers.jsonl, line 2" in capsys.readouterr().err


def test_many_tracks_of_few_vessels_that_exceed_are_called_what_may_be_chance():
    few = DriftCheck(157, 96, 31, 0.083, 0.038, 0.045, (0.5,) * 5)
    assert few.fits
    assert few.line().endswith("exceed what 3.8% did, which may be chance: they are of 96 vessels")
    assert "chance" not in replace(few, exceed=0.04).line()
    assert "chance" not in replace(few, exceed_at_least=0.06).line()

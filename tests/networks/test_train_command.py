"""``multitaskais train`` from reports to weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multitaskais.cli import main
from multitaskais.config import DetectionRules, Region
from multitaskais.detectors.vrnn import VrnnDetector

pytest.importorskip("tensorflow", reason="TensorFlow is not installed (pip install '.[train]')")

REGION = {
    "name": "toy",
    "lat_min": 48.0,
    "lat_max": 50.0,
    "lon_min": -6.0,
    "lon_max": -4.0,
    "lat_bin_deg": 0.2,
    "lon_bin_deg": 0.2,
}
SMALL = ["--steps", "6", "--val-every", "2", "--batch", "4", "--latent", "3", "--hidden", "6", "--phases", "2"]


@pytest.fixture
def archive(tmp_path) -> Path:
    """24 ships that sail north for 6 hours."""
    minutes = np.arange(0, 361, 2)
    rows: dict[str, list] = {name: [] for name in ("mmsi", "t", "lat", "lon", "sog", "cog")}
    for i in range(24):
        rows["mmsi"] += [227_000_000 + i] * len(minutes)
        rows["t"] += (1_500_000_000.0 + 60.0 * minutes + i).tolist()
        rows["lat"] += (48.1 + minutes / 60 * 10 / 60).tolist()
        rows["lon"] += [-5.9 + 0.05 * i] * len(minutes)
        rows["sog"] += [10.0] * len(minutes)
        rows["cog"] += [0.0] * len(minutes)
    folder = tmp_path / "tracks" / "year=2017"
    folder.mkdir(parents=True)
    pq.write_table(pa.table(rows), folder / "part-0.parquet")
    (tmp_path / "toy.json").write_text(json.dumps(REGION))
    return tmp_path


def test_an_archive_becomes_weights_a_log_and_curves_and_a_second_call_resumes(archive, capsys):
    model = archive / "model"
    call = ["train", str(archive / "tracks"), "--region", str(archive / "toy.json"), "--out", str(model), *SMALL]
    assert main(call) == 0
    said = capsys.readouterr().out
    assert "chosen 24" in said
    assert "6 steps" in said
    detector = VrnnDetector.load(model / "detectors" / "vrnn", Region.from_dict(REGION), DetectionRules())
    assert np.isfinite(detector.weights.emit_w2).all()
    assert sorted(p.name for p in (model / "training").iterdir()) == [
        "checkpoint.npz",
        "curves.png",
        "log.csv",
        "training.json",
    ]
    before = (model / "detectors" / "vrnn" / "weights.npz").read_bytes()
    assert main([*call, "--resume"]) == 0
    assert (model / "detectors" / "vrnn" / "weights.npz").read_bytes() == before


def test_nothing_in_the_model_names_a_vessel(archive):
    model = archive / "model"
    main(["train", str(archive / "tracks"), "--region", str(archive / "toy.json"), "--out", str(model), *SMALL])
    for file in (p for p in model.rglob("*") if p.is_file()):
        content = file.read_bytes()
        for i in range(24):
            assert str(227_000_000 + i).encode() not in content
            assert np.int64(227_000_000 + i).tobytes() not in content


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"--region": "nowhere"}, "no region 'nowhere'"),
        ({"--region": "gulf"}, "no track is left for training"),
        ({"--steps": "0"}, "steps must be at least 1"),
        ({"--bound": "fivo"}, "fivo draws samples again and needs samples >= 2"),
    ],
)
def test_what_cannot_be_trained_is_told_in_one_line(archive, capsys, change, said):
    options = {"--region": str(archive / "toy.json"), "--out": str(archive / "m"), **change}
    assert main(["train", str(archive / "tracks"), *[x for pair in options.items() for x in pair]]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("multitaskais train:")]
    assert len(error) == 1
    assert said in error[0]


def test_the_residual_detector_is_trained_from_an_archive_of_any_region(archive, capsys):
    from multitaskais.detectors.residual import ResidualDetector

    model = archive / "model"
    small = ["--steps", "4", "--val-every", "2", "--batch", "4", "--hidden", "6"]
    call = ["train", str(archive / "tracks"), "--detector", "residual", "--region", "global", "--out", str(model)]
    assert main([*call, *small]) == 0
    said = capsys.readouterr().out
    assert "4 steps" in said
    detector = ResidualDetector.load(model / "detectors" / "residual", Region.from_dict(REGION), DetectionRules())
    assert detector.weights.lstm_h.shape == (6, 24)
    assert sorted(p.name for p in (model / "training" / "residual").iterdir()) == ["log.csv", "training.json"]

"""``multitaskais calibrate``, from an archive of tables to a model folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from multitaskais.cli import main
from multitaskais.model import folder as modelfolder
from tests.support.lane_traffic import REGION
from tests.support.small_model import fleet


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("archive")
    rows = [
        "MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselName,IMO,CallSign,VesselType,Status,Length,Width,Draft,Cargo,TransceiverClass"
    ]
    for s in fleet(80, 30, 3000):
        t = datetime.fromtimestamp(float(s["t"]), UTC)
        rows.append(
            f"{s['mmsi']},{t:%Y-%m-%dT%H:%M:%S},{s['lat']:.5f},{s['lon']:.5f},{s['sog']:.1f},{s['cog']:.1f},511,,,,70,0,,,,,A"
        )
    (folder / "day.csv").write_text("\n".join(rows) + "\n")
    (folder / "box.json").write_text(json.dumps(REGION.to_dict()))
    return str(folder / "day.csv"), str(folder / "box.json")


def test_a_model_is_made_and_its_budget_kept(archive, tmp_path: Path, capsys):
    tracks, region = archive
    model = tmp_path / "lane"
    assert main(["calibrate", tracks, "--region", region, "--model", str(model), "--budget", "0.1"]) == 0
    out = capsys.readouterr()
    assert "place: calibrated" in out.err
    loaded = modelfolder.load(model, REGION)
    assert loaded.version in out.out
    assert "vrnn" not in loaded.panel.names, "nothing was trained"
    assert loaded.panel.thresholds.flagged <= 0.1
    assert loaded.made_from["train_vessels"] + loaded.made_from["dev_vessels"] < 80, "test vessels are left alone"
    again = modelfolder.load(tmp_path / "lane")
    assert main(["calibrate", tracks, "--region", region, "--model", str(model), "--budget", "0.1"]) == 0
    assert modelfolder.load(model).version == again.version, "the same tracks make the same model"


def test_too_small_a_budget_or_too_few_vessels_is_one_clear_line(archive, tmp_path: Path, capsys):
    tracks, region = archive
    assert main(["calibrate", tracks, "--region", region, "--model", str(tmp_path / "m"), "--budget", "7"]) == 2
    assert "budget" in capsys.readouterr().err
    lines = Path(tracks).read_text().splitlines()
    few = tmp_path / "few.csv"
    mmsi = {m: None for m in np.array([x.split(",")[0] for x in lines[1:]])[:120]}
    few.write_text("\n".join([lines[0], *(x for x in lines[1:] if x.split(",")[0] in mmsi)]) + "\n")
    assert main(["calibrate", str(few), "--region", region, "--model", str(tmp_path / "m")]) == 2
    assert "more vessels" in capsys.readouterr().err

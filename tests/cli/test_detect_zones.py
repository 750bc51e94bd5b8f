"""``detect --zones``: an area in an archive, from the command line."""

import json

import numpy as np
import pyarrow.parquet as pq

from multitaskais import cli
from multitaskais.config import REGIONS
from multitaskais.simulate import SimulationSettings, simulate
from tests.support.builders import T0

BOX = [[-5.6, 47.9], [-4.9, 47.9], [-4.9, 48.9], [-5.6, 48.9], [-5.6, 47.9]]


def archive(folder):
    reports = simulate(REGIONS["brittany"], SimulationSettings(T0, 1, 8, 0), np.random.default_rng(3)).reports
    rows = ["MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselType"]
    for r in reports:
        time = np.datetime64(int(r["t"]), "s")
        rows.append(
            f"{r['mmsi']},{time},{r['lat']:.5f},{r['lon']:.5f},{r['sog']:.1f},{r['cog']:.1f},511,{r['ship_type']}"
        )
    (folder / "a.csv").write_text("\n".join(rows) + "\n")
    return folder / "a.csv"


def zones(folder, **properties):
    feature = {
        "type": "Feature",
        "properties": {"name": "reserve", "rule": "enter"} | properties,
        "geometry": {"type": "Polygon", "coordinates": [BOX]},
    }
    (folder / "zones.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return str(folder / "zones.geojson")


def test_ships_in_a_zone_are_in_all_files(tmp_path, capsys):
    out = tmp_path / "out"
    command = ["detect", str(archive(tmp_path)), "--model", "brittany", "--out", str(out), "--json"]
    assert cli.main([*command, "--zones", zones(tmp_path)]) == 0
    counts = json.loads(capsys.readouterr().out)
    alerts = [json.loads(line) for line in (out / "alerts.jsonl").read_text().splitlines()]
    of_zone = [a for a in alerts if a["alert_type"] == "zone"]
    assert of_zone
    assert counts["alerts"] == len({a["alert_id"] for a in alerts})
    table = pq.read_table(out / "alerts.parquet").to_pylist()
    assert {r["alert_id"] for r in table if r["zone"] == {"name": "reserve", "rule": "enter"}} == {
        a["alert_id"] for a in of_zone
    }


def test_a_bad_zone_is_one_line_and_exit_code_2(tmp_path, capsys):
    command = ["detect", str(archive(tmp_path)), "--model", "brittany", "--out", str(tmp_path / "out")]
    assert cli.main([*command, "--zones", zones(tmp_path, rule="nowhere")]) == 2
    error = capsys.readouterr().err.strip()
    assert "feature 1: rule is" in error
    assert "\n" not in error
    assert cli.main([*command, "--zones", str(tmp_path / "none.geojson")]) == 2

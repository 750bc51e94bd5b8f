"""The archive says what the simulation made, whatever way it is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from multitaskais.ais.archives import read_reports
from multitaskais.cli import main
from multitaskais.config import REGIONS
from multitaskais.records import REPORT_DTYPE
from multitaskais.simulate import SimulatedTraffic, SimulationSettings, simulate
from multitaskais.simulate.archive import write_archive, write_parquet


@pytest.fixture(scope="module")
def traffic() -> SimulatedTraffic:
    settings = SimulationSettings(vessels=30, abnormal=8, days=2)
    return simulate(REGIONS["brittany"], settings, np.random.default_rng(11))


def test_the_archive_decodes_to_the_reports_it_was_made_from(traffic: SimulatedTraffic, tmp_path: Path) -> None:
    files = write_archive(traffic, tmp_path)
    assert [str(f.relative_to(tmp_path)) for f in files] == ["2026/01/20260101.cdv", "2026/01/20260102.cdv"]
    back = np.concatenate([b.reports for b in read_reports(files)])
    assert len(back) == len(traffic.reports)
    for name in ("mmsi", "t", "sog", "cog", "heading", "nav_status", "msg_type", "ship_type", "ship_name"):
        np.testing.assert_array_equal(back[name], traffic.reports[name], err_msg=name)
    for name in ("lat", "lon"):
        np.testing.assert_allclose(back[name], traffic.reports[name], atol=1e-6)  # 1/600000 deg on the air


def test_the_parquet_table_holds_the_same_reports(traffic: SimulatedTraffic, tmp_path: Path) -> None:
    table = pq.read_table(write_parquet(traffic.reports, tmp_path / "r.parquet"))
    assert tuple(table.column_names) == REPORT_DTYPE.names
    np.testing.assert_array_equal(table["t"].to_numpy(), traffic.reports["t"])
    assert table["cog"].null_count == int(np.isnan(traffic.reports["cog"]).sum()) > 0
    np.testing.assert_array_equal(table["cog"].to_numpy(), traffic.reports["cog"])


def test_the_command_writes_labels_apart_from_the_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["simulate", "--seed", "4", "--vessels", "20", "--abnormal", "3", "--kinds", "drift", "jump"]
    assert main([*args, "--out", str(tmp_path / "a"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    labels = json.loads((tmp_path / "a/labels.json").read_text())
    assert sorted(x["kind"] for x in labels) == ["drift", "drift", "jump"]
    assert summary["abnormal"] == 3
    assert not list((tmp_path / "a/archive").rglob("*.json"))
    assert main([*args, "--out", str(tmp_path / "b")]) == 0
    one, two = (sorted((tmp_path / x / "archive").rglob("*.cdv"))[0].read_bytes() for x in "ab")
    assert one == two


def test_wrong_use_of_the_command_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--start", "soon", "--out", str(tmp_path)]) == 2
    assert "give a date" in capsys.readouterr().err
    assert main(["simulate", "--region", "gulf", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1

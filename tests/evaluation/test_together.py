"""Simulated scenes of ships together: told apart from what only looks alike, by the patterns that ship with the package."""

from __future__ import annotations

import json

import numpy as np
import pytest

from multitaskais.cli import main
from multitaskais.config import REGIONS
from multitaskais.engine.batch import run_fleet
from multitaskais.errors import ConfigError
from multitaskais.evaluation import together
from multitaskais.model import folder
from multitaskais.records import AlertType, Status
from multitaskais.simulate import SimulationSettings, simulate
from multitaskais.simulate.archive import write_parquet
from multitaskais.simulate.brittany import STATIONS
from multitaskais.simulate.together import without_station
from multitaskais.zones.zone import read_zones

SEED = 5


@pytest.fixture(scope="module")
def traffic():
    return simulate(
        REGIONS["brittany"], SimulationSettings(vessels=60, abnormal=0, together=2), np.random.default_rng(SEED)
    )


@pytest.fixture(scope="module")
def model():
    return folder.load("brittany")


@pytest.fixture(scope="module")
def found(traffic, model):
    return run_fleet(model, traffic.reports, read_zones(json.dumps(traffic.zones)))


def scenes_of(traffic) -> together.Scenes:
    def labels(rows):
        return [together.SceneLabel(*row) for row in rows]

    return together.Scenes(traffic.reports, labels(traffic.labels), labels(traffic.lookalikes))


def test_every_simulated_meeting_and_zone_entry_is_told_and_of_look_alikes_nothing(traffic, model, found):
    figures = together.figures(scenes_of(traffic), found.alerts, model.patterns.coverage.limit_s)
    for kind in ("meeting", "zone"):
        assert figures["per_kind"][kind]["found"] == figures["per_kind"][kind]["positives"] == 2
    silences = figures["per_kind"]["silence"]
    assert silences["found"] == silences["positives"]
    assert silences["positives"] + silences["no_limit"] == 2
    kinds = {"pilot_transfer", "tow", "anchorage", "port_call", "edge_of_reception", "permitted_ferry"}
    assert figures["lookalikes"].keys() == kinds
    assert {kind: v["told"] for kind, v in figures["lookalikes"].items()} == dict.fromkeys(kinds, 0)
    assert figures["others"]["zone"] == 0


def test_scenes_leave_the_rest_of_the_traffic_as_it_is(traffic):
    without = simulate(REGIONS["brittany"], SimulationSettings(vessels=60, abnormal=0), np.random.default_rng(SEED))
    mine = np.isin(traffic.reports["mmsi"], without.statics["mmsi"])
    assert traffic.reports[mine].tobytes() == without.reports.tobytes()
    assert len(np.unique(traffic.statics["mmsi"])) == len(traffic.statics)
    with pytest.raises(ConfigError, match="together must lie between"):
        SimulationSettings(together=-1)


def test_a_station_that_hears_nothing_for_five_hours_is_an_outage_and_no_silence(traffic, model):
    t0 = float(traffic.reports["t"].min()) + 8 * 3600.0
    left = without_station(traffic.reports, STATIONS[0], t0, t0 + 5 * 3600.0, reach_m=300_000.0)
    # Ships of another station, far off, are heard on.
    far = traffic.reports.copy()
    far["lat"] -= 12.0
    far["mmsi"] += 10_000_000
    events = run_fleet(model, np.concatenate([left, far]))
    during = [
        a
        for a in events.alerts
        if a.alert_type is AlertType.SILENCE and a.status is Status.RAISED and t0 - 900 < a.segment_start.t < t0 + 900
    ]
    told = {a.alert_id: a.status for a in events.alerts}
    standing = [a for a in during if told[a.alert_id] is not Status.RETRACTED]
    # With fewer than four ships around, a ship that fell silent and a station that did look alike.
    assert len(standing) <= 1
    assert events.outages


def test_ships_unheard_while_the_station_of_the_simulation_is_silent_are_told_of_as_an_outage(model):
    settings = SimulationSettings(vessels=300, abnormal=0, station_outage=True)
    traffic = simulate(REGIONS["brittany"], settings, np.random.default_rng(SEED))
    silenced = traffic.lookalikes
    assert len(silenced) >= 10
    assert {row.kind for row in silenced} == {"station_outage"}
    assert all(row.t_end - row.t_start >= 75 * 60.0 for row in silenced)
    heard = run_fleet(model, traffic.reports)
    figures = together.figures(scenes_of(traffic), heard.alerts, model.patterns.coverage.limit_s)
    assert heard.outages
    assert figures["lookalikes"]["station_outage"] == {"ships": len(silenced), "told": 0}


def test_what_is_put_into_an_archive_is_found_and_written_for_evaluate(traffic, model, tmp_path, capsys):
    quiet = traffic.reports[~np.isin(traffic.reports["mmsi"], [row.mmsi for row in traffic.labels])]
    write_parquet(quiet, tmp_path / "day.parquet")
    command = ["inject", str(tmp_path / "day.parquet"), "--region", "brittany", "--seed", "3", "--together", "3"]
    assert main([*command, "--out", str(tmp_path / "scenes"), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["per_kind"] == {"meeting": 3, "silence": 3, "zone": 3}
    again = ["evaluate", str(tmp_path / "scenes"), "--model", "brittany", "--out", str(tmp_path / "report"), "--json"]
    assert main(again) == 0
    figures = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == figures
    for kind in ("meeting", "zone"):
        assert figures["per_kind"][kind]["found"] == figures["per_kind"][kind]["positives"] == 3
    assert figures["per_kind"]["silence"]["found"] == figures["per_kind"]["silence"]["positives"]
    assert main(again[:-1]) == 0
    assert "zone  found 3 of 3" in capsys.readouterr().out
    (tmp_path / "scenes" / "labels.json").write_text("[1]")
    assert main(again) == 2

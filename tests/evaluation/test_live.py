"""What a live run is told to have found."""

from __future__ import annotations

import json

import numpy as np
import pytest

from multitaskais.config import REGIONS
from multitaskais.evaluation import live
from multitaskais.evaluation.live import TrackSeen, Truth
from multitaskais.export import to_geojson
from multitaskais.records import REPORT_DTYPE
from multitaskais.simulate import SimulationSettings, simulate

HOUR = 3600.0
LABELS = [
    Truth(1, "drift", 10 * HOUR, 13 * HOUR),
    Truth(2, "drift", 10 * HOUR, 12 * HOUR),
    Truth(3, "jump", 5 * HOUR, 5 * HOUR),
]
TRACKS = [TrackSeen(f"{m:09d}-x", m, 0.0, 24 * HOUR, "") for m in (1, 2, 3, 4, 5)] + [
    TrackSeen("000000006-x", 6, 0.0, 12 * HOUR, "moored"),
    TrackSeen("000000007-x", 7, 0.0, 12 * HOUR, "too_short"),
]


def alert(
    mmsi: int,
    hour: float,
    name: str = "a",
    status: str = "raised",
    segment: tuple[float, float] | None = None,
    **more: object,
) -> dict:
    start, end = segment or (hour - 1, hour)
    return {
        "alert_id": f"{mmsi}/{name}", "revision": 1, "status": status, "mmsi": str(mmsi), "track_id": f"{mmsi:09d}-x", "cause": "drift",
        "segment_start": {"t": start * HOUR, "lat": 48.0, "lon": -5.0}, "segment_end": {"t": end * HOUR, "lat": 48.1, "lon": -5.0},
        "decided_at": hour * HOUR, "challenger": False, **more,
    }  # fmt: skip


def summary(alerts: list[dict]) -> dict:
    return live.summarise(LABELS, alerts, TRACKS, 1000, {"feed": 2.0}, 500.0)


def test_the_summary_has_the_fields_of_the_contract_and_is_json() -> None:
    s = summary([alert(1, 11.5), alert(4, 6)])
    assert set(s) == {
        "vessels", "reports", "tracks", "judged", "not_judged", "alerts", "per_kind", "precision", "recall", "clean_flagged",
        "alerts_per_vessel_day", "median_hours_to_alert", "reports_per_s", "seconds",
    }  # fmt: skip
    assert json.loads(json.dumps(s, allow_nan=False)) == s
    assert (s["vessels"], s["tracks"], s["judged"], s["not_judged"]) == (7, 7, 5, {"moored": 1, "too_short": 1})
    assert s["per_kind"] == {"drift": {"positives": 2, "found": 1}, "jump": {"positives": 1, "found": 0}}
    assert s["recall"] == pytest.approx(1 / 3, abs=1e-4)
    assert s["precision"] == 0.5
    assert s["clean_flagged"] == 0.25  # ship 4 of 4, 5, 6, 7
    assert s["alerts_per_vessel_day"] == pytest.approx(1 / 3, abs=1e-4)
    assert s["median_hours_to_alert"] == 1.5


def test_an_alert_before_the_anomaly_finds_nothing_but_a_later_revision_of_it_does() -> None:
    assert summary([alert(1, 9)])["per_kind"]["drift"]["found"] == 0
    assert summary([alert(1, 9), alert(1, 12, status="updated")])["median_hours_to_alert"] == 2.0
    assert summary([alert(1, 9), alert(1, 12, status="closed")])["per_kind"]["drift"]["found"] == 0
    assert summary([alert(1, 12, segment=(7, 9))])["per_kind"]["drift"]["found"] == 0  # about something else


def test_what_was_retracted_and_what_challengers_say_does_not_count() -> None:
    s = summary([alert(1, 11), alert(1, 12, status="retracted"), alert(4, 5, challenger=True)])
    assert (s["alerts"], s["recall"], s["precision"], s["clean_flagged"]) == (0, 0.0, None, 0.0)


def test_two_alerts_on_one_clean_track_flag_one_track() -> None:
    s = summary([alert(4, 6, "a"), alert(4, 9, "b"), alert(4, 10, "b", status="updated")])
    assert s["alerts"] == 2
    assert s["clean_flagged"] == 0.25
    assert s["alerts_per_vessel_day"] == pytest.approx(2 / 3, abs=1e-4)


def test_a_track_is_judged_when_any_verdict_on_it_was() -> None:
    verdicts = [
        {"track_id": "a", "verdict": "normal", "reason": None},
        {"track_id": "a", "verdict": "not_judged", "reason": "moored"},
        {"track_id": "b", "verdict": "not_judged", "reason": "moored"},
    ]
    seen = live.tracks_seen([("a", 1, 0, 1), ("b", 2, 0, 1), ("c", 3, 0, 1)], verdicts)
    assert [t.reason for t in seen] == ["", "moored", "too_short"]


def test_the_table_says_every_figure() -> None:
    text = live.table(summary([alert(1, 11.5)]))
    for piece in ("ships seen            7", "drift 1/2", "33%", "1 moored", "1.50"):
        assert piece in text


def sailed(mmsi: int) -> np.ndarray:
    r = np.zeros(30, REPORT_DTYPE)
    r["mmsi"], r["t"] = mmsi, np.arange(30) * 0.5 * HOUR
    r["lat"], r["lon"] = 48.0 + np.arange(30) * 0.01, -5.0
    return r


def test_geojson_draws_the_stretch_that_was_sailed_and_keeps_every_field() -> None:
    shown = to_geojson(
        [alert(1, 11), alert(1, 12, status="updated"), alert(9, 5)], sailed(1), {x.mmsi: x.kind for x in LABELS}
    )
    assert json.loads(json.dumps(shown, allow_nan=False))["type"] == "FeatureCollection"
    first, second = shown["features"]
    assert first["geometry"]["type"] == "LineString"
    assert len(first["geometry"]["coordinates"]) == 3  # reports at 11.0, 11.5 and 12.0 h
    assert first["geometry"]["coordinates"][0] == pytest.approx([-5.0, 48.22])
    assert (first["properties"]["status"], first["properties"]["kind"]) == ("updated", "drift")
    assert second["properties"]["kind"] is None
    assert second["geometry"]["coordinates"] == [[-5.0, 48.0], [-5.0, 48.1]]


def test_the_picture_is_drawn_with_and_without_anything_to_show() -> None:
    region = REGIONS["brittany"]
    traffic = simulate(region, SimulationSettings(vessels=12, abnormal=4), np.random.default_rng(0))
    labels = live.truths(x.as_dict() for x in traffic.labels)
    full = live.picture(traffic.reports, [alert(labels[0].mmsi, labels[0].t_start / HOUR + 1)], labels, region)
    empty = live.picture(np.zeros(0, REPORT_DTYPE), [], [], region)
    assert full.startswith(b"\x89PNG")
    assert empty.startswith(b"\x89PNG")
    assert len(full) > len(empty)

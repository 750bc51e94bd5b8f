"""The life of an alert."""

from __future__ import annotations

import json
import math
from copy import copy
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from multitaskais.detection.lifecycle import AlertLife, TargetInfo
from multitaskais.detection.panel import Panel
from multitaskais.detection.threshold import N_TYPES, TYPE_INDEX
from multitaskais.records import Alert, AlertType, Cause, Status, alert_id
from multitaskais.tracks.tracker import IdentityConflict, Jump
from tests.support.lane_traffic import sail
from tests.support.small_model import fleet, model

PANEL: Panel = model().panel
MMSI = 228_000_001
ABNORMAL = TYPE_INDEX[AlertType.ABNORMAL]


def life() -> AlertLife:
    return AlertLife(PANEL, "lane-1", model().usual)


def info(t: float) -> TargetInfo:
    return TargetInfo(MMSI, b"SEA CLOUD", 70, "228000001-20010909T014640Z", t + 120.0)


class Line:
    """One line whose scores are given from outside; everything else is the product's."""

    def __init__(self) -> None:
        self.rows, self.life, self.samples = PANEL.initial(1), life(), sail(MMSI, 200)
        self.k = 0

    def score(self, *scores: float) -> list[Alert]:
        told = []
        for x in scores:
            sample = self.samples[self.k : self.k + 1]
            self.rows, result = PANEL.step(self.rows, sample)
            type_score = np.full((1, N_TYPES), np.nan)
            type_score[0, ABNORMAL] = x
            result = result._replace(type_score=type_score, score=type_score[:, ABNORMAL])
            told += [a for _, a in self.life.judge(self.rows, sample, result, [info(self.t)])]
            self.k += 1
        return told

    @property
    def t(self) -> float:
        return float(self.samples["t"][self.k])

    def report(self, minutes: float = 0.0, lat: float = 48.0) -> tuple:
        return (MMSI, self.t + 60 * minutes, lat, -7.0, 10.0, 90.0, np.nan, 0, 1, 70, b"")

    @property
    def row(self):
        return self.rows[0]


def states(alerts: list[Alert]) -> list[Status]:
    return [a.status for a in alerts]


def test_a_score_that_reaches_its_threshold_raises_and_one_below_does_not():
    line = Line()
    assert line.score(0.2, 0.999, np.nan) == []
    (alert,) = line.score(1.0)
    assert (alert.status, alert.revision, alert.score) == (Status.RAISED, 1, 1.0)
    assert alert.alert_id == alert_id(MMSI, float(line.samples["t"][3]), AlertType.ABNORMAL)
    assert alert.decided_at == line.samples["t"][3] + 120.0


def test_an_abnormal_segment_is_one_alert_with_growing_revisions():
    line = Line()
    told = line.score(*[0.5] * 12, *[1.2] * 30, *[0.5] * 10)
    assert len({a.alert_id for a in told}) == 1
    assert [a.revision for a in told] == list(range(1, len(told) + 1))
    assert states(told) == [Status.RAISED, *[Status.UPDATED] * 4, Status.CLOSED]


def test_an_update_comes_each_hour_of_the_vessels_time_or_when_the_score_has_grown_by_a_quarter():
    line = Line()
    told = line.score(1.0, 1.1, 1.2, 1.26, 1.3, 1.3, 1.3, 1.3, 1.3, 1.3)
    assert [(a.status, a.segment_end.t - told[0].segment_end.t) for a in told] == [
        (Status.RAISED, 0.0),
        (Status.UPDATED, 1800.0),
        (Status.UPDATED, 5400.0),
    ]


def test_six_samples_below_close_and_five_do_not():
    line = Line()
    assert states(line.score(1.5, *[0.1] * 5, 1.5)) == [Status.RAISED, Status.UPDATED]  # an hour has passed
    told = line.score(*[0.1] * 6)
    assert states(told) == [Status.CLOSED]
    assert told[0].segment_end.t == line.samples["t"][6]


def test_samples_that_are_not_judged_keep_no_alert_alive():
    assert states(Line().score(1.5, *[np.nan] * 6)) == [Status.RAISED, Status.CLOSED]


def test_who_rises_again_after_the_close_is_a_new_alert():
    told = Line().score(1.5, *[0.1] * 6, 1.5)
    assert states(told) == [Status.RAISED, Status.CLOSED, Status.RAISED]
    assert told[0].alert_id == told[1].alert_id != told[2].alert_id
    assert told[2].revision == 1


def test_the_score_of_a_revision_is_the_greatest_so_far():
    told = Line().score(1.5, 3.0, 1.1, *[0.1] * 6)
    assert [a.score for a in told] == [1.5, 3.0, 3.0]


def test_the_end_of_a_track_closes_with_vessel_times_only():
    line = Line()
    line.score(1.5, 1.4)
    (closed,) = line.life.on_end(line.row, TargetInfo(MMSI, b"", 70, "x", 5e9))
    assert (closed.status, closed.decided_at) == (Status.CLOSED, 5e9)
    assert closed.segment_end.t == line.samples["t"][1]
    assert closed.track_id == "228000001-20010909T014640Z", "of the track in which it was raised"
    assert line.life.on_end(line.row, info(0)) == []


def test_a_jump_is_always_an_event_and_a_displaced_stretch_is_one_alert():
    line = Line()
    line.score(0.1)
    first = line.life.on_jump(line.row, Jump(0, line.report(0), line.report(1, 48.2), 31.0), info(line.t))
    again = line.life.on_jump(line.row, Jump(0, line.report(0), line.report(2, 48.2), 31.5), info(line.t))
    assert (states(first), again) == ([Status.RAISED], [])
    assert first[0].score == pytest.approx(1 + math.log(31 / 30) / 2)
    assert (first[0].alert_type, first[0].cause) == (AlertType.JUMP, Cause.JUMP)
    assert states(line.score(*[0.1] * 6)) == [Status.CLOSED]
    new = line.life.on_jump(line.row, Jump(0, line.report(0), line.report(1, 48.2), np.inf), info(line.t))
    assert states(new) == [Status.RAISED]
    json.dumps(new[0].as_dict(), allow_nan=False)


def test_two_ships_on_one_mmsi_close_the_jumps_and_stand_until_the_end():
    line = Line()
    line.score(0.1)
    line.life.on_jump(line.row, Jump(0, line.report(0), line.report(1, 48.2), 99.0), info(line.t))
    told = line.life.on_identity(line.row, IdentityConflict(0, 1, line.t, line.report(9, 48.2)), info(line.t))
    assert [(a.alert_type, a.status) for a in told] == [
        (AlertType.JUMP, Status.CLOSED),
        (AlertType.IDENTITY_CONFLICT, Status.RAISED),
    ]
    assert line.score(*[0.1] * 20) == []
    assert states(line.life.on_end(line.row, info(line.t))) == [Status.CLOSED]


def test_alerts_go_on_from_rows_in_bytes():
    one, two = Line(), Line()
    scores = [0.1, 1.1, 1.2, 2.0, 0.1, 1.3, *[0.1] * 6, 1.4, *[np.nan] * 6]
    told = []
    for x in scores:
        two.rows = np.frombuffer(two.rows.tobytes(), PANEL.row_dtype).copy()
        two.life = life()
        told += two.score(x)
    assert told == one.score(*scores)


@pytest.mark.parametrize(("cells", "cause"), [(7.0, Cause.OUT_OF_PLACE), (8.0, Cause.COURSE)])
def test_the_detector_that_decides_by_its_weight_names_the_cause_it_asks_for(cells, cause):
    """``cells`` counts a tenth, so its tail_score must be ln 10 = 2.3 above that of ``place``."""
    panel, k = copy(PANEL), PANEL.names.index("cells")
    panel.traits = tuple(replace(t, cause=Cause.COURSE) if i == k else t for i, t in enumerate(panel.traits))
    samples, rows = sail(MMSI, 20), panel.initial(1)
    for j in range(len(samples)):
        rows, result = panel.step(rows, samples[j : j + 1])
    said = np.zeros((1, len(panel.names)))
    said[0, panel.names.index("place")], said[0, k] = 5.0, cells
    hot = np.zeros((1, N_TYPES))
    hot[0, ABNORMAL] = 1.2
    result = result._replace(z=np.ones_like(said), tail_score=said, type_score=hot, score=hot[:, ABNORMAL])
    (_, alert), *_ = AlertLife(panel, "lane-1", model().usual).judge(rows, samples[-1:], result, [info(0)])
    assert alert.cause is cause


def test_verdicts_are_abnormal_while_an_alert_stands_and_else_normal_or_not_judged_with_the_reason():
    samples, rows, teller = fleet(1, 11, 900), PANEL.initial(1), life()
    seen = []
    for k in range(20):
        rows, result = PANEL.step(rows, samples[k : k + 1])
        hot = result.type_score.copy()
        hot[0, ABNORMAL] = 1.5 if k == 15 else 0.1
        result = result._replace(type_score=hot)
        teller.judge(rows, samples[k : k + 1], result, [info(0)])
        seen += teller.verdicts(rows, samples[k : k + 1], result, [info(0)])
    assert {(v.verdict, v.reason) for v in seen[:12]} == {("not_judged", "too_short")}
    assert {(v.verdict, v.reason) for v in seen[12:15]} == {("normal", None)}
    assert {(v.verdict, v.reason) for v in seen[15:]} == {("abnormal", None)}


def test_a_whole_track_off_the_lane_tells_where_and_why_and_fits_the_schema():
    samples = np.concatenate([fleet(1, 12, 1000, 20), sail(228_001_000, 24, lat=48.12, lon=-5.4, sog=11.0, n0=20)])
    samples["mmsi"] = MMSI
    rows, teller, told = PANEL.initial(1), life(), []
    for k in range(len(samples)):
        rows, result = PANEL.step(rows, samples[k : k + 1])
        told += [a for _, a in teller.judge(rows, samples[k : k + 1], result, [info(samples["t"][k])])]
    assert told, "the ship left the lane by 7 NM"
    first = next(a for a in told if a.alert_type is AlertType.ABNORMAL)
    assert first.cause is Cause.OUT_OF_PLACE
    assert first.segment_start.t >= samples["t"][14]
    assert first.detectors[0].name in PANEL.names
    assert "SEA CLOUD" in first.message
    assert "where ships usually pass" in first.message
    schema = json.loads((Path(__file__).parents[2] / "docs" / "alert.schema.json").read_text())
    for alert in told:
        jsonschema.validate(alert.as_dict(), schema)

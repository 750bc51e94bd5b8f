"""What is answered is what ``detect`` says, whoever else asks at the same time."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from multitaskais.ais.encode import cdv_lines
from multitaskais.engine import batch
from multitaskais.errors import InputError
from multitaskais.model import folder
from multitaskais.model.samples import load_reports
from multitaskais.records import six_digits
from score_server.scoring import reports_of, score, utc
from score_server.wire import ScoreRequest

from .conftest import as_json


def request(**fields) -> ScoreRequest:
    return msgspec.json.decode(msgspec.json.encode(fields), type=ScoreRequest)


def test_the_answer_is_what_batch_says_of_the_same_reports(brittany, reports):
    (answer,) = score(brittany, [request(reports=as_json(reports))])
    want = batch.run(brittany, reports, trace=True)
    together = batch.run_fleet(brittany, reports).alerts if brittany.patterns is not None else []
    last = {a.alert_id: a.as_dict() for a in (*want.alerts, *together)}
    assert last
    assert {a.alert["alert_id"]: a.alert for a in answer.anomalies} == last
    assert [(t.track_id, t.verdict, t.reason, t.samples, t.judged_samples) for t in answer.tracks] == [
        (v.track_id, v.verdict, v.reason, v.samples, v.judged_samples) for v in batch.track_verdicts(want)
    ]
    assert [t.score for t in answer.tracks] == [
        None if v.score is None else six_digits(v.score) for v in batch.track_verdicts(want)
    ]
    assert (answer.received, answer.accepted) == (len(reports), want.counts.accepted)
    assert answer.rejected == {str(k): n for k, n in sorted(want.counts.rejected.items())}
    assert answer.accepted + sum(answer.rejected.values()) == answer.received
    for a in answer.anomalies:
        assert (a.timestamp, a.mmsi, a.message) == (utc(a.alert["segment_start"]["t"]), a.alert["mmsi"], a.alert["message"])  # fmt: skip


def test_requests_that_share_a_run_are_answered_as_if_each_were_alone(brittany, reports):
    ships = np.unique(reports["mmsi"])
    dirty = reports.copy()
    dirty["lat"][::7] += 40.0  # out of the region
    dirty = np.concatenate([dirty, dirty[: len(dirty) // 3]])  # and doubles
    parts = [request(reports=as_json(dirty[dirty["mmsi"] == s]), predicted=True) for s in ships]
    parts.append(
        request(reports=as_json(dirty[np.isin(dirty["mmsi"], ships[:2])]))
    )  # has vessels in common with others
    assert score(brittany, parts) == [score(brittany, [p])[0] for p in parts]


def test_tracks_and_reports_are_two_forms_of_one_question(brittany, reports):
    ship = reports[reports["mmsi"] == reports["mmsi"][0]]
    rows = as_json(ship)
    track = {
        "mmsi": str(ship["mmsi"][0]),
        "ship_type": rows[0].get("ship_type"),
        "ship_name": rows[0].get("ship_name"),
        "reports": [{k: v for k, v in r.items() if k not in ("mmsi", "ship_type", "ship_name")} for r in rows],
    }
    one, other = score(brittany, [request(reports=rows)]) + score(brittany, [request(tracks=[track])])
    assert one == other


def test_what_is_not_available_on_the_air_is_missing_here():
    values = {"lat": 91, "lon": 181, "sog": 102.3, "cog": 360, "heading": 511, "nav_status": 15}
    (row,), _ = reports_of(request(reports=[{"mmsi": 1, "t": 5.0, "ship_name": "A@B", **values}]))
    assert all(np.isnan(row[k]) for k in ("lat", "lon", "sog", "cog", "heading"))
    assert row["ship_name"] == b"A"
    (empty,), _ = reports_of(request(reports=[{"mmsi": 1, "t": 5.0}]))
    assert (empty["nav_status"], empty["ship_type"], empty["msg_type"]) == (-1, -1, -1)


def test_where_the_model_knows_nothing_the_answer_says_so(brittany):
    at = [{"mmsi": 227000001, "t": 1e9 + 60.0 * k, "lat": -30.0, "lon": 10.0, "sog": 9.0, "cog": 0.0} for k in range(5)]
    (answer,) = score(brittany, [request(reports=at)])
    assert answer.coverage.known == "none"
    assert "none of the 5 reports" in str(answer.coverage.msg)
    assert answer.rejected == {"out_of_region": 5}
    near = [r | {"lat": 48.0, "lon": -5.5} for r in at[:2]]
    (answer,) = score(brittany, [request(reports=near + at[2:])])
    assert answer.coverage.known == "part"


def test_what_was_expected_is_near_what_a_steady_ship_does_and_null_before_it_is_known(brittany):
    knots, n = 12.0, 400
    metres = knots * 1852.0 / 3600.0 * 60.0
    at = [
        {"mmsi": 227000001, "t": 1e9 + 60.0 * k, "lat": 47.8 + k * metres / 111_195.0, "lon": -5.9, "sog": knots, "cog": 0.0, "ship_type": 70}
        for k in range(n)
    ]  # fmt: skip
    (answer,) = score(brittany, [request(reports=at, predicted=True)])
    assert answer.predicted[0].lat is None
    told = [p for p in answer.predicted if p.lat is not None]
    assert len(told) > 20
    for p in told[5:]:
        k = next(i for i, r in enumerate(at) if utc(r["t"]) == p.timestamp)
        assert abs(p.lat - at[k]["lat"]) < 0.01
        assert abs(p.sog - knots) < 1.0
        assert min(p.cog, 360.0 - p.cog) < 10.0
    assert score(brittany, [request(reports=at)])[0].predicted == []
    blind = folder.load("anywhere")
    (other,) = score(blind, [request(reports=at, predicted=True)])
    assert len(other.predicted) == len(answer.predicted)
    assert all(p.lat is None or -90 <= p.lat <= 90 for p in other.predicted)


def test_sentences_are_read_as_an_archive_is_and_a_table_is_refused(brittany, reports, tmp_path):
    lines = [
        *(line.rstrip() for line in cdv_lines(reports)),
        b"rubbish",
        b"1700000000;!AIVDM,1,1,,A,13u?etPv2;0n:dDPwUM1U1Cb069D,0*00",
    ]
    file = tmp_path / "archive.cdv"
    file.write_bytes(b"\n".join(lines) + b"\n")
    read, counts = load_reports(file, None)
    want = batch.run(brittany, read)
    (answer,) = score(brittany, [request(sentences=[line.decode() for line in lines])])
    assert want.alerts
    assert {a.alert["alert_id"]: a.alert for a in answer.anomalies} == {a.alert_id: a.as_dict() for a in want.alerts}
    assert (answer.received, answer.accepted) == (counts.received, want.counts.accepted)
    assert answer.accepted + sum(answer.rejected.values()) == answer.received == len(lines)
    with pytest.raises(InputError, match="table"):
        score(brittany, [request(sentences=["MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselName", "1,2020-01-01T00:00:00,48,-5,1,1,1,A"])])  # fmt: skip

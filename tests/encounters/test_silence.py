"""Which silences matter, how they end, and when it is the station that fell silent."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitaskais.encounters import coverage, stops
from multitaskais.engine.fleet import FleetEngine
from multitaskais.records import AlertType, Status

from ..support.builders import T0, merged, sail
from ..support.encounter_scenes import bystanders, patterns

SHIP = 227000001


def decide(reports, known=None):
    engine = FleetEngine("m", known or patterns(), ordered=True)
    engine.process(reports[np.argsort(reports["t"], kind="stable")])
    engine.advance_watermark(float("inf"))
    events = engine.decide()
    return [a for a in events.alerts if a.alert_type is AlertType.SILENCE and a.mmsi == SHIP], events


def silent(from_h: float, to_h: float, **fields):
    ship = sail(12 * 60, 60.0, mmsi=SHIP, lat=48.0, lon=-5.5, **({"sog": 10.0, "cog": 90.0} | fields))
    hours = (ship["t"] - T0) / 3600
    return ship[(hours <= from_h) | (hours >= to_h)]


def test_a_ship_under_way_that_falls_silent_is_told_and_when_it_is_heard_again():
    found, _ = decide(merged(silent(2, 7), bystanders()))
    assert [a.status for a in found] == [Status.RAISED, Status.UPDATED, Status.CLOSED]
    assert found[0].decided_at == pytest.approx(T0 + 2 * 3600 + 1800)
    assert "50 NM away after 5 h, which needs 10 kn" in found[1].message
    assert found[2].decided_at == pytest.approx(T0 + 8 * 3600)


def test_heard_again_in_place_it_is_closed():
    ship = sail(180, 60.0, mmsi=SHIP, lat=48.0, lon=-5.5)
    later = sail(60, 60.0, mmsi=SHIP, lat=float(ship["lat"][-1]), lon=-5.5, sog=0.1, t=T0 + 6 * 3600)
    found, _ = decide(merged(ship, later, bystanders()))
    assert [a.status for a in found] == [Status.RAISED, Status.CLOSED]
    assert "in place" in found[1].message


@pytest.mark.parametrize("fields", [{"sog": 0.1}, {"nav_status": 5}, {"nav_status": 1, "sog": 3.5}])
def test_a_ship_that_is_not_under_way_may_be_silent(fields):
    found, _ = decide(merged(silent(2, 7, **fields), bystanders()))
    assert found == []


def test_a_short_silence_is_none():
    assert decide(merged(silent(2, 2.45), bystanders()))[0] == []


def test_who_falls_silent_at_a_place_where_ships_stop_is_not_told():
    end = silent(2, 99)
    known = patterns(stops=((float(end["lat"][-1]), float(end["lon"][-1])),))
    assert decide(merged(end, bystanders()), known)[0] == []


def test_many_ships_silent_at_once_are_the_stations_outage():
    others = bystanders(6)
    gap = (others["t"] > T0 + 2 * 3600) & (others["t"] < T0 + 7 * 3600)
    far = bystanders(3, first=227000201, lat=44.0)  # another station goes on
    found, events = decide(merged(silent(2, 7), others[~gap], far))
    assert found == []
    assert events.outages
    assert events.outages[0].silent > events.outages[0].heard == 0


def test_when_nothing_at_all_is_heard_nothing_is_decided():
    assert decide(merged(silent(2, 7)))[0] == []


def test_where_ships_leave_unheard_no_limit_is_learnt():
    """Half the ships are last heard at 48.5 N, all others go on: the water before it is watched, the edge is not."""
    parts = [
        sail(300, 60.0, mmsi=227000001 + i, lat=47.6, lon=-5.55 + 0.001 * i, sog=15.0, t=T0 + 3600.0 * i)
        for i in range(60)
    ]
    reports = merged(*parts)
    known = coverage.learn(reports[np.lexsort((reports["t"], reports["mmsi"]))], stops.StoppingPlaces(), 0.02)
    end = float(parts[0]["lat"][-1])
    assert np.isinf(known.limit_s(np.array([end]), np.array([-5.52])))[0]
    assert known.limit_s(np.array([48.05]), np.array([-5.55]))[0] == coverage.SPANS_S[0]
    assert np.isinf(known.limit_s(np.array([10.0]), np.array([10.0])))[0]


def test_patterns_go_to_a_file_and_back(tmp_path):
    from multitaskais.encounters.patterns import Patterns, learn
    from multitaskais.errors import ModelCorrupt

    known = learn(merged(silent(2, 7), bystanders()))
    known.save(tmp_path / "encounters.npz")
    back = Patterns.load(tmp_path / "encounters.npz")
    assert back.vessel_days == known.vessel_days
    lat, lon = np.array([48.0, 48.3]), np.array([-5.4, -5.8])
    assert (back.coverage.limit_s(lat, lon) == known.coverage.limit_s(lat, lon)).all()
    (tmp_path / "bad.npz").write_bytes(b"no zip")
    with pytest.raises(ModelCorrupt):
        Patterns.load(tmp_path / "bad.npz")


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([120.0, 600.0, 1801.0, 5000.0, 90_000.0]), min_size=3, max_size=30))
def test_of_a_lone_ship_nothing_is_ever_found_whatever_its_gaps(steps):
    """The score server rests on it: it looks at ships together only where there are two."""
    ship = sail(len(steps) + 1, steps, mmsi=SHIP, lat=48.0, lon=-5.5, sog=10.0, cog=90.0)
    _, events = decide(ship)
    assert events.counts.accepted == len(ship)
    assert events.alerts == []
    assert events.outages == []

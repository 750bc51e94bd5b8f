"""Zones: what GeoJSON they take, and which ships break their rules."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitaskais.engine.fleet import FleetEngine
from multitaskais.errors import InputError
from multitaskais.records import AlertType, Status
from multitaskais.zones.zone import read_feature, read_zones

from ..support.builders import merged, moved, sail
from ..support.encounter_scenes import voyage

SHIP = 227000001


def box(lat1=48.0, lat2=48.2, lon1=-5.6, lon2=-5.4, **properties):
    ring = [[lon1, lat1], [lon2, lat1], [lon2, lat2], [lon1, lat2], [lon1, lat1]]
    return {
        "type": "Feature",
        "properties": {"name": "Reserve", "rule": "enter"} | properties,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


def alerts(reports, *features):
    engine = FleetEngine("m", None, ordered=True, zones=[read_feature(f) for f in features])
    engine.process(reports[np.argsort(reports["t"], kind="stable")])
    engine.advance_watermark(float("inf"))
    return [a for a in engine.decide().alerts if a.alert_type is AlertType.ZONE]


def through(sog=10.0, **fields):
    """From 47.9 N to 48.3 N along 5.5 W."""
    return sail(int(0.4 * 60 / sog * 60) + 2, 60.0, mmsi=SHIP, lat=47.9, lon=-5.5, sog=sog, **fields)


def test_a_ship_that_enters_is_told_at_once_and_when_it_left():
    ship = through()
    found = alerts(ship, box())
    assert [a.status for a in found] == [Status.RAISED, Status.UPDATED, Status.CLOSED]
    inside = ship["t"][(ship["lat"] > 48.0) & (ship["lat"] < 48.2)]
    assert abs(found[0].decided_at - inside[0]) <= 60.0
    assert abs(found[-1].decided_at - inside[-1]) <= 120.0
    assert found[0].zone == ("Reserve", "enter")
    assert found[0].as_dict()["zone"] == {"name": "Reserve", "rule": "enter"}


def test_who_stays_outside_or_is_permitted_or_of_another_class_is_not_told():
    assert alerts(moved(through(), east_m=20_000), box()) == []
    assert alerts(through(), box(permitted_mmsi=[SHIP])) == []
    assert alerts(through(ship_type=60), box(classes=["tanker"])) == []
    assert alerts(through(ship_type=80), box(classes=["tanker"]))
    assert alerts(through(ship_type=-1), box(classes=["unknown"]))


def test_a_ship_that_wavers_at_the_border_enters_once():
    ship = sail(200, 60.0, mmsi=SHIP, lat=48.1, lon=-5.6, sog=4.0)
    ship["lon"] = -5.6 + 0.0004 * np.where(np.arange(200) % 2, 1, -1)  # 30 m in, 30 m out
    assert alerts(ship, box()) == []
    ship["lon"][5] = -5.59
    assert [a.status for a in alerts(ship[:50], box())].count(Status.RAISED) == 1


def test_leave_stop_slower_faster_anchor_and_cable():
    def statuses(reports, **properties):
        return [a.status for a in alerts(reports, box(**properties))]

    assert statuses(through(), rule="leave")[0] is Status.RAISED
    stopped = voyage([(1.2, 10, 0), (1, 0.1, 0), (2, 10, 0)], lat=47.9, lon=-5.5, mmsi=SHIP)
    for rule in ("stop", "anchor", "cable_corridor"):
        assert statuses(stopped, rule=rule) == [Status.RAISED, Status.CLOSED], rule
        assert statuses(through(), rule=rule) == [], rule
    assert statuses(through(nav_status=1, sog=2.0), rule="anchor")[0] is Status.RAISED
    assert statuses(through(sog=12), rule="slower", speed_knots=6) == []
    assert statuses(through(sog=4), rule="slower", speed_knots=6)[0] is Status.RAISED
    assert statuses(through(sog=12), rule="faster", speed_knots=10)[0] is Status.RAISED
    assert statuses(through(sog=8), rule="faster", speed_knots=10) == []
    assert statuses(through(sog=45), rule="faster", speed_knots=10)[0] is Status.RAISED


def test_a_rule_holds_in_its_hours_alone():
    assert alerts(through(), box(hours="02:00-06:00"))  # T0 is 02:40 UTC
    assert alerts(through(), box(hours="22:00-05:00"))
    assert alerts(through(), box(hours="12:00-20:00")) == []


def test_a_ship_without_speed_is_still_somewhere():
    assert alerts(through(), box())[0].decided_at == alerts(moved(through(), sog=float("nan")), box())[0].decided_at


def test_two_zones_at_one_time_are_two_alerts():
    found = alerts(through(), box(), box(name="Other"))
    assert len({a.alert_id for a in found}) == 2


def test_a_stay_ends_when_the_ship_is_not_heard():
    ship = through()
    ship = ship[ship["lat"] < 48.1]
    found = alerts(ship, box())
    assert found[-1].status is Status.CLOSED
    assert found[-1].decided_at == ship["t"][-1] + 7200


def test_a_hole_and_a_second_part_belong_to_the_shape():
    outer = box()["geometry"]["coordinates"][0]
    hole = [[-5.55, 48.05], [-5.45, 48.05], [-5.45, 48.15], [-5.55, 48.15], [-5.55, 48.05]]
    far = [[-5.51, 48.25], [-5.49, 48.25], [-5.49, 48.27], [-5.51, 48.27], [-5.51, 48.25]]
    feature = box()
    feature["geometry"] = {"type": "MultiPolygon", "coordinates": [[outer, hole], [far]]}
    found = alerts(through(), feature)
    assert [a.status for a in found].count(Status.RAISED) == 3


BAD = {
    "unknown rule": {"rule": "forbidden"},
    "no name": {"name": ""},
    "unknown property": {"colour": "red"},
    "speed needed": {"rule": "slower"},
    "speed not taken": {"speed_knots": 5},
    "a text as a number": {"minutes": "5"},
    "true as a number": {"margin_m": True},
    "unknown class": {"classes": ["battleship"]},
    "no class": {"classes": []},
    "hours": {"hours": "25:00-26:00"},
    "hours of no length": {"hours": "10:00-10:00"},
    "mmsi": {"permitted_mmsi": [12]},
    "severity": {"severity": "extreme"},
    "a name that erases a line": {"name": "a\x1b[2Kb"},
}


@pytest.mark.parametrize("properties", BAD.values(), ids=BAD.keys())
def test_a_property_that_is_not_understood_is_one_line_with_the_feature(properties):
    with pytest.raises(InputError, match=r"^zones: feature 2: .+$") as e:
        read_zones(json.dumps({"type": "FeatureCollection", "features": [box(name="first"), box(**properties)]}))
    assert "\n" not in str(e.value)


RING = box()["geometry"]["coordinates"][0]
SHAPES = {
    "point": {"type": "Point", "coordinates": [1, 2]},
    "none": None,
    "empty": {"type": "Polygon", "coordinates": []},
    "open": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]},
    "bow tie": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]},
    "outside": {"type": "Polygon", "coordinates": [[[0, 0], [200, 0], [200, 1], [0, 0]]]},
    "text": {"type": "Polygon", "coordinates": [[["a", "b"]] * 4]},
    "antimeridian": {"type": "Polygon", "coordinates": [[[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]]]},
    "no area": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [2, 2], [0, 0]]]},
    "flat": {"type": "Polygon", "coordinates": [1, 2, 3]},
}


@pytest.mark.parametrize("geometry", SHAPES.values(), ids=SHAPES.keys())
def test_a_shape_that_is_none_is_one_line(geometry):
    with pytest.raises(InputError) as e:
        read_feature(box() | {"geometry": geometry})
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"type": "FeatureCollection"}', "[" * 100_000])
def test_a_file_that_is_no_geojson_is_one_line(text):
    with pytest.raises(InputError):
        read_zones(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda x: (
        st.lists(x, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "properties", "geometry", "name", "rule", "coordinates"]), x, max_size=4
        )
    ),
)


@settings(max_examples=300, deadline=None)
@given(_JSON, _JSON, _JSON)
def test_whatever_is_in_the_file_no_other_error_comes(properties, coordinates, feature):
    for candidate in (
        feature,
        {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": coordinates}},
    ):
        with contextlib.suppress(InputError):
            read_feature(candidate)


@given(
    st.sampled_from(["enter", "leave", "stop", "anchor", "cable_corridor"]),
    st.floats(0, 1440),
    st.sampled_from([None, "22:00-06:00", "00:00-24:00"]),
    st.lists(st.sampled_from(["tanker", "other"]), min_size=1, max_size=2, unique=True),
)
def test_a_zone_goes_to_geojson_and_back(rule, minutes, hours, classes):
    zone = read_feature(box(rule=rule, minutes=minutes, classes=classes, **({"hours": hours} if hours else {})))
    assert read_feature(json.loads(json.dumps(zone.to_feature()))) == zone


def test_two_ships_do_not_disturb_each_other():
    other = moved(through(), east_m=500, mmsi=SHIP + 1)
    together = [a.as_dict() for a in alerts(merged(through(), other), box())]
    alone = [a.as_dict() for a in (*alerts(through(), box()), *alerts(other, box()))]
    key = lambda a: (a["mmsi"], a["revision"])  # noqa: E731
    assert sorted(together, key=key) == sorted(alone, key=key)

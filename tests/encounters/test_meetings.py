"""Which pairs of ships meet, and which only look so."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitaskais.encounters.coverage import SILENCES_PER_VESSEL_DAY
from multitaskais.encounters.patterns import MEETINGS_PER_VESSEL_DAY, shared
from multitaskais.engine.fleet import FleetEngine
from multitaskais.records import AlertType, Status

from ..support.builders import T0, merged, sail
from ..support.encounter_scenes import CARGO, PILOT, TANKER, TUG, patterns, rendezvous, voyage


def alerts(reports, known=None):
    engine = FleetEngine("m", known or patterns(), ordered=True)
    engine.process(reports[np.argsort(reports["t"], kind="stable")])
    engine.advance_watermark(float("inf"))
    return [a for a in engine.decide().alerts if a.alert_type is AlertType.MEETING]


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-60, 60),
    st.floats(-179.9, 179.9),
    st.floats(0.7, 6.0),
    st.integers(0, 299),
    st.sampled_from([CARGO, TANKER, 30, 60]),
    st.sampled_from([CARGO, TANKER]),
)
def test_two_ships_that_come_under_way_and_lie_side_by_side_are_found(lat, lon, lie_h, phase, one, other):
    scene = rendezvous(lat=lat, lon=lon, lie_h=lie_h, t=T0 + phase, types=(one, other))
    found = alerts(scene)
    assert [a.status for a in found][:1] == [Status.RAISED]
    assert found[-1].status is Status.CLOSED
    assert {(a.mmsi, a.partner.mmsi) for a in found} == {(227000001, 227000002)}
    assert len({a.alert_id for a in found}) == 1
    assert [a.revision for a in found] == list(range(1, len(found) + 1))
    began = T0 + phase + 2 * 3600
    assert abs(found[-1].segment_start.t - began) <= 900
    assert abs(found[-1].segment_end.t - (began + lie_h * 3600)) <= 900
    # half an hour and one slot after they lay still
    assert found[0].decided_at <= began + 1800 + 2 * 300


@pytest.mark.parametrize("types", [(PILOT, TANKER), (TUG, CARGO), (31, 31), (51, 30)])
def test_ships_whose_work_is_to_go_alongside_are_no_meeting(types):
    assert alerts(rendezvous(types=types)) == []


def test_at_a_place_where_ships_stop_it_is_no_meeting():
    assert alerts(rendezvous(), patterns(stops=((48.0, -5.5),))) == []
    assert alerts(rendezvous(), patterns(stops=((48.0, -5.4),)))  # 7 km away


def test_ships_that_lie_there_all_day_are_no_meeting():
    lie = merged(*(sail(400, sog=0.1, mmsi=227000001 + i, lat=48.0 + 0.001 * i) for i in range(2)))
    assert alerts(lie) == []


def test_a_short_stop_and_a_wide_one_are_no_meeting():
    assert alerts(rendezvous(lie_h=0.35)) == []
    assert alerts(rendezvous(apart_deg=0.01)) == []


def test_ships_that_pass_each_other_are_no_meeting():
    a = voyage([(6, 10, 0)], lat=47.5, lon=-5.5, mmsi=227000001)
    b = voyage([(6, 10, 180)], lat=48.5, lon=-5.501, mmsi=227000002)
    assert alerts(merged(a, b)) == []


def test_two_ships_that_go_side_by_side_for_an_hour_are_told():
    a = voyage([(1, 10, 0), (1.5, 10, 0), (1, 10, 90)], lat=47.5, lon=-5.5, mmsi=227000001)
    b = voyage([(1, 10, 0), (1.5, 10, 0), (1, 10, 270)], lat=47.5, lon=-5.502, mmsi=227000002)
    found = alerts(merged(a, b))
    assert found
    assert "side by side" in found[0].message


def test_the_sentence_says_what_is_usual():
    message = alerts(rendezvous())[-1].message
    assert message.startswith("ALPHA (tanker, MMSI 227000001) and BRAVO (tanker, MMSI 227000002) lay side by side")
    assert "In 30 days no other pair of merchant ships did so within 20 NM" in message
    assert "from shore" in message


def test_an_alert_keeps_to_its_schema():
    import json
    from pathlib import Path

    import jsonschema

    schema = json.loads((Path(__file__).parents[2] / "docs/alert.schema.json").read_text())
    for a in alerts(rendezvous()):
        jsonschema.validate(json.loads(json.dumps(a.as_dict(), allow_nan=False)), schema)


def test_where_nothing_was_learnt_a_meeting_is_told_far_from_shore_alone():
    def found(lat, lon):
        engine = FleetEngine("m", None, ordered=True)
        engine.process(rendezvous(lat=lat, lon=lon))
        engine.advance_watermark(float("inf"))
        return engine.decide().alerts

    assert found(47.0, -8.0)  # the Bay of Biscay
    assert not found(48.35, -4.85)  # off Brest
    assert not found(41.9, 12.5)  # Rome: a river is no sea


@given(st.floats(1e-4, 1.0))
def test_meetings_and_silences_share_one_budget_as_they_do_by_default(budget):
    meetings, silences = shared(budget)
    assert meetings + silences == pytest.approx(budget)
    assert meetings / silences == pytest.approx(MEETINGS_PER_VESSEL_DAY / SILENCES_PER_VESSEL_DAY)
    assert shared() == (MEETINGS_PER_VESSEL_DAY, SILENCES_PER_VESSEL_DAY)

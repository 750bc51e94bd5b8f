"""The latest revision of each alert, and GeoJSON of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from multitaskais.export import latest_revisions, to_geojson

HERE, THERE = {"t": 0.0, "lat": 48.0, "lon": -5.0}, {"t": 600.0, "lat": 48.1, "lon": -5.1}


def alert(alert_id: str, revision: int, challenger: bool = False, end: dict = THERE) -> dict:
    return {"alert_id": alert_id, "revision": revision, "challenger": challenger, "mmsi": "227000001", "segment_start": HERE, "segment_end": end}  # fmt: skip


revisions = st.lists(st.builds(alert, st.sampled_from("abc"), st.integers(1, 5), st.booleans()))


@given(revisions, st.booleans())
def test_of_each_alert_the_greatest_revision_stays_in_the_order_of_the_first(alerts, challengers):
    found = latest_revisions(alerts, challengers=challengers)
    wanted = [a for a in alerts if challengers or not a["challenger"]]
    keys = list(dict.fromkeys((a["alert_id"], a["challenger"]) for a in wanted))
    assert [(a["alert_id"], a["challenger"]) for a in found] == keys
    for a in found:
        same = [b["revision"] for b in wanted if (b["alert_id"], b["challenger"]) == (a["alert_id"], a["challenger"])]
        assert a["revision"] == max(same)


def test_a_revision_that_comes_again_or_late_changes_nothing():
    first, second = alert("a", 1), alert("a", 2)
    assert latest_revisions([first, second, first, second]) == [second]


def test_without_reports_a_segment_is_the_line_between_its_ends_or_the_point_where_both_are():
    line, point = to_geojson([alert("a", 1), alert("b", 1, end=HERE)])["features"]
    assert line["geometry"] == {"type": "LineString", "coordinates": [[-5.0, 48.0], [-5.1, 48.1]]}
    assert point["geometry"] == {"type": "Point", "coordinates": [-5.0, 48.0]}
    assert line["properties"] == alert("a", 1)

"""Meetings, silences, zones and outages of stations on the map: the engine's own alerts, a real broker, a real browser."""

from __future__ import annotations

import dataclasses
import json
import time

import msgspec
import numpy as np
import pytest
from confluent_kafka import Producer

from multitaskais.engine import batch
from multitaskais.zones.zone import read_zones
from stream_operator.kafka import client as kafka
from stream_operator.kafka import control
from stream_operator.kafka.control_writer import ControlWriter
from stream_operator.map.state import MapState
from tests.map.conftest import SCREENSHOTS, own_settings, until
from tests.support import small_model
from tests.support.builders import T0, merged, sail
from tests.support.encounter_scenes import bystanders, patterns, rendezvous
from tests.support.map_scene import Scene, publish

CUT_S = 3.3 * 3600  # the two ships lie side by side then, and others are silent
OUTAGE = {"t": 0.0, "decided_at": 0.0, "lat": 48.4, "lon": -6.1, "silent": 12, "heard": 1}
ZONES = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"name": name, "rule": "enter", "severity": severity},
            "geometry": {"type": "Polygon", "coordinates": [[[w, s], [e, s], [e, n], [w, n], [w, s]]]},
        }
        for name, severity, w, s, e, n in (
            ("Reserve", "high", -5.7, 47.9, -5.3, 48.1),
            ("<b>Cable</b> north", "low", -6.1, 48.05, -5.9, 48.15),
        )
    ],
}


def heard(mmsi: int, lat: float, from_h: float, to_h: float, name: bytes) -> np.ndarray:
    """A ship that is silent from one hour to the other."""
    ship = sail(600, 60.0, mmsi=mmsi, lat=lat, lon=-6.0, sog=12.0, cog=90.0, ship_type=70, ship_name=name)
    hours = (ship["t"] - T0) / 3600
    return ship[(hours <= from_h) | (hours >= to_h)]


@pytest.fixture(scope="module")
def together() -> tuple[Scene, list]:
    """What the topics hold in the moment at which it is now, and the zones."""
    now = time.time()
    reports = merged(
        rendezvous(),
        bystanders(9, hours=10),
        heard(227000050, 48.2, 2.0, 99.0, b"STILL SILENT"),
        heard(227000051, 47.95, 0.7, 2.6, b"HEARD AGAIN"),
    )
    reports["t"] += now - T0 - CUT_S
    model = dataclasses.replace(small_model.model(), name="together", patterns=patterns())
    zones = read_zones(json.dumps(ZONES))
    reports = reports[reports["t"] <= now]
    found = batch.run_fleet(model, reports, zones, complete_until=now)
    assert {str(a.alert_type) for a in found.alerts} == {"meeting", "silence", "zone"}
    return Scene(reports, found.alerts, [], now), zones


def records(together) -> list[control.Zone]:
    scene, zones = together
    return [control.Zone(name=z.name, since=scene.now - 86400, zone=z.to_feature()) for z in zones] + [
        control.Zone(name="Later", since=scene.now + 3600, zone=zones[0].to_feature()),
        control.Zone(name="Over", since=scene.now - 86400, zone=zones[0].to_feature()),
        control.Zone(name="Over", since=scene.now - 7200),
        control.Zone(name="Broken", since=scene.now, zone={"type": "Feature", "geometry": None}),
    ]


def normal_here(now: float) -> control.SuppressionRecord:
    return control.SuppressionRecord(
        alert_type="abnormal", cause="out_of_place", stretch=(48.0, -6.0, 48.0, -5.8), since=now - 7200, least_score=1.5, why="<i>Yann</i> called a1 normal here"
    )  # fmt: skip


def outage(scene: Scene) -> bytes:
    return json.dumps(OUTAGE | {"t": scene.now - 900, "decided_at": scene.now - 300}).encode()


def test_the_picture_holds_zones_partners_and_events_of_stations_and_tells_them_once(together):
    scene, _ = together
    picture = MapState(clock=lambda: scene.now)
    for record in records(together):
        picture.control(control.encode(record)[1])
    picture.station("station_outage", outage(scene))
    picture.station("station_outage", b"{}")
    for alert in scene.alerts:
        picture.alert(json.dumps(alert.as_dict()).encode())
    state = json.loads(picture.state())
    assert [(z["name"], z["to"] is None) for z in state["zones"]] == [
        ("Reserve", True), ("<b>Cable</b> north", True), ("Later", True), ("Over", False),
    ]  # fmt: skip
    assert state["zones"][0]["rings"] == [[[-5.7, 47.9], [-5.3, 47.9], [-5.3, 48.1], [-5.7, 48.1], [-5.7, 47.9]]]
    assert [(e["kind"], e["silent"], e["heard"]) for e in state["stations"]] == [("station_outage", 12, 1)]
    assert state["health"]["not_shown"] == {"bad_value": 2}
    meeting = next(a for a in state["alerts"] if a["alert_type"] == "meeting")
    assert meeting["partner"] == {"mmsi": "227000002", "ship_name": "BRAVO", "ship_type": 80}
    assert {a["zone"]["name"] for a in state["alerts"] if a["alert_type"] == "zone"} >= {"Reserve"}
    first, second = json.loads(picture.tick()[1]), json.loads(picture.tick()[1])
    assert first["zones"] == state["zones"]
    assert "zones" not in second
    assert "stations" not in second


def test_what_was_called_normal_is_told_with_its_reason_until_it_is_withdrawn(together):
    scene, _ = together
    picture = MapState(clock=lambda: scene.now)
    picture.control(control.encode(normal_here(scene.now))[1], 7)
    elsewhere = control.SuppressionRecord(
        alert_type="drift", cause="drift", stretch=(99.0, 0.0, 99.0, 0.0), since=scene.now, least_score=1.5
    )
    picture.control(msgspec.json.encode(elsewhere), 8)
    (told,) = json.loads(picture.state())["suppressions"]
    assert (told["number"], told["mmsi"], told["to"]) == (7, None, None)
    assert told["ends"] == [[-6.0, 48.0], [-5.8, 48.0]]
    assert told["why"] == "<i>Yann</i> called a1 normal here"
    picture.tick()
    picture.control(control.encode(control.Withdrawal(number=7))[1], 9)
    assert json.loads(picture.tick()[1])["suppressions"] == []


def test_an_end_of_an_archive_that_was_said_before_the_past_that_is_kept_moves_no_clock(together):
    scene, _ = together
    for sent, moved in ((scene.now - 3 * 86400, False), (scene.now - 60, True), (0.0, True)):
        picture = MapState(clock=lambda: scene.now)
        rows = [
            control.encode(control.Watermark(t=scene.now + 5e6, final=True, sent=sent))[1],
        ]
        picture._clocks[0] = clock = type(
            "Clock", (), {"now": 0.0, "heard": [], "hear": lambda self, t, *_, **__: self.heard.append(t)}
        )()
        clock.heard = []
        for value in rows:
            picture.control(value)
        assert bool(clock.heard) is moved


@pytest.fixture(scope="module")
def together_map(map_broker, start_map, together):
    scene, _ = together
    settings = own_settings(map_broker.bootstrap)
    publish(settings, scene)
    writer = ControlWriter(settings)
    for record in [*records(together), normal_here(scene.now)]:
        writer.send(record)
    p = Producer(kafka.client(settings))
    p.produce(settings.dead_topic, b"\xff not json", headers=[("reason", b"bad_json")])
    p.produce(settings.dead_topic, outage(scene), headers=[("reason", b"station_outage")])
    assert p.flush(30) == 0
    m = start_map(settings)
    m.wait(lambda s: s["health"]["caught_up"] and s["alerts"] and s["zones"] and s["stations"])
    return m


def colours(page, lat: float, lon: float, r: int = 14) -> list[list[int]]:
    """All colours drawn within ``r`` pixels of a place, of both canvases."""
    return page.evaluate(
        """async ([lat, lon, r]) => {
          const { mercX, mercY } = await import('/static/sea.js');
          const [x, y] = map.view.toScreen(mercX(lon), mercY(lat));
          const k = devicePixelRatio, out = new Set();
          for (const id of ['canvas', 'above']) {
            const d = document.getElementById(id).getContext('2d').getImageData((x - r) * k, (y - r) * k, 2 * r * k, 2 * r * k).data;
            for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 200) out.add(`${d[i]},${d[i + 1]},${d[i + 2]}`);
          }
          return [...out].map((c) => c.split(',').map(Number));
        }""",
        [lat, lon, r],
    )


def has(found: list[list[int]], rgb: tuple[int, int, int], within: int = 12) -> bool:
    return any(max(abs(a - b) for a, b in zip(c, rgb, strict=True)) <= within for c in found)


ZONE, ABNORMAL, AFTER = (0x9A, 0x3E, 0x78), (0xD5, 0x5E, 0x00), (0x00, 0x7D, 0x5C)


@pytest.mark.broker
def test_zones_are_drawn_listed_and_switched_off_one_by_one(together_map, open_page):
    page = open_page(together_map.url, color_scheme="light")
    page.locator("#zones summary").click()
    rows = page.locator("#zone-list li")
    assert rows.count() == 3  # what is over is not listed
    assert "<b>Cable</b> north" in page.locator("#zone-list").inner_text()
    assert "Later no entry, from" in page.locator("#zone-list").inner_text()
    page.evaluate("map.view.jump({x: -5.5 / 360 + 0.5, y: 0.34855, zoom: 9.5}); map.chart.tracksChanged()")
    edge = (48.0, -5.3)
    until_drawn(page, edge, ZONE, True)
    page.screenshot(path=SCREENSHOTS / "zones-light.png")
    for name in ("Reserve", "Later"):  # of one shape
        page.locator(f'input[data-zone="{name}"]').uncheck()
    until_drawn(page, edge, ZONE, False)
    page.locator('input[data-zone="Reserve"]').check()
    until_drawn(page, edge, ZONE, True)


@pytest.mark.broker
def test_what_officers_called_normal_stands_on_the_map_as_text(together_map, open_page):
    page = open_page(together_map.url, color_scheme="light")
    page.locator("#suppressions summary").click()
    text = page.locator("#suppression-list").inner_text()
    assert "abnormal: out of place, all ships" in text
    assert "<i>Yann</i> called a1 normal here" in text
    page.evaluate("map.view.jump({x: -5.9 / 360 + 0.5, y: 0.34855, zoom: 9.5}); map.chart.tracksChanged()")
    until_drawn(page, (48.0, -5.9), AFTER, True)
    page.screenshot(path=SCREENSHOTS / "called-normal-light.png")


def until_drawn(page, place, rgb, there: bool) -> None:
    deadline = time.monotonic() + 10
    while has(colours(page, *place, r=4), rgb, 40) is not there:
        assert time.monotonic() < deadline, colours(page, *place, r=4)[:20]
        page.wait_for_timeout(100)


@pytest.mark.broker
def test_a_meeting_has_its_mark_between_two_ships_and_its_story_names_the_other(together_map, together, open_page):
    page = open_page(together_map.url, color_scheme="light")
    row = page.locator("li.alert", has_text="Meeting with BRAVO")
    assert row.count() == 1
    assert "ALPHA" in row.inner_text()
    row.click()
    page.wait_for_selector("#story h2")
    page.wait_for_timeout(1500)
    assert "BRAVO (tanker, MMSI 227000002)" in page.locator("#story .facts").inner_text()
    assert page.evaluate("[227000001, 227000002].map((m) => map.sea.stateOf(map.sea.ships.get(m)))") == [2, 2]
    (mark,) = page.evaluate("[...map.scene.meetings(performance.now())]")
    assert mark["open"]
    assert page.evaluate("map.sea.alertsOf(227000002).some((a) => a.alert_type === 'meeting')")
    page.screenshot(path=SCREENSHOTS / "meeting-light.png")


@pytest.mark.broker
def test_a_silence_is_a_dashed_line_to_where_the_ship_was_heard_again(together_map, together, open_page):
    page = open_page(together_map.url, color_scheme="light")
    scene, _ = together
    alert = [a for a in scene.alerts if a.mmsi == 227000051 and a.alert_type == "silence"][-1]
    page.locator("li.alert", has_text="HEARD AGAIN").filter(has_text="Gone silent").first.click()
    page.wait_for_selector("#story h2")
    page.wait_for_timeout(1800)
    a, b = alert.segment_start, alert.segment_end
    along = [(a.lat + (b.lat - a.lat) * k / 40, a.lon + (b.lon - a.lon) * k / 40) for k in range(8, 33)]
    drawn = [has(colours(page, *place, r=2), ABNORMAL, 40) for place in along]
    assert any(drawn)
    assert not all(drawn)  # dashed
    page.screenshot(path=SCREENSHOTS / "silence-light.png")


@pytest.mark.broker
def test_the_banner_says_that_a_station_fell_silent_and_data_that_are_old_come_first(together_map, open_page):
    page = open_page(together_map.url)
    until(page, "document.querySelector('#banner').innerText.includes('A station fell silent near')")
    assert "12 ships are not heard there, 1 still is" in page.locator("#banner").inner_text()
    said = page.evaluate(
        """async () => {
          const { condition } = await import('/static/banner.js');
          const link = { isLost: true, quietFor: 60 }, sea = map.sea;
          return [condition(link, sea), condition({ isLost: false, quietFor: 0 }, { ...sea, now: sea.now, health: sea.health, stations: [] })];
        }"""
    )
    assert said[0][0].startswith("No connection")
    assert said[1] is None
    page.screenshot(path=SCREENSHOTS / "outage-light.png")

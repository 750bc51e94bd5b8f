"""The page in a real browser, on a real broker."""

from __future__ import annotations

import json
import time

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from stream_operator.kafka import client as kafka
from tests.map.conftest import SCREENSHOTS, own_settings, until
from tests.support.map_scene import send_json

pytestmark = pytest.mark.broker


def settle(page, ms: int = 1200) -> None:
    """Let flights end and pictures be drawn."""
    page.wait_for_timeout(ms)


def feedback(settings) -> list[dict]:
    consumer = Consumer(kafka.reader(settings))
    try:
        consumer.assign([TopicPartition(settings.feedback_topic, 0, OFFSET_BEGINNING)])
        out = []
        for m in iter(lambda: consumer.poll(3), None):
            if m.error() is not None:
                break
            out.append(json.loads(m.value()))
        return out
    finally:
        consumer.close()


def test_the_page_lists_the_alerts_of_the_topic_newest_first(live_map, day, open_page):
    page = open_page(live_map.url)
    first = {}
    for a in day.alerts:
        first.setdefault(a.alert_id, a.decided_at)
    until(page, f"document.querySelectorAll('li.alert').length === {len(first)}")
    shown = page.eval_on_selector_all("li.alert", "rows => rows.map(r => r.dataset.id)")
    assert shown == sorted(first, key=lambda i: -first[i])
    open_ones = {a.alert_id: a.status for a in day.alerts}
    n = sum(status in ("raised", "updated") for status in open_ones.values())
    assert page.locator('[data-status="open"].chip .n').inner_text() == str(n)
    assert page.title() == (f"({n}) MultitaskAIS" if n else "MultitaskAIS")
    settle(page)
    page.screenshot(path=SCREENSHOTS / "map-light.png")


def test_a_click_flies_there_and_opens_the_story(live_map, day, open_page):
    page = open_page(live_map.url)
    wanted = next(a for a in reversed(day.alerts) if a.revision > 2)
    page.locator(f'li.alert[data-id="{wanted.alert_id}"]').click()
    page.wait_for_selector("#story h2")
    settle(page, 1500)
    assert page.locator(".sentence").inner_text() == wanted.message
    text = page.locator("#story").inner_text()
    assert wanted.model_version in text
    assert wanted.track_id in text
    assert "Decided" in text
    assert "NFA" in text
    box = page.locator("svg.plot").bounding_box()
    assert box["height"] > 100
    assert page.locator("svg.plot .threshold").count() == 1
    assert page.locator("svg.plot circle").count() > 5
    assert page.locator(".bars").first.locator(".bar").count() == 4
    assert page.locator("ol.revisions li").count() == wanted.revision
    assert page.evaluate("location.hash") == f"#alert={wanted.alert_id}"
    # The abnormal part lies in the window, beside the panels.
    inside = page.evaluate(
        """([lat, lon]) => { const b = map.view.bounds(); const x = lon / 360 + 0.5;
           const l = lat * Math.PI / 180, y = 0.5 - Math.log(Math.tan(Math.PI / 4 + l / 2)) / (2 * Math.PI);
           return x > b.x0 && x < b.x1 && y > b.y0 && y < b.y1; }""",
        [wanted.segment_end.lat, wanted.segment_end.lon],
    )
    assert inside
    page.screenshot(path=SCREENSHOTS / "story-light.png")


def test_a_link_opens_its_alert_and_an_unknown_one_says_so(live_map, day, open_page):
    wanted = day.alerts[-1]
    page = open_page(f"{live_map.url}#alert={wanted.alert_id}", color_scheme="dark")
    page.wait_for_selector(".sentence")
    assert page.locator(".sentence").inner_text() == wanted.message
    settle(page, 1500)
    page.screenshot(path=SCREENSHOTS / "story-dark.png")
    page.evaluate("location.hash = '#alert=00000000-no-such'")
    until(page, "document.querySelector('#story').innerText.includes('not found')")


def test_filters_by_status_alert_type_ship_and_region_on_screen(live_map, day, open_page):
    page = open_page(live_map.url)
    last = {a.alert_id: a for a in day.alerts}
    rows = page.locator("li.alert")
    until(page, f"document.querySelectorAll('li.alert').length === {len(last)}")
    kind = "abnormal"
    page.select_option("#filter-kind", kind)
    until(page, f"document.querySelectorAll('li.alert').length === {sum(a.alert_type == kind for a in last.values())}")
    page.select_option("#filter-kind", "")
    tankers = sum(a.ship_type is not None and 80 <= a.ship_type < 90 for a in last.values())
    page.select_option("#filter-ship", "tanker")
    until(page, f"document.querySelectorAll('li.alert').length === {tankers}")
    page.select_option("#filter-ship", "")
    page.locator('.chip[data-status="closed"]').click()
    n_open = sum(a.status in ("raised", "updated") for a in last.values())
    until(page, f"document.querySelectorAll('li.alert').length === {n_open}")
    page.locator('.chip[data-status="closed"]').click()
    # Far away nothing is on screen.
    page.check("#filter-screen")
    assert rows.count() > 0
    page.evaluate("map.view.jump({x: 0.2, y: 0.6, zoom: 9}); map.chart.refresh()")
    until(page, "document.querySelectorAll('li.alert').length === 0")
    assert page.locator("#empty").is_visible()
    page.keyboard.press("a")  # all ships
    until(page, "document.querySelectorAll('li.alert').length > 0")


def test_an_answer_reaches_the_topic_and_shows_on_the_alert(live_map, day, open_page):
    page = open_page(live_map.url)
    wanted = day.alerts[0]
    page.evaluate(f"location.hash = '#alert={wanted.alert_id}'")
    page.wait_for_selector("#word")
    page.fill("#word", 'pilot <b>"boards"</b> here')
    page.fill("#who", "Yann")
    page.locator('button[data-answer="normal_here"]').click()
    page.wait_for_selector("#story .answers .answer-normal_here", timeout=10000)
    assert '“pilot <b>"boards"</b> here” Yann' in page.locator("#story .answers").inner_text()
    assert page.locator("#story b").count() == 0
    page.wait_for_selector(f'li.alert[data-id="{wanted.alert_id}"] .answer-normal_here')
    (answer,) = [f for f in feedback(live_map.settings) if f["alert_id"] == wanted.alert_id]
    last = [a for a in day.alerts if a.alert_id == wanted.alert_id][-1]
    assert abs(answer.pop("time") - time.time()) < 30
    assert answer == {
        "alert_id": wanted.alert_id, "answer": "normal_here", "word": 'pilot <b>"boards"</b> here', "who": "Yann",
        "mmsi": str(wanted.mmsi), "revision": last.revision,
    }  # fmt: skip


def test_all_works_by_keyboard(live_map, open_page):
    page = open_page(live_map.url)
    page.wait_for_selector("li.alert")
    page.keyboard.press("j")
    page.wait_for_selector(".sentence")
    first = page.evaluate("location.hash")
    page.keyboard.press("j")
    until(page, f"location.hash !== '{first}'")
    page.keyboard.press("k")
    until(page, f"location.hash === '{first}'")
    page.keyboard.press("Escape")
    page.wait_for_selector("#story", state="hidden")
    page.locator("#map").focus()
    until(page, "map.view.flight === null")
    before = page.evaluate("[map.view.x, map.view.zoom]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    after = page.evaluate("[map.view.x, map.view.zoom]")
    assert after[0] > before[0]
    assert after[1] == pytest.approx(before[1] + 1)
    page.keyboard.press("d")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.keyboard.press("d")
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    page.locator("li.alert").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector(".sentence")


def test_the_last_24_hours_can_be_replayed(live_map, day, open_page):
    page = open_page(live_map.url, color_scheme="dark")
    page.evaluate("map.clock.goTo(map.sea.now - 6 * 3600)")
    until(page, "map.past.at(map.clock.t) !== null", within=20)
    page.wait_for_timeout(500)  # and is drawn
    t = page.evaluate("map.clock.t")
    # Positions are those of the log: each ship that is drawn lies near its report at that time.
    drawn = page.evaluate(
        "map.chart.placed.filter(p => p[3] !== 3).map(([s, px, py]) => [s.mmsi, ...map.view.place(px, py)])"
    )
    near = 0
    for mmsi, lat, lon in drawn:
        mine = day.reports[day.reports["mmsi"] == mmsi]
        i = abs(mine["t"] - t).argmin()
        if abs(mine["t"][i] - t) < 120:
            near += 1
            assert abs(mine["lat"][i] - lat) < 0.05, mmsi
            assert abs(mine["lon"][i] - lon) < 0.05, mmsi
    assert near > 10
    assert page.locator("li.alert").count() == sum(a.revision == 1 and a.decided_at <= t for a in day.alerts)
    settle(page)
    page.screenshot(path=SCREENSHOTS / "replay-dark.png")
    page.keyboard.press(" ")
    until(page, f"map.clock.t > {t} + 300")
    page.keyboard.press("l")
    until(page, "map.clock.live")


def test_at_phone_width_nothing_is_cut_off(live_map, day, open_page):
    page = open_page(
        live_map.url, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, device_scale_factor=2
    )
    page.wait_for_selector("li.alert")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    settle(page)
    page.screenshot(path=SCREENSHOTS / "phone-list.png")
    page.locator("li.alert").first.tap()
    page.wait_for_selector(".sentence")
    settle(page, 1500)
    box = page.locator("#story").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.screenshot(path=SCREENSHOTS / "phone-story.png")


@pytest.fixture(scope="module")
def still_page(live_map, browser):
    """One page for questions that change nothing."""
    page = browser.new_page()
    page.goto(live_map.url)
    yield page
    page.close()


@pytest.mark.parametrize(
    ("link", "sea", "words"),
    [
        ({}, {}, None),
        (
            {"isLost": True, "quietFor": 420},
            {},
            "No connection to the map's server for 7 min; trying again. What you see is 7 min old.",
        ),
        (
            {},
            {"broker": False, "quiet_s": 65, "age_s": 70},
            "The Kafka broker does not answer; trying again. What you see is 70 s old.",
        ),
        ({}, {"quiet_s": 420, "age_s": 430}, "Data is 7 min old: no report has come for 7 min."),
        ({}, {"age_s": 1200}, "Data is 20 min old: reports come late."),
        ({}, {"age_s": 30 * 86400}, "Replay of an archive: the data are of 1 Jan 2026, not of now."),
        (
            {},
            {"age_s": 30 * 86400, "quiet_s": 600},
            "Replay of an archive, at its end: 1 Jan 2026, 00:00 UTC. Nothing new for 10 min.",
        ),
        (
            {},
            {"missing_topics": ["ais.alerts"]},
            "Topic ais.alerts does not exist; create it with: python -m stream_operator topics",
        ),
        ({}, {"caught_up": False, "records": 12345}, "Reading what has been heard: 12,345 records so far."),
        (
            {},
            {"clock_ahead_s": 172800},
            "The clock of the map's server is 2 days ahead of the broker's: one of the two is wrong. Ships are shown at the times of their reports.",
        ),
    ],
)
def test_the_page_says_how_old_its_data_are(still_page, link, sea, words):
    health = {"broker": True, "caught_up": True, "missing_topics": [], "records": 1, "quiet_s": 1, "age_s": 5, **sea}
    told = still_page.evaluate(
        "async ([link, sea]) => (await import('/static/banner.js')).condition(link, sea)",
        [{"isLost": False, "quietFor": 0, **link}, {"health": health, "now": 1767225600}],
    )
    assert (told and told[0]) == words


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (range(0, 400, 10), None),
        ([0, 10, 30, 40, 50, 60], None),  # a step in six is missing
        ([0, 90, 130, 300], "4 of 31 steps are held here."),
        ([0], None),
    ],
)
def test_a_story_says_when_it_holds_few_of_the_steps(still_page, minutes, words):
    told = still_page.evaluate(
        "async (steps) => (await import('/static/plots.js')).missingSteps(steps)",
        [[1767225600 + 60 * m, 1, 0.5] for m in minutes],
    )
    assert told is None if words is None else told.startswith(words)


HOSTILE = [
    "<script>window.hit=1</script>",
    '"><img src=x onerror="window.hit=1">',
    "\u202eEVIL\u2066 SHIP\u200b\u0000\u0007",
    "\ud7ff\ufdd0\ufffe " + "e\u0301" + "\u0301" * 50 + "\u2028\u2029\x85",
    "javascript:window.hit=1//${window.hit=1}{{1+1}}",
]


def test_names_from_the_air_are_text_and_nothing_else(map_broker, start_map, day, open_page):
    settings = own_settings(map_broker.bootstrap)
    now = time.time()
    for i, name in enumerate(HOSTILE):
        mmsi = str(227000001 + i)
        report = {
            "mmsi": mmsi,
            "x": -5.0 - i / 10,
            "y": 48.5,
            "sog": 9.0,
            "cog": 40.0,
            "tagblock_timestamp": now - 20 + i,
            "ship_name": name,
            "destination": name,
        }
        send_json(settings, settings.topic, mmsi, report)
        alert = {
            **day.alerts[0].as_dict(),
            "alert_id": f"hostile-{i}",
            "mmsi": mmsi,
            "ship_name": name,
            "message": f"{name} drifts",
            "cause": name[:100],
        }
        send_json(
            settings,
            settings.alert_topic,
            mmsi,
            {**alert, "model_version": name[:100], "track_id": name[:100], "alert_type": name[:100]},
        )
    # 20 odd bytes: the record is refused and counted, and takes no neighbour with it.
    send_json(
        settings,
        settings.topic,
        "227000009",
        b'{"mmsi":"227000009","x":-5,"y":48.4,"tagblock_timestamp":1,"ship_name":"' + bytes(range(0xEC, 0x100)) + b'"}',
    )
    send_json(settings, settings.alert_topic, "1", b"\xff\xfe{")
    m = start_map(settings)
    state = m.wait(lambda s: len(s["alerts"]) == len(HOSTILE) and len(s["ships"]) == len(HOSTILE))
    assert sum(state["health"]["not_shown"].values()) == 2
    page = open_page(m.url)
    until(page, f"document.querySelectorAll('li.alert').length === {len(HOSTILE)}")
    for i in range(len(HOSTILE)):
        page.evaluate(f"location.hash = '#alert=hostile-{i}'")
        until(page, f"document.querySelector('#story')?.innerText.includes('hostile-{i}')")
    settle(page)
    text = page.locator("body").inner_text()
    assert "<script>window.hit=1</script>" in text
    assert '"><img src=x onerror="window.hit=1">' in text
    assert "EVIL SHIP" in text
    assert not set(text) & set("\u202e\u2066\u200b\u0301\u2028\x00\x07")
    assert page.evaluate("window.hit") is None
    assert page.locator("main img").count() == 0
    assert page.locator("body script").count() == 0
    page.screenshot(path=SCREENSHOTS / "hostile-names.png")
    m.stop()


def test_a_new_alert_shows_within_seconds_and_a_broker_that_restarts_is_survived(live_map, map_broker, day, open_page):
    page = open_page(live_map.url)
    page.wait_for_selector("li.alert")
    new = {**day.alerts[-1].as_dict(), "alert_id": "made-live-1", "revision": 1, "status": "raised"}
    send_json(live_map.settings, live_map.settings.alert_topic, new["mmsi"], new)
    page.wait_for_selector('li.alert[data-id="made-live-1"]', timeout=8000)
    map_broker.stop()
    until(page, "document.querySelector('#banner').innerText.includes('broker does not answer')", within=40)
    assert "old" in page.locator("#banner").inner_text()
    page.screenshot(path=SCREENSHOTS / "broker-away.png")
    map_broker.start()
    until(page, "!document.querySelector('#banner').innerText.includes('broker')", within=40)
    send_json(live_map.settings, live_map.settings.alert_topic, new["mmsi"], {**new, "alert_id": "made-live-2"})
    page.wait_for_selector('li.alert[data-id="made-live-2"]', timeout=15000)
    # A track that ended is closed at its last report and the greatest gap, which may be still to come.
    ended = {**new, "alert_id": "made-live-2", "revision": 2, "status": "closed", "decided_at": time.time() + 7200}
    send_json(live_map.settings, live_map.settings.alert_topic, new["mmsi"], ended)
    until(page, """document.querySelector('li.alert[data-id="made-live-2"]').innerText.includes("closed")""")


def test_a_map_that_restarts_is_found_again_and_meanwhile_the_page_says_so(live_map, open_page):
    page = open_page(live_map.url)
    page.wait_for_selector("li.alert")
    assert live_map.stop() == 0
    until(page, "document.querySelector('#banner').innerText.includes('No connection')", within=30)
    assert page.locator("li.alert").count() > 0  # what was known stays
    live_map.start()
    until(page, "!map.link.isLost && map.sea.alerts.size > 0 && map.sea.health.caught_up", within=40)

"""The picture: what the map keeps of the topics, without broker and browser."""

from __future__ import annotations

import json
import struct
import unicodedata
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from multitaskais.records import Alert, AlertType, Cause, DetectorScore, Place, Shares, Status, Verdict
from stream_operator.kafka import codec as wire
from stream_operator.map.alert_store import ANSWERS_MAX, bounded
from stream_operator.map.ships import Limits
from stream_operator.map.state import DELTAS_MAX, MapState
from stream_operator.map.untrusted import Answer
from stream_operator.plain_text import plain

T = 1_767_225_600.0
ALERT = Alert(
    "a-1", 1, Status.RAISED, 227000001, "SHIP", 70, AlertType.ABNORMAL, Cause.COURSE, (DetectorScore("vrnn", 4.0),), "227000001-x",
    Place(T - 3600, 48.0, -5.0), Place(T, 48.2, -5.2), T, 1.5, -2.0, Shares(0.25, 0.25, 0.25, 0.25), "It steers an unusual course.", "m-1",
)  # fmt: skip


def value(alert: Alert) -> bytes:
    return wire.encode_alert(alert)[1]


def raw(
    mmsi: int, t: float, lat: float = 48.0, lon: float = -5.0, sog: float = 10.0, name: bytes = b""
) -> wire.ConsumerRecord:
    return wire.ConsumerRecord(0, *wire.encode_report((mmsi, t, lat, lon, sog, 90.0, float("nan"), 0, 1, 70, name)))


def ships(picture: MapState) -> dict[int, list]:
    return {row[0]: row for row in json.loads(picture.state())["ships"]}


def feed(picture: MapState, records: list[wire.ConsumerRecord]) -> MapState:
    picture.positions(0, records)
    return picture


@given(st.text() | st.text("A \u1100\u1161\u200b\u0301", max_size=60))
@example("0" * 39 + " 0")  # the cut falls behind a space
@example("\u1100\u200b\u1161")  # what stands between two letters that compose is taken out
def test_text_from_the_air_is_one_line_of_visible_characters(text):
    clean = plain(text, 40)
    assert len(clean) <= 40
    assert clean == plain(clean, 40)
    assert not {unicodedata.category(c) for c in clean} & {"Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me", "Zl", "Zp"}


def test_plain_names_stay_as_they_are():
    for name in ("ÎLE D'OUESSANT", 'M/V "A&B" <3>', "Ærø-Færgen", "東京丸", "GULLIVER II"):
        assert plain(name) == name
    assert plain("\u202eNAVE\u202c\u0000") == "NAVE"
    assert plain(None) == ""


@given(st.permutations(range(8)))
def test_a_ship_stands_where_its_latest_report_says_in_whatever_order_they_come(order):
    picture = MapState()
    for i in order:
        feed(picture, [raw(227000001, T + 30 * i, lat=48.0 + i / 100)])
    assert ships(picture)[227000001][1:3] == [T + 210, 48.07]


def test_the_past_is_thinned_to_one_position_a_slot_and_to_24_hours():
    limits = Limits()
    picture = MapState(limits)
    t = T
    for _ in range(60):  # 30 hours, a report each 10 s
        feed(picture, [raw(m, t + 10 * i, lat=47 + (t - T) / 1e6) for i in range(180) for m in (227000001, 227000002)])
        t += 1800
    rows = picture._ships.get(227000001).past.rows
    assert len(rows) <= 2 * 24 * 3600 / limits.slot_s
    recent = rows["t"][rows["t"] >= t - 24 * 3600]
    assert len(recent) == 24 * 3600 / limits.slot_s
    assert (np.diff(recent) == limits.slot_s).all()


def test_a_report_from_the_future_moves_neither_the_clock_nor_its_ship():
    picture = MapState()
    fleet = [raw(227000001 + i, T + i) for i in range(6)]
    feed(picture, fleet)
    feed(picture, [raw(227000001, T + 9e6, lat=10.0)])
    assert picture.now == T + 5
    assert ships(picture)[227000001][2] == 48.0
    assert picture.health.not_shown == {"future": 1}


def test_ships_without_speed_and_faster_than_the_rules_are_shown_all_the_same():
    picture = feed(MapState(), [raw(227000001, T, sog=float("nan")), raw(227000002, T, sog=38.0)])
    assert [r[4] for r in ships(picture).values()] == [None, 38.0]


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_rubbish_is_counted_and_harms_nothing(values):
    picture = feed(MapState(), [raw(227000001, T)])
    picture.alert(value(ALERT))
    feed(picture, [wire.ConsumerRecord(i, b"227000001", v) for i, v in enumerate(values)])
    for v in values:
        picture.alert(v)
        picture.verdict(v)
        picture.answer(v)
    assert sum(picture.health.not_shown.values()) == 4 * len(values)
    state = json.loads(picture.state())
    assert [a["alert_id"] for a in state["alerts"]] == ["a-1"]
    assert len(state["ships"]) == 1
    json.loads(picture.tick()[1])


def test_missing_parts_of_an_alert_are_null_and_not_an_error():
    picture = MapState()
    bare = replace(ALERT, ship_name=None, ship_type=None, share=None, log10_nfa=None, detectors=())
    picture.alert(value(bare))
    (a,) = json.loads(picture.state())["alerts"]
    assert (a["ship_name"], a["share"], a["log10_nfa"], a["detectors"]) == (None, None, None, [])


def test_all_revisions_are_kept_and_the_last_in_the_log_holds():
    picture = MapState()
    for n, status in enumerate((Status.RAISED, Status.UPDATED, Status.CLOSED), 1):
        picture.alert(value(replace(ALERT, revision=n, status=status, decided_at=T + 600 * n)))
    story = json.loads(picture.story("a-1"))
    assert [r["status"] for r in story["revisions"]] == ["raised", "updated", "closed"]
    assert (story["alert"]["status"], story["alert"]["first_decided_at"]) == ("closed", T + 600)
    # The log is judged again, into the same topic.
    picture.alert(value(replace(ALERT, decided_at=T + 601)))
    story = json.loads(picture.story("a-1"))
    assert [r["revision"] for r in story["revisions"]] == [1]
    assert story["alert"]["first_decided_at"] == T + 601


def test_an_answer_finds_its_alert_whichever_is_read_first():
    answer = b'{"alert_id":"a-1","answer":"real","time":1,"word":"seen \\u202eby radar","who":"X"}'
    for first, second in (("alert", "answer"), ("answer", "alert")):
        picture = MapState()
        for which in (first, second):
            getattr(picture, which)(value(ALERT) if which == "alert" else answer)
        (kept,) = json.loads(picture.story("a-1"))["answers"]
        assert (kept["answer"], kept["word"], kept["who"]) == ("real", "seen by radar", "X")


@given(st.lists(st.sampled_from(["officer", "second", *["flood"] * 20]), max_size=300))
def test_no_flood_of_answers_pushes_out_what_another_person_said(people):
    kept: list[Answer] = []
    for i, who in enumerate(people):
        kept = bounded([*kept, Answer("a-1", "real", float(i), str(i), who)])
    assert len(kept) == min(len(people), ANSWERS_MAX)
    assert [a.time for a in kept] == sorted(a.time for a in kept)
    for who in set(people):
        mine = [i for i, p in enumerate(people) if p == who]
        held = [int(a.time) for a in kept if a.who == who]
        assert {mine[0], mine[-1]} <= set(held)
        if who != "flood" and len(mine) < ANSWERS_MAX // 3:
            assert held == mine


def test_with_more_persons_than_places_the_latest_answers_stay():
    kept: list[Answer] = []
    for i in range(3 * ANSWERS_MAX):
        kept = bounded([*kept, Answer("a-1", "real", float(i), "", str(i))])
    assert [a.who for a in kept] == [str(i) for i in range(2 * ANSWERS_MAX, 3 * ANSWERS_MAX)]


def test_steps_come_from_verdicts_and_samples_read_side_by_side_in_any_order():
    steps = [Verdict(227000001, "227000001-x", T - 3600 + 600 * i, "normal", None, 0.1 * i, "m-1") for i in range(12)]
    for verdicts, samples in ((steps[-1:], steps), (steps[3:4], steps[::-1]), (steps, steps[:6])):
        picture = MapState()
        picture.alert(value(ALERT))
        for v in verdicts:
            picture.verdict(wire.encode_verdict(v)[1])
        for v in samples:
            picture.sample(wire.encode_verdict(v)[1])
        story = json.loads(picture.story("a-1"))
        assert [(s[0], s[2]) for s in story["steps"]] == [(v.t, pytest.approx(v.score)) for v in steps]
        assert picture._ships.get(227000001).code == 1
    # The log is judged again: the last that comes for a step holds.
    picture.sample(wire.encode_verdict(msgspec.structs.replace(steps[5], score=7.0))[1])
    assert [s[2] for s in json.loads(picture.story("a-1"))["steps"]][5] == 7.0


def test_the_story_has_the_track_around_the_segment_and_the_score_of_each_step():
    picture = MapState()
    feed(picture, [raw(227000001, T - 9 * 3600 + 60 * i, lat=47 + i / 1000) for i in range(12 * 60)])
    for i in range(12):
        picture.verdict(
            wire.encode_verdict(Verdict(227000001, "227000001-x", T - 3600 + 600 * i, "normal", None, 0.1 * i, "m-1"))[
                1
            ]
        )
    picture.verdict(
        wire.encode_verdict(Verdict(227000001, "227000001-20260101T000000Z-2", T, "normal", None, 9.0, "m-1"))[1]
    )
    picture.alert(value(ALERT))
    story = json.loads(picture.story("a-1"))
    times = [p[0] for p in story["track"]]
    assert min(times) >= T - 7 * 3600  # 6 h before the segment
    assert max(times) == T + 3 * 3600 - 60
    assert [s[2] for s in story["steps"]] == pytest.approx(
        [0.1 * i for i in range(12)]
    )  # and not the other ship's on this MMSI
    path = np.cumsum(np.array(json.loads(picture.state())["alerts"][0]["path"]).reshape(-1, 3), axis=0)
    assert path[0].tolist() == [T - 3600, 4800000, -500000]
    assert path[-1].tolist() == [T, 4820000, -520000]
    assert (np.diff(path[:, 0]) >= 0).all()


def test_an_open_alert_goes_on_to_the_last_abnormal_step_and_a_closed_one_ends_with_its_segment():
    picture = feed(MapState(), [raw(227000001, T - 3600 + 60 * i, lat=47 + i / 1000) for i in range(120)])
    picture.alert(value(ALERT))
    picture.tick()
    for i, verdict in enumerate(("abnormal", "abnormal", "normal")):
        picture.verdict(
            wire.encode_verdict(Verdict(227000001, "227000001-x", T + 600 * (i + 1), verdict, None, 1.2, "m-1"))[1]
        )
    (told,) = json.loads(picture.tick()[1])["alerts"]
    path = np.cumsum(np.array(told["path"]).reshape(-1, 3), axis=0)
    assert (told["abnormal_until"], path[-1][0]) == (T + 1200, T + 1200)
    picture.alert(value(replace(ALERT, revision=2, status=Status.CLOSED)))
    (told,) = json.loads(picture.tick()[1])["alerts"]
    assert told["abnormal_until"] == T


def test_state_and_deltas_lead_to_the_same_picture():
    picture = feed(MapState(), [raw(227000001, T)])
    state = json.loads(picture.state())
    known = {r[0]: r for r in state["ships"]}
    alerts = {a["alert_id"]: a for a in state["alerts"]}
    for i in range(5):
        feed(picture, [raw(227000001 + i, T + 60 * i)])
        picture.alert(value(replace(ALERT, alert_id=f"a-{i % 2}", revision=1 + i // 2)))
        picture.tick()
    missed = picture.since(state["id"])
    assert len(missed) == 5
    for _, delta in missed:
        known |= {r[0]: r for r in json.loads(delta)["ships"]}
        alerts |= {a["alert_id"]: a for a in json.loads(delta)["alerts"]}
    last = json.loads(picture.state())
    assert known == {r[0]: r for r in last["ships"]}
    assert alerts == {a["alert_id"]: a for a in last["alerts"]}
    assert picture.since(last["id"]) == []


def test_a_page_that_was_away_too_long_or_knew_another_process_starts_anew():
    picture = MapState()
    old = picture.event_id
    for _ in range(DELTAS_MAX + 1):
        picture.tick()
    assert picture.since(old) is None
    assert picture.since(MapState().event_id) is None
    for nonsense in ("", "x", "-", f"{old.split('-')[0]}-x", f"{old.split('-')[0]}-99999"):
        assert picture.since(nonsense) is None


def test_memory_is_bounded_by_ships_and_alerts():
    picture = MapState(Limits(ships_max=10, alerts_max=5))
    for i in range(40):
        feed(picture, [raw(227000001 + i, T + i)])
        picture.alert(value(replace(ALERT, alert_id=f"a-{i}")))
    for _ in range(60):
        picture.tick()
    assert sorted(ships(picture)) == [227000031 + i for i in range(10)]
    assert len(json.loads(picture.state())["alerts"]) == 5
    for _ in range(2):  # the clock believes a leap of a day once several ships have said so
        feed(picture, [raw(227000900 + i, T + 25 * 3600 + i) for i in range(5)])
    for _ in range(60):
        picture.tick()
    assert sorted(ships(picture)) == [227000900 + i for i in range(5)]


def test_a_replay_block_holds_every_kept_position_and_the_verdict_of_its_time():
    picture = MapState()
    feed(picture, [raw(227000001 + m, T + 120 * i, lat=48 + i / 1000, lon=-5 - m) for i in range(60) for m in range(3)])
    picture.verdict(wire.encode_verdict(Verdict(227000002, "x", T + 1800, "abnormal", None, 2.0, "m"))[1])
    block = picture.replay(T, T + 3600)
    magic, m, n, base = struct.unpack_from("<4sIId", block)
    assert (magic, m, base) == (b"AIS1", 3, T - 900)
    at = struct.calcsize("<4sIId")

    def take(kind: str, count: int) -> np.ndarray:
        nonlocal at
        column = np.frombuffer(block, kind, count, at)
        at += column.nbytes
        return column

    mmsi, starts = take("<u4", m), take("<u4", m + 1)
    lat, lon, t, course, code = take("<f4", n), take("<f4", n), take("<u2", n), take("<u2", n), take("u1", n)
    assert at == len(block)
    assert mmsi.tolist() == [227000001, 227000002, 227000003]
    assert starts.tolist() == [0, 31, 62, 93]
    second = slice(31, 62)
    np.testing.assert_allclose(lat[second], 48 + np.arange(31) / 1000, atol=1e-5)
    assert (lon[second] == -6).all()
    assert (base + t[second]).tolist() == (T + 120 * np.arange(31)).tolist()
    assert (course == 900).all()
    assert code[second].tolist() == [0] * 15 + [2] * 16
    with pytest.raises(ValueError, match="18 hours"):
        picture.replay(T, T + 86400)

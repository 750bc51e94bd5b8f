"""Causes by the decision list, and the sentence for the watch officer."""

from __future__ import annotations

import numpy as np
import pytest

from multitaskais.detection import explain
from multitaskais.detection.explain import Facts, Window
from multitaskais.detection.threshold import N_TYPES, TYPE_INDEX
from multitaskais.records import AlertType, Cause
from tests.support.lane_traffic import sail
from tests.support.small_model import fleet, model

USUAL = model().usual
QUIET = np.zeros(N_TYPES)


def window(**kw) -> Window:
    s = sail(1, 12, **{"lat": 48.0, "lon": -6.8, "sog": 11.0, "cog": 90.0, **kw})
    return Window(s["t"], s["lat"], s["lon"], s["sog"], s["cog"])


def nearly(alert_type: AlertType, share: float = 0.9) -> np.ndarray:
    score = QUIET.copy()
    score[TYPE_INDEX[alert_type]] = share
    return score


ROUND = window(sog=6.0, cog=np.arange(12) * 60.0)


def of_last_hour(old: Window, new: Window) -> Window:
    """Six samples of the voyage before, then six of what raised the alert."""
    return Window(*(np.concatenate([a[:6], b[-6:]]) for a, b in zip(old, new, strict=True)))


@pytest.mark.parametrize(
    ("seen", "score", "expected"),
    [
        (window(lat=48.2), QUIET, Cause.OUT_OF_PLACE),
        (window(cog=270.0, lon=-6.2), QUIET, Cause.COURSE),
        (window(sog=19.0), QUIET, Cause.SPEED),
        (window(sog=1.5), nearly(AlertType.DRIFT), Cause.DRIFT),
        (ROUND, nearly(AlertType.LOITERING), Cause.LOITERING),
        (window(), nearly(AlertType.CONTRADICTION), Cause.CONTRADICTION),
        (window(), nearly(AlertType.SPEED), Cause.SPEED),
        (ROUND, nearly(AlertType.LOITERING, 0.4), Cause.LOITERING),
        (ROUND._replace(lat=ROUND.lat + 0.2), nearly(AlertType.LOITERING, 0.4), Cause.OUT_OF_PLACE),
        (window(lat=48.2), nearly(AlertType.LOITERING), Cause.OUT_OF_PLACE),
    ],
)
def test_the_first_question_that_is_answered_yes_names_the_cause(seen, score, expected):
    assert explain.cause(AlertType.ABNORMAL, seen, score, USUAL) is expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [(window(sog=1.5), Cause.DRIFT), (window(lat=48.2), Cause.OUT_OF_PLACE)],
)
def test_what_a_ship_does_now_counts_and_not_the_voyage_before(now, expected):
    strange = nearly(AlertType.SPEED)  # of the questions that come later
    assert explain.cause(AlertType.ABNORMAL, of_last_hour(window(), now), strange, USUAL) is expected
    assert explain.cause(AlertType.ABNORMAL, of_last_hour(now, window()), strange, USUAL) is Cause.SPEED


def test_a_ship_whose_newest_positions_belie_its_speed_and_course_contradicts_itself():
    seen = window()
    for sog, cog, knots in ((11.0, 270.0, 22.0), (19.0, 90.0, 8.0)):
        lying = seen._replace(sog=np.append(seen.sog[:-3], [sog] * 3), cog=np.append(seen.cog[:-3], [cog] * 3))
        assert lying.contradiction_knots == pytest.approx(knots, abs=0.2)
        assert explain.cause(AlertType.ABNORMAL, lying, QUIET, USUAL) is Cause.CONTRADICTION
    once = seen._replace(cog=np.append(seen.cog[:-1], 270.0))
    assert explain.cause(AlertType.ABNORMAL, once, QUIET, USUAL) is not Cause.CONTRADICTION


@pytest.mark.parametrize("rate", [0.0, 3.0, 9.0])
def test_a_ship_that_turns_or_tells_no_course_does_not_contradict_itself(rate):
    """Up to a quarter of a circle in ten minutes, made in small steps."""
    t = np.arange(0.0, 1800.0 + 1.0, 10.0)
    cog = np.cumsum(np.full(len(t), rate / 6.0))
    step = 12.0 * 1852 / 3600 * 10.0 / 111_195.0
    lat = 48.0 + np.cumsum(np.cos(np.radians(cog))) * step
    lon = -6.8 + np.cumsum(np.sin(np.radians(cog))) * step / np.cos(np.radians(48.0))
    seen = Window(*(a[::60] for a in (t, lat, lon, np.full(len(t), 12.0), cog % 360.0)))
    assert seen.contradiction_knots < explain.CONTRADICTS_KNOTS
    assert seen._replace(cog=np.full(len(seen.t), np.nan)).contradiction_knots == 0.0
    assert Window(*(a[-2:] for a in seen)).contradiction_knots == 0.0


def test_a_detector_that_asks_for_one_thing_names_it_unless_the_ship_drifts_loiters_or_contradicts_itself():
    lane = window()
    assert explain.cause(AlertType.ABNORMAL, lane, QUIET, USUAL, Cause.COURSE) is Cause.COURSE
    assert explain.cause(AlertType.ABNORMAL, window(lat=48.2), QUIET, USUAL, Cause.COURSE) is Cause.COURSE
    assert explain.cause(AlertType.ABNORMAL, window(sog=1.5), QUIET, USUAL, Cause.COURSE) is Cause.DRIFT
    for t in (AlertType.LOITERING, AlertType.CONTRADICTION):
        assert explain.cause(AlertType.ABNORMAL, ROUND, nearly(t), USUAL, Cause.COURSE) == str(t)


def test_nothing_is_called_out_of_place_where_no_place_is_known():
    for seen, usual in ((window(), None), (window(lat=60.0), USUAL)):
        assert explain.cause(AlertType.ABNORMAL, seen, QUIET, usual) is Cause.COURSE


@pytest.mark.parametrize("t", [t for t in AlertType if t is not AlertType.ABNORMAL])
def test_an_alert_type_with_one_meaning_has_that_cause(t):
    assert explain.cause(t, window(), QUIET, USUAL) == str(t)


def test_an_alert_of_speed_on_a_ship_that_is_carried_off_or_goes_round_says_so():
    assert explain.cause(AlertType.SPEED, window(sog=1.5), QUIET, USUAL) is Cause.DRIFT
    assert explain.cause(AlertType.SPEED, ROUND, nearly(AlertType.LOITERING, 0.4), USUAL) is Cause.LOITERING
    assert explain.cause(AlertType.SPEED, window(lat=48.2), QUIET, USUAL) is Cause.SPEED


def test_what_ships_do_here_is_what_they_did():
    custom = USUAL.custom(48.0, -6.8)
    s = fleet(40, 1)
    here = s[(np.abs(s["lat"] - 48.05) < 0.05) & (s["lon"] > -6.9) & (s["lon"] < -6.8)]
    assert custom.sog_median == pytest.approx(np.median(here["sog"]), abs=0.5)
    assert all(abs(c - 90.0) <= 7.5 for c in custom.courses)
    assert custom.courses


def test_the_distance_to_where_ships_pass_is_none_on_the_lane_and_true_beside_it():
    assert USUAL.distance_to_usual(48.0, -6.8)[0] < 2500
    metres, bearing = USUAL.distance_to_usual(48.3, -6.8)
    assert metres == pytest.approx(0.3 * 111_195, abs=2500)
    assert min(bearing, 360 - bearing) < 10
    assert USUAL.distance_to_usual(60.0, -6.8) is None


def test_positions_read_as_on_a_chart():
    assert explain.position(48.5083, -5.2) == "48°30.5'N 005°12.0'W"
    assert explain.position(-0.99999, 179.99999) == "01°00.0'S 180°00.0'E"


def test_the_sentence_names_who_what_where_when_and_how_unusual():
    facts = Facts(228000001, "SEA CLOUD", 70, Cause.OUT_OF_PLACE, 1e9, 1e9 + 3600, 48.3, -6.8, 11.2, 91.0, 160.0, 500.0)
    text = explain.message(facts, USUAL)
    assert text.startswith(
        "SEA CLOUD (cargo, MMSI 228000001) is where ships do not usually sail, near 48°18.0'N 006°48.0'W"
    )
    assert "2001-09-09 01:46 to 02:46 UTC" in text
    assert "11.2 kn on 091°" in text
    assert "NM north of where ships usually pass" in text
    assert "about 1 in 160" in text
    rare = explain.message(facts._replace(one_in=1e9, ship_name=None, ship_type=-1), USUAL)
    assert rare.startswith("Vessel MMSI 228000001")
    assert "fewer than 1 in 500 look like this" in rare

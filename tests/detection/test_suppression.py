"""The officer's answer counts: what was called normal is not raised again there, and nothing else is lost."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.detection.suppression import (
    ACKNOWLEDGED_S,
    AGREE,
    LOUDER,
    OfficerAnswer,
    Suppression,
    Suppressions,
    suppressions_of,
)
from multitaskais.errors import ConfigError
from tests.support.lane_traffic import sail
from tests.support.small_model import model


def answer(k: int, what: str = "normal_here", **given) -> OfficerAnswer:
    values = {"alert_id": f"a{k}", "answer": what, "who": "Yann", "mmsi": 228_000_000 + k, "alert_type": "abnormal", "cause": "out_of_place",
              "stretch": (48.1, -7.3, 48.1, -7.0), "score": 1.2, "t": 1e9 + 600.0 * k}  # fmt: skip
    return OfficerAnswer(**(values | given))


ANSWERS = st.builds(
    OfficerAnswer,
    alert_id=st.sampled_from("abcdef"),
    answer=st.sampled_from(["acknowledge", "normal_here", "real"]),
    who=st.sampled_from(["Yann", "Enora"]),
    mmsi=st.integers(1, 4),
    alert_type=st.sampled_from(["abnormal", "drift"]),
    cause=st.sampled_from(["out_of_place", "drift"]),
    stretch=st.tuples(*[st.sampled_from([48.0, 48.05, 49.0]), st.sampled_from([-7.0, -7.05, 179.99, -179.99])] * 2),
    score=st.floats(1, 5),
    t=st.floats(0, 1e6),
)


@given(st.lists(ANSWERS, max_size=25))
def test_no_suppression_rests_on_real_or_stands_beside_it(answers):
    last = {(a.alert_id, a.who): a for a in answers}.values()
    rules = Suppressions(dict(enumerate(suppressions_of(answers))))
    for a in last:
        if a.answer == "real":
            made_here = [r for r in suppressions_of(answers) if r.alert_type == a.alert_type and r.cause == a.cause]
            assert all(r.stretch != a.stretch for r in made_here)
    for other in ("jump", "speed"):
        assert rules.least_score(1, other, "jump", 2e6, 48.0, -7.0) == 1.0, "no kind that nobody answered"


@given(st.lists(ANSWERS, max_size=25), st.integers(1, 4))
def test_a_suppression_holds_only_for_kinds_vessels_and_places_that_were_answered(answers, mmsi):
    for rule in suppressions_of(answers):
        mine = [a for a in answers if (a.alert_type, a.cause) == (rule.alert_type, rule.cause) and a.answer != "real"]
        if rule.mmsi is not None:
            assert any(a.mmsi == rule.mmsi and a.stretch == rule.stretch and a.t == rule.since for a in mine)
        else:
            assert len({a.mmsi for a in mine}) > 1
            assert len({a.alert_id for a in mine}) >= AGREE
        assert rule.least_score <= LOUDER * max(a.score for a in mine)
        assert rule.why


@given(st.lists(ANSWERS, max_size=15))
def test_the_same_answers_lead_to_the_same_and_repeating_them_to_nothing_more(answers):
    assert suppressions_of(answers) == suppressions_of(list(answers))
    assert {(r.mmsi, r.alert_type, r.cause) for r in suppressions_of(answers + answers)} == {
        (r.mmsi, r.alert_type, r.cause) for r in suppressions_of(answers)
    }


def test_an_acknowledged_alert_is_quiet_for_a_day_and_a_normal_one_for_good():
    (quiet,) = suppressions_of([answer(1, "acknowledge")])
    (normal,) = suppressions_of([answer(1)])
    assert quiet.until == quiet.since + ACKNOWLEDGED_S
    assert normal.until == float("inf")
    assert {quiet.mmsi, normal.mmsi} == {228_000_001}


def test_a_place_needs_as_many_alerts_as_agree_and_of_more_than_one_vessel():
    assert all(r.mmsi is not None for r in suppressions_of([answer(k) for k in range(AGREE - 1)]))
    one_vessel = [answer(k, mmsi=1) for k in range(AGREE + 2)]
    assert all(r.mmsi is not None for r in suppressions_of(one_vessel))
    (place,) = [r for r in suppressions_of([answer(k) for k in range(AGREE + 1)]) if r.mmsi is None]
    assert place.why == f"{AGREE + 1} alerts of {AGREE + 1} vessels were called normal here"
    real = [*(answer(k) for k in range(AGREE)), answer(99, "real")]
    assert suppressions_of(real) == []


def test_a_changed_answer_takes_the_place_of_the_former():
    assert suppressions_of([answer(1), answer(1, "real")]) == []
    assert len(suppressions_of([answer(1, "real"), answer(1)])) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"least_score": 0.5},
        {"least_score": float("inf")},
        {"stretch": (91.0, 0, 0, 0)},
        {"stretch": (0, 0, 0, float("nan"))},
        {"cause": ""},
        {"until": 0.0},
    ],
)
def test_a_suppression_that_cannot_be_is_refused(wrong):
    right = {"alert_type": "drift", "cause": "drift", "stretch": (1.0, 2.0, 1.0, 2.0), "since": 5.0, "least_score": 2.0}
    with pytest.raises(ConfigError, match="suppression"):
        Suppression(**(right | wrong))


# ---------------------------------------------------------------- a fortnight with an officer

DAY = 86400.0
SHIPS = 228_000_000
ROUTINE_LAT = 48.09  # a dredger's ground beside the lane: out of place for the model, every day


def voyage(mmsi: int, day: float, lat: float, n: int = 30) -> np.ndarray:
    """Reports each 2 minutes of five hours, to the east."""
    from multitaskais.records import REPORT_DTYPE
    from multitaskais.units import KNOT_MPS, M_PER_DEG

    samples = sail(mmsi, n)
    r = np.zeros(n * 5, REPORT_DTYPE)
    step = np.arange(len(r)) * 120.0
    r["mmsi"], r["t"], r["lat"] = SHIPS + mmsi, 1e9 + day * DAY + step, lat
    r["lon"] = -7.3 + 11.0 * KNOT_MPS * step / M_PER_DEG / np.cos(np.radians(lat))
    r["sog"], r["cog"], r["heading"], r["nav_status"], r["ship_type"], r["msg_type"] = 11.0, 90.0, np.nan, -1, -1, 1
    assert len(samples) == n
    return r


@lru_cache(maxsize=1)
def fortnight() -> np.ndarray:
    """Each day two of six dredgers go to their ground; anomalies of other vessels at other places, and one of another kind there."""
    days = [voyage(100 + (2 * d + k) % 6, d + 0.3 * k, ROUTINE_LAT) for d in range(14) for k in range(2)]
    strange = [voyage(900 + d, d + 0.5, 47.91) for d in range(0, 14, 3)]
    return np.concatenate(days + strange)


def kinds(alerts) -> dict:
    """The last revision of each."""
    return {a.alert_id: a for a in alerts}


def test_over_a_fortnight_an_officer_halves_the_false_alerts_and_loses_no_anomaly():
    """The officer calls every dredger normal on the day after; what is raised later is judged under the answers of before."""
    from multitaskais.engine.batch import run

    panel_model = model()
    reports = fortnight()
    before = kinds(run(panel_model, reports).alerts)
    false = [a for a in before.values() if a.mmsi < SHIPS + 900]
    found = {a.mmsi for a in before.values() if a.mmsi >= SHIPS + 900}
    assert len(false) >= 14
    assert len(found) == 5
    answers: list[OfficerAnswer] = []
    answered: set[str] = set()
    for day in range(14):
        raised = kinds(
            run(
                panel_model, reports[reports["t"] < 1e9 + (day + 1) * DAY], suppressions=suppressions_of(answers)
            ).alerts
        )
        for a in sorted(raised.values(), key=lambda a: a.decided_at):
            if a.alert_id in answered:
                continue
            answered.add(a.alert_id)
            answers.append(
                OfficerAnswer(
                    alert_id=a.alert_id, answer="normal_here" if a.mmsi < SHIPS + 900 else "real", who="Yann", mmsi=a.mmsi, alert_type=str(a.alert_type),
                    cause=str(a.cause), stretch=(a.segment_start.lat, a.segment_start.lon, a.segment_end.lat, a.segment_end.lon), score=a.score, t=1e9 + (day + 1) * DAY,
                )
            )  # fmt: skip
    after = kinds(run(panel_model, reports, suppressions=suppressions_of(answers)).alerts)
    assert {a.mmsi for a in after.values() if a.mmsi >= SHIPS + 900} == found, "no anomaly elsewhere is lost"
    assert sum(a.mmsi < SHIPS + 900 for a in after.values()) <= len(false) / 2
    unchanged = {i: replace(a) for i, a in before.items() if a.mmsi >= SHIPS + 900}
    assert {i: after[i] for i in unchanged} == unchanged


def test_a_much_greater_score_of_the_same_kind_is_raised_all_the_same():
    from multitaskais.engine.batch import run

    reports = voyage(100, 0, ROUTINE_LAT)
    (alert, *_) = kinds(run(model(), reports).alerts).values()
    known = Suppression(alert_type=str(alert.alert_type), cause=str(alert.cause), stretch=(*alert.segment_start[1:], *alert.segment_end[1:]),
                        since=0.0, least_score=1.0001)  # fmt: skip
    assert kinds(run(model(), reports, suppressions=[known]).alerts)
    later = replace(known, since=reports["t"].max() + 1, least_score=1e6)
    assert kinds(run(model(), reports, suppressions=[later]).alerts) == kinds(run(model(), reports).alerts)

"""Two models on the same days: figures by hand, the rule, and files that hold anything."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_trainer.comparison import Answered, Judged, Stretch, compare, doubts
from model_trainer.work import COMPARE, verdict
from multitaskais.errors import InputError

HOUR = 3600.0


def stretch(mmsi: int, start_h: float, end_h: float, alert_type: str = "abnormal") -> Stretch:
    return Stretch(mmsi, alert_type, start_h * HOUR, end_h * HOUR)


def judged(alerts=(), **flagged: bool) -> Judged:
    return Judged(flagged, tuple(alerts), 0.0, 24 * HOUR)


def record(name: str, mmsi: int = 1, start: float = 0.0, end: float = HOUR, **more) -> dict:
    place = {"lat": 48.0, "lon": -5.0}
    return {
        "alert_id": name,
        "revision": 1,
        "status": "raised",
        "mmsi": str(mmsi),
        "alert_type": "abnormal",
        "segment_start": {"t": start, **place},
        "segment_end": {"t": end, **place},
        "decided_at": end,
    } | more


def test_shares_and_agreement_are_over_the_tracks_that_both_judged():
    latest, new = judged(a=True, b=True, c=False, d=False, alone=True), judged(a=True, b=False, c=False, d=True)
    figures = compare(latest, new, Answered())
    assert (figures["tracks"], figures["flagged"], figures["flagged_by_latest"]) == (4, 0.5, 0.5)
    assert figures["agreement"] == 0.5


def test_alerts_are_in_common_when_vessel_type_and_time_are():
    mine = stretch(1, 2, 4)
    others = [stretch(1, 5, 6), stretch(2, 2, 4), stretch(1, 2, 4, "jump")]
    assert compare(judged(others), judged([mine]), Answered())["alerts_in_common"] == 0
    assert compare(judged([*others, stretch(1, 4, 5)]), judged([mine]), Answered())["alerts_in_common"] == 1


def test_what_was_called_real_counts_for_any_alert_of_the_vessel_then_and_what_was_called_normal_for_its_own_type():
    answered = Answered(real=(stretch(1, 2, 3), stretch(2, 2, 3)), normal_here=(stretch(3, 2, 3), stretch(4, 2, 3)))
    latest = judged([stretch(1, 2, 3), stretch(2, 2, 3), stretch(3, 2, 3), stretch(4, 2, 3)])
    new = judged([stretch(1, 2, 3, "jump"), stretch(2, 9, 10), stretch(3, 2, 3), stretch(4, 2, 3, "jump")])
    figures = compare(latest, new, answered)
    assert (figures["answered_real"], figures["real_raised_by_latest"], figures["real_raised"]) == (2, 2, 1)
    assert (figures["normal_here_raised_by_latest"], figures["normal_here_raised"]) == (2, 1)


def test_answers_about_other_days_count_for_neither():
    answered = Answered(real=(stretch(1, 30, 31), stretch(1, -9, -8), stretch(1, -1, 1)))
    assert compare(judged(a=False), judged(a=False), answered)["answered_real"] == 1


def test_without_tracks_or_answers_there_is_no_share():
    figures = compare(Judged({}, ()), Judged({}, ()), Answered(real=(stretch(1, 2, 3),)))
    assert figures["agreement"] is figures["flagged"] is None
    assert figures["answered_real"] == 0
    json.dumps(figures, allow_nan=False)


ALIKE = {
    "agreement": 0.95,
    "real_raised": 10,
    "real_raised_by_latest": 10,
    "normal_here_raised": 3,
    "normal_here_raised_by_latest": 3,
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"agreement": 0.49}, "49%"),
        ({"agreement": 0.5}, None),
        ({"agreement": None}, "no track"),
        ({"real_raised": 9}, None),  # one of ten
        ({"real_raised": 8}, "of 10 .* raises 8"),
        ({"real_raised": 0, "real_raised_by_latest": 1}, "of 1 .* raises 0"),
        ({"real_raised": 0, "real_raised_by_latest": 0}, None),
        ({"normal_here_raised": 4}, "raises 4 .* the latest 3"),
        ({"normal_here_raised": 0}, None),
    ],
)
def test_a_better_model_is_proposed_and_does_not_take_over_where_agreement_or_answers_speak_against_it(change, said):
    figures = {"auroc": 0.9, "clean_flagged": 0.01, "clean_tracks": 60, "budget": 0.05}
    conf = {"accept": {"auroc_min": 0.0, "clean_flagged_max": 1.0}, "compare": COMPARE}
    found = verdict(conf, figures, figures | {"auroc": 0.8}, ALIKE | change)
    assert found["better_than_latest"]
    if said is None:
        assert found["doubts"] == []
    else:
        (why,) = found["doubts"]
        assert re.search(said, why)


@given(
    st.dictionaries(st.integers(1, 30), st.booleans()),
    st.dictionaries(st.integers(1, 30), st.booleans()),
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 24), st.integers(0, 5))),
)
def test_a_model_beside_itself_agrees_and_leaves_no_doubt(latest, new, alerts):
    found = [stretch(m, t, t + n) for m, t, n in alerts]
    names = {str(k): v for k, v in (latest | new).items()}
    answered = Answered(real=tuple(found[::2]), normal_here=tuple(found[1::2]))
    same = Judged(names, tuple(found), 0.0, 24 * HOUR)
    figures = compare(same, same, answered)
    assert figures["alerts_in_common"] == len(found)
    assert figures["real_raised"] == figures["answered_real"]
    assert figures["agreement"] == (1.0 if names else None)
    assert doubts(figures, COMPARE) == ([] if names else ["no track of these days was judged by both models"])
    other = compare(Judged({str(k): v for k, v in latest.items()}, ()), Judged({str(k): v for k, v in new.items()}, ()), answered)  # fmt: skip
    both = latest.keys() & new.keys()
    assert other["tracks"] == len(both)
    if both:
        assert other["agreement"] == pytest.approx(sum(latest[k] == new[k] for k in both) / len(both))


# ---------------------------------------------------------------- what officers answered


def test_the_last_answer_counts_and_an_answer_without_its_alert_is_left_out():
    alerts = [record("a"), record("b", 2), record("a", end=2 * HOUR, revision=2), record("c", 3)]
    answers = [
        {"alert_id": "a", "answer": "normal_here"},
        {"alert_id": "a", "answer": "real"},
        {"alert_id": "b", "answer": "normal_here"},
        {"alert_id": "c", "answer": "acknowledge"},
        {"alert_id": "gone", "answer": "real"},
    ]
    found = Answered.of(alerts, answers)
    assert [(a.mmsi, a.end) for a in found.real] == [(1, 2 * HOUR)]
    assert [a.mmsi for a in found.normal_here] == [2]


ODD = [{}, {"alert_id": None}, {"answer": []}, {"alert_id": "a", "mmsi": "x"}, record("a", segment_start=None), record("a", segment_end={"t": "soon"})]  # fmt: skip


def test_records_of_any_kind_among_alerts_and_answers_change_nothing():
    answers = [{"alert_id": "b", "answer": "real"}, {"alert_id": "a", "answer": {"x": 1}}]
    assert Answered.of([*ODD, record("b", 2)], [*ODD, *answers]) == Answered(real=(replace(stretch(2, 0, 1)),))


def test_answers_come_from_files_and_a_file_that_cannot_be_read_is_one_line(tmp_path):
    assert Answered.read({}) == Answered.read(COMPARE) == Answered()
    alerts, answers = tmp_path / "alerts.jsonl", tmp_path / "answers.jsonl"
    files = {"alerts": str(alerts), "answers": str(answers)}
    with pytest.raises(InputError, match=r"alerts\.jsonl cannot be read"):
        Answered.read(files)
    alerts.write_text(json.dumps(record("a")) + "\n")
    answers.write_text('{"alert_id": "a", "answer": "real"}\n')
    assert len(Answered.read(files).real) == 1
    answers.write_text("[]\n")
    with pytest.raises(InputError, match="line 1"):
        Answered.read(files)

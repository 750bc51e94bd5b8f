"""Officers' answers become control records: once, visible, revocable, and followed by every partition and every restart."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.detection.answers import answers_of
from multitaskais.detection.suppression import suppressions_of
from stream_operator.commands import feedback
from stream_operator.kafka import control
from stream_operator.kafka.control import Numbered, SuppressionRecord, Withdrawal
from stream_operator.kafka.topics import Admin
from stream_operator.worker.checkpoint import Decision
from stream_operator.worker.control_follower import follow, suppress_again
from tests.stream.conftest import own_settings, producer
from tests.support.topic_reading import drain

T = 1_767_225_600.0


def alert(k: int, **given) -> dict:
    return {"alert_id": f"a{k}", "mmsi": str(227_000_000 + k), "alert_type": "abnormal", "cause": "out_of_place", "score": 1.2, "revision": 1,
            "decided_at": T + k, "challenger": False, "segment_start": {"t": T, "lat": 48.1, "lon": -7.4}, "segment_end": {"t": T, "lat": 48.1, "lon": -7.0}} | given  # fmt: skip


def said(k: int, answer: str = "normal_here", who: str = "Yann") -> dict:
    return {"alert_id": f"a{k}", "answer": answer, "who": who, "time": T}


def records(
    feedback_records: list[dict], topic: list[tuple[int, bytes | None]], t: float = T
) -> tuple[list, list[int]]:
    answers, _ = answers_of([alert(k) for k in range(9)], feedback_records, t)
    return feedback.due(suppressions_of(answers), topic, "feedback")


def in_topic(made: list, begin: int = 0) -> list[tuple[int, bytes | None]]:
    return [(begin + n, control.encode(record)[1]) for n, record in enumerate(made)]


def test_what_was_written_is_not_written_again_whenever_it_is_asked():
    made, gone = records([said(k) for k in range(3)], [])
    assert [r.mmsi for r in made] == [227_000_000, 227_000_001, 227_000_002, None]
    assert gone == []
    assert records([said(k) for k in range(3)], in_topic(made), t=T + 9999) == ([], [])


def test_real_withdraws_what_an_answer_before_it_began():
    made, _ = records([said(1)], [])
    assert records([said(1), said(1, "real")], in_topic(made, 4)) == ([], [4])
    taken_back = [*in_topic(made, 4), (5, control.encode(Withdrawal(number=4))[1])]
    assert records([said(1), said(1, "real")], taken_back) == ([], []), "once"


def test_what_a_person_has_withdrawn_stays_withdrawn_and_what_one_wrote_stays():
    made, _ = records([said(1)], [])
    taken_back = [*in_topic(made), (1, control.encode(Withdrawal(number=0, by="the officer"))[1])]
    assert records([said(1)], taken_back) == ([], [])
    by_hand = SuppressionRecord(
        alert_type="drift", cause="drift", stretch=(1, 2, 1, 2), since=T, least_score=2.0, by="the officer"
    )
    assert records([], in_topic([by_hand])) == ([], [])


def test_answers_that_cannot_act_are_left_aside_with_their_reason():
    alerts = [alert(1), alert(2, alert_type="zone"), alert(3, segment_end=None)]
    told = [said(1), said(2), said(3), said(7), said(1, "maybe")]
    found, aside = answers_of(alerts, told, T)
    assert [a.alert_id for a in found] == ["a1"]
    assert sum(aside.values()) == 4
    assert aside["alerts of type zone are not suppressed by answers"] == 1


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["alert_id", "answer", "who", "mmsi"]),
            st.none() | st.text(max_size=5) | st.integers() | st.just("a1"),
        ),
        max_size=9,
    )
)
def test_whatever_lies_in_the_feedback_topic_is_an_answer_or_left_aside(told):
    found, aside = answers_of([alert(1)], told, T)
    assert len(found) + sum(aside.values()) == len(told)


class Core:
    def __init__(self) -> None:
        self.rules: dict = {}

    def suppress(self, number, rule):
        if rule is None:
            return self.rules.pop(number, None) is not None
        self.rules[number] = rule
        return True


def numbered(n: int, record) -> Numbered:
    return Numbered(n, record, control.encode(record)[1])


def test_a_partition_follows_a_suppression_and_its_withdrawal_and_a_restart_comes_to_the_same():
    (first, second), _ = records([said(1), said(2)], [])
    core, decisions = Core(), {}
    for record in (numbered(3, first), numbered(5, second), numbered(6, Withdrawal(number=3))):
        events, refused = follow(core, record, decisions)
        assert (events, refused) == (None, "")
        decisions[record.number] = Decision(0, refused, record.value)
    assert core.rules == {5: second.rule()}
    suppress_again(again := Core(), decisions)
    assert again.rules == core.rules


@pytest.mark.parametrize(
    "wrong", [{"least_score": 0.2}, {"stretch": [95, 0, 0, 0]}, {"from": 1e12}, {"cause": ""}, {"why": "x" * 500}]
)
def test_a_suppression_that_no_engine_would_follow_is_no_control_record(wrong):
    (record,), _ = records([said(1)], [])
    values = json.loads(control.encode(record)[1]) | wrong
    assert isinstance(control.decode(json.dumps(values).encode()), str)


@pytest.mark.broker
def test_answers_of_the_topic_become_control_records_once(broker, monkeypatch, capsys):
    live = own_settings(broker.bootstrap)
    Admin(live).create()
    for name in ("bootstrap_servers", "app_id", "alert_topic", "feedback_topic", "control_topic"):
        monkeypatch.setenv(name.upper(), getattr(live, name))
    p = producer(live)
    for k in range(3):
        p.produce(live.alert_topic, json.dumps(alert(k)).encode(), f"a{k}".encode())
        p.produce(live.feedback_topic, json.dumps(said(k)).encode(), f"a{k}".encode())
    p.produce(live.feedback_topic, b"not json", b"a1")
    for odd in (b"not json", b"[]", b'{"decided_at":"soon"}', b'{"decided_at":1e300}', b'{"alert_id":1}'):
        p.produce(live.alert_topic, odd, b"a9")
    p.flush()
    assert feedback.main(["--once", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"written": 4, "withdrawn": 0, "left_aside": {}}
    assert feedback.main(["--once", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == 0
    told = drain(live, live.control_topic)
    assert [(r["kind"], r["from"]) for r in told] == [("suppress", T + 2 + feedback.LEAD_S)] * 4

"""The table that ``multitaskais detect`` prints: each raised alert once, the highest score first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from multitaskais.cli.detect import alert_table

STATUS = st.sampled_from(["raised", "updated", "closed"])
ALERT = st.fixed_dictionaries(
    {
        "alert_id": st.uuids().map(str),
        "status": STATUS,
        "alert_type": st.sampled_from(["abnormal", "jump", "identity_conflict"]),
        "decided_at": st.integers(1_500_000_000, 1_800_000_000).map(float),
        "score": st.floats(1.0, 99.0),
        "message": st.text(min_size=1, max_size=40),
    }
)


@given(st.lists(ALERT, max_size=8), st.integers(0, 10))
def test_rows_are_the_raised_alerts_with_the_highest_scores_and_the_rest_are_counted(alerts, top):
    raised = [a for a in alerts if a["status"] == "raised"]
    lines = alert_table(alerts, top).split("\n")
    if not raised:
        assert lines == ["no alert was raised"]
        return
    rows = lines[1 : 1 + min(top, len(raised))]
    scores = [float(row[37:42]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert scores == [round(s, 2) for s in sorted((a["score"] for a in raised), reverse=True)[:top]]
    left = len(raised) - len(rows)
    assert lines[1 + len(rows) :] == ([f"and {left} more with lower scores (--top N prints N)"] if left else [])


@given(ALERT.map(lambda a: a | {"status": "raised"}))
def test_a_name_from_the_air_sends_no_control_character_to_the_terminal(alert):
    text = alert_table([alert], 20)
    assert all(c.isprintable() for c in text.replace("\n", ""))
    assert text.count("\n") == 1

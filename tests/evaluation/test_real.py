"""What really happened, against alerts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.cli import main
from multitaskais.errors import InputError
from multitaskais.evaluation.real import read_labels

T = 1_767_225_600.0  # 2026-01-01
H = 3600.0


def alert(name: str, mmsi: int, begin: float, end: float, decided: float, **more: object) -> str:
    ends = {"segment_start": {"t": T + begin * H}, "segment_end": {"t": T + end * H}}
    given_ = {"alert_id": name, "revision": 1, "status": "raised", "mmsi": str(mmsi), "alert_type": "drift", **ends}
    return json.dumps(given_ | {"decided_at": T + decided * H, "challenger": False} | more)


@pytest.fixture
def alerts(tmp_path: Path) -> str:
    lines = [
        alert("a", 227000001, 2, 3, 3.5),
        alert("a", 227000001, 2, 5, 5.5, revision=2, status="updated"),
        alert("b", 227000001, 20, 21, 21.5),
        alert("c", 227000003, 2, 3, 3.5, status="retracted"),
        alert("d", 227000004, 2, 3, 3.5, challenger=True),
    ]
    (tmp_path / "alerts.jsonl").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "alerts.jsonl")


def run(tmp_path: Path, labels: str, name: str, alerts: str) -> dict:
    (tmp_path / name).write_text(labels)
    assert main(["evaluate", str(tmp_path / name), "--real", alerts, "--out", str(tmp_path / "out")]) == 0
    return json.loads((tmp_path / "out" / "report.json").read_text())


def test_an_event_is_found_by_an_alert_of_its_vessel_that_overlaps_it(alerts, tmp_path):
    events = "mmsi,from,to,kind\n227000001,2026-01-01T01:30,2026-01-01T02:30,drift\n227000001,2026-01-01T10:00,2026-01-01T11:00,drift\n227000003,2026-01-01T02:00,2026-01-01T03:00,fire\n227000004,2026-01-01T02:00,2026-01-01T03:00,fire\n"
    found = run(tmp_path, events, "events.csv", alerts)
    assert (found["events"], found["found"]) == (4, 1), "retracted alerts and a challenger's find nothing"
    assert found["median_hours_to_alert"] == pytest.approx(2.0)
    assert (found["alerts"], found["alerts_outside_events"]) == (2, 1)
    assert found["per_kind"] == {"drift": {"events": 2, "found": 1}, "fire": {"events": 2, "found": 0}}


def test_answers_say_how_many_alerts_were_of_use_and_the_last_one_counts(alerts, tmp_path):
    answers = [("a", "normal_here"), ("a", "real"), ("b", "normal_here"), ("gone", "real")]
    lines = "\n".join(json.dumps({"alert_id": a, "answer": said}) for a, said in answers)
    found = run(tmp_path, lines, "answers.jsonl", alerts)
    assert (found["answered"], found["real"], found["normal_here"], found["precision"]) == (2, 1, 1, 0.5)
    assert found["answers_without_alert"] == 1


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ("mmsi,from\n227000001,2026-01-01T01:30\n", "event 1: no 'to'"),
        ("mmsi,from,to\n227000001,noon,2026-01-01T01:30\n", "no span of time"),
        ("mmsi,from,to\n227000001,2026-01-02,2026-01-01\n", "no span of time"),
        ("mmsi,from,to\nVESSEL,2026-01-01,2026-01-02\n", "no MMSI"),
        ("", "nothing in it"),
    ],
)
def test_a_table_of_events_that_cannot_be_read_is_one_line(labels, says, alerts, tmp_path, capsys):
    (tmp_path / "events.csv").write_text(labels)
    assert main(["evaluate", str(tmp_path / "events.csv"), "--real", alerts, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_lines_that_are_no_alerts_are_one_line(tmp_path, capsys):
    (tmp_path / "events.csv").write_text("mmsi,from,to\n227000001,2026-01-01,2026-01-02\n")
    (tmp_path / "alerts.jsonl").write_text('{"alert_id": "a", "mmsi": "227000001", "status": "raised"}\n')
    assert main(["evaluate", str(tmp_path / "events.csv"), "--real", str(tmp_path / "alerts.jsonl"), "--out", str(tmp_path / "o")]) == 2  # fmt: skip
    assert "not alerts as `detect` writes them" in capsys.readouterr().err


def test_evaluate_needs_a_model_or_alerts(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "x.parquet"), "--out", str(tmp_path / "o")]) == 2
    assert "--model" in capsys.readouterr().err


@given(st.binary(max_size=200), st.sampled_from(["e.csv", "e.jsonl"]))
def test_any_file_of_labels_is_read_or_refused(tmp_path_factory, content, name):
    file = tmp_path_factory.mktemp("labels") / name
    file.write_bytes(content)
    said = ""
    try:
        read_labels(file)
    except InputError as e:
        said = str(e)
    assert "\n" not in said

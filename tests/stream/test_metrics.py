"""The figures that the operator shows: counted from events, documented, and gone when what they count is gone."""

from __future__ import annotations

from multitaskais.engine.events import Events
from multitaskais.records import Counts, Reason
from stream_operator.worker.metrics import Metrics
from tests.stream.conftest import ROOT


def test_every_metric_is_in_the_documentation():
    text = (ROOT / "docs" / "operator" / "monitoring.md").read_text()
    names = [family.name.removeprefix("multitaskais_") for family in Metrics().registry.collect()]
    assert names
    assert [name for name in names if f"`{name}" not in text] == []


def test_what_the_core_tells_is_counted():
    metrics = Metrics()
    metrics.counted(Events(counts=Counts(5, 3, {Reason.LATE: 2}), steps=[(4, 0.003), (1, 0.001)]))
    text = metrics.text().decode()
    assert "multitaskais_reports_total 5.0" in text
    assert "multitaskais_reports_accepted_total 3.0" in text
    assert 'multitaskais_reports_rejected_total{reason="late"} 2.0' in text
    assert "multitaskais_model_step_lines_sum 5.0" in text
    assert "multitaskais_model_step_seconds_sum 0.004" in text


def test_a_verdict_that_no_track_has_any_more_is_no_longer_shown():
    metrics = Metrics()
    metrics.tracks({("not_judged", "moored"): 2, ("normal", ""): 1})
    metrics.tracks({("normal", ""): 4})
    text = metrics.text().decode()
    assert 'multitaskais_tracks_open{reason="",verdict="normal"} 4.0' in text
    assert "moored" not in text


def test_memory_now_is_not_more_than_it_ever_was():
    lines = dict(line.rsplit(" ", 1) for line in Metrics().text().decode().splitlines() if not line.startswith("#"))
    assert 1e6 < float(lines["multitaskais_memory_bytes"]) <= 1.05 * float(lines["multitaskais_memory_peak_bytes"])

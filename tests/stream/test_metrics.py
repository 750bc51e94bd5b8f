"""The figures that the operator shows: counted from events, documented, and gone when what they count is gone."""

from __future__ import annotations

import urllib.request
from dataclasses import replace

import pytest

from multitaskais.detection.panel import Panel
from multitaskais.engine.events import Events
from multitaskais.engine.fleet import FleetEngine
from multitaskais.errors import OperatorError
from multitaskais.model import folder as modelfolder
from multitaskais.records import Counts, Reason, Verdict
from stream_operator.commands.meetings_status import BEAT_S, FleetMetrics, MeetingsStatus, StatusPages
from stream_operator.devbroker import free_port
from stream_operator.settings import Settings
from stream_operator.worker.metrics import Metrics
from tests.stream.conftest import ROOT
from tests.support.builders import merged
from tests.support.encounter_scenes import bystanders, patterns, rendezvous


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
    assert "multitaskais_model_step_samples_sum 5.0" in text
    assert "multitaskais_model_step_seconds_sum 0.004" in text


def test_scores_of_judged_samples_are_counted_by_level_beside_what_was_to_be_expected():
    metrics = Metrics()
    told = [("normal", 0.3), ("abnormal", 1.2), ("not_judged", None)]
    metrics.counted(Events(verdicts=[Verdict(1, "a", 0.0, v, None, score, "m") for v, score in told]))
    model = modelfolder.load("anywhere")
    limits = replace(model.panel.thresholds, samples_above={0.75: 0.04})
    metrics.models([(replace(model, panel=Panel(model.panel.detectors, model.panel.calibrations, limits, model.panel.rules)), "active")], 0.0)  # fmt: skip
    text = metrics.text().decode()
    assert 'multitaskais_sample_score_bucket{le="0.75"} 1.0' in text
    assert "multitaskais_sample_score_count 2.0" in text
    assert f'multitaskais_model_samples_above{{level="0.75",role="active",version="{model.version}"}} 0.04' in text


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


def test_every_metric_of_meetings_is_in_the_documentation_and_counts_what_was_decided():
    metrics = FleetMetrics()
    text = (ROOT / "docs" / "operator" / "monitoring.md").read_text()
    names = [family.name.removeprefix("multitaskais_") for family in metrics.registry.collect()]
    assert [name for name in names if f"`{name}" not in text] == []
    engine = FleetEngine("m", patterns(), ordered=True)
    engine.process(merged(rendezvous(), bystanders()))
    events = engine.decide()
    metrics.counted(events)
    metrics.state(engine)
    shown = metrics.text().decode()
    assert f"multitaskais_meetings_reports_total {float(events.counts.received)}" in shown
    assert 'multitaskais_meetings_alerts_total{alert_type="meeting",status="raised"} 1.0' in shown
    assert metrics.registry.get_sample_value("multitaskais_meetings_decided_seconds") == engine.decided
    for kind, n in engine.open_counts().items():
        assert metrics.registry.get_sample_value("multitaskais_meetings_open", {"kind": kind}) == n


def test_a_meetings_process_that_waits_is_alive_and_not_ready_and_one_that_stands_is_neither():
    status = MeetingsStatus()
    assert status.alive()[0]
    assert status.ready()[1]["why_not"] == ["another `meetings` works; this one waits"]
    status.works = True
    assert status.ready()[0]
    status.beat -= BEAT_S + 1
    assert not status.alive()[0]
    assert "it stands since" in status.ready()[1]["why_not"][0]


def test_the_pages_of_meetings_answer_and_a_port_that_is_taken_is_one_line():
    settings = Settings(meetings_port=free_port())
    status = MeetingsStatus()
    status.works = True
    pages = StatusPages(settings, status)
    pages.start()
    try:
        for path, words in (
            ("health", b"alive"),
            ("ready", b"waits_for_partition"),
            ("metrics", b"multitaskais_meetings_active"),
        ):
            with urllib.request.urlopen(f"http://127.0.0.1:{settings.meetings_port}/{path}", timeout=5) as answer:
                assert words in answer.read()
        second = StatusPages(settings, status)
        with pytest.raises(OperatorError, match="give another MEETINGS_PORT"):
            second.start()
        second.stop()
    finally:
        pages.stop()

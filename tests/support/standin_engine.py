"""A small, real, deterministic fold with the operator's seam, to test exactness at high rates without a model.

Per vessel it counts reports; every 50th raises an alert that carries the count. A report lost, doubled or folded on a wrong
state changes the counts and so the alerts.
"""

from __future__ import annotations

import os
import struct
import time
from dataclasses import dataclass, field

from confluent_kafka import TopicPartition

from multitaskais.errors import ModelError
from multitaskais.records import (
    Alert,
    AlertType,
    Cause,
    Counts,
    DetectorScore,
    Place,
    Reason,
    Status,
    Verdict,
    alert_id,
)
from stream_operator.worker.consumer import KafkaSource

EVERY = 50


@dataclass
class Events:
    alerts: list[Alert] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    rejected: list[tuple[int, Reason]] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    steps: list[tuple[int, float]] = field(default_factory=list)


class CountingEngine:
    def __init__(self, vessels, partition_state):
        self.counts = {mmsi: struct.unpack("<qd", b) for mmsi, b in vessels}
        self.total = struct.unpack("<q", partition_state)[0] if partition_state else 0
        self.changed = set()
        self.pause_s = float(os.environ.get("STANDIN_PAUSE_S", "0"))

    def process(self, reports):
        if self.pause_s:
            time.sleep(self.pause_s)
        events = Events()
        events.counts.received = events.counts.accepted = len(reports)
        for mmsi, t in zip(reports["mmsi"].tolist(), reports["t"].tolist(), strict=True):
            n, sum_t = self.counts.get(mmsi, (0, 0.0))
            n, sum_t = n + 1, sum_t + t % 1000
            self.counts[mmsi] = (n, sum_t)
            self.changed.add(mmsi)
            if n % EVERY == 0:
                events.alerts.append(an_alert(mmsi, t, n, sum_t))
        self.total += len(reports)
        for mmsi in sorted(set(reports["mmsi"].tolist())):
            events.verdicts.append(
                Verdict(mmsi, f"{mmsi}", float(self.counts[mmsi][0]), "normal", None, None, "standin")
            )
        return events

    def advance_watermark(self, t):
        events = Events()
        for mmsi in sorted(self.counts):
            n, sum_t = self.counts[mmsi]
            events.alerts.append(an_alert(mmsi, t, n, sum_t, Status.CLOSED))
        return events

    def snapshot(self):
        out = {mmsi: struct.pack("<qd", *self.counts[mmsi]) for mmsi in self.changed}
        self.changed = set()
        return out

    def announce(self, version, source, since):
        raise ModelError("there is no model here")

    def models(self):
        return []

    def open_track_counts(self):
        return {("normal", ""): len(self.counts)}

    def partition_state(self):
        return struct.pack("<q", self.total)


def an_alert(mmsi, t, n, sum_t, status=Status.RAISED):
    source = Place(t, 48.0, -5.0)
    return Alert(
        alert_id=alert_id(mmsi, t, AlertType.ABNORMAL), revision=n, status=status, mmsi=mmsi, ship_name=None, ship_type=None,
        alert_type=AlertType.ABNORMAL, cause=Cause.COURSE, detectors=(DetectorScore("counter", float(n)),), track_id=f"{mmsi}",
        segment_start=source, segment_end=source, decided_at=t, score=sum_t, log10_nfa=None, share=None,
        message=f"vessel {mmsi} was heard {n} times", model_version="standin",
    )  # fmt: skip


def make(settings):
    return CountingEngine


def make_without_a_leader(settings):
    """The worker's first question to Kafka inside a rebalance fails, as it does while the broker has no leader for a partition."""

    def ends(source, partition):
        return source._consumer.get_watermark_offsets(TopicPartition(partition.topic, 999), timeout=5)

    KafkaSource._ends = ends
    return make(settings)

"""A small, real, deterministic engine without a model: to test exactness at high rates, and to measure what moving records costs.

Per vessel it counts reports; every 50th raises an alert that carries the count. A report lost, doubled or folded on a wrong
state changes the counts and so the alerts. With ``silent`` it counts and finds nothing.
"""

from __future__ import annotations

import os
import struct
import time

from multitaskais.engine.events import Events
from multitaskais.errors import ModelError
from multitaskais.records import (
    Alert,
    AlertType,
    Cause,
    DetectorScore,
    Place,
    Status,
    Verdict,
    alert_id,
)

EVERY = 50


class CountingEngine:
    def __init__(self, vessels, partition_state, silent=False):
        self.silent = silent
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
            if n % EVERY == 0 and not self.silent:
                events.alerts.append(an_alert(mmsi, t, n, sum_t))
        self.total += len(reports)
        if self.silent:
            return events
        for mmsi in sorted(set(reports["mmsi"].tolist())):
            events.verdicts.append(
                Verdict(mmsi, f"{mmsi}", float(self.counts[mmsi][0]), "normal", None, None, "standin")
            )
        return events

    now = 0.0
    silence_s = float("inf")

    def forget(self, mmsi):
        self.counts.pop(mmsi, None)
        self.changed.discard(mmsi)
        return Events()

    def withdraw(self, version, since):
        return False

    def end_silent(self, t, *, reopen=False):
        events = Events()
        if self.silent:
            return events
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


def an_alert(mmsi: int, t: float, n: int, sum_t: float, status: Status = Status.RAISED) -> Alert:
    source = Place(t, 48.0, -5.0)
    return Alert(
        alert_id=alert_id(mmsi, t, AlertType.ABNORMAL), revision=n, status=status, mmsi=mmsi, ship_name=None, ship_type=None,
        alert_type=AlertType.ABNORMAL, cause=Cause.COURSE, detectors=(DetectorScore("counter", float(n)),), track_id=f"{mmsi}",
        segment_start=source, segment_end=source, decided_at=t, score=sum_t, log10_nfa=None, share=None,
        message=f"vessel {mmsi} was heard {n} times", model_version="standin",
    )  # fmt: skip

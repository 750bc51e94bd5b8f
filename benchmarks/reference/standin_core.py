"""A fold that counts its vessels' reports and nothing else: what moving the records costs."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from multitaskais.records import Alert, Counts, Reason, Verdict
from stream_operator.settings import Settings


@dataclass
class Events:
    alerts: list[Alert] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    rejected: list[tuple[int, Reason]] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    steps: list[tuple[int, float]] = field(default_factory=list)


class Counting:
    def __init__(self, vessels: Iterable[tuple[int, bytes]]) -> None:
        self._counts = {m: struct.unpack("<q", b)[0] for m, b in vessels}
        self._changed: set[int] = set()

    def process(self, reports: NDArray[np.void]) -> Events:
        events = Events()
        events.counts.received = events.counts.accepted = len(reports)
        for mmsi in reports["mmsi"].tolist():
            self._counts[mmsi] = self._counts.get(mmsi, 0) + 1
            self._changed.add(mmsi)
        return events

    def advance_watermark(self, t: float) -> Events:
        return Events()

    def announce(self, version: str, place: str, since: float) -> bool:
        return False

    def models(self) -> tuple[()]:
        return ()

    def open_track_counts(self) -> dict[tuple[str, str], int]:
        return {}

    def snapshot(self) -> dict[int, bytes | None]:
        changed: dict[int, bytes | None] = {m: struct.pack("<q", self._counts[m]) for m in self._changed}
        self._changed.clear()
        return changed

    def partition_state(self) -> bytes:
        return b"counting"


def make(settings: Settings):
    return lambda vessels, partition_state: Counting(vessels)

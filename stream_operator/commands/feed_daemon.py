"""What a feed is besides a command: a process that stays in the field, is asked how it is, and is told to end.

``Watermarks``   shows the workers each minute of event time how far the reports have come, so that a partition whose ships have
                 gone silent goes on
``FeedState``    what the pages and the lines on standard error tell
"""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from statistics import median_low

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from multitaskais.records import Counts

from ..kafka import client as kafka
from ..kafka import control
from ..kafka.control import Watermark
from ..kafka.errors import Refusal, explain
from ..pages import Answer, as_json
from ..settings import Settings

WATERMARK_EVERY_S = 60.0  # of event time
RECENT = 9  # reports whose middle time is how far they have come: four wrong clocks among them do not matter
SILENT_S = 60.0
BEAT_S = 60.0
LEAVE_S = 0.5  # SIGTERM: watermarks that are queued are sent for so long


class EventTime:
    """How far live reports have come: the middle time of the last few, and never ahead of the time of day (Unix s)."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._recent: deque[float] = deque(maxlen=RECENT)

    def take(self, t: float) -> None:
        self._recent.append(t)

    @property
    def now(self) -> float:
        """-inf before the first few reports."""
        if len(self._recent) < RECENT:
            return -math.inf
        return min(median_low(self._recent), self._clock())


class Watermarks:
    """Sends a watermark each minute of event time, and never waits for the broker.

    Where the right to write control records is missing, one line says so and there are none.
    """

    def __init__(self, settings: Settings, event_time: EventTime) -> None:
        self._settings = settings
        self._event_time = event_time
        self._refusal = Refusal()
        config = kafka.client(settings, enable_idempotence=True, linger_ms=0) | {
            "message.timeout.ms": 0,
            "error_cb": self._refusal,
        }
        self._producer: Producer | None = Producer(config, logger=kafka.log)
        self.last = -math.inf

    def tick(self, after: dict[int, int]) -> None:
        """``after``: per partition of the source the offset behind our last report there."""
        with self._giving_up():
            if self._producer is not None:
                self._producer.poll(0)
        if self._refusal.error is not None:
            self._give_up(self._refusal.error)
        if self._producer is None or (t := self._event_time.now) < self.last + WATERMARK_EVERY_S:
            return
        self.last = t
        record = Watermark(t=t, after=after, by=control.sender(), sent=round(time.time(), 3))
        key, value = control.encode(record)
        with self._giving_up(), suppress(BufferError):  # months of an outage: those that wait say enough
            self._producer.produce(
                self._settings.control_topic, value, key, control.PARTITION, on_delivery=self._delivered
            )

    def flush(self, within_s: float) -> None:
        with self._giving_up():
            if self._producer is not None:
                self._producer.flush(within_s)

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        producer = self._producer
        try:
            yield
        except KafkaException as e:
            if producer is not None:
                self._give_up(self._refusal.reason(producer, e))

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and self._producer is not None:
            self._give_up(error)

    def _give_up(self, error: KafkaError) -> None:
        if self._producer is None:
            return
        self._producer = None
        why = explain(self._settings, error, "Write", f"topic {self._settings.control_topic}")
        print(f"no watermarks are sent, and partitions that go silent wait: {why}", file=sys.stderr, flush=True)


class FeedState:
    """What is told of a running feed: once a minute on standard error, and on its pages at any time.

    Args:
        source: where the lines come from, for the line that says that none do.
    """

    def __init__(self, source: str, monotonic: Callable[[], float] = time.monotonic, every_s: float = 60.0) -> None:
        self.counts = Counts()
        self.delivered = 0
        self.waiting = 0  # reports that the broker has not yet acknowledged
        self.waiting_since: float | None = None
        self.watermark = -math.inf
        self._source = source
        self._monotonic, self._every_s = monotonic, every_s
        self._began = self._heard = self._told_at = self.beat = monotonic()
        self._lines = 0
        self._told = Counts()

    def tick(self, waiting: int = 0, delivered: int = 0) -> None:
        """After each block, also after the empty ones of a silence."""
        now = self.beat = self._monotonic()
        if self.counts.received != self._lines:
            self._lines, self._heard = self.counts.received, now
        if not waiting or delivered != self.delivered:
            self.waiting_since = None
        if waiting and self.waiting_since is None:
            self.waiting_since = now
        self.waiting, self.delivered = waiting, delivered
        if now - self._told_at >= self._every_s:
            self._tell(now)

    def _tell(self, now: float) -> None:
        counts, before = self.counts, self._told
        lines, reports = counts.received - before.received, counts.accepted - before.accepted
        if lines:
            left_out = {r: m for r, n in sorted(counts.rejected.items()) if (m := n - before.rejected.get(r, 0))}
            reasons = ", ".join(f"{reason} {n:,}" for reason, n in left_out.items())
            said = f"in the last {now - self._told_at:.0f} s: {lines:,} lines, {reports:,} reports" + (
                f", left out: {reasons}" if reasons else ""
            )
        else:
            said = f"nothing received for {now - self._heard:.0f} s from {self._source}"
        if self.waiting:
            said += f"; {self.waiting:,} reports wait for the broker"
        print(said, file=sys.stderr, flush=True)
        self._told_at = now
        self._told = Counts(counts.received, counts.accepted, dict(counts.rejected))

    # ---------------------------------------------------------------- pages

    async def health(self) -> Answer:
        """The feed goes round; it does also while the broker is away."""
        age = self._monotonic() - self.beat
        return as_json(age < BEAT_S, {"alive": age < BEAT_S, "beat_age_s": round(age, 1)})

    async def ready(self) -> Answer:
        """Lines come in and reports go out."""
        now = self._monotonic()
        why = []
        if (silent := now - self._heard) > SILENT_S:
            why.append(f"nothing received for {silent:.0f} s from {self._source}")
        if self.waiting_since is not None and (held := now - self.waiting_since) > SILENT_S:
            why.append(f"{self.waiting} reports wait for the broker since {held:.0f} s")
        return as_json(not why, {"ready": not why, "why_not": why})

    async def metrics(self) -> Answer:
        registry = CollectorRegistry()
        prefix = {"namespace": "multitaskais", "registry": registry}
        now = self._monotonic()
        for name, text, value in (
            ("feed_lines", "Lines received.", self.counts.received),
            ("feed_reports", "Reports of those lines.", self.counts.accepted),
            ("feed_delivered", "Reports that the broker has acknowledged.", self.delivered),
        ):
            Counter(name, text, **prefix).inc(value)
        rejected = Counter("feed_rejected", "Lines left out.", ["reason"], **prefix)
        for reason, n in dict(self.counts.rejected).items():
            rejected.labels(str(reason)).inc(n)
        Gauge("feed_waiting", "Reports that wait for the broker.", **prefix).set(self.waiting)
        Gauge("feed_silent_seconds", "Since the last line was received.", **prefix).set(now - self._heard)
        watermark = Gauge("feed_watermark_seconds", "Time (Unix s) of the last watermark that was sent.", **prefix)
        watermark.set(self.watermark if math.isfinite(self.watermark) else 0.0)
        return Answer(200, "text/plain", generate_latest(registry))

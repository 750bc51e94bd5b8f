"""``python -m stream_operator replay --from 2026-01-01 [--to ...] --out FILE | --topics PREFIX``: judges a time range of the log again.

The same fold as live, from the same records, without touching the operator's state, group or topics. FROM and TO are times of the
reports (UTC): what was decided in FROM <= decided_at < TO is written, each revision.

A revision rests on what came before it, so records before FROM are folded too (the lead-in) and what they lead to is left out:

- by default from the beginning of the log: **every revision is the one of the first time**, provided that the log still begins where
  the operator began, and that MODEL (the first one: later ones are announced in the log), the rules and the challenger are those of
  the first time;
- ``--lead-in 24h`` reads only so much before FROM, and is faster. Exact then for each vessel that was silent for longer than
  INTERVAL_MAX within the lead-in or was first heard there; for the others revisions and first judgements may differ.

Records are found by their time in the log, which is never before the report's own; the range ends where the log ended when the command
began. What is open there stays open, as it was live.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from multitaskais.command import CommandParser
from multitaskais.engine.engine import PartitionEngine
from multitaskais.engine.events import Events
from multitaskais.errors import ConfigError, OperatorError
from multitaskais.records import Alert, Counts, Verdict
from multitaskais.types import Reports

from .. import logs
from ..kafka import client as kafka
from ..kafka import codec as wire
from ..kafka import control_writer
from ..kafka.control import Numbered
from ..kafka.errors import Refusal, explain, explain_reader, explained_write, is_access_denied
from ..kafka.topics import Admin, Topic
from ..settings import Settings
from ..worker.checkpoint import Restored, restore
from ..worker.control_follower import follow, process_batch
from ..worker.control_log import ControlLog, planned
from ..worker.engines import OpenEngine, engine_opener
from .alerts import CALL_S, seconds

RUN_RECORDS = 10_000  # any other number gives the same
# Nothing that is decided before TO rests on a report that is further past it: a gap ends (2 h), a report may be behind (1 h).
PAST_TO_S = 4 * 3600.0


class Range(NamedTuple):
    """Times of reports, Unix s."""

    start: float
    stop: float
    lead_in_s: float  # inf: from the beginning of the log


class Sink(Protocol):
    """Where what was found goes."""

    def alert(self, alert: Alert) -> None: ...
    def verdict(self, verdict: Verdict) -> None: ...
    def close(self) -> None: ...


class FileSink:
    """Alerts as JSON lines, as on the topic; the last verdict of each vessel after them on request."""

    def __init__(self, path: Path, verdicts: Path | None = None) -> None:
        try:
            self._file = path.open("wb")
        except OSError as e:
            raise ConfigError(f"--out {path}: {e.strerror}") from None
        self._verdict_path = verdicts
        self._verdicts: dict[int, bytes] = {}

    def alert(self, alert: Alert) -> None:
        self._file.write(wire.encode_alert(alert)[1] + b"\n")

    def verdict(self, verdict: Verdict) -> None:
        self._verdicts[verdict.mmsi] = wire.encode_verdict(verdict)[1] + b"\n"

    def close(self) -> None:
        self._file.close()
        if self._verdict_path is not None:
            self._verdict_path.write_bytes(b"".join(self._verdicts.values()))


class TopicSink:
    """``PREFIX.alerts`` and ``PREFIX.verdicts``, which must be new: what was there before would mix with what is written."""

    def __init__(self, settings: Settings, prefix: str) -> None:
        self._settings = settings
        self._alerts, self._verdicts = f"{prefix}.alerts", f"{prefix}.verdicts"
        admin = Admin(settings)
        if there := [name for name in (self._alerts, self._verdicts) if name in admin.partitions]:
            raise ConfigError(
                f"--topics {prefix}: topic {there[0]} is there already; give another prefix, or delete it"
            )
        n = admin.partitions.get(settings.topic, settings.partitions)
        admin.create(
            [
                Topic(self._alerts, n, {"cleanup.policy": "delete"}),
                Topic(self._verdicts, n, {"cleanup.policy": "compact"}),
            ]
        )
        self._failed: list[KafkaError] = []
        self._refusal = Refusal()
        config = kafka.client(
            settings,
            partitioner=kafka.PARTITIONER,
            enable_idempotence=True,
            compression_type="lz4",
            linger_ms=20,
            error_cb=self._refusal,
        )
        self._producer = Producer(config, logger=kafka.log)

    def alert(self, alert: Alert) -> None:
        self._send(self._alerts, *wire.encode_alert(alert))

    def verdict(self, verdict: Verdict) -> None:
        self._send(self._verdicts, *wire.encode_verdict(verdict))

    def _send(self, topic: str, key: bytes, value: bytes) -> None:
        with self._writing():
            kafka.produce(
                self._producer, topic, value, key, on_delivery=lambda e, _: self._failed.append(e) if e else None
            )
            self._producer.poll(0)

    @property
    def _resource(self) -> str:
        return f"topics {self._alerts} and {self._verdicts}"

    def _writing(self) -> AbstractContextManager[None]:
        return explained_write(self._settings, self._producer, self._refusal, self._resource)

    def close(self) -> None:
        give_up_at = time.monotonic() + 60.0
        with self._writing():
            while self._producer.flush(0.2) and self._refusal.error is None and time.monotonic() < give_up_at:
                pass
        if self._refusal.error is not None:
            raise explain(self._settings, self._refusal.error, "Write", self._resource)
        if len(self._producer) or self._failed:
            if self._failed and is_access_denied(self._failed[0]):
                raise explain(self._settings, self._failed[0], "Write", self._resource)
            why = self._failed[0].str() if self._failed else "no answer"
            raise OperatorError(
                f"not all could be written to {self._alerts} ({why}): delete it and run the command again"
            )


def replay(settings: Settings, open_engine: OpenEngine, span: Range, sink: Sink) -> Counts:
    """Judge the source topic again, partition after partition; returns the counts of all that was folded, lead-in included."""
    Admin(settings).require(
        settings.states
    )  # decisions on control records: a reader of a topic that it may not see hears nothing
    consumer = Consumer(kafka.reader(settings), logger=kafka.log)
    counts = Counts()
    topic = ControlLog(settings)
    for at, value in control_writer.read(settings):
        topic.take(at, value)
    records_of_control = topic.since(0)
    try:
        for number, begin, end in _bounds(consumer, settings, span):
            fold = open_engine({}.items(), None)
            restored = restore(settings, number)
            acts = deque(planned(restored, records_of_control, number))
            for run in _runs(consumer, settings, number, begin, end):
                decoded = wire.decode(run, settings.record_max_bytes)
                offsets = [run[i].offset for i in decoded.record_of]
                controls = []
                while acts and acts[0][0] <= run[-1].offset:
                    offset, record = acts.popleft()
                    controls.append((bisect_left(offsets, offset), record))
                _take(fold, decoded.reports, controls, restored, span, sink, counts)
                if len(decoded.reports) and np.median(decoded.reports["t"]) > span.stop + PAST_TO_S:
                    break
            else:
                nothing = wire.decode([]).reports
                _take(fold, nothing, [(0, r) for at, r in acts if at <= end], restored, span, sink, counts)
    finally:
        consumer.close()
    return counts


def _take(
    fold: PartitionEngine,
    reports: Reports,
    controls: Sequence[tuple[int, Numbered]],
    restored: Restored,
    span: Range,
    sink: Sink,
    counts: Counts,
) -> None:
    def followed(record: Numbered) -> Events | None:
        events, refused = follow(fold, record, restored.decisions)
        if refused:  # as live: a model that cannot be had is left out, and here, too, that must be seen
            kafka.log.warning(
                "control record %d (%s) is left out: %s", record.number, record.control.summary(), refused
            )
        return events

    for _, events in process_batch(fold, reports, controls, followed):
        counts.add(events.counts)
        for alert in events.alerts:
            if span.start <= alert.decided_at < span.stop:
                sink.alert(alert)
        for verdict in events.verdicts:
            if span.start <= verdict.t < span.stop:
                sink.verdict(verdict)


def _bounds(consumer: Consumer, settings: Settings, span: Range) -> list[tuple[int, int, int]]:
    """(partition, first offset, offset after the last) of each partition."""
    parts = [TopicPartition(settings.topic, n) for n in range(Admin(settings).require(settings.topic))]
    try:
        ends = [consumer.get_watermark_offsets(p, timeout=CALL_S) for p in parts]
        begins = [low for low, _ in ends]
        if math.isfinite(span.lead_in_s):
            at = int(max(0.0, span.start - span.lead_in_s) * 1000)
            requested_offset = [TopicPartition(p.topic, p.partition, at) for p in parts]
            begins = [p.offset for p in consumer.offsets_for_times(requested_offset, timeout=CALL_S)]
    except KafkaException as e:
        raise explain(settings, e, "Describe", f"topic {settings.topic}") from None
    return [
        (p.partition, high if begin == OFFSET_END else max(low, begin), high)
        for p, begin, (low, high) in zip(parts, begins, ends, strict=True)
    ]


def _runs(
    consumer: Consumer, settings: Settings, number: int, begin: int, end: int
) -> Iterator[list[wire.ConsumerRecord]]:
    if begin >= end:
        return
    consumer.assign([TopicPartition(settings.topic, number, begin)])
    try:
        at = begin
        while at < end:
            records = []
            for m in consumer.consume(RUN_RECORDS, 0.5):
                if m.partition() != number:
                    continue
                if (error := m.error()) is None:
                    at = m.offset() + 1
                    if m.offset() < end:
                        records.append(wire.ConsumerRecord(m.offset(), m.key(), m.value()))
                elif error.code() == KafkaError._PARTITION_EOF:
                    at = end  # the last offsets may be markers of transactions
                elif is_access_denied(error):
                    raise explain_reader(settings, error, settings.topic)
                else:
                    kafka.log.warning("%s", error.str())
            if records:
                yield records
    finally:
        consumer.unassign()


def moment(option: str, text: str) -> float:
    """``2026-01-01``, ``2026-01-01T12:00``, with or without a zone (UTC when it has none), or Unix seconds -> Unix s."""
    try:
        if math.isfinite(number := float(text)):
            return number
    except ValueError:
        pass
    try:
        t = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text}: give a time such as 2026-01-01 or 2026-01-01T12:00 (UTC)") from None
    return (t if t.tzinfo else t.replace(tzinfo=UTC)).timestamp()


def main(argv: list[str]) -> int:
    parser = CommandParser(
        "python -m stream_operator replay",
        description=__doc__,
        epilog="example: python -m stream_operator replay --from 2026-01-01 --to 2026-01-02 --out alerts.jsonl",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--from", dest="start", required=True, metavar="TIME", help="first time of what is written")
    parser.add_argument("--to", dest="stop", metavar="TIME", help="what is decided from then on is left out")
    parser.add_argument("--lead-in", metavar="24h", help="fold so much before FROM (default: from the log's beginning)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="alerts as JSON lines")
    parser.add_argument("--verdicts", type=Path, metavar="FILE", help="with --out: last verdict of each vessel")
    parser.add_argument("--topics", metavar="PREFIX", help="write to the new topics PREFIX.alerts and PREFIX.verdicts")
    parser.add_argument("--settings", type=Path, help="TOML file of settings")
    args = parser.parse_args(argv)
    if bool(args.out) == bool(args.topics):
        raise ConfigError("replay: give --out FILE or --topics PREFIX (one of them)")
    span = Range(
        moment("--from", args.start),
        moment("--to", args.stop) if args.stop else math.inf,
        seconds(args.lead_in, "--lead-in") if args.lead_in else math.inf,
    )
    if span.stop <= span.start:
        raise ConfigError(f"--to {args.stop}: must be later than --from {args.start}")
    settings = Settings.load(file=args.settings)
    logs.set_up(settings.log_format, settings.log_level)
    open_engine = engine_opener(settings)
    sink: Sink = TopicSink(settings, args.topics) if args.topics else FileSink(args.out, args.verdicts)
    begun = time.monotonic()
    counts = replay(settings, open_engine, span, sink)
    sink.close()
    took = time.monotonic() - begun
    rejected = {str(reason): n for reason, n in sorted(counts.rejected.items())}
    print(f"folded {counts.received} reports in {took:.1f} s; left out: {json.dumps(rejected)}", file=sys.stderr)
    return 0

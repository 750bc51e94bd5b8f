"""``python -m stream_operator meetings``: watches all ships together, for meetings, silences and zones.

Two ships of one meeting lie in different partitions, so one process reads all of them; a second one that is started waits and goes on
where the first ends. It needs nothing of the workers but the log: it reads the source topic and the control topic (watermarks, zones),
keeps its state in the topic APP_ID.meetings, and writes its alerts beside theirs. Each checkpoint is one transaction, so an
alert comes once whatever happens to the process.

What is usual comes from MODEL: with a model that has no encounters.npz, zones alone are watched.
"""

from __future__ import annotations

import argparse
import logging
import math
import signal
import threading
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from multitaskais.command import CommandParser
from multitaskais.encounters.silence import Outage
from multitaskais.engine.fleet import BUCKET, FleetEngine, RestartPoint
from multitaskais.errors import InputError, OperatorError, StateError, TryAgain
from multitaskais.model.folder import Model
from multitaskais.zones.zone import read_feature

from .. import exit_codes, logs
from ..kafka import client as kafka
from ..kafka import codec, control, control_writer, topics
from ..kafka.errors import explain, explain_reader, explained, is_access_denied
from ..settings import Settings
from ..worker import registry
from ..worker.checkpoint import Checkpointer, CheckpointPayload, Fenced, ProducerRecord, restore
from ..worker.topic_identity import LOOK_EVERY_S, MISSING_TIMES, TopicIdentity, TopicLookup, mismatch
from .meetings_status import MeetingsStatus, StatusPages

log = logging.getLogger("stream_operator")

POLL_S = 0.1
TELL_EVERY_S = 60.0
WATERMARK_LEAD_S = (
    7200.0 + 600.0
)  # a watermark further ahead of all reports waits: it is a mistake, or the reports are to come
LAG_S = 180.0  # event time: a partition no further behind than the lateness and a tick is not idle
IDLE_S = 60.0  # a partition that has been read to its end, and in which nothing came for so long, holds the others back no more
CALL_S = 5.0
SETTLE_S = 10.0  # a log that seems to end before our place gets so long: a broker that comes back finds its end again
_NOT_THERE = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)


class _Stored(msgspec.Struct, array_like=True):
    """Beside the vessels: the small parts of the engine's state, and from where to read again."""

    parts: dict[str, bytes]
    points: dict[int, tuple[int, bytes]]  # partition -> (offset, its clock there)
    zones_until: int  # number of the first control record whose zone is not yet in the state


class _Due(NamedTuple):
    """A watermark that waits for its place in a partition's log."""

    number: int
    mark: control.Watermark


class Meetings:
    """One process, while it has the state topic.

    Args:
        status: what the pages of the process say.
    """

    def __init__(
        self,
        settings: Settings,
        model: Model,
        partitions: int,
        identity: TopicIdentity,
        status: MeetingsStatus | None = None,
    ) -> None:
        self._settings = settings
        self.status = status or MeetingsStatus()
        # Its own transactional id and state topic; the rest as the workers.
        self._own = replace(settings, app_id=settings.fleet_states, state_topic=settings.fleet_states)
        self._identity = identity
        self.engine = FleetEngine(
            model.version,
            model.patterns,
            region=model.region,
            track_rules=model.track_rules,
            partitions=range(partitions),
        )
        self.at: dict[int, int] = dict.fromkeys(range(partitions), 0)  # the next offset of each partition
        self._due: dict[int, list[_Due]] = {p: [] for p in range(partitions)}
        self._zones_until = 0
        self._at_end_since: dict[int, float] = {}  # monotonic
        self._checkpointer = Checkpointer(self._own, 0)
        self._moved = False

    def open(self) -> None:
        """Fence the one before us and take its state."""
        self._checkpointer.fence()
        stored = restore(self._own, 0)
        if stored.partition_state is None:
            return
        known = self._identity
        if (problem := mismatch(self._own, stored.identity, known)) is not None:
            raise OperatorError(problem)
        try:
            rest = msgspec.msgpack.decode(stored.partition_state, type=_Stored)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise StateError(
                f"{self._settings.fleet_states}: the state cannot be read ({e}); another program wrote to the topic?"
            ) from None
        parts = rest.parts | {f"{BUCKET}{k:02d}": blob for k, blob in stored.vessels.items()}
        self.engine.restore(parts, {p: clock for p, (_, clock) in rest.points.items()})
        self.at |= {p: offset for p, (offset, _) in rest.points.items()}
        self._zones_until = rest.zones_until

    # ---------------------------------------------------------------- the logs

    def take_control(self, number: int, value: bytes | None) -> None:
        """Follow a record of the control topic by its offset there: watermarks and zones."""
        record = control.decode(value)
        if isinstance(record, control.Watermark):
            for p, due in self._due.items():
                due.append(_Due(number, record))
                self._follow_watermarks(p)
        elif isinstance(record, control.Zone) and number >= self._zones_until:
            self._zones_until = number + 1
            self._moved = True
            if record.zone is None:
                self.engine.withdraw_zone(record.name, record.since)
                log.info("zone %s ends %s", record.name, control.utc(record.since))
                return
            try:
                zone = read_feature(record.zone)
            except InputError as e:
                log.error("control record %d: zone %s is refused: %s", number, record.name, e)
                return
            since = self.engine.put_zone(zone, record.since)
            log.info("zone %s is watched from %s on", zone.name, control.utc(since))

    def take(self, partition: int, messages: list[Message]) -> None:
        """Records of one partition, in order. Watermarks act where they say, between two of them."""
        self._follow_watermarks(partition)
        self._at_end_since.pop(partition, None)
        while messages:
            place = min((d.mark.starts_at(partition) for d in self._due[partition]), default=math.inf)
            cut = next((i for i, m in enumerate(messages) if m.offset() >= place > self.at[partition]), len(messages))
            run, messages = messages[:cut], messages[cut:]
            if run:
                records = [codec.ConsumerRecord(m.offset(), m.key(), m.value()) for m in run]
                decoded = codec.decode(records, self._settings.record_max_bytes)
                self.engine.process(decoded.reports, partition, records[0].offset)
                self.at[partition] = records[-1].offset + 1
                self._moved = True
            elif messages:
                self.at[partition] = messages[0].offset()  # nothing lies between: markers of transactions
            self._follow_watermarks(partition)

    def passed_over(self, partition: int, first: int) -> None:
        """What lies before offset ``first`` was deleted before it was read."""
        lost = first - self.at[partition]
        log.error(
            "partition %d: %d records (offsets %d to %d) were deleted before they were read: raise RETENTION_HOURS and run "
            "`python -m stream_operator topics --mend`", partition, lost, self.at[partition], first - 1,
            extra={"partition": partition, "offset": self.at[partition]},
        )  # fmt: skip
        self.status.metrics.lost.inc(lost)
        self.at[partition] = first
        self._moved = True

    def reached_end(self, partition: int, offset: int) -> None:
        """All that the partition's log holds was read: markers of transactions lie before the end and are not given to us."""
        self.at[partition] = max(self.at[partition], offset)
        self._at_end_since.setdefault(partition, time.monotonic())
        self._follow_watermarks(partition)

    def pass_idle(self, now: float) -> None:
        """Let the others go on without the partitions that are idle at ``now`` (monotonic, s). What comes there later is late like any other."""
        newest = self.engine.newest
        for partition, since in self._at_end_since.items():
            if now - since >= IDLE_S and self.engine.complete_of(partition) < newest - LAG_S:
                self.engine.heard_elsewhere(newest, partition, self.at[partition])
                self._moved = True

    def _follow_watermarks(self, partition: int) -> None:
        waiting = []
        for due in self._due[partition]:
            mark = due.mark
            ahead = mark.t > self.engine.newest + WATERMARK_LEAD_S
            if self.at[partition] < mark.starts_at(partition) or ahead:
                waiting.append(due)
            elif mark.final:
                self.engine.advance_watermark(mark.t, partition, self.at[partition])
                self._moved = True
            else:
                self.engine.heard_elsewhere(mark.t, partition, self.at[partition])
                self._moved = True
        self._due[partition] = waiting[-1000:]

    # ---------------------------------------------------------------- checkpoints

    def checkpoint(self, give_up_at: float | None = None) -> int:
        """Decide what is complete and make it durable; returns the ticks that were decided. Raises ``Fenced``, ``InDoubt``."""
        self.pass_idle(time.monotonic())
        if not self._moved:
            return 0
        for p in self._due:
            self._follow_watermarks(p)  # those that waited for the reports to come so far
        events = self.engine.decide()
        self._moved = False
        self.status.metrics.counted(events)
        if not events.ticks and not events.alerts:
            return 0
        records = [ProducerRecord(self._settings.alert_topic, *codec.encode_alert(a)) for a in events.alerts]
        records += [self._buried(o) for o in events.outages]
        parts = self.engine.snapshot()
        vessels = {int(k[len(BUCKET) :]): v for k, v in parts.items() if k.startswith(BUCKET)}
        points: dict[int, RestartPoint] = self.engine.restart_points()
        rest = _Stored(
            {k: v for k, v in parts.items() if not k.startswith(BUCKET)},
            {p: (point.token, point.clock) for p, point in points.items()},
            self._zones_until,
        )
        payload = CheckpointPayload(0, records, dict(vessels), msgspec.msgpack.encode(rest), self._identity)
        began = time.perf_counter()
        self._checkpointer.commit(payload, give_up_at)
        self.status.metrics.checkpoint.observe(time.perf_counter() - began)
        self.status.decided = self.engine.decided
        for alert in events.alerts:
            log.info("%s %s: %s", alert.alert_type, alert.status, alert.message)
        for o in events.outages:
            log.warning("station outage near %.2f %.2f since %s: %d ships silent, %d heard", o.lat, o.lon, control.utc(o.t), o.silent, o.heard)  # fmt: skip
        return events.ticks

    def tell_status(self) -> None:
        """How far it has come, for the pages."""
        self.status.newest = self.engine.newest
        self.status.slowest = self.engine.slowest()
        self.status.metrics.state(self.engine)
        # A partition that was read to its end and from which nothing came since has no lag.
        self.status.lag_records = 0 if len(self._at_end_since) == len(self.at) else None

    def _buried(self, outage: Outage) -> ProducerRecord:
        return ProducerRecord(
            self._settings.dead_topic, None, codec.encode_station_event(outage), [("reason", b"station_outage")]
        )


class Source:
    """The topics as the broker has them: still those that the state belongs to? What was deleted before it was read?"""

    def __init__(self, settings: Settings, lookup: TopicLookup, known: TopicIdentity, states: str) -> None:
        self._settings = settings
        self._lookup = lookup
        self._known = known
        self._own = replace(settings, state_topic=states)  # for the way on that is told
        self._looked_at = time.monotonic()
        self._missing = 0

    def look(self, at_once: bool = False) -> None:
        """Every few seconds. Raises ``OperatorError`` when the source was deleted, made again or grew; without an answer the next look shows it."""
        if time.monotonic() - self._looked_at < LOOK_EVERY_S and not at_once:
            return
        self._looked_at = time.monotonic()
        try:
            found = self._lookup.identity(self._settings.topic)
        except KafkaException as e:
            if is_access_denied(e):
                raise explain(self._settings, e, "Describe", f"topic {self._settings.topic}") from None
            return
        self._missing = 0 if found is not None else self._missing + 1
        problem = mismatch(self._own, self._known, found)
        if problem is not None and (found is not None or self._missing >= MISSING_TIMES):
            raise OperatorError(problem)

    def first_after(self, consumer: Consumer, partition: TopicPartition) -> int:
        """Of a partition that has no record at its offset, the first offset that there is.

        Raises:
            OperatorError: it is another topic, or its log was cut.
        """
        give_up_at = time.monotonic() + SETTLE_S
        while True:
            self.look(at_once=True)
            low, high = consumer.get_watermark_offsets(partition, timeout=CALL_S)
            if partition.offset <= high or partition.topic != self._settings.topic:
                return int(low)
            if time.monotonic() > give_up_at:
                raise OperatorError(
                    f"the state stands at offset {partition.offset} of partition {partition.partition}, but {partition.topic} ends at {high}: "
                    f"the log was cut. Delete {self._own.states} and run `python -m stream_operator topics`: all is then decided again"
                )
            time.sleep(POLL_S)


def _wait_for_turn(settings: Settings, stopping: threading.Event, status: MeetingsStatus) -> Consumer | None:
    """The consumer that holds the one partition of the state topic: who has it is the one that works. None when asked to stop."""
    config = kafka.client(settings, group_id=settings.fleet_states, isolation_level="read_committed") | {
        "enable.auto.commit": False,
        "partition.assignment.strategy": "cooperative-sticky",  # one more member takes nothing from who has it
        "session.timeout.ms": int(settings.session_timeout_s * 1000),
        "heartbeat.interval.ms": int(settings.session_timeout_s * 1000 / 4),
        "max.poll.interval.ms": 300_000,
    }
    turn = Consumer(config, logger=kafka.log)
    mine = threading.Event()

    def assigned(consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if partitions:
            mine.set()

    def lost(consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if partitions and mine.is_set() and not stopping.is_set():
            exit_codes.end_now(exit_codes.TEMPFAIL, "another `meetings` has taken over")

    turn.subscribe([settings.fleet_states], on_assign=assigned, on_revoke=lost, on_lost=lost)
    told = False
    while not stopping.is_set():
        message = turn.poll(POLL_S)
        status.beat = time.monotonic()
        if message is not None and (error := message.error()) is not None and is_access_denied(error):
            raise explain(settings, error, "Read", f"topic or group {settings.fleet_states}")
        if mine.is_set():
            turn.pause(turn.assignment())  # its records are read by ``restore``
            return turn
        if not told:
            log.info("waiting: another `meetings` may be at work")
            told = True
    turn.close()
    return None


def run(settings: Settings, model: Model, stopping: threading.Event) -> int:
    """Until ``stopping`` is set; the exit code."""
    status = MeetingsStatus()
    pages = StatusPages(settings, status)
    pages.start()
    try:
        return _run(settings, model, stopping, status)
    finally:
        pages.stop()


def _run(settings: Settings, model: Model, stopping: threading.Event, status: MeetingsStatus) -> int:
    lookup = TopicLookup(settings)
    with explained(settings, "Describe", f"topic {settings.topic}"):
        identity = lookup.identity(settings.topic)
    if identity is None:
        raise OperatorError(f"topic {settings.topic} is missing; to repair it: {topics.COMMAND}")
    turn = _wait_for_turn(settings, stopping, status)
    if turn is None:
        return 0
    work = Meetings(settings, model, identity.partitions, identity, status)
    status.works = True
    status.metrics.active.set(1)
    # An offset that is not there is a question, and nothing to be passed over.
    config = kafka.reader(settings, client_id=settings.fleet_states, auto_offset_reset="error")
    consumer = Consumer(config, logger=kafka.log)
    source = Source(settings, lookup, identity, settings.fleet_states)
    try:
        work.open()
        log.info("watching all ships of %s, decided until %s", settings.topic, _until(work))
        _follow(settings, work, consumer, turn, stopping, source)
        work.checkpoint(time.monotonic() + settings.stop_timeout_s)
    except Fenced as e:
        raise TryAgain(f"another `meetings` has taken over ({e})") from None
    except KafkaException as e:
        raise explain(settings, e, "Read", f"topic {settings.topic}") from None
    finally:
        consumer.close()
        stopping.set()  # what is given back now is no take-over
        turn.close()
    return 0


def _follow(
    settings: Settings, work: Meetings, consumer: Consumer, turn: Consumer, stopping: threading.Event, source: Source
) -> None:
    # Without a state from the log's first record on, wherever that is.
    sources = [TopicPartition(settings.topic, p, offset or OFFSET_BEGINNING) for p, offset in work.at.items()]
    # All zones and watermarks that there are, before the first report.
    next_number = 0
    for number, value in control_writer.read(settings):
        work.take_control(number, value)
        next_number = number + 1
    consumer.assign([*sources, TopicPartition(settings.control_topic, control.PARTITION, next_number)])
    checkpoint_at = told_at = time.monotonic()
    while not stopping.is_set():
        turn.poll(0)
        work.status.beat = time.monotonic()
        by_partition: dict[int, list[Message]] = defaultdict(list)
        ends: list[tuple[int, int]] = []
        for message in consumer.consume(settings.run_size, POLL_S):
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                if message.topic() == settings.topic:
                    ends.append((message.partition(), message.offset()))
            elif error is not None and error.code() in _NOT_THERE:
                _seek_past_deleted(settings, work, consumer, source, message)
            elif error is not None and is_access_denied(error):
                raise explain_reader(settings, error, message.topic() or settings.topic)
            elif error is not None:
                kafka.log.warning("%s: %s", settings.topic, error.str())
            elif message.topic() == settings.control_topic:
                work.take_control(message.offset(), message.value())
            else:
                by_partition[message.partition()].append(message)
        for partition, messages in by_partition.items():
            work.take(partition, messages)
        for partition, offset in ends:
            work.reached_end(partition, offset)
        source.look()
        now = time.monotonic()
        if now - checkpoint_at >= settings.checkpoint_interval_s:
            work.checkpoint()
            work.tell_status()
            checkpoint_at = now
        if now - told_at >= TELL_EVERY_S:
            told_at = now
            slowest, complete = work.engine.slowest()
            log.info(
                "decided until %s; %d ships; partition %d has come to %s, the others wait for it",
                _until(work),
                len(work.engine.fleet),
                slowest,
                control.utc(complete) if math.isfinite(complete) else "no time yet",
            )


def _seek_past_deleted(
    settings: Settings, work: Meetings, consumer: Consumer, source: Source, message: Message
) -> None:
    topic, number = message.topic() or "", message.partition()
    asked = work.at[number] if topic == settings.topic else 0
    first = source.first_after(consumer, TopicPartition(topic, number, asked))
    if topic == settings.topic and first > asked:
        work.passed_over(number, first)
    kafka.read_from(consumer, TopicPartition(topic, number, max(asked, first)))


def _until(work: Meetings) -> str:
    return control.utc(work.engine.decided) if math.isfinite(work.engine.decided) else "no time yet"


def main(argv: list[str]) -> int:
    parser = CommandParser(
        "python -m stream_operator meetings",
        description=__doc__,
        epilog="example: MODEL=/models/mine python -m stream_operator meetings",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--settings", type=Path, help="TOML file of settings")
    settings = Settings.load(file=parser.parse_args(argv).settings)
    logs.set_up(settings.log_format, settings.log_level)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    model = registry.load(registry.source_of(settings.model, settings), settings)
    if model.patterns is None:
        log.warning("model %s has no encounters.npz: zones alone are watched (make it again with `multitaskais calibrate`)", model.version)  # fmt: skip
    topics.require(
        settings, but=(settings.verdict_topic, settings.sample_topic, settings.feedback_topic, settings.states)
    )
    return run(settings, model, stopping)

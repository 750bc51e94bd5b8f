"""A checkpoint is one Kafka transaction: what was found, what was learnt, and how far the log was read, all or nothing.

``CheckpointPayload`` is what a partition wants to make durable. ``Checkpointer`` owns the partition's transactional producer: ``fence``
shuts out whoever had the partition before, ``commit`` writes a cut. ``restore`` reads the last cut back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from multitaskais.errors import OperatorError, StateError, TryAgain

from ..kafka import client as kafka
from ..kafka.errors import explain, explain_reader, is_access_denied
from ..settings import Settings
from .fault_points import reach
from .topic_identity import TopicIdentity

log = logging.getLogger("stream_operator")

POSITION_KEY = b"position"
VESSEL_PREFIX = b"v:"
CONTROL_PREFIX = b"c:"
POSITION_VERSION = 2
MMSI_DIGITS, NUMBER_DIGITS = 9, 18  # of the keys of the state topic, at most
TELL_WAIT_S = 10.0  # a restore that waits says so as often
CALL_S = 5.0  # one transactional call; asked again while the broker is away
_FENCED = {
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
}


class Fenced(OperatorError):
    """Another worker has the partition, or the broker gave up this producer's transaction. Nothing was written."""


class InDoubt(TryAgain):
    """Whether the transaction was committed is not known; only a restart can tell."""


class ProducerRecord(NamedTuple):
    """One record to write."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] | None = None


class CheckpointPayload(NamedTuple):
    """Everything between two checkpoints, and the state after it."""

    offset: int  # of the first source record that is not in it
    records: list[ProducerRecord]  # alerts, dead letters, verdicts, samples
    vessels: dict[int, bytes | None]
    partition_state: bytes
    identity: TopicIdentity = TopicIdentity("", 0)  # of the source topic
    controls: ControlPosition | None = None
    # number of a control record -> ``Decision``, or None: forgotten
    decisions: Mapping[int, bytes | None] = MappingProxyType({})


class ControlPosition(msgspec.Struct, array_like=True, frozen=True):
    """How far the control topic was read for this partition."""

    topic_id: str = ""
    next_number: int = 0
    waiting: tuple[int, ...] = ()  # read, and not yet due


class Decision(msgspec.Struct, array_like=True, frozen=True):
    """What was done with a control record in this partition, and before which source offset. A replay does the same there."""

    offset: int
    refused: str  # why it was not followed; empty when it was
    value: bytes  # the record


class Position(msgspec.Struct, array_like=True):
    """The one record that says how far a partition was read, with the state that belongs to no vessel."""

    version: int
    offset: int
    partition_state: bytes
    identity: TopicIdentity = TopicIdentity("", 0)  # before version 2: not known
    controls: ControlPosition = ControlPosition()


class Restored(NamedTuple):
    offset: int | None  # None: never checkpointed
    partition_state: bytes | None
    vessels: dict[int, bytes]
    identity: TopicIdentity = TopicIdentity("", 0)
    controls: ControlPosition = ControlPosition()
    decisions: Mapping[int, Decision] = MappingProxyType({})  # by the number of the control record


class Stopped(Exception):
    """The worker was asked to stop while it waited."""


class Checkpointer:
    """The transactional producer of one partition. Its id is the app and the partition, nothing else: so a successor fences it."""

    def __init__(self, settings: Settings, number: int) -> None:
        self._settings = settings
        self._states = settings.states
        self._number = number
        self.busy_since: float | None = None  # for the watchdog
        self._refused = ""  # the resource that the broker refused us in this attempt
        config = kafka.client(
            settings,
            transactional_id=f"{settings.app_id}-{number}",
            partitioner=kafka.PARTITIONER,
            compression_type="lz4",
            linger_ms=5,
        ) | {
            "transaction.timeout.ms": int(settings.transaction_timeout_s * 1000),
            "message.timeout.ms": min(kafka.ABORT_ON_LOSS_MS, int(settings.transaction_timeout_s * 1000)),
            "message.max.bytes": settings.state_max_bytes + 4096,
            "delivery.report.only.error": True,
        }
        self._producer = Producer(config, logger=kafka.log)

    def fence(self, stopping: threading.Event | None = None) -> None:
        """Shut out the partition's former owner and end its open transaction.

        Raises:
            Stopped: ``stopping`` was set before the broker answered.
        """
        try:
            self._until_done(self._producer.init_transactions, None, stopping)
        except KafkaException as e:
            raise explain(self._settings, e, "Write", f"transactional id {self._settings.app_id}-*") from None
        reach("fenced")

    def commit(self, cut: CheckpointPayload, give_up_at: float | None = None) -> None:
        """Write a cut. Returns when it is durable; aborted attempts are repeated.

        Raises:
            Fenced: it was not written and never will be by us.
            InDoubt: not known.
        """
        try:
            while not self._attempt(cut, give_up_at):
                pass
        finally:
            self.busy_since = None

    def _attempt(self, cut: CheckpointPayload, give_up_at: float | None) -> bool:
        self._refused = ""
        try:
            self.busy_since = time.monotonic()
            reach("cut")
            self._producer.begin_transaction()
            reach("begun")
            for record in cut.records:
                self._produce(record.topic, record.value, record.key, headers=record.headers)
            reach("results")
            for mmsi, state in cut.vessels.items():
                self._produce(self._states, state, VESSEL_PREFIX + str(mmsi).encode(), self._number)
            for number, decision in cut.decisions.items():
                key = CONTROL_PREFIX + str(number).encode()
                self._produce(self._states, decision, key, self._number)
            position = msgspec.msgpack.encode(
                Position(
                    POSITION_VERSION, cut.offset, cut.partition_state, cut.identity, cut.controls or ControlPosition()
                )
            )
            self._produce(self._states, position, POSITION_KEY, self._number)
            reach("produced")
            self._until_done(self._producer.commit_transaction, give_up_at)
            reach("committed")
            return True
        except KafkaException as e:
            error = e.args[0]
            if is_access_denied(error):
                raise explain(self._settings, error, "Write", self._refused or self._what_it_writes(cut)) from None
            if error.fatal() or error.code() in _FENCED:
                raise Fenced(error.str()) from None
            if error.txn_requires_abort():
                log.warning(
                    "checkpoint of partition %d was aborted and is repeated: %s",
                    self._number,
                    error.str(),
                    extra={"partition": self._number, "offset": cut.offset},
                )
                self._abort(give_up_at)
                return False
            if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise OperatorError(
                    f"a record of partition {self._number} is longer than STATE_MAX_BYTES; raise it and run `python -m stream_operator topics --mend`"
                ) from None
            raise InDoubt(f"the checkpoint of partition {self._number} ended with: {error.str()}") from None

    def _abort(self, give_up_at: float | None) -> None:
        try:
            self._until_done(self._producer.abort_transaction, give_up_at)
        except KafkaException as e:
            raise Fenced(e.args[0].str()) from None

    def _produce(self, topic: str, value: bytes | None, key: bytes | None, partition: int = -1, **more: Any) -> None:
        kafka.produce(self._producer, topic, value, key, partition, on_delivery=self._not_delivered, **more)

    def _not_delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and is_access_denied(error):
            self._refused = f"topic {message.topic()}"

    def _what_it_writes(self, cut: CheckpointPayload) -> str:
        topics = dict.fromkeys([*(record.topic for record in cut.records), self._states])
        return f"one of the topics {', '.join(topics)}, or transactional id {self._settings.app_id}-*"

    def _until_done(
        self, call: Callable[[float], object], give_up_at: float | None, stopping: threading.Event | None = None
    ) -> None:
        """Ask again while the answer is "not yet"; the watchdog ends the process when that lasts too long."""
        self.busy_since = self.busy_since or time.monotonic()
        while True:
            try:
                call(CALL_S if give_up_at is None else max(0.1, min(CALL_S, give_up_at - time.monotonic())))
                return
            except KafkaException as e:
                if not e.args[0].retriable() or e.args[0].fatal():
                    raise
                if stopping is not None and stopping.is_set():
                    raise Stopped from None
                if give_up_at is not None and time.monotonic() > give_up_at:
                    raise InDoubt(
                        f"partition {self._number}: no answer from the broker before the time to leave"
                    ) from None


def restore(settings: Settings, number: int, stopping: threading.Event | None = None) -> Restored:
    """The last cut of a partition: its state records, committed ones only, to the end. Fence first.

    Raises:
        Stopped: ``stopping`` was set before the end was reached.
    """
    latest = _latest(settings, number, stopping)
    reach("restored")
    what = f"{settings.states}, partition {number}"
    if (raw := latest.pop(POSITION_KEY, None)) is None:
        return Restored(None, None, {})
    position = _position(raw, what)
    vessels: dict[int, bytes] = {}
    decisions: dict[int, Decision] = {}
    for key, value in latest.items():
        if value is None:
            continue
        prefix, of = key[:2], key[2:]
        if prefix not in (VESSEL_PREFIX, CONTROL_PREFIX):
            continue  # of a newer operator, or of nobody
        if not of.isdigit() or len(of) > (MMSI_DIGITS if prefix == VESSEL_PREFIX else NUMBER_DIGITS):
            raise StateError(
                f"{what}: the key {key[:40]!r} is none of this operator's; another program wrote to the topic?"
            )
        if prefix == VESSEL_PREFIX:
            vessels[int(of)] = value
        else:
            try:
                decisions[int(of)] = msgspec.msgpack.decode(value, type=Decision)
            except (msgspec.DecodeError, UnicodeDecodeError) as e:
                raise StateError(f"{what}: the decision on control record {int(of)} cannot be read ({e})") from None
    return Restored(position.offset, position.partition_state, vessels, position.identity, position.controls, decisions)


def _position(raw: bytes, what: str) -> Position:
    try:
        position = msgspec.msgpack.decode(raw, type=Position)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise StateError(
            f"{what}: the position record cannot be read ({e}); another program wrote to the topic?"
        ) from None
    if position.version > POSITION_VERSION:
        raise StateError(f"{what}: written by a newer operator (version {position.version}); start that one")
    if position.offset < 0:
        raise StateError(
            f"{what}: the position record holds offset {position.offset}; another program wrote to the topic?"
        )
    return position


def _latest(settings: Settings, number: int, stopping: threading.Event | None) -> dict[bytes, bytes | None]:
    """Of each key of a partition of the state topic the last committed value."""
    # An empty fetch says that the end is reached; the default lets it wait 500 ms for more.
    consumer = Consumer(kafka.reader(settings, fetch_wait_max_ms=10), logger=kafka.log)
    latest: dict[bytes, bytes | None] = {}
    begun = time.monotonic()
    limit_s = 3 * settings.outage_max_s
    told_at = begun
    why = "no answer yet"
    try:
        consumer.assign([TopicPartition(settings.states, number, OFFSET_BEGINNING)])
        while True:
            for message in consumer.consume(2000, 0.1):
                if (error := message.error()) is None:
                    latest[message.key() or b""] = message.value()
                elif error.code() == KafkaError._PARTITION_EOF:
                    return latest
                elif is_access_denied(error):
                    raise explain_reader(settings, error, settings.states)
                else:
                    why = error.str()
                    kafka.log.warning("reading %s: %s", settings.states, why)
            now = time.monotonic()
            if stopping is not None and stopping.is_set():
                raise Stopped
            if now - told_at > TELL_WAIT_S:
                told_at = now
                log.warning(
                    "partition %d: waiting for its state in %s since %.0f s (%s)",
                    number,
                    settings.states,
                    now - begun,
                    why,
                    extra={"partition": number},
                )
            if now - begun > limit_s:
                raise InDoubt(
                    f"the state of partition {number} could not be read from {settings.states} within {limit_s:.0f} s ({why})"
                )
    finally:
        consumer.close()

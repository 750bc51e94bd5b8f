"""Writes control records and reads the topic as it is."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from multitaskais.errors import OperatorError, TryAgain

from ..settings import Settings
from . import client as kafka
from . import control
from .errors import Refusal, explain, explain_reader, is_access_denied

ANSWER_S = 30.0
POLL_S = 0.2


class ControlWriter:
    """Sends control records one at a time; each is acknowledged before ``send`` returns."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._refusal = Refusal()
        config = kafka.client(settings, enable_idempotence=True, linger_ms=0)
        config |= {"message.timeout.ms": int(ANSWER_S * 1000), "error_cb": self._refusal}
        self._producer = Producer(config, logger=kafka.log)

    def send(self, record: control.AnyControl) -> int:
        """Its number. ``by`` and ``sent`` are filled in where they are empty.

        Raises:
            OperatorError: it was not written, and why.
        """
        if (problem := record.problem()) is not None:
            raise OperatorError(f"not a control record that a worker would follow: {problem}")
        record = msgspec.structs.replace(
            record, by=record.by or control.sender(), sent=record.sent or round(time.time(), 3)
        )
        key, value = control.encode(record)
        topic = self._settings.control_topic
        if len(value) > control.RECORD_MAX_BYTES:
            raise OperatorError(
                f"the {record.kind} has {len(value)} bytes, {control.RECORD_MAX_BYTES} are allowed: make it smaller"
            )
        answer: list[KafkaError | Message] = []
        what = f"topic {topic}"
        try:
            _require(self._producer, topic)
            self._producer.produce(
                topic, value, key, control.PARTITION, on_delivery=lambda error, message: answer.append(error or message)
            )
            give_up_at = time.monotonic() + ANSWER_S + 5.0
            while self._producer.flush(POLL_S) and self._refusal.error is None and time.monotonic() < give_up_at:
                pass
        except KafkaException as e:
            raise explain(self._settings, self._refusal.reason(self._producer, e), "Write", what) from None
        if self._refusal.error is not None:
            raise explain(self._settings, self._refusal.error, "Write", what)
        if not answer:
            raise TryAgain(
                f"no answer from {self._settings.bootstrap_servers}: whether the record was written is not known"
            )
        if isinstance(answer[0], KafkaError):
            if answer[0].code() in (
                KafkaError._UNKNOWN_PARTITION,
                KafkaError._UNKNOWN_TOPIC,
                KafkaError.UNKNOWN_TOPIC_OR_PART,
            ):
                raise OperatorError(f"{what} is missing; to repair it: python -m stream_operator topics")
            raise explain(self._settings, answer[0], "Write", what)
        return int(answer[0].offset() or 0)


def _require(client: Consumer | Producer, topic: str) -> None:
    error = client.list_topics(topic, timeout=ANSWER_S).topics[topic].error
    if error is not None and is_access_denied(error):
        raise KafkaException(error)
    if error is not None:
        raise OperatorError(f"topic {topic} is missing; to repair it: python -m stream_operator topics")


def read(settings: Settings) -> Iterator[tuple[int, bytes | None]]:
    """(number, value) of all records of the control topic, to its end."""
    what = f"topic {settings.control_topic} or group {settings.app_id}.reader"
    consumer = Consumer(kafka.reader(settings), logger=kafka.log)
    give_up_at = time.monotonic() + ANSWER_S
    try:
        _require(consumer, settings.control_topic)
        consumer.assign([TopicPartition(settings.control_topic, control.PARTITION, OFFSET_BEGINNING)])
        while True:
            for message in consumer.consume(1000, 0.2):
                if (error := message.error()) is None:
                    yield message.offset(), message.value()
                elif error.code() == KafkaError._PARTITION_EOF:
                    return
                elif is_access_denied(error):
                    raise explain_reader(settings, error, settings.control_topic)
                else:
                    kafka.log.warning("%s: %s", settings.control_topic, error.str())
            if time.monotonic() > give_up_at:
                raise TryAgain(f"{what} could not be read within {ANSWER_S:.0f} s: no answer from the brokers")
    except KafkaException as e:
        raise explain(settings, e, "Read", what) from None
    finally:
        consumer.close()

"""The officer's answer on its way to the topic: said to be kept only when the broker has it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer

from ..kafka import client as kafka
from ..settings import Settings
from .untrusted import Answer

KEPT_WITHIN_S = 10.0  # then the officer is told that it was not kept; it is not sent later behind the officer's back


class Answers:
    """Writes to the feedback topic. ``poll`` must be called now and then (``keep`` does)."""

    def __init__(self, settings: Settings, kept_within_s: float = KEPT_WITHIN_S) -> None:
        self._within_s = kept_within_s
        self._topic = settings.feedback_topic
        config = kafka.client(
            settings,
            acks="all",
            enable_idempotence=True,
            partitioner=kafka.PARTITIONER,
            linger_ms=0,
            delivery_timeout_ms=int(1000 * kept_within_s),
            request_timeout_ms=int(500 * kept_within_s),
        )
        self._producer = Producer(kafka.quiet(config))

    async def keep(self, answer: Answer) -> str | None:
        """None once the broker has it, else why not."""
        done: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

        def delivered(error: KafkaError | None, _message: object) -> None:
            if not done.done():
                done.set_result(None if error is None else error.str())

        try:
            self._producer.produce(
                self._topic, key=answer.alert_id, value=msgspec.json.encode(answer), on_delivery=delivered
            )
        except (BufferError, KafkaException) as e:
            return str(e)
        for _ in range(int(self._within_s * 1.5 / 0.02)):
            try:
                self._producer.poll(0)  # calls delivered() here, in this thread
            except KafkaException as e:  # the producer has given up: this is why
                return str(e)
            if done.done():
                return done.result()
            await asyncio.sleep(0.02)
        return "no answer from the broker"

    def close(self) -> None:
        with suppress(KafkaException):
            self._producer.flush(2)

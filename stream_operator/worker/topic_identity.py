"""Which topic a state belongs to: the broker's id of the topic and its number of partitions, never an offset alone.

An offset means something in one log only. A topic that was deleted and made again under the same name is another log: the
stored offset points past its end, or into records that the state has never seen. So the position record keeps the topic's
identity (KIP-516 gives every topic an id for life), and the worker compares it at its start, whenever it opens a partition,
when the consumer is given an offset that it did not ask for, and every ``LOOK_EVERY_S`` while it runs.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from ..kafka import client as kafka
from ..settings import Settings

log = logging.getLogger("stream_operator")

LOOK_EVERY_S = 5.0  # one metadata request of a worker; partitions that were added are noticed within it
CALL_S = 5.0
MISSING_TIMES = 2  # looks in a row: a broker that has just come back may not know its topics for a moment
_GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_ID)
_REFUSED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)


class TopicIdentity(NamedTuple):
    """``topic_id`` is empty where it is not known: a state from before version 2 of the position record."""

    topic_id: str
    partitions: int


class LogEnds(NamedTuple):
    """Offsets of one partition's log as the broker has them."""

    low: int  # of the first record that is still there
    stable: int  # behind the last record that a reader of committed records is given
    high: int  # behind the last record


def mismatch(settings: Settings, stored: TopicIdentity, found: TopicIdentity | None) -> str | None:
    """Why a state of ``stored`` cannot go on with ``found``, with the way on; None when it can."""
    topic, states = settings.topic, settings.states
    again = f"use another APP_ID, or delete {states} (all state is then built again from {topic}) and run `python -m stream_operator topics`"
    if found is None:
        return f"topic {topic} was deleted: nothing can be judged. Run `python -m stream_operator topics`; the state of the old topic does not fit a new one: {again}"
    if stored.topic_id and found.topic_id != stored.topic_id:
        return f"topic {topic} was made again (its id is {found.topic_id}, the state belongs to {stored.topic_id}): {again}"
    if stored.partitions and found.partitions != stored.partitions:
        return f"{topic} has {found.partitions} partitions, but the state {states} belongs to {stored.partitions}: vessels would move between them; {again}"
    return None


class TopicLookup:
    """Asks the broker, with a client of its own: it may be called from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._client = AdminClient(kafka.client(settings), logger=kafka.log)

    def identity(self, topic: str, timeout_s: float = CALL_S) -> TopicIdentity | None:
        """None when there is no such topic.

        Raises:
            OperatorError: the right to describe the topic is missing.
            KafkaException: no answer.
        """
        try:
            future = self._client.describe_topics(TopicCollection([topic]), request_timeout=timeout_s)[topic]
            found = future.result(timeout_s + 1.0)
        except KafkaException as e:
            if e.args[0].code() in _GONE:
                return None
            raise
        except TimeoutError:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None
        return TopicIdentity(str(found.topic_id), len(found.partitions))

    def ends(self, topic: str, partitions: list[int], timeout_s: float = CALL_S) -> dict[int, LogEnds]:
        """The ends of the logs of ``partitions``; those that have no leader now are left out. Raises ``KafkaException``."""
        parts = [TopicPartition(topic, p) for p in partitions]
        if not parts:
            return {}

        def ask(spec: OffsetSpec, isolation: IsolationLevel) -> dict[int, int]:
            futures = self._client.list_offsets(
                dict.fromkeys(parts, spec), isolation_level=isolation, request_timeout=timeout_s
            )
            found: dict[int, int] = {}
            for part, future in futures.items():
                try:
                    found[part.partition] = future.result(timeout_s + 1.0).offset
                except (KafkaException, TimeoutError) as e:
                    kafka.log.debug(
                        "the ends of %s partition %d: %r", topic, part.partition, e, extra={"partition": part.partition}
                    )
            return found

        # The stable offset last: with no transaction open it has reached the high watermark that was seen before it.
        low = ask(OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED)
        high = ask(OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED)
        stable = ask(OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)
        return {
            p: LogEnds(low[p], stable[p], max(high[p], stable[p]))
            for p in partitions
            if p in low and p in high and p in stable
        }

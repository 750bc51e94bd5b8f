"""What every Kafka client of the operator is set up with, in one place."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from ..settings import Settings

log = logging.getLogger("stream_operator.kafka")
QUIET_S = 60.0  # in an outage, the same complaint is logged once in so long
PARTITIONER = "murmur2_random"  # as Java and aiokafka; librdkafka's own default would split a vessel over partitions
ABORT_ON_LOSS_MS = 120_000  # delivery time-out: longer than the outage to survive


class _Calm(logging.Filter):
    """The same message (numbers aside) at most once in ``QUIET_S``; the next one counts those that were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        kind = re.sub(r"[0-9a-f]{8,}|\d+", "#", text)[:60]
        since, left_out = self._seen.get(kind, (-1e9, 0))
        if (now := time.monotonic()) - since < QUIET_S:
            self._seen[kind] = (since, left_out + 1)
            return False
        self._seen[kind] = (now, 0)
        if left_out:
            record.msg, record.args = f"{text} ({left_out} more like it)", ()
        return True


log.addFilter(_Calm())


def client(settings: Settings, **more: Any) -> dict[str, Any]:
    """Configuration that all clients share, and ``more`` (dots of the names as underscores)."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": settings.app_id,
        "security.protocol": settings.security_protocol,
        "reconnect.backoff.max.ms": 2000,  # a broker that comes back is found within seconds
        "topic.metadata.refresh.interval.ms": 30_000,
    }
    if settings.security_protocol.startswith("SASL"):
        config |= {
            "sasl.mechanism": settings.sasl_mechanism,
            "sasl.username": settings.sasl_username,
            "sasl.password": settings.sasl_password,
        }
    for name in ("ssl_ca_location", "ssl_certificate_location", "ssl_key_location", "ssl_key_password"):
        if value := getattr(settings, name):
            config[name.replace("_", ".")] = value
    return config | {name if name == "error_cb" else name.replace("_", "."): value for name, value in more.items()}


def membership(settings: Settings) -> dict[str, Any]:
    """What a member of the workers' group says of itself; partitions are moved one by one under both protocols.

    Under ``consumer`` the broker deals the partitions out and has the timeouts; a client that gives its own is refused.
    """
    if settings.group_protocol == "consumer":
        return {"group.protocol": "consumer"}
    return {
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": int(settings.session_timeout_s * 1000),
        "heartbeat.interval.ms": int(settings.session_timeout_s * 1000 / 4),
    }


def produce(
    producer: Producer,
    topic: str,
    value: bytes | None,
    key: bytes | None,
    partition: int = -1,
    *,
    while_full: Callable[[], None] = lambda: None,
    **more: Any,
) -> None:
    """``Producer.produce`` that waits while the queue is full, as it is in an outage; ``while_full`` may raise to end that."""
    while True:
        try:
            producer.produce(topic, value, key, partition, **more)
            return
        except BufferError:
            producer.poll(0.1)
            while_full()


def read_from(consumer: Consumer, partition: TopicPartition) -> None:
    """Go on at ``partition.offset``. ``seek`` refuses a partition whose offset was not there: it is no longer fetched."""
    consumer.incremental_unassign([partition])
    consumer.incremental_assign([partition])


def quiet(config: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of a client whose complaints go to the calm log."""
    return {"logger": log, **config}


def reader(settings: Settings, **more: Any) -> dict[str, Any]:
    """Configuration of a consumer of committed records without a group of its own."""
    config = client(settings, group_id=f"{settings.app_id}.reader", isolation_level="read_committed")
    config |= {
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "fetch.queue.backoff.ms": 5,  # the default of 1000 costs a factor of five
        "fetch.message.max.bytes": max(1_048_576, settings.state_max_bytes),
    }
    return config | {name.replace("_", "."): value for name, value in more.items()}

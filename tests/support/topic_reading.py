"""Reads topics to their end, committed records only."""

from __future__ import annotations

import json

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from stream_operator.kafka import client as kafka
from stream_operator.settings import Settings


def messages(settings: Settings, topic: str) -> list:
    """All committed messages of a topic, partition by partition."""
    consumer = Consumer(kafka.reader(settings))
    try:
        partitions = consumer.list_topics(topic, timeout=15).topics[topic].partitions
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        out, ended = [], set()
        while len(ended) < len(partitions):
            for m in consumer.consume(2000, 0.1):
                if m.error() is None:
                    out.append(m)
                elif m.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(m.partition())
        return out
    finally:
        consumer.close()


def drain(settings: Settings, topic: str) -> list[dict]:
    """The JSON values of all committed messages."""
    return [json.loads(m.value()) for m in messages(settings, topic) if m.value() is not None]

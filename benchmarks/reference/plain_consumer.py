"""The same engine on a plain confluent consumer: no Faust, no transactions, no state topic; the fold in the consumer's thread.

    python -m benchmarks.reference.plain_consumer EXPECTED ENGINE     # settings from the environment, as the worker's

Writes what it found, flushes, commits the group's offsets once a second; so a crash loses or doubles. Prints one JSON line:
seconds from the first record to the last, and how many there were.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict

from confluent_kafka import Consumer, Producer

from multitaskais.engine.engine import PartitionEngine
from stream_operator.kafka import client as kafka
from stream_operator.kafka import codec as wire
from stream_operator.settings import Settings
from tests.support.worker import opener

COMMIT_S = 1.0


def main(expected: int, engine: str) -> None:
    settings = Settings.load()
    open_engine = opener(engine, settings)
    producer = Producer(kafka.client(settings, linger_ms=5))
    consumer = Consumer(
        kafka.client(settings, group_id=f"{settings.app_id}.plain")
        | {"enable.auto.commit": False, "auto.offset.reset": "earliest", "fetch.queue.backoff.ms": 5}
    )
    consumer.subscribe([settings.topic])
    engines: defaultdict[int, PartitionEngine] = defaultdict(lambda: open_engine([], None))
    began, done, committed = 0.0, 0, time.monotonic()
    while done < expected:
        by_partition: dict[int, list[wire.ConsumerRecord]] = defaultdict(list)
        for m in consumer.consume(settings.run_size, 0.1):
            if m.error() is None:
                by_partition[m.partition()].append(wire.ConsumerRecord(m.offset(), m.key(), m.value()))
        began = began or (time.monotonic() if by_partition else 0.0)
        for number, records in by_partition.items():
            done += len(records)
            events = engines[number].process(wire.decode(records).reports)
            for topic, found in (
                (settings.alert_topic, [wire.encode_alert(a) for a in events.alerts]),
                (settings.verdict_topic, [wire.encode_verdict(v) for v in events.verdicts]),
            ):
                for key, value in found:
                    producer.produce(topic, value, key)
                    producer.poll(0)
        if time.monotonic() - committed > COMMIT_S:
            producer.flush()
            consumer.commit(asynchronous=True)
            committed = time.monotonic()
    producer.flush()
    print(json.dumps({"seconds": time.monotonic() - began, "records": done}), flush=True)
    consumer.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

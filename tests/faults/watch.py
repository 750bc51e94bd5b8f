"""How far the operator's durable position has come, by the broker's own clock.

The state topics of the bed carry the time at which the broker appended a record, so "when was the first checkpoint after the fault" is
known however long this reader itself was cut off.
"""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from stream_operator.kafka import client as kafka
from stream_operator.settings import Settings
from stream_operator.worker.checkpoint import POSITION_KEY, Position


class Mark(NamedTuple):
    at: float  # Unix s, when the broker appended it
    offset: int  # the durable position


class Watch:
    """Follows the position records of all partitions, committed ones only."""

    def __init__(self, settings: Settings) -> None:
        self.marks: list[list[Mark]] = [[] for _ in range(settings.partitions)]
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        consumer = Consumer(kafka.reader(self._settings) | {"enable.partition.eof": False}, logger=kafka.log)
        consumer.assign([TopicPartition(self._settings.states, n, OFFSET_BEGINNING) for n in range(len(self.marks))])
        while not self._stop.is_set():
            for m in consumer.consume(500, 0.1):
                if m.error() is None and m.key() == POSITION_KEY:
                    position = msgspec.msgpack.decode(m.value(), type=Position)
                    self.marks[m.partition()].append(Mark(m.timestamp()[1] / 1000, position.offset))
        consumer.close()

    def offsets(self) -> list[int]:
        return [marks[-1].offset if marks else 0 for marks in self.marks]

    def went_on(self, since: float, within: float) -> list[float]:
        """Seconds after ``since`` (Unix) at which each partition had its first checkpoint; waits for all of them."""
        give_up_at = time.monotonic() + within
        while True:
            first = [next((m.at for m in reversed_until(marks, since)), None) for marks in self.marks]
            if all(at is not None for at in first):
                return [at - since for at in first if at is not None]
            if time.monotonic() > give_up_at:
                stuck = [n for n, at in enumerate(first) if at is None]
                raise AssertionError(f"partitions {stuck} made no checkpoint within {within:.0f} s")
            time.sleep(0.1)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)


def reversed_until(marks: list[Mark], since: float) -> list[Mark]:
    """The marks after ``since``, oldest first."""
    new = []
    for m in reversed(marks):
        if m.at <= since:
            break
        new.append(m)
    return new[::-1]

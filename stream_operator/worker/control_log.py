"""The control topic as a worker sees it: read whole at the start, followed in a thread of its own, held in memory.

Every partition decides by itself where in its own log a control record acts, and keeps that decision in its state
(``worker.control_follower``), so a restart, a take-over and a replay act at the same place whenever this topic was read.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from multitaskais.errors import OperatorError

from ..kafka import client as kafka
from ..kafka import control
from ..kafka.control import Numbered, Withdrawal
from ..kafka.errors import explain, explain_reader, is_access_denied
from ..settings import Settings
from .checkpoint import Restored

log = logging.getLogger("stream_operator")

RECORDS_MAX = 20_000  # held; the oldest go first. A minute's watermarks are some 10,000 in a week
POLL_S = 0.2
ENDS_S = 5.0


def planned(restored: Restored, records: Iterable[Numbered], partition: int) -> list[tuple[int, Numbered]]:
    """Where control records act when the log of a partition is judged again: (source offset before which, record), in order of both.

    Those that the operator of this state decided on act where they did then, and those it refused do not act. The others of the
    topic (``records``), which no state knows yet, act where they say.
    """
    acts = []
    for number, decision in restored.decisions.items():
        decoded = control.decode(decision.value)
        if not decision.refused and not isinstance(decoded, str):
            acts.append((decision.offset, Numbered(number, decoded, decision.value)))
    records = list(records)
    withdrawn = {r.control.number for r in records if isinstance(r.control, Withdrawal)}
    undecided = set(restored.controls.waiting)
    for r in records:
        new = r.number >= restored.controls.next_number or r.number in undecided
        if new and r.number not in restored.decisions and r.number not in withdrawn:
            acts.append((r.control.starts_at(partition), r))
    return sorted(acts, key=lambda act: (act[0], act[1].number))


class ControlLog:
    """Args: ``refused`` is told of a record that is none: (number, why)."""

    def __init__(self, settings: Settings, refused: Callable[[int, str], None] = lambda number, why: None) -> None:
        self._settings = settings
        self._refused = refused
        self._records: dict[int, Numbered] = {}  # by number, ascending
        self._withdrawn: dict[int, int] = {}  # number -> the number of its withdrawal
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._caught_up = threading.Event()
        self._told: set[tuple[int, str]] = set()
        self._thread = threading.Thread(target=self._follow, name="control", daemon=True)
        self.failed: OperatorError | None = None
        self.end = 0  # number of the next record

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def wait_until_read(self, timeout_s: float) -> bool:
        """Whether all that was in the topic when ``start`` was called has been read; waits for it.

        Raises:
            OperatorError: it cannot be read.
        """
        done = self._caught_up.wait(timeout_s)
        if self.failed is not None:
            raise self.failed
        return done

    def since(self, number: int) -> list[Numbered]:
        """The records from ``number`` on, in order."""
        if number >= self.end:
            return []
        with self._lock:
            return [record for n, record in self._records.items() if n >= number]

    def get(self, number: int) -> Numbered | None:
        """None when it is not held: compacted away, replaced by a later one."""
        return self._records.get(number)

    def withdrawn_by(self, number: int) -> int | None:
        """The number of the record that withdrew it."""
        return self._withdrawn.get(number)

    def tell(self, number: int, outcome: str) -> bool:
        """True when this outcome of this record is told for the first time: partitions and restarts would repeat it."""
        with self._lock:
            first = (number, outcome) not in self._told
            self._told.add((number, outcome))
            return first

    def take(self, number: int, value: bytes | None) -> None:
        """One record of the topic."""
        self.end = max(self.end, number + 1)
        if (
            value is None
        ):  # a tombstone: whoever wrote it takes the key's last record away, for those who have not read it
            return
        decoded = control.decode(value)
        if isinstance(decoded, str):
            self._refused(number, decoded)
            return
        with self._lock:
            self._records[number] = Numbered(number, decoded, value)
            if isinstance(decoded, Withdrawal):
                self._withdrawn[decoded.number] = number
            while len(self._records) > RECORDS_MAX:
                del self._records[next(iter(self._records))]

    # ---------------------------------------------------------------- the thread

    def _follow(self) -> None:
        topic = self._settings.control_topic
        config = kafka.reader(self._settings, client_id=f"{self._settings.app_id}.control")
        consumer = Consumer(config, logger=kafka.log)
        try:
            consumer.assign([TopicPartition(topic, control.PARTITION, OFFSET_BEGINNING)])
            while not self._stop.is_set():
                for message in consumer.consume(1000, POLL_S):
                    if (error := message.error()) is None:
                        self.take(message.offset(), message.value())
                    elif error.code() == KafkaError._PARTITION_EOF:
                        self._caught_up.set()
                    elif is_access_denied(error):
                        raise explain_reader(self._settings, error, topic)
                    else:
                        kafka.log.warning("%s: %s", topic, error.str())
                        time.sleep(POLL_S)
        except (OperatorError, KafkaException) as e:
            self.failed = e if isinstance(e, OperatorError) else explain(self._settings, e, "Read", f"topic {topic}")
            self._caught_up.set()
        finally:
            consumer.close()

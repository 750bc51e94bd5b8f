"""The thread that reads the topics into the picture.

It assigns itself all partitions and joins no group, so no worker is ever rebalanced by a map; it sees committed records only. A
broker that goes away is waited for: librdkafka reconnects by itself, and this thread says meanwhile that the broker is away.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from multitaskais.errors import OperatorError

from ..kafka import client as kafka
from ..kafka.codec import ConsumerRecord
from ..kafka.errors import explain, explain_reader, is_access_denied
from ..settings import Settings
from ..worker.topic_identity import TopicLookup
from .state import MapState

log = logging.getLogger("stream_operator.map")

RUN = 20_000  # records at once; many of one ship in one run cost little more than one
LOOK_EVERY_S = 10.0  # for new partitions and missing topics; also whether the broker answers when nothing comes
CALL_S = 5.0
ALERT_DAYS = 7.0  # of alerts and answers at the start
STATION_EVENTS = frozenset({"station_outage", "station_clock"})  # reasons of dead letters that the banner shows
_AWAY = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT)


class TopicFollower(threading.Thread):
    """Reads until ``stop``. Positions of the last ``limits.hours`` (by the broker's clock), alerts of a week, all verdicts.

    Args:
        clock: Unix s, of this machine. Where it is ahead of the broker's, the newest record says what the time is.
    """

    def __init__(self, settings: Settings, picture: MapState, clock: Callable[[], float] = time.time) -> None:
        super().__init__(name="map-source", daemon=True)
        self._settings = settings
        self._picture = picture
        self._clock = clock
        self._end = threading.Event()
        self._lookup = TopicLookup(settings)
        self._assigned: set[tuple[str, int]] = set()
        self._behind: set[tuple[str, int]] = set()
        self._hours = {
            settings.topic: picture.limits.hours,
            settings.alert_topic: 24 * ALERT_DAYS,
            settings.feedback_topic: 24 * ALERT_DAYS,
            settings.control_topic: None,  # compacted, and small: the zones that are watched, however old
            settings.dead_topic: picture.limits.hours,
            settings.verdict_topic: None,  # compacted: its beginning is the present
        }
        if settings.keeps_samples:
            self._hours[settings.sample_topic] = picture.limits.hours
        self.failed: BaseException | None = None

    def stop(self) -> None:
        self._end.set()
        self.join(10)

    def run(self) -> None:
        try:
            self._run()
        except OperatorError as e:
            self.failed = e
        except BaseException as e:
            self.failed = e
            log.exception("the map can no longer read the topics")

    def _run(self) -> None:
        # No more than 16 MB wait in memory, however far behind the map is.
        config = kafka.reader(
            self._settings, client_id=f"{self._settings.app_id}.map", queued_max_messages_kbytes=16_384
        )
        config["error_cb"] = self._on_error
        consumer = Consumer(kafka.quiet(config))
        next_look = 0.0
        try:
            while not self._end.is_set():
                if (now := time.monotonic()) >= next_look:
                    self._look(consumer)
                    next_look = now + (
                        LOOK_EVERY_S if self._picture.health.broker and not self._picture.health.missing_topics else 1.0
                    )
                if not self._assigned:
                    self._end.wait(0.5)
                    continue
                self._take(consumer.consume(RUN, 0.2))
        finally:
            consumer.close()

    def _look(self, consumer: Consumer) -> None:
        """Is the broker there, are all topics, are there new partitions?"""
        health = self._picture.health
        try:
            found = consumer.list_topics(timeout=CALL_S).topics
            new = [
                (name, p)
                for name in self._hours
                if name in found and found[name].error is None
                for p in found[name].partitions
                if (name, p) not in self._assigned
            ]
            if new:
                consumer.incremental_assign(self._starts(consumer, new))
                self._assigned.update(new)
                self._behind.update(new)
        except KafkaException as e:
            if health.broker:
                log.warning("no answer from the brokers %s: %s", self._settings.bootstrap_servers, e.args[0].str())
            health.broker = False
            return
        health.missing_topics = [name for name in self._hours if name not in found]
        for name in health.missing_topics:
            try:
                self._lookup.identity(name)
            except KafkaException as e:
                if is_access_denied(e):
                    raise explain(self._settings, e, "Describe", f"topic {name}") from None
        if not health.broker:
            log.info("broker connection restored: %s", self._settings.bootstrap_servers)
        health.broker = True

    def _starts(self, consumer: Consumer, new: list[tuple[str, int]]) -> list[TopicPartition]:
        """The first offset of each that is not too old; -2 (the beginning) where all is wanted."""
        begin = [TopicPartition(name, p, -2) for name, p in new if self._hours[name] is None]
        timed = [TopicPartition(name, p) for name, p in new if self._hours[name] is not None]
        if not timed:
            return begin
        now = min(self._clock(), self._newest_s(timed))
        for source in timed:
            source.offset = int((now - 3600.0 * (self._hours[source.topic] or 0.0)) * 1000)
        found: list[TopicPartition] = consumer.offsets_for_times(timed, timeout=CALL_S)
        return begin + found

    def _newest_s(self, partitions: list[TopicPartition]) -> float:
        """Time (Unix s) of the newest record in any of them; inf where there is none."""
        admin = AdminClient(kafka.client(self._settings), logger=kafka.log)
        asked = admin.list_offsets({tp: OffsetSpec.max_timestamp() for tp in partitions}, request_timeout=CALL_S)
        newest_ms = max(future.result(CALL_S + 1.0).timestamp for future in asked.values())
        return newest_ms / 1000.0 if newest_ms > 0 else math.inf

    def _take(self, messages: list[Message]) -> None:
        s, picture = self._settings, self._picture
        runs: dict[int, list[ConsumerRecord]] = defaultdict(list)
        for m in messages:
            if (error := m.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    self._behind.discard((m.topic(), m.partition()))
                elif is_access_denied(error):
                    raise explain_reader(s, error, m.topic() or "")
                else:
                    log.warning("%s partition %s: %s", m.topic(), m.partition(), error.str())
                continue
            if (topic := m.topic()) == s.topic:
                runs[m.partition()].append(ConsumerRecord(m.offset(), m.key(), m.value()))
            elif topic == s.alert_topic:
                picture.alert(m.value())
            elif topic == s.control_topic:
                picture.control(m.value(), m.offset() or 0)
            elif topic == s.dead_topic:
                self._station(m)
            elif topic == s.verdict_topic:
                picture.verdict(m.value())
            elif topic == s.sample_topic:
                picture.sample(m.value())
            else:
                picture.answer(m.value())
        for partition, records in runs.items():
            picture.positions(partition, records)
        if messages:
            if picture.health.caught_up:
                self._compare_clocks(messages)
            picture.health.caught_up = not self._behind

    def _compare_clocks(self, messages: list[Message]) -> None:
        """What comes now was written now, by the broker's clock."""
        for message in reversed(messages):
            if message.error() is None:
                kind, at_ms = message.timestamp()
                if kind == TIMESTAMP_LOG_APPEND_TIME:
                    self._picture.health.clock_ahead_s = self._clock() - at_ms / 1000.0
                return

    def _station(self, message: Message) -> None:
        """Of the dead letters, what is wrong with a station; the rest are not for the map."""
        reasons = [value for name, value in message.headers() or () if name == "reason"]
        if reasons and (kind := reasons[0].decode("ascii", "replace")) in STATION_EVENTS:
            self._picture.station(kind, message.value())

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in _AWAY:
            self._picture.health.broker = False

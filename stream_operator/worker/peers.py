"""Workers of one APP_ID share the sea by partitions, so they must run with equal settings: each compares itself with the others.

The client id of a worker's group member ends in digests of those settings. The group's coordinator knows the client ids of all
members, so any worker can compare: no record, no topic, no right beyond Read on the group, and only members that are alive count.

Under GROUP_PROTOCOL=consumer clients are not told of other members. There a worker adds the same client id to the offsets that it
commits for the group every few seconds, as a note with a number that grows. Of each partition the note says who has it; whose
note does not change is gone.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from multitaskais import __version__
from multitaskais.model.reference import is_reference

from ..kafka import client as kafka
from ..plain_text import plain
from ..settings import Settings
from . import registry

log = logging.getLogger("stream_operator")

CALL_S = 5.0
NOTE_LIVES_S = 20.0  # four commits
DIGEST_CHARS = 8
_RULES = ("min_timespan", "speed_max", "interval_max", "record_max_bytes", "state_max_bytes")
_TOPICS = ("topic", "alert_topic", "verdict_topic", "sample_topic", "dead_topic", "control_topic", "states")
# What is compared, and the settings that it stands for.
COMPARED = {
    "model": "MODEL or CHALLENGER",
    "rules": "one of " + ", ".join(name.upper() for name in _RULES),
    "topics": "one of TOPIC, ALERT_TOPIC, VERDICT_TOPIC, SAMPLE_TOPIC, DEAD_TOPIC, CONTROL_TOPIC, STATE_TOPIC",
    "program": "version of this program",
}
_CLIENT_ID = re.compile("".join(rf"~{what}\.([0-9a-f]{{{DIGEST_CHARS}}})" for what in COMPARED) + "$")


class Difference(NamedTuple):
    """A worker that runs with other settings than this one."""

    what: str  # of ``COMPARED``
    host: str
    client_id: str


def digests(settings: Settings) -> dict[str, str]:
    """A digest of each of ``COMPARED``. Of a model its version, wherever it lies; of a model store's latest one the reference."""
    values = {
        "model": [_model(name, settings) for name in (settings.model, settings.challenger)],
        "rules": [getattr(settings, name) for name in _RULES],
        "topics": [getattr(settings, name) for name in _TOPICS],
        "program": [__version__],
    }
    return {what: hashlib.sha256(repr(values[what]).encode()).hexdigest()[:DIGEST_CHARS] for what in COMPARED}


def _model(name: str, settings: Settings) -> str:
    if not name or is_reference(name):
        return name
    return registry.version_at(name, settings) or name


def client_id(settings: Settings, of: Mapping[str, str]) -> str:
    return settings.app_id + "".join(f"~{what}.{of[what]}" for what in COMPARED)


def compare(mine: Mapping[str, str], others: Iterable[tuple[str, str]]) -> list[Difference]:
    """How the members of the group, (client id, host) each, differ from us; who carries no digests is another program."""
    found = []
    for name, host in others:
        match = _CLIENT_ID.search(name)
        theirs = dict(zip(COMPARED, match.groups(), strict=True)) if match else {"program": ""}
        found += [Difference(what, host, name) for what, digest in theirs.items() if digest != mine[what]]
    return found


class Notes:
    """Who has which partition, by the notes that are committed with the group's offsets."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[int, tuple[str, float]] = {}  # by partition: note, and when it was seen to change

    def take(self, notes: Mapping[int, str]) -> list[tuple[str, str]]:
        """(client id, host) of those whose notes were seen to change of late; ``notes`` of the partitions of others.

        The first sight of a note says nothing: whoever wrote it may have ended long ago.
        """
        now = self._clock()
        before, self._seen = self._seen, {}
        for number, note in notes.items():
            earlier, at = before.get(number, (note, -math.inf))
            self._seen[number] = (note, at if note == earlier else now)
        alive = dict.fromkeys(note for note, at in self._seen.values() if now - at <= NOTE_LIVES_S)
        return list(dict.fromkeys((name, host) for host, _, name in map(_of_note, alive)))


def _of_note(note: str) -> tuple[str, str, str]:
    """(host, number, client id) of a note; whatever else programs commit has neither host nor number."""
    host, number, name = [*note.split(" ", 2), "", ""][:3]
    return (host, number, name) if number.isdigit() else ("?", "", note)


class Peers:
    """The other members of a worker's group, as far as they differ. ``look`` may be called from any one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._mine = digests(settings)
        self._client = AdminClient(kafka.client(settings), logger=kafka.log)
        # It joins nothing: it reads what the members have committed.
        self._reader: Consumer | None = None
        if settings.group_protocol == "consumer":
            config = kafka.client(settings, group_id=settings.app_id, enable_auto_commit=False)
            self._reader = Consumer(config, logger=kafka.log)
        self._notes = Notes()
        self._written = 0
        self.differences: list[Difference] = []
        self._told: set[Difference] = set()

    @property
    def client_id(self) -> str:
        return client_id(self._settings, self._mine)

    def note(self) -> str:
        """What this worker adds to the offsets that it commits, another one each time."""
        self._written += 1
        return f"{socket.gethostname()}/{os.getpid()} {self._written} {self.client_id}"

    def warnings(self) -> list[str]:
        return list(dict.fromkeys(map(self._text, self.differences)))

    def look(self, partitions: int = 0, own: Collection[int] = ()) -> None:
        """Ask the coordinator, and log each difference once, as long as it lasts.

        Args:
            partitions: how many the source has.
            own: those that this worker has.
        """
        group = self._settings.app_id
        try:
            if self._reader is not None:
                others = [TopicPartition(self._settings.topic, n) for n in range(partitions) if n not in own]
                committed = self._reader.committed(others, timeout=CALL_S) if others else []
                self.take(self._notes.take({tp.partition: tp.metadata for tp in committed if tp.metadata}))
                return
            # Not ``describe_consumer_groups``: librdkafka (2.16) ends the whole process when the broker goes away while that waits for the
            # group's coordinator (assertion ``eonce->refcnt > 0``).
            found = self._client.list_groups(group, timeout=CALL_S)
        except KafkaException as e:
            kafka.log.debug("the members of group %s: %r", group, e)
            return
        self.take([(str(m.client_id), str(m.client_host)) for g in found if g.id == group for m in g.members])

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def take(self, members: Iterable[tuple[str, str]]) -> None:
        """Compare with (client id, host) of each member of the group; a difference is logged when it appears."""
        self.differences = compare(self._mine, members)
        now = set(self.differences)
        for difference in dict.fromkeys(self.differences):
            if difference not in self._told:
                log.error("%s", self._text(difference))
        if self._told and not now:
            log.info("all workers of %s run with the same settings again", self._settings.app_id)
        self._told = now

    def _text(self, d: Difference) -> str:
        return (
            f"another worker of APP_ID {self._settings.app_id} (at {plain(d.host).lstrip('/')}) runs with another {COMPARED[d.what]}: "
            "the partitions are judged in different ways. Give all workers the same settings and start them again"
            + ("; to change the model: python -m stream_operator model" if d.what == "model" else "")
        )

"""Workers of one APP_ID share the sea by partitions, so they must run with equal settings: each compares itself with the others.

The client id of a worker's group member ends in digests of those settings. The group's coordinator knows the client ids of all
members, so any worker can compare: no record, no topic, no right beyond Read on the group, and only members that are alive count.
Under GROUP_PROTOCOL=consumer nothing is compared.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from multitaskais import __version__
from multitaskais.model.reference import is_reference

from ..kafka import client as kafka
from ..plain_text import plain
from ..settings import Settings
from . import registry

log = logging.getLogger("stream_operator")

CALL_S = 5.0
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


class Peers:
    """The other members of a worker's group, as far as they differ. ``look`` may be called from any one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._mine = digests(settings)
        self._client = AdminClient(kafka.client(settings), logger=kafka.log)
        self.differences: list[Difference] = []
        self._told: set[Difference] = set()

    @property
    def client_id(self) -> str:
        return client_id(self._settings, self._mine)

    def warnings(self) -> list[str]:
        return list(dict.fromkeys(map(self._text, self.differences)))

    def look(self) -> None:
        """Ask the coordinator, and log each difference once, as long as it lasts."""
        if self._settings.group_protocol != "classic":
            return  # the question below is one of the classic protocol
        group = self._settings.app_id
        try:
            # Not ``describe_consumer_groups``: librdkafka (2.16) ends the whole process when the broker goes away while that waits for the
            # group's coordinator (assertion ``eonce->refcnt > 0``).
            found = self._client.list_groups(group, timeout=CALL_S)
        except KafkaException as e:
            kafka.log.debug("the members of group %s: %r", group, e)
            return
        self.take([(str(m.client_id), str(m.client_host)) for g in found if g.id == group for m in g.members])

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

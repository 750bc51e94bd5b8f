"""``python -m stream_operator topics``: makes the topics with the right partitions, compaction, retention and sizes, and checks them.

The worker runs the same check at its start and refuses a missing or wrong topic, naming the command that repairs it.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from multitaskais.command import CommandParser
from multitaskais.errors import OperatorError

from ..settings import Settings
from . import client as kafka
from .errors import TryAgain

COMMAND = "python -m stream_operator topics"
CALL_S = 15.0
YEAR_MS = str(365 * 24 * 3600 * 1000)
# A restore reads the state topic whole, superseded states too, and the segment that is written to is never compacted: with the
# broker's own 1 GB a take-over would read up to that of each partition.
COMPACT_SOON = {"segment.bytes": str(64 * 1024 * 1024), "min.cleanable.dirty.ratio": "0.2"}


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    partitions: int
    config: dict[str, str]
    exact_partitions: bool = False


def wanted(settings: Settings, partitions: int) -> list[Topic]:
    """All topics of the operator, when the source has ``partitions``."""
    retention = str(int(settings.retention_hours * 3_600_000))
    largest = str(settings.state_max_bytes + 65536)
    return [
        Topic(settings.topic, partitions, {"cleanup.policy": "delete", "retention.ms": retention}),
        Topic(settings.alert_topic, partitions, {"cleanup.policy": "delete", "retention.ms": YEAR_MS}),
        Topic(settings.verdict_topic, partitions, {"cleanup.policy": "compact"}),
        Topic(
            settings.dead_topic,
            1,
            {"cleanup.policy": "delete", "retention.ms": retention, "max.message.bytes": largest},
        ),
        Topic(settings.feedback_topic, 1, {"cleanup.policy": "delete", "retention.ms": YEAR_MS}),
        # One partition: control records have one order. Compacted, and never before the reports that they concern are gone.
        Topic(
            settings.control_topic,
            1,
            {"cleanup.policy": "compact", "min.compaction.lag.ms": retention, "max.message.bytes": "1048588"},
            exact_partitions=True,
        ),
        # Of `meetings`: one process has all of it.
        Topic(
            settings.fleet_states,
            1,
            {"cleanup.policy": "compact", "max.message.bytes": largest} | COMPACT_SOON,
            exact_partitions=True,
        ),
        # As many partitions as the source, always: state partition n belongs to source partition n.
        Topic(
            settings.states,
            partitions,
            {"cleanup.policy": "compact", "max.message.bytes": largest} | COMPACT_SOON,
            exact_partitions=True,
        ),
    ]


class BrokerAway(TryAgain):
    """No broker answered, and none refused us: it may be there in a moment."""


class Admin:
    """The topics of one operator as the broker has them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._refused = False
        self._client = AdminClient(kafka.client(settings) | {"error_cb": self._complain}, logger=kafka.log)
        self.partitions = self._partitions()

    def _complain(self, error: KafkaError) -> None:
        self._refused |= error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL)

    def _partitions(self) -> dict[str, int]:
        try:
            found = self._client.list_topics(timeout=CALL_S).topics
        except KafkaException as e:
            s = self._settings
            hint = "; check SASL_USERNAME and SASL_PASSWORD" if s.security_protocol.startswith("SASL") else ""
            hint += "; check SSL_CA_LOCATION" if "SSL" in s.security_protocol else ""
            self._client.poll(0)  # hears the complaints
            raise (OperatorError if self._refused else BrokerAway)(
                f"no answer from the brokers {s.bootstrap_servers} ({s.security_protocol}) within {CALL_S:.0f} s: {e.args[0].str()}; is BOOTSTRAP_SERVERS right?{hint}"
            ) from None
        return {name: len(t.partitions) for name, t in found.items()}

    def problems(self) -> list[tuple[str, str]]:
        """(what is wrong, the command that repairs it), the worst first."""
        source = self.partitions.get(self._settings.topic)
        topics = wanted(self._settings, source or self._settings.partitions)
        found = [(f"topic {t.name} is missing", COMMAND) for t in topics if t.name not in self.partitions]
        present = [t for t in topics if t.name in self.partitions]
        for t in present:
            if t.exact_partitions and (n := self.partitions[t.name]) != t.partitions:
                remedy = f"use another APP_ID, or delete {t.name} (all state is then built again from {self._settings.topic}) and run {COMMAND}"
                found.append((f"{t.name} has {n} partitions, but {self._settings.topic} has {t.partitions}", remedy))
        for t, config in zip(present, self._configs([t.name for t in present]), strict=True):
            for key in ("cleanup.policy", "max.message.bytes"):
                want, have = t.config.get(key), config.get(key, "")
                if want is not None and (int(have) < int(want) if want.isdigit() else have != want):
                    found.append((f"topic {t.name} has {key}={have}, needed is {want}", f"{COMMAND} --mend"))
        return found

    def _configs(self, names: list[str]) -> list[dict[str, str]]:
        if not names:
            return []
        resources = [ConfigResource(ResourceType.TOPIC, n) for n in names]
        answers = self._client.describe_configs(resources, request_timeout=CALL_S)
        return [{k: e.value for k, e in answers[r].result().items()} for r in resources]

    def create(self, topics: list[Topic] | None = None) -> list[str]:
        """Create what is missing, of the operator's own topics or of those given; returns the names."""
        source = self.partitions.get(self._settings.topic, self._settings.partitions)
        missing = [t for t in topics or wanted(self._settings, source) if t.name not in self.partitions]
        new = [
            NewTopic(
                t.name,
                num_partitions=t.partitions,
                replication_factor=self._settings.replication_factor,
                config=t.config,
            )
            for t in missing
        ]
        for future in (self._client.create_topics(new, request_timeout=CALL_S) if new else {}).values():
            try:
                future.result()
            except KafkaException as e:
                # Two may create at once, and a topic just made is not yet told to all.
                if e.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise OperatorError(f"a topic could not be created: {e.args[0].str()}") from None
        deadline = time.monotonic() + CALL_S
        while not {t.name for t in missing} <= set(found := self._partitions()):
            if time.monotonic() > deadline:
                raise OperatorError(
                    "the topics were created, but the brokers do not tell of them yet; run the command again"
                )
            time.sleep(0.1)
        self.partitions = found
        return [t.name for t in missing]

    def repair(self) -> None:
        """Set the settings of existing topics to what is needed (never their partitions)."""
        resources = []
        for t in wanted(self._settings, self._settings.partitions):
            entries = [ConfigEntry(k, v, incremental_operation=AlterConfigOpType.SET) for k, v in t.config.items()]
            resources.append(ConfigResource(ResourceType.TOPIC, t.name, incremental_configs=entries))
        for future in self._client.incremental_alter_configs(resources, request_timeout=CALL_S).values():
            future.result()


def require(settings: Settings) -> None:
    """Raise ``OperatorError`` with the first problem and what repairs it."""
    if found := Admin(settings).problems():
        problem, remedy = found[0]
        raise OperatorError(
            f"{problem}; to repair it: {remedy}" + (f" ({len(found) - 1} more)" if len(found) > 1 else "")
        )


def main(argv: list[str]) -> int:
    parser = CommandParser(COMMAND, description=__doc__, epilog=f"example: {COMMAND} --partitions 8")
    parser.add_argument("--partitions", type=int, help="partitions of a new source topic (default: PARTITIONS)")
    parser.add_argument(
        "--mend", action="store_true", help="also set retention, compaction and sizes of existing topics"
    )
    parser.add_argument("--settings", type=Path, help="TOML file of settings")
    args = parser.parse_args(argv)
    settings = Settings.load(file=args.settings)
    if args.partitions is not None:
        settings = dataclasses.replace(settings, partitions=args.partitions)
    admin = Admin(settings)
    for name in (created := admin.create()):
        print(f"created {name} ({admin.partitions.get(name, '?')} partitions)")
    if args.mend:
        admin.repair()
    found = admin.problems()
    for problem, remedy in found:
        print(f"wrong: {problem}; to repair it: {remedy}")
    if not found:
        there = len(wanted(settings, 1)) - len(created)
        print(
            f"{len(created)} created, {there} were there before; all topics are right"
            if there and created
            else "all topics are right"
        )
    return 2 if found else 0

"""``python -m stream_operator topics``: makes the topics with the right partitions, compaction, retention and sizes, and checks them.

The worker runs the same check at its start and refuses a missing or wrong topic, naming the command that repairs it.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from multitaskais.command import CommandParser
from multitaskais.errors import OperatorError, TryAgain

from ..settings import Settings
from . import client as kafka
from .errors import explain, explained, is_access_denied

log = logging.getLogger("stream_operator")

COMMAND = "python -m stream_operator topics"
CALL_S = 15.0
YEAR_MS = str(365 * 24 * 3600 * 1000)
WEEK_MS = str(7 * 24 * 3600 * 1000)
# A restore reads the state topic whole, superseded states too, and the segment that is written to is never compacted: with the
# broker's own 1 GB a take-over would read up to that of each partition.
COMPACT_SOON = {"segment.bytes": str(64 * 1024 * 1024), "min.cleanable.dirty.ratio": "0.2"}
# Retention goes by the time of a record, and a producer may put any time on it; the broker's clock is one, and it is there.
BY_THE_BROKERS_CLOCK = {"message.timestamp.type": "LogAppendTime"}
UNBOUNDED = {"retention.ms", "retention.bytes"}  # -1 is without end
AT_LEAST = UNBOUNDED | {"max.message.bytes", "min.insync.replicas", "min.compaction.lag.ms"}
# What would lose records, each with what happens then. The rest of what ``wanted`` sets is for the pace.
CHECKED = {
    "cleanup.policy": "records are deleted, or kept, that must not be",
    "max.message.bytes": "long records are refused",
    "message.timestamp.type": "a producer's wrong clock decides when records are deleted",
    "retention.ms": "records are deleted before they are read",
    "retention.bytes": "records are deleted before they are read",
    "min.insync.replicas": "what is acknowledged is lost with one broker",
    "unclean.leader.election.enable": "a replica that lags may become leader, and cut the log",
    "min.compaction.lag.ms": "a record is replaced before all have read it",
}
REFUSED = {"cleanup.policy", "max.message.bytes"}  # the worker does not start with these; of the others it warns


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    partitions: int
    config: dict[str, str]
    exact_partitions: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a topic, and the command that repairs it.

    Args:
        refused: the worker does not start; else it warns.
        setting: (topic, name, value to set) where ``--mend`` can repair it.
    """

    what: str
    remedy: str
    refused: bool = True
    setting: tuple[str, str, str] | None = None


def insync(replicas: int) -> str:
    """``min.insync.replicas`` for so many: what is acknowledged is on two brokers, and one may be away."""
    return "2" if replicas >= 3 else "1"


def wanted(settings: Settings, partitions: int, replicas: int | None = None) -> list[Topic]:
    """All topics of the operator, when the source has ``partitions``; ``replicas`` where it is not REPLICATION_FACTOR."""
    retention = str(int(settings.retention_hours * 3_600_000))
    largest = str(settings.state_max_bytes + 65536)
    # A record of any length that is a report or a dead letter passes.
    record = str(max(1_048_588, settings.record_max_bytes + 65536))
    safe = {
        "min.insync.replicas": insync(settings.replication_factor if replicas is None else replicas),
        "unclean.leader.election.enable": "false",
    }
    kept = safe | BY_THE_BROKERS_CLOCK | {"cleanup.policy": "delete", "retention.bytes": "-1"}
    compacted = safe | {"cleanup.policy": "compact"}
    return [
        Topic(settings.topic, partitions, kept | {"retention.ms": retention, "max.message.bytes": record}),
        Topic(settings.alert_topic, partitions, kept | {"retention.ms": YEAR_MS}),
        Topic(settings.verdict_topic, partitions, compacted),
        *(
            [Topic(settings.sample_topic, partitions, kept | {"retention.ms": WEEK_MS})]
            if settings.keeps_samples
            else []
        ),
        Topic(settings.dead_topic, 1, kept | {"retention.ms": retention, "max.message.bytes": largest}),
        Topic(settings.feedback_topic, 1, kept | {"retention.ms": YEAR_MS}),
        # One partition: control records have one order. Compacted, and never before the reports that they concern are gone.
        Topic(
            settings.control_topic,
            1,
            compacted | {"min.compaction.lag.ms": retention, "max.message.bytes": "1048588"},
            exact_partitions=True,
        ),
        # Of `meetings`: one process has all of it.
        Topic(
            settings.fleet_states, 1, compacted | {"max.message.bytes": largest} | COMPACT_SOON, exact_partitions=True
        ),
        # As many partitions as the source, always: state partition n belongs to source partition n.
        Topic(
            settings.states,
            partitions,
            compacted | {"max.message.bytes": largest} | COMPACT_SOON,
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
        self.replicas: dict[str, int] = {}
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
        self.replicas = {
            name: min((len(p.replicas) for p in t.partitions.values()), default=0) for name, t in found.items()
        }
        return {name: len(t.partitions) for name, t in found.items()}

    def require(self, topic: str) -> int:
        """How many partitions a topic has.

        Raises:
            OperatorError: it is missing, or this user may not describe it.
        """
        if (n := self.partitions.get(topic)) is None:
            [problem] = self._missing([topic])
            raise OperatorError(f"{problem.what}; to repair it: {problem.remedy}")
        return n

    def problems(self, but: Collection[str] = ()) -> list[Problem]:
        """What is wrong, the worst first; topics ``but`` are not looked at."""
        s = self._settings
        source = self.partitions.get(s.topic)
        topics = [t for t in wanted(s, source or s.partitions) if t.name not in but]
        found = self._missing([t.name for t in topics if t.name not in self.partitions])
        present = [t for t in topics if t.name in self.partitions]
        for t in present:
            if t.exact_partitions and (n := self.partitions[t.name]) != t.partitions:
                remedy = (
                    f"use another APP_ID, or delete {t.name} (all state is then built again from {s.topic}) and run {COMMAND}"
                    if t.name in (s.states, s.fleet_states)
                    else f"delete {t.name} and run {COMMAND}"
                )
                why = f", but {s.topic} has {t.partitions}" if t.name == s.states else f", needed is {t.partitions}"
                found.append(Problem(f"{t.name} has {n} partitions{why}", remedy))
        for t, config in zip(present, self._configs([t.name for t in present]), strict=True):
            replicas = self.replicas[t.name]
            if replicas < s.replication_factor:
                what = f"topic {t.name} has {replicas} replicas, REPLICATION_FACTOR is {s.replication_factor}"
                remedy = "kafka-reassign-partitions.sh, or delete the topic and let it be made again"
                found.append(Problem(what, remedy, refused=False))
            for key, want in t.config.items():
                if key == "min.insync.replicas":
                    want = insync(replicas)
                    if replicas > 1 and int(config.get(key, 1)) >= replicas:
                        what = f"topic {t.name} has {key}={config[key]} of {replicas} replicas: one broker away, and nothing can be written"
                        found.append(Problem(what, f"{COMMAND} --mend", False, (t.name, key, want)))
                if key in CHECKED and not is_enough(key, have := config.get(key, ""), want):
                    what = f"topic {t.name} has {key}={have}, needed is {want}: {CHECKED[key]}"
                    found.append(Problem(what, f"{COMMAND} --mend", key in REFUSED, (t.name, key, want)))
        return sorted(found, key=lambda p: not p.refused)

    def _missing(self, names: list[str]) -> list[Problem]:
        """A topic that this user may not describe is not in any list either."""
        if not names:
            return []
        found = []
        for name, future in self._client.describe_topics(TopicCollection(names), request_timeout=CALL_S).items():
            try:
                future.result()
            except KafkaException as e:
                if is_access_denied(e):
                    raise explain(self._settings, e, "Describe", f"topic {name}") from None
                if e.args[0].code() not in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
                    raise explain(self._settings, e, "Describe", f"topic {name}") from None
            found.append(Problem(f"topic {name} is missing", COMMAND))
        return found

    def _configs(self, names: list[str]) -> list[dict[str, str]]:
        if not names:
            return []
        resources = [ConfigResource(ResourceType.TOPIC, n) for n in names]
        answers = self._client.describe_configs(resources, request_timeout=CALL_S)
        found = []
        for name, resource in zip(names, resources, strict=True):
            with explained(self._settings, "DescribeConfigs", f"topic {name}"):
                found.append({k: e.value for k, e in answers[resource].result().items()})
        return found

    def create(self, topics: list[Topic] | None = None) -> list[str]:
        """Create what is missing, of the operator's own topics or of those given; returns the names."""
        source = self.partitions.get(self._settings.topic, self._settings.partitions)
        missing = [t for t in topics or wanted(self._settings, source) if t.name not in self.partitions]
        self._missing([t.name for t in missing])  # one that is there, and hidden from this user, ends it here
        new = [
            NewTopic(
                t.name,
                num_partitions=t.partitions,
                replication_factor=self._settings.replication_factor,
                config=t.config,
            )
            for t in missing
        ]
        for name, future in (self._client.create_topics(new, request_timeout=CALL_S) if new else {}).items():
            try:
                future.result()
            except KafkaException as e:
                # Two may create at once, and a topic just made is not yet told to all.
                if e.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                    continue
                if e.args[0].code() == KafkaError.INVALID_REPLICATION_FACTOR:
                    raise OperatorError(
                        f"topic {name} could not be created: {e.args[0].str()}; set REPLICATION_FACTOR to at most the number of brokers"
                    ) from None
                raise explain(self._settings, e, "Create", f"topic {name}") from None
        deadline = time.monotonic() + CALL_S
        while not {t.name for t in missing} <= set(found := self._partitions()):
            if time.monotonic() > deadline:
                raise OperatorError(
                    "the topics were created, but the brokers do not tell of them yet; run the command again"
                )
            time.sleep(0.1)
        self.partitions = found
        return [t.name for t in missing]

    def repair(self, problems: list[Problem] | None = None) -> list[tuple[str, str, str]]:
        """Set what is not enough in existing topics (never their partitions); returns (topic, setting, value) of each."""
        changes = [p.setting for p in (self.problems() if problems is None else problems) if p.setting is not None]
        by_topic: dict[str, list[ConfigEntry]] = {}
        for topic, key, value in changes:
            entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            by_topic.setdefault(topic, []).append(entry)
        resources = [
            ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries) for name, entries in by_topic.items()
        ]
        answers = self._client.incremental_alter_configs(resources, request_timeout=CALL_S) if resources else {}
        for resource, future in answers.items():
            with explained(self._settings, "AlterConfigs", f"topic {resource.name}"):
                future.result()
        return changes


def is_enough(key: str, have: str, want: str) -> bool:
    """Whether a topic's setting will do: numbers at least as great (-1 where that is without end), words equal."""
    if key not in AT_LEAST:
        return have == want
    try:
        number, needed = int(have), int(want)
    except ValueError:
        return False
    if key in UNBOUNDED and -1 in (number, needed):
        return number == -1
    return number >= needed


def require(settings: Settings, but: Collection[str] | None = None) -> None:
    """Warn of what may lose records, and raise ``OperatorError`` with the first problem that forbids a start and what repairs it.

    Args:
        but: topics that the process has nothing to do with, and need not have the right to look at; None: those of a worker.
    """
    found = Admin(settings).problems((settings.feedback_topic, settings.fleet_states) if but is None else but)
    refused = [p for p in found if p.refused]
    if refused:
        more = f" ({len(refused) - 1} more)" if len(refused) > 1 else ""
        raise OperatorError(f"{refused[0].what}; to repair it: {refused[0].remedy}{more}")
    for p in found:
        log.warning("%s; to repair it: %s", p.what, p.remedy)


def main(argv: list[str]) -> int:
    parser = CommandParser(
        COMMAND,
        description=__doc__,
        epilog=f"example: {COMMAND} --partitions 8",
        exit_codes="exit codes: 0 all topics are right, 1 a setting may lose records (each is named), 2 wrong use, or a topic with which"
        "\nthe worker does not start, 75 try again (no broker answers)",
    )
    parser.add_argument("--partitions", type=int, help="partitions of a new source topic (default: PARTITIONS)")
    parser.add_argument(
        "--mend",
        action="store_true",
        help="also set what may lose records in existing topics: compaction, retention, sizes, timestamps, replicas in sync",
    )
    parser.add_argument("--settings", type=Path, help="TOML file of settings")
    args = parser.parse_args(argv)
    settings = Settings.load(file=args.settings)
    if args.partitions is not None:
        settings = dataclasses.replace(settings, partitions=args.partitions)
    admin = Admin(settings)
    for name in (created := admin.create()):
        print(f"created {name} ({admin.partitions.get(name, '?')} partitions)")
    found = admin.problems()
    if args.mend:
        for topic, key, value in admin.repair(found):
            print(f"set {topic} {key}={value}")
        found = admin.problems()
    for p in found:
        print(f"{'wrong' if p.refused else 'warning'}: {p.what}; to repair it: {p.remedy}")
    if not found:
        there = len(wanted(settings, 1)) - len(created)
        print(
            f"{len(created)} created, {there} were there before; all topics are right"
            if there and created
            else "all topics are right"
        )
        return 0
    return 2 if any(p.refused for p in found) else 1

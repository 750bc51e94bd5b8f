"""``python -m stream_operator model MODEL --from TIME``: another model takes over, without a restart (ADR 0011).

MODEL is a shipped model's name, a folder that all workers see at the same place, or store:NAME[@VERSION] in the model store.
The model is checked here (checksums, region, track rules), then announced in every partition of the source topic. The workers load it
from there (from a store: that version), let it warm up beside the present one, and give each vessel over with its first sample at or after TIME
(time of the reports, UTC). Announce it at least 4 h of the reports' time before: a model that could not warm up
does not judge a vessel for its first 2 h. Of those whose time has come, the last announced is active: to take a change back,
announce the present model from an earlier moment.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer

from multitaskais.command import CommandParser
from multitaskais.engine.rollout import check_compatible
from multitaskais.errors import ConfigError, OperatorError

from ..kafka import client as kafka
from ..kafka import codec as wire
from ..kafka.topics import COMMAND, Admin
from ..settings import Settings
from ..worker import registry as models
from .replay import moment

ANSWER_S = 30.0


def announce(settings: Settings, announcement: wire.ModelAnnouncement) -> int:
    """Write ``swap`` to every partition of the source topic; returns how many. Saying it again does no harm."""
    partitions = Admin(settings).partitions.get(settings.topic, 0)
    if not partitions:
        raise OperatorError(f"topic {settings.topic} is missing; to repair it: {COMMAND}")
    failed: list[str] = []
    said: set[int] = set()

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failed.append(error.str())
        else:
            said.add(message.partition())

    config = kafka.client(settings, enable_idempotence=True) | {"message.timeout.ms": int(ANSWER_S * 1000)}
    producer = Producer(config, logger=kafka.log)
    key, value = wire.encode_announcement(announcement)
    for number in range(partitions):
        producer.produce(settings.topic, value, key, number, on_delivery=delivered)
    producer.flush(2 * ANSWER_S)
    if len(said) < partitions:
        why = failed[0] if failed else "no answer"
        raise OperatorError(
            f"announced in {len(said)} of {partitions} partitions of {settings.topic} ({why}): run the command again, the same line"
        )
    return partitions


def main(argv: list[str]) -> int:
    parser = CommandParser(
        "python -m stream_operator model",
        description=__doc__,
        epilog="example: python -m stream_operator model /models/june --from 2026-06-01T12:00",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a shipped model, a folder that all workers see, or store:NAME[@VERSION]"
    )
    parser.add_argument(
        "--from", dest="since", required=True, metavar="TIME", help="activation time: 2026-01-01T12:00 (UTC)"
    )
    parser.add_argument("--settings", type=Path, help="TOML file of settings")
    args = parser.parse_args(argv)
    since = moment("--from", args.since)
    if not 0.0 < since < wire.T_MAX:
        raise ConfigError(f"--from {args.since}: give a time between 1970 and 2100")
    settings = Settings.load(file=args.settings)
    source = models.source_of(args.model, settings)
    candidate = models.load(source, settings)
    check_compatible(models.load(settings.model, settings), candidate)
    partitions = announce(settings, wire.ModelAnnouncement(source, candidate.version, since, time.time()))
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
    print(
        f"model {candidate.version} ({source}) is announced in {partitions} partitions of {settings.topic}: it activates at {when}; "
        'the workers log "model rollout scheduled" when they have it, or why they refuse it',
        file=sys.stderr,
    )
    return 0

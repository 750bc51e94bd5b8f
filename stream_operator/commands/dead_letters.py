"""``python -m stream_operator dead``: what could not be decoded.

--show    one JSON object a line: reason, where it stood, key, value (default)
--replay  send it to the source topic again, each letter once (a group of its own remembers), after what was wrong is repaired
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, Producer

from multitaskais.command import CommandParser
from multitaskais.errors import TryAgain

from ..kafka import client as kafka
from ..kafka.errors import Refusal, explain, explained, explained_write, is_access_denied
from ..kafka.topics import Admin
from ..plain_text import json_line
from ..settings import Settings
from .alerts import read, seconds


def describe(message: Message) -> dict[str, Any]:
    """A dead letter in a form that a person can read; bytes that are not UTF-8 show as U+FFFD, and numbers that are none as -1."""
    head = {k: v.decode("utf-8", "replace") for k, v in message.headers() or [] if v is not None}

    def number(name: str) -> int:
        text = head.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1

    return {
        "reason": head.get("reason"),
        "topic": head.get("topic"),
        "partition": number("partition"),
        "offset": number("offset"),
        "clipped_from_bytes": number("clipped_from_bytes") if "clipped_from_bytes" in head else None,
        "key": None if message.key() is None else message.key().decode("utf-8", "replace"),
        "value": None if message.value() is None else message.value().decode("utf-8", "replace"),
    }


def replay(settings: Settings, reason: str | None) -> tuple[int, int]:
    """(sent again, left out). Clipped values cannot be sent again; nor do we send those that another reason is asked for."""
    config = kafka.reader(settings, group_id=f"{settings.app_id}.dead")
    consumer = Consumer(config, logger=kafka.log)
    refusal = Refusal()
    producer = Producer(
        kafka.client(settings, partitioner=kafka.PARTITIONER, enable_idempotence=True, error_cb=refusal),
        logger=kafka.log,
    )
    admin = Admin(settings)
    writes = f"topic {settings.topic}"
    for topic in (settings.dead_topic, settings.topic):
        admin.require(topic)
    failed: list[KafkaError] = []
    sent = left_out = 0
    consumer.subscribe([settings.dead_topic])
    try:
        assigned = 0
        ended: set[int] = set()
        while not assigned or len(ended) < assigned:
            messages = consumer.consume(500, 1.0)
            assigned = len(consumer.assignment())
            for m in messages:
                if (error := m.error()) is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        ended.add(m.partition())
                    elif is_access_denied(error):
                        group = error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
                        what = f"group {settings.app_id}.dead" if group else f"topic {settings.dead_topic}"
                        raise explain(settings, error, "Read", what)
                    else:
                        kafka.log.warning("%s", error.str())
                    continue
                letter = describe(m)
                if letter["clipped_from_bytes"] is not None or (reason is not None and letter["reason"] != reason):
                    left_out += 1
                    continue
                with explained_write(settings, producer, refusal, writes):
                    producer.produce(
                        settings.topic, m.value(), m.key(), on_delivery=lambda e, _: failed.append(e) if e else None
                    )
                sent += 1
        give_up_at = time.monotonic() + 60.0
        with explained_write(settings, producer, refusal, writes):
            while producer.flush(0.2) and refusal.error is None and time.monotonic() < give_up_at:
                pass
        if refusal.error is not None or len(producer) or failed:
            if (error := refusal.error or next(iter(failed), None)) is not None and is_access_denied(error):
                raise explain(settings, error, "Write", f"topic {settings.topic}")
            raise TryAgain(
                f"not all letters could be sent ({failed[0].str() if failed else 'no answer'}); run the command again"
            )
        if assigned and (sent or left_out):
            with explained(settings, "Read", f"group {settings.app_id}.dead"):
                consumer.commit(asynchronous=False)
    finally:
        consumer.close()
    return sent, left_out


def main(argv: list[str]) -> int:
    parser = CommandParser(
        "python -m stream_operator dead",
        description=__doc__,
        epilog="example: python -m stream_operator dead --since 7d --reason bad_json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--show", action="store_true", help="print them (default)")
    what.add_argument("--replay", action="store_true", help="send them to the source topic again, each once")
    parser.add_argument("--reason", help="only those with this reason")
    parser.add_argument("--since", metavar="2h", help="only those of the last 90s, 15m, 2h, 7d ...")
    parser.add_argument("--settings", type=Path, help="TOML file of settings")
    args = parser.parse_args(argv)
    settings = Settings.load(file=args.settings)
    if args.replay:
        sent, left_out = replay(settings, args.reason)
        print(f"sent {sent} letters to {settings.topic} again, left out {left_out}", file=sys.stderr)
        return 0
    for message in read(settings, settings.dead_topic, seconds(args.since) if args.since else None):
        letter = describe(message)
        if args.reason is None or letter["reason"] == args.reason:
            print(json_line(letter))
    return 0

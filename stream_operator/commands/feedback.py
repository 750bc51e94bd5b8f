"""``python -m stream_operator feedback``: officers' answers become control records, so that they act.

Reads ``ais.alerts`` and ``ais.feedback``, works out what the answers lead to, and writes what is new to ``ais.control``. Run it beside the worker;
a second one, or a restart, writes nothing twice. What a later answer (``real``) contradicts is withdrawn.

*Normal here* lowers that kind of alert for that vessel around that place, and for all vessels when ``--agree`` alerts of two vessels or
more were so answered there. *Acknowledge* does it for that vessel for a day. *Real* never suppresses. All of it stands in
``python -m stream_operator control list`` and is taken back with ``control withdraw NUMBER``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from multitaskais.command import CommandParser
from multitaskais.detection.answers import answers_of
from multitaskais.detection.suppression import AGREE, Suppression, suppressions_of
from multitaskais.errors import ConfigError
from multitaskais.times import LATEST

from ..kafka import control
from ..kafka.control_writer import ControlWriter
from ..kafka.control_writer import read as read_controls
from ..settings import Settings
from .alerts import read

LEAD_S = 600.0  # beyond the newest decision: the partitions have not come there, and a replay acts where they did
EVERY_S = 10.0


def record_of(rule: Suppression, by: str) -> control.SuppressionRecord:
    return control.SuppressionRecord(
        alert_type=rule.alert_type, cause=rule.cause, stretch=rule.stretch, since=rule.since, least_score=round(rule.least_score, 4),
        mmsi=rule.mmsi, until=None if rule.until == float("inf") else rule.until, why=rule.why[: control.TEXT_CHARS], by=by,
    )  # fmt: skip


def due(
    rules: Iterable[Suppression], standing: Iterable[tuple[int, bytes | None]], by: str
) -> tuple[list[control.SuppressionRecord], list[int]]:
    """(records to write, numbers to withdraw): the difference between what the answers lead to and what the topic holds.

    What a person has withdrawn is not written again, and what a person has written is not withdrawn.
    """
    wanted = {record.name: record for record in (record_of(rule, by) for rule in rules)}
    known: dict[str, int] = {}
    mine: dict[str, int] = {}
    withdrawn: set[int] = set()
    for number, value in standing:
        decoded = control.decode(value)
        if isinstance(decoded, control.SuppressionRecord):
            known[decoded.name] = number
            if decoded.by == by:
                mine[decoded.name] = number
        elif isinstance(decoded, control.Withdrawal):
            withdrawn.add(decoded.number)
    new = [record for name, record in wanted.items() if name not in known]
    gone = [number for name, number in mine.items() if name not in wanted and number not in withdrawn]
    return new, sorted(gone)


def decided_at(alert: Mapping[str, Any]) -> float:
    """Unix s; 0 where it is no time: anything may stand in the topic."""
    t = alert.get("decided_at")
    return float(t) if isinstance(t, int | float) and 0.0 < t < LATEST else 0.0


def once(settings: Settings, writer: ControlWriter, agree: int, by: str) -> tuple[int, int, dict[str, int]]:
    """Bring the control topic up to date: (records written, records withdrawn, answers left aside by reason)."""

    def records(topic: str) -> Iterable[dict[str, Any]]:
        for message in read(settings, topic):
            try:
                decoded = msgspec.json.decode(message.value() or b"null")
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if isinstance(decoded, dict):
                yield decoded

    alerts = [a for a in records(settings.alert_topic) if not a.get("challenger")]
    newest = max(map(decided_at, alerts), default=0.0)
    answers, aside = answers_of(alerts, records(settings.feedback_topic), newest + LEAD_S)
    new, gone = due(suppressions_of(answers, agree), read_controls(settings), by)
    for record in new:
        print(f"{writer.send(record)}: {record.summary()}", file=sys.stderr, flush=True)
    for number in gone:
        print(
            f"{writer.send(control.Withdrawal(number=number, by=by))}: withdraws {number}", file=sys.stderr, flush=True
        )
    return len(new), len(gone), aside


def main(argv: list[str]) -> int:
    parser = CommandParser(
        "python -m stream_operator feedback",
        description=__doc__,
        epilog="example: python -m stream_operator feedback --once",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--once", action="store_true", help="bring the control topic up to date and leave")
    parser.add_argument(
        "--agree",
        type=int,
        default=AGREE,
        help=f"alerts that make a place's kind normal for all vessels (default {AGREE})",
    )
    parser.add_argument(
        "--by", default="feedback", help="who these records are from (default: feedback); one name, one writer"
    )
    parser.add_argument("--json", action="store_true", help="with --once: print what was done as JSON")
    parser.add_argument("--settings", type=Path, help="TOML file of settings")
    args = parser.parse_args(argv)
    if args.agree < 2:
        raise ConfigError(f"--agree {args.agree}: give 2 or more; one alert counts for its own vessel alone")
    settings = Settings.load(file=args.settings)
    writer = ControlWriter(settings)
    while True:
        written, withdrawn, aside = once(settings, writer, args.agree, args.by)
        if args.once:
            if args.json:
                print(json.dumps({"written": written, "withdrawn": withdrawn, "left_aside": aside}))
            else:
                print(
                    f"{written} written, {withdrawn} withdrawn; answers left aside: {', '.join(f'{n} ({why})' for why, n in sorted(aside.items())) or 'none'}"
                )
            return 0
        time.sleep(EVERY_S)

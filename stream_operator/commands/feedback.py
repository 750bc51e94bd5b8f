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
from multitaskais.detection.suppression import AGREE, AnswerKind, OfficerAnswer, Suppression, suppressions_of
from multitaskais.errors import ConfigError
from multitaskais.records import PANEL_ALERT_TYPES, AlertType

from ..kafka import control
from ..kafka.control_writer import ControlWriter
from ..kafka.control_writer import read as read_controls
from ..settings import Settings
from .alerts import read

LEAD_S = 600.0  # beyond the newest decision: the partitions have not come there, and a replay acts where they did
EVERY_S = 10.0
# Those that a panel or the tracker raises; what is raised of ships together, or in a zone, is ended by its zone or its own rules.
TYPES = frozenset(PANEL_ALERT_TYPES) - {AlertType.IDENTITY_CONFLICT}
ANSWERS = tuple(AnswerKind)  # no set: what is looked for in it may be anything


def answers_of(
    alerts: Iterable[Mapping[str, Any]], feedback: Iterable[Mapping[str, Any]], t: float
) -> tuple[list[OfficerAnswer], dict[str, int]]:
    """What was answered, each with its alert's last revision, and by reason how many answers are left aside.

    Args:
        alerts, feedback: records of the topics, in order; anything may stand in them.
        t: event time from which answers that are new act.
    """
    last = {str(a["alert_id"]): a for a in alerts if "alert_id" in a}
    found: list[OfficerAnswer] = []
    aside: dict[str, int] = {}
    for record in feedback:
        why = ""
        alert = last.get(str(record.get("alert_id")))
        if alert is None:
            why = "its alert is not on the topic any more"
        elif str(alert.get("alert_type")) not in TYPES:
            why = f"alerts of type {alert.get('alert_type')} are not suppressed by answers"
        elif record.get("answer") not in ANSWERS:
            why = "no known answer"
        else:
            try:
                begin, end = alert["segment_start"], alert["segment_end"]
                found.append(
                    OfficerAnswer(
                        alert_id=str(alert["alert_id"]), answer=AnswerKind(record["answer"]), who=str(record.get("who") or "")[: control.TEXT_CHARS // 2],
                        mmsi=int(alert["mmsi"]), alert_type=str(alert["alert_type"]), cause=str(alert["cause"]), stretch=(float(begin["lat"]), float(begin["lon"]), float(end["lat"]), float(end["lon"])), score=float(alert["score"]), t=t,
                    )
                )  # fmt: skip
            except (KeyError, TypeError, ValueError):
                why = "its alert cannot be read"
        if why:
            aside[why] = aside.get(why, 0) + 1
    return found, aside


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


def once(settings: Settings, writer: ControlWriter, agree: int, by: str) -> tuple[int, int, dict[str, int]]:
    """Bring the control topic up to date: (records written, records withdrawn, answers left aside by reason)."""

    def records(topic: str) -> Iterable[dict[str, Any]]:
        for message in read(settings, topic):
            try:
                decoded = msgspec.json.decode(message.value() or b"null")
            except msgspec.DecodeError:
                continue
            if isinstance(decoded, dict):
                yield decoded

    alerts = [a for a in records(settings.alert_topic) if not a.get("challenger")]
    newest = max((float(a.get("decided_at") or 0.0) for a in alerts), default=0.0)
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

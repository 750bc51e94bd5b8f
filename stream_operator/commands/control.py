"""``python -m stream_operator control list|withdraw|watermark``: what feeds and persons have told the workers, and how to take it back.

list                 the records of the control topic: number, when it was sent, by whom, what it asks for, whether it holds, and what
                     the partitions of this operator did with it
withdraw NUMBER      it holds no longer: where it is not yet due it never acts; a model hands over to the one before it, a zone ends,
                     what an officer's answer suppressed is raised again.
                     What a watermark has ended stays ended
watermark TIME       the reports have come as far as TIME: tracks of vessels that have been silent for longer than the gap end
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from multitaskais.command import CommandParser
from multitaskais.errors import ConfigError
from multitaskais.times import LATEST

from ..kafka import control
from ..kafka.control_writer import ControlWriter, read
from ..kafka.topics import Admin
from ..plain_text import json_line, plain
from ..settings import Settings
from ..worker.checkpoint import Decision, restore
from .replay import moment


def rows(settings: Settings, watermarks: bool) -> list[dict[str, Any]]:
    """One record a row, oldest first. Of the watermarks only the last, unless all are asked for."""
    decisions = decided(settings)
    found: list[dict[str, Any]] = []
    withdrawn: dict[int, int] = {}
    for number, value in read(settings):
        record = control.decode(value)
        row: dict[str, Any] = {"number": number, "sent": None, "by": "", "kind": "unknown", "holds": False}
        if isinstance(record, str):
            row |= {"says": f"refused: {record}"} if value is not None else {"says": "taken away (tombstone)"}
        else:
            row |= {"sent": record.sent, "by": record.by, "kind": record.kind, "holds": True, "says": record.summary()}
            if isinstance(record, control.Withdrawal):
                withdrawn[record.number] = number
        done: Counter[str] = Counter(
            "followed" if not d.refused else f"refused: {d.refused}" for d in decisions.get(number, {}).values()
        )
        row["partitions"] = dict(done)
        found.append(row)
    for row in found:
        if (by := withdrawn.get(row["number"])) is not None:
            row |= {"holds": False, "withdrawn_by": by}
    if not watermarks:
        told = [
            r["number"] for r in found if r["kind"] == "watermark" and not any("refused" in k for k in r["partitions"])
        ]
        found = [r for r in found if r["number"] not in told[:-1]]
    return found


def decided(settings: Settings) -> dict[int, dict[int, Decision]]:
    """By the number of the record and by partition, what was done with it."""
    out: dict[int, dict[int, Decision]] = {}
    for partition in range(Admin(settings).require(settings.states)):
        for number, decision in restore(settings, partition).decisions.items():
            out.setdefault(number, {})[partition] = decision
    return out


def line(row: dict[str, Any]) -> str:
    when = control.utc(row["sent"]) if 0.0 < (row["sent"] or 0.0) < LATEST else "-"
    state = f"withdrawn by {row['withdrawn_by']}" if "withdrawn_by" in row else "holds" if row["holds"] else "-"
    done = (
        "; ".join(f"{n} partitions: {what}" for what, n in row["partitions"].items()) or "not yet seen by a partition"
    )
    return f"{row['number']:>6}  {when:<20}  {plain(row['by']) or '?':<24}  {plain(row['says']):<60}  {state:<16}  {plain(done)}"


def main(argv: list[str]) -> int:
    parser = CommandParser(
        "python -m stream_operator control",
        description=__doc__,
        epilog="example: python -m stream_operator control withdraw 17",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", nargs="?", default="list", choices=("list", "withdraw", "watermark"), help="default: list"
    )
    parser.add_argument("value", nargs="?", metavar="NUMBER|TIME", help="of withdraw and watermark")
    parser.add_argument("--all", action="store_true", help="list: each watermark, and not only the last")
    parser.add_argument("--json", action="store_true", help="list: one JSON object a line")
    parser.add_argument("--by", default="", help="who says so (default: user and machine)")
    parser.add_argument("--settings", type=Path, help="TOML file of settings")
    args = parser.parse_args(argv)
    if (args.value is None) != (args.what == "list"):
        parser.error(f"{args.what} takes {'no value' if args.what == 'list' else 'a value'}")
    settings = Settings.load(file=args.settings)
    if args.what == "list":
        for row in rows(settings, args.all):
            print(json_line(row) if args.json else line(row))
        return 0
    record: control.AnyControl
    if args.what == "withdraw":
        if not args.value.isdecimal():
            raise ConfigError(f"control withdraw {args.value}: give the number of a record (`control list` shows them)")
        known = {number: control.decode(value) for number, value in read(settings)}
        target = known.get(int(args.value))
        if target is None or isinstance(target, str):
            raise ConfigError(f"control withdraw {args.value}: there is no such record (`control list` shows them)")
        record = control.Withdrawal(number=int(args.value), by=args.by)
    else:
        record = control.Watermark(t=moment("control watermark", args.value), by=args.by)
        if (problem := record.problem()) is not None:
            raise ConfigError(f"control watermark {args.value}: {problem}")
    number = ControlWriter(settings).send(record)
    print(f"control record {number}: {record.summary()}; the workers log what they do with it", file=sys.stderr)
    return 0

"""``multitaskais decode FILE...``: each AIS message as one JSON object a line, so that anyone can compare decoders.

An object holds the values of pyais ``asdict()`` (enumerations as whole numbers, bytes as hexadecimal text, a number that
JSON cannot write as null) and ``time``, Unix s or null. Rejected lines go to standard error with their reason, then the
counts; nothing is left out, repeated payloads are written as often as they stand there.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from typing import IO, Any

import orjson

from ..ais.archives import FORMATS, Archive, list_files, open_archive
from ..ais.decoder import Decoder, Message, Outcomes
from ..ais.framing import LINE_FORMATS
from ..ais.positions import second_of
from ..ais.zero import notes_of, nothing_read
from ..errors import FormatError, InputError
from ..records import Counts


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "decode",
        help="AIS sentences -> one JSON message a line",
        description=__doc__,
        epilog="example: multitaskais decode --quiet archive/2017/01/*.cdv > messages.jsonl",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="archive, folder or pattern; - is standard input")
    parser.add_argument(
        "--format", choices=FORMATS, metavar="F", help=f"one of {', '.join(LINE_FORMATS)}; recognised by itself"
    )
    parser.add_argument(
        "--at", type=parse_time, metavar="TIME", help="dates sentences without time: Unix s, or ISO 8601 (UTC)"
    )
    parser.add_argument(
        "--year",
        type=int,
        metavar="YYYY",
        help="of the first line, where stamps have none, as syslog's (default: of the log or its name)",
    )
    parser.add_argument("--quiet", action="store_true", help="counts only, not each rejected line")
    parser.set_defaults(run=run)


def parse_time(text: str) -> float:
    """Unix s, or ISO 8601; without a zone it is UTC."""
    try:
        value = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no time: give Unix seconds or ISO 8601") from None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give Unix seconds or ISO 8601")
    return value


def run(args: argparse.Namespace) -> int:
    total = Counts()
    broken_tags: list[int] = []
    files = list_files(args.files)
    if told := files.told():
        print(told, file=sys.stderr)
    for path in files.paths:
        for archive in open_archive(path, args.format, {"year": str(args.year)} if args.year else None):
            if archive.is_parquet:
                raise FormatError(f"{archive.path}: a Parquet table has no sentences to decode")
            if archive.is_table:
                raise FormatError(f"{archive.path}: a decoded table ({archive.format}) has no sentences to decode")
            total.add(
                decode_archive(archive, args.at, sys.stdout.buffer, None if args.quiet else sys.stderr, broken_tags)
            )
    sys.stdout.buffer.flush()
    reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(total.rejected.items()))
    rejected = sum(total.rejected.values())
    print(
        f"lines in {total.received} = accepted {total.accepted} + rejected {rejected}"
        + (f" ({reasons})" if reasons else ""),
        file=sys.stderr,
    )
    if n := sum(broken_tags):
        print(f"{n:,} sentences have a tag block with a wrong checksum: its time was not used", file=sys.stderr)
    for note in notes_of(total):
        print(note, file=sys.stderr)
    if not total.stamps.reports and total.accepted and args.format != "bare":
        print("no message has a time; --at TIME gives them one", file=sys.stderr)
    if not total.accepted:
        raise nothing_read(args.files, total, args.format, what="no message")
    return 0


def decode_archive(
    archive: Archive, at: float | None, out: IO[bytes], log: IO[str] | None, broken_tags: list[int] | None = None
) -> Counts:
    """Write each message of one stream to ``out``, each rejected line to ``log``; the counts of its lines.

    broken_tags: gets the number of sentences whose tag block has a wrong checksum.
    """
    decoder = Decoder(archive.given, at, year=archive.year)
    outcomes = Outcomes()
    number = -1
    for number, line in enumerate(archive.lines()):
        outcomes.begin(number)
        for outcome in decoder.feed(number, line):
            outcomes.add(outcome)
            if isinstance(outcome, Message):
                out.write(message_json(outcome))
                if outcome.t == outcome.t:
                    own = second_of(outcome.payload, outcome.bv) if outcome.t != at else -1
                    outcomes.counts.stamps.see_one(outcome.t, own, outcome.station)
        _report(outcomes.settled(), archive.path, log)
    if broken_tags is not None:
        broken_tags.append(decoder.broken_tags)
    for rejected in decoder.finish():
        outcomes.add(rejected)
    _report(outcomes.settled(), archive.path, log)
    if outcomes.counts.received != number + 1:  # a fault of ours, never of the archive
        raise InputError(
            f"{archive.path}: {number + 1} lines read, {outcomes.counts.received} counted; please report this"
        )
    return outcomes.counts


def _report(rejected: Iterator[tuple[int, str]], path: str, log: IO[str] | None) -> None:
    for line, reason in rejected:
        if log is not None:
            print(f"{path}:{line + 1}: {reason}", file=log)


def message_json(message: Message) -> bytes:
    """One line of JSON."""
    values = {k: _plain(v) for k, v in message.payload.asdict().items()}
    values["time"] = None if math.isnan(message.t) else message.t
    return orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return int(value.value)
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value

"""``python -m stream_operator feed``: reports from an archive, standard input or TCP into the source topic.

Receivers by UDP, TCP (as client or server) or standard input: lines of sentences or of JSON; one without a time gets that of its arrival, and
once a minute it is said what came in and what was left out. Archives of any format of the decoder. Several files are merged in time order; a file that opens later than the others are read
is opened only then. Decoded tables (CSV, Parquet) are put in time order first, as many are sorted by vessel: in runs of a million rows
on disk (``TMPDIR``, 80 bytes a row) where they have more. Records are keyed by MMSI, idempotent, lz4. While the broker is away the feeder waits and goes on by itself. ``--resume FILE`` remembers how far
it got; what is sent twice around a stop counts once, by the rule for duplicates.
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, Message, Producer
from tqdm import tqdm

from multitaskais.ais.archives import STDIN, list_files, open_archive, read_reports
from multitaskais.ais.decoder import LINE_MAX
from multitaskais.ais.json_lines import json_reports
from multitaskais.ais.positions import StaticMemory
from multitaskais.ais.tables.layout import parse_columns
from multitaskais.ais.vectorized.block import BlockDecoder
from multitaskais.ais.zero import notes_of, nothing_read
from multitaskais.command import CommandParser
from multitaskais.errors import ConfigError, OperatorError
from multitaskais.records import Counts

from ..kafka import client as kafka
from ..kafka import codec as wire
from ..kafka.control import Watermark
from ..kafka.control_writer import ControlWriter
from ..kafka.topics import Admin
from ..settings import Settings
from ..worker.registry import track_rules
from . import receivers
from .external_sort import in_time_order

REMEMBER_EVERY = 50_000  # reports between two notes in the resume file

Row = tuple  # one report in the field order of REPORT_DTYPE


# ---------------------------------------------------------------- where reports come from


def archive_rows(
    paths: Iterable[str], archive_format: str | None, counts: Counts, columns: Mapping[str, str] | None = None
) -> Iterator[Row]:
    """Reports of all files, merged by time; each file is opened when its first report is due."""
    memory = StaticMemory()
    listed = list_files(paths)
    if told := listed.told():
        print(told, file=sys.stderr)
    files = listed.paths
    if len(files) == 1:
        yield from _file_rows(files[0], archive_format, memory, counts, columns)
        return
    heap: list[tuple[float, int, Row | None, Iterator[Row]]] = []
    for i, path in enumerate(files):
        if (first := _first_time(path, archive_format, columns)) is not None:
            heap.append((first, i, None, _file_rows(path, archive_format, memory, counts, columns)))
    heapq.heapify(heap)
    while heap:
        t, i, row, rest = heapq.heappop(heap)
        if row is not None:
            yield row
        if (following := next(rest, None)) is not None:
            # A file's own order stays: a report that is older than its predecessor goes right after it.
            heapq.heappush(heap, (max(t, following[1]), i, following, rest))


def _first_time(path: str, archive_format: str | None, columns: Mapping[str, str] | None) -> float | None:
    """When the first report of a file is due: a log's first one, of a table (in any order) the earliest; None when it has none."""
    table = _is_table(path, archive_format, columns)
    batches = read_reports(path, archive_format, chunk=65536 if table else 256, memory=StaticMemory(), columns=columns)
    times = (float(b.reports["t"].min() if table else b.reports["t"][0]) for b in batches if len(b.reports))
    return min(times, default=None) if table else next(times, None)


def _is_table(path: str, archive_format: str | None, columns: Mapping[str, str] | None) -> bool:
    """By the content of the first stream in the file; what comes by standard input is read as it comes."""
    if path == STDIN:
        return False
    return next((archive.is_table for archive in open_archive(path, archive_format, columns)), False)


def _file_rows(
    path: str, archive_format: str | None, memory: StaticMemory, counts: Counts, columns: Mapping[str, str] | None
) -> Iterator[Row]:
    def batches() -> Iterator[np.ndarray]:
        for batch in read_reports(path, archive_format, memory=memory, columns=columns):
            counts.add(batch.counts)
            yield batch.reports

    def spills(folder: str) -> None:
        print(f"{path}: a large table, put in order of time in {folder} first", file=sys.stderr)

    for reports in in_time_order(batches(), on_spill=spills) if _is_table(path, archive_format, columns) else batches():
        yield from iter_rows(reports)


def iter_rows(reports: np.ndarray, block: int = 10_000) -> Iterator[Row]:
    for i in range(0, len(reports), block):
        yield from reports[i : i + block].tolist()


def live_rows(
    blocks: Iterable[bytes],
    archive_format: str | None,
    counts: Counts,
    clock: Callable[[], float] = time.time,
    tell: Callable[[Counts], None] | None = None,
) -> Iterator[Row]:
    """Reports of lines as they arrive; a sentence that has no time of its own gets that of its arrival.

    tell: called after each block, also after the empty ones of a silence.
    """
    decoder = BlockDecoder(archive_format, None, StaticMemory(), arrival=True)
    carry = b""
    for block in blocks:
        *lines, carry = (carry + block).split(b"\n")
        carry = carry[: LINE_MAX + 1]  # a longer line is none
        if lines:
            now = clock()
            decoder.arrived(now)
            # A receiver's JSON without the sentences is decoded already.
            decoded = [line for line in lines if _is_decoded(line)]
            if decoded:
                lines = [line for line in lines if not _is_decoded(line)]
                for reports, of_lines in json_reports([b"\n".join(decoded) + b"\n"], "live", at=now):
                    counts.add(of_lines)
                    yield from reports.tolist()
            result = decoder.decode(b"".join(line + b"\n" for line in lines))
            counts.add(result.counts)
            yield from result.reports.tolist()
        if tell is not None:
            tell(counts)


def _is_decoded(line: bytes) -> bool:
    return line.startswith(b"{") and b"VDM," not in line and b"VDO," not in line


class MinuteTeller:
    """Says once a minute what came in and what was left out, on standard error."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, every_s: float = 60.0) -> None:
        self._monotonic, self._every_s = monotonic, every_s
        self._since = monotonic()
        self._told = Counts()

    def __call__(self, counts: Counts) -> None:
        now = self._monotonic()
        if now - self._since < self._every_s:
            return
        before = self._told
        left_out = {r: m for r, n in sorted(counts.rejected.items()) if (m := n - before.rejected.get(r, 0))}
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in left_out.items())
        print(
            f"in the last {now - self._since:.0f} s: {counts.received - before.received:,} lines, "
            f"{counts.accepted - before.accepted:,} reports" + (f", left out: {reasons}" if reasons else ""),
            file=sys.stderr,
            flush=True,
        )
        self._since = now
        self._told = Counts(counts.received, counts.accepted, dict(counts.rejected))


# ---------------------------------------------------------------- where they go


class Feeder:
    """Sends rows to the source topic and knows how many arrived."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.topic
        self.partitions = Admin(settings).partitions.get(settings.topic, 0)
        if not self.partitions:
            raise OperatorError(f"topic {settings.topic} is missing; to repair it: python -m stream_operator topics")
        config = kafka.client(
            settings, partitioner=kafka.PARTITIONER, enable_idempotence=True, compression_type="lz4", linger_ms=20
        ) | {
            "message.timeout.ms": 0,  # wait for the broker as long as it takes
            "queue.buffering.max.messages": 200_000,
        }
        self._producer = Producer(config, logger=kafka.log)
        self._controls = ControlWriter(settings)
        self._after: dict[int, int] = {}  # per partition the offset behind our last report there
        self._failed: KafkaError | None = None
        self.sent = 0
        self.t_max = 0.0

    def send(self, row: Row) -> None:
        key, value = wire.encode_report(row)
        self._produce(value, key, -1)
        self.t_max = max(self.t_max, row[1])
        self.sent += 1
        if self.sent % 1000 == 0:
            self._producer.poll(0)

    def finish(self) -> None:
        """Tell every partition that nothing older will come, so that what waits is judged and closed: by the rules of INTERVAL_MAX and MODEL."""
        self.flush()
        rules = track_rules(self._settings)
        t = self.t_max + rules.gap_max_s + rules.lateness_s + 1.0
        self._controls.send(Watermark(t=t, final=True, after=dict(self._after)))

    def flush(self) -> None:
        while self._producer.flush(5.0):
            self._check()
        self._check()

    def _produce(self, value: bytes, key: bytes, partition: int) -> None:
        kafka.produce(
            self._producer, self._topic, value, key, partition, while_full=self._check, on_delivery=self._delivered
        )

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed = error
        else:
            number = message.partition()
            self._after[number] = max(self._after.get(number, 0), message.offset() + 1)

    def _check(self) -> None:
        if self._failed is not None:
            raise OperatorError(f"a report could not be delivered to {self._topic}: {self._failed.str()}")


class Pace:
    """``max``, ``realtime``, or so many times as fast as the reports' own time."""

    def __init__(self, speed: str, clock=time.monotonic, sleep=time.sleep) -> None:
        try:
            self._factor = {"max": 0.0, "realtime": 1.0}.get(speed) if speed in ("max", "realtime") else float(speed)
        except ValueError:
            self._factor = -1.0
        if self._factor is None or not (self._factor > 0 or speed == "max"):
            raise ConfigError(f"--speed {speed}: give max, realtime, or a factor greater than 0, such as 60")
        self._clock, self._sleep = clock, sleep
        self._start: tuple[float, float] | None = None

    def wait_for(self, t: float) -> bool:
        """Wait until a report of time ``t`` is due; True when there was something to wait for."""
        if not self._factor:
            return False
        now = self._clock()
        if self._start is None:
            self._start = (now, t)
        due = self._start[0] + (t - self._start[1]) / self._factor
        if due <= now + 0.01:
            return False
        self._sleep(due - now)
        return True


def main(argv: list[str]) -> int:
    parser = CommandParser(
        "python -m stream_operator feed",
        description=__doc__,
        epilog="example: python -m stream_operator feed --speed 60 --finish out/sim/archive",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="archive files, folders or globs")
    parser.add_argument("--format", help="format of the archive (default: recognised)")
    parser.add_argument(
        "--columns", metavar="F=COLUMN,...", help="of a table: which column is what, such as sog=Speed,t=When"
    )
    parser.add_argument("--speed", default="max", help="max (default), realtime, or a factor such as 60")
    parser.add_argument(
        "--finish",
        action="store_true",
        help="at the end, tell that nothing more will come: open tracks are judged and closed",
    )
    parser.add_argument("--stdin", action="store_true", help="sentences from standard input")
    parser.add_argument("--udp", metavar="HOST:PORT", help="datagrams that AIS receivers send to this address")
    parser.add_argument("--tcp", metavar="HOST:PORT", help="connect to an AIS receiver or forwarder")
    parser.add_argument("--tcp-listen", metavar="HOST:PORT", help="receivers connect to this address")
    parser.add_argument(
        "--resume", type=Path, metavar="FILE", help="note in FILE how far the archive was sent, and go on there"
    )
    parser.add_argument("--limit", type=int, help="stop after so many reports")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--settings", type=Path, help="TOML file of settings")
    args = parser.parse_args(argv)
    if bool(args.paths) + args.stdin + bool(args.udp) + bool(args.tcp) + bool(args.tcp_listen) != 1:
        raise ConfigError(
            "feed: give archive paths, --stdin, --udp HOST:PORT, --tcp HOST:PORT or --tcp-listen HOST:PORT (one of them)"
        )
    settings = Settings.load(file=args.settings)
    pace = Pace(args.speed)
    columns = parse_columns(args.columns)
    counts = Counts()
    if args.paths:
        rows = archive_rows(args.paths, args.format, counts, columns)
    else:
        rows = live_rows(_receiver(args), args.format, counts, tell=MinuteTeller())
    feeder = Feeder(settings)
    skip = _remembered(args.resume, args.paths)
    live = not args.paths
    bar = tqdm(rows, unit=" reports", unit_scale=True, disable=args.quiet, mininterval=0.5)
    start = time.monotonic()
    try:
        for i, row in enumerate(bar):
            if i < skip:
                feeder.t_max = max(feeder.t_max, row[1])
                continue
            if args.limit is not None and feeder.sent >= args.limit:
                break
            if pace.wait_for(row[1]) or live:
                feeder._producer.poll(0)
            feeder.send(row)
            if args.resume and feeder.sent % REMEMBER_EVERY == 0:
                feeder.flush()
                _remember(args.resume, args.paths, i + 1)
        feeder.flush()
        if args.resume:
            _remember(args.resume, args.paths, skip + feeder.sent)
        if args.finish:
            feeder.finish()
    except KeyboardInterrupt:
        feeder.flush()
        if args.resume:
            _remember(args.resume, args.paths, skip + feeder.sent)
    bar.close()
    seconds = time.monotonic() - start
    print(
        f"sent {feeder.sent} reports to {settings.topic} in {seconds:.1f} s ({feeder.sent / max(seconds, 1e-9):,.0f}/s)",
        file=sys.stderr,
    )
    if rejected := sum(counts.rejected.values()):
        reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(counts.rejected.items()))
        print(f"left out {rejected} of {counts.received} lines or rows: {reasons}", file=sys.stderr)
    for note in notes_of(counts):
        print(note, file=sys.stderr)
    if args.paths and not feeder.sent and not skip and args.limit != 0:
        raise nothing_read(args.paths, counts, args.format, columns)
    return 0


def _receiver(args: argparse.Namespace) -> Iterator[bytes]:
    if args.stdin:
        return receivers.stdin_blocks()
    if args.udp:
        return receivers.udp_blocks(*receivers.address(args.udp, "--udp"))
    if args.tcp_listen:
        return receivers.tcp_server_blocks(*receivers.address(args.tcp_listen, "--tcp-listen"))
    return receivers.tcp_blocks(*receivers.address(args.tcp, "--tcp"))


def _remembered(file: Path | None, paths: list[str]) -> int:
    if file is None or not file.is_file():
        return 0
    try:
        note: dict[str, Any] = json.loads(file.read_text())
        if note["paths"] == paths:
            return int(note["sent"])
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"--resume {file}: not a note of this command; delete it to begin again") from None
    raise ConfigError(f"--resume {file}: made for {' '.join(note['paths'])}; delete it to begin again")


def _remember(file: Path, paths: list[str], sent: int) -> None:
    part = file.with_suffix(file.suffix + ".part")
    part.write_text(json.dumps({"paths": paths, "sent": sent}))
    part.replace(file)

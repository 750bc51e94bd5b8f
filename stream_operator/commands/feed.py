"""``python -m stream_operator feed``: reports from an archive, standard input or TCP into the source topic.

Receivers by UDP, TCP (as client or server) or standard input: lines of sentences or of JSON; one without a time gets that of its arrival, and
once a minute it is said what came in and what was left out, or that nothing came; a watermark shows the workers each minute of event
time how far the reports have come. SIGTERM sends what is queued and says how much that was. Archives of any format of the decoder. Several files are merged in time order; a file that opens later than the others are read
is opened only then. Decoded tables (CSV, Parquet) are put in time order first, as many are sorted by vessel: in runs of a million rows
on disk (``TMPDIR``, 80 bytes a row) where they have more. Records are keyed by MMSI, idempotent, lz4. While the broker is away the feeder waits and goes on by itself. ``--resume FILE`` remembers how far
it got; what is sent twice around a stop counts once, by the rule for duplicates.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
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
from multitaskais.config import TrackRules
from multitaskais.errors import ConfigError, OperatorError
from multitaskais.records import Counts, Reason
from multitaskais.tracks.copies import CopyMemory
from multitaskais.tracks.tracker import Report

from .. import exit_codes, pages
from ..kafka import client as kafka
from ..kafka import codec as wire
from ..kafka.control import Watermark
from ..kafka.control_writer import ControlWriter
from ..kafka.errors import Refusal, explain, explained_write, is_access_denied
from ..kafka.topics import Admin
from ..pages import PagesThread
from ..settings import Settings
from ..worker.registry import track_rules
from . import feed_daemon, receivers
from .external_sort import in_time_order
from .feed_daemon import EventTime, FeedState, Watermarks

FLUSH_TURN_S = 0.2
LEAVE_S = 4.0  # SIGTERM: reports that are queued are sent for so long
REMEMBER_EVERY = 50_000  # reports between two notes in the resume file


# ---------------------------------------------------------------- where reports come from


def archive_rows(
    paths: Iterable[str], archive_format: str | None, counts: Counts, columns: Mapping[str, str] | None = None
) -> Iterator[Report]:
    """Reports of all files, merged by time; each file is opened when its first report is due. One transmission that the archive holds again
    later, at any delay within a day, comes once."""
    memory = CopyMemory(TrackRules())
    for row in _merged_rows(paths, archive_format, counts, columns):
        if memory.is_late_copy(row):
            counts.accepted -= 1
            counts.reject(Reason.DUPLICATE)
        else:
            yield row


def _merged_rows(
    paths: Iterable[str], archive_format: str | None, counts: Counts, columns: Mapping[str, str] | None
) -> Iterator[Report]:
    memory = StaticMemory()
    listed = list_files(paths)
    if told := listed.told():
        print(told, file=sys.stderr)
    files = listed.paths
    if len(files) == 1:
        yield from _file_rows(files[0], archive_format, memory, counts, columns)
        return
    heap: list[tuple[float, int, Report | None, Iterator[Report]]] = []
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
) -> Iterator[Report]:
    def batches() -> Iterator[np.ndarray]:
        for batch in read_reports(path, archive_format, memory=memory, columns=columns):
            counts.add(batch.counts)
            yield batch.reports

    def spills(folder: str) -> None:
        print(f"{path}: a large table, put in order of time in {folder} first", file=sys.stderr)

    for reports in in_time_order(batches(), on_spill=spills) if _is_table(path, archive_format, columns) else batches():
        yield from iter_rows(reports)


def iter_rows(reports: np.ndarray, block: int = 10_000) -> Iterator[Report]:
    for i in range(0, len(reports), block):
        yield from reports[i : i + block].tolist()


def live_rows(
    blocks: Iterable[bytes],
    archive_format: str | None,
    counts: Counts,
    clock: Callable[[], float] = time.time,
    tell: Callable[[Counts], None] | None = None,
) -> Iterator[Report]:
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


# ---------------------------------------------------------------- where they go


class Feeder:
    """Sends rows to the source topic and knows how many arrived."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.topic
        self.partitions = Admin(settings).require(settings.topic)
        self._refusal = Refusal()
        config = kafka.client(
            settings, partitioner=kafka.PARTITIONER, enable_idempotence=True, compression_type="lz4", linger_ms=20
        ) | {
            "error_cb": self._refusal,
            "message.timeout.ms": 0,  # wait for the broker as long as it takes
            "queue.buffering.max.messages": 200_000,
        }
        self._producer = Producer(config, logger=kafka.log)
        self._controls = ControlWriter(settings)
        self.after: dict[int, int] = {}  # per partition the offset behind our last report there
        self._failed: KafkaError | None = None
        self.sent = 0
        self.stopped = False  # by SIGTERM or Ctrl-C
        self._in_hand = False  # a report is handed to the producer and not yet counted
        self._told_to_stop = False
        self.beat: Callable[[], None] = lambda: None  # called while the queue is full
        self.t_max = 0.0

    def send(self, row: Report) -> None:
        key, value = wire.encode_report(row)
        self._in_hand = True
        try:
            self._produce(value, key, -1)
            self.t_max = max(self.t_max, row[1])
            self.sent += 1
        finally:
            self._in_hand = False
        self._stop_if_told()
        if self.sent % 1000 == 0:
            self.poll()

    def on_signal(self, number: int, _frame: object) -> None:
        """SIGTERM or Ctrl-C: raises ``Stop`` at once, or once the report in hand is counted."""
        # One is enough, what is queued is being sent; a second Ctrl-C ends even that.
        signal.signal(number, signal.SIG_IGN if number == signal.SIGTERM else signal.default_int_handler)
        self._told_to_stop = True
        if not self._in_hand:
            raise Stop

    def _stop_if_told(self) -> None:
        if self._told_to_stop and not self.stopped:
            raise Stop

    def finish(self) -> None:
        """Tell every partition that nothing older will come, so that what waits is judged and closed: by the rules of INTERVAL_MAX and MODEL."""
        self.flush()
        rules = track_rules(self._settings)
        t = self.t_max + rules.gap_max_s + rules.lateness_s + 1.0
        self._controls.send(Watermark(t=t, final=True, after=dict(self.after)))

    def flush(self, within_s: float = math.inf) -> None:
        """Until all is acknowledged, or ``within_s`` are over."""
        give_up_at = time.monotonic() + within_s
        # In short turns: a signal is heard between two of them.
        while self._flushed(min(FLUSH_TURN_S, max(0.0, give_up_at - time.monotonic()))):
            self._check()
            self.beat()
            if time.monotonic() > give_up_at:
                return
        self._check()

    def _flushed(self, within_s: float) -> int:
        """Reports still on their way; a producer that has given up raises here or calls ``error_cb``, as it happens."""
        with self._writing():
            left: int = self._producer.flush(within_s)
            return left

    def _writing(self) -> AbstractContextManager[None]:
        return explained_write(self._settings, self._producer, self._refusal, f"topic {self._topic}")

    def poll(self) -> None:
        with self._writing():
            self._producer.poll(0)
        self._check()

    @property
    def waiting(self) -> int:
        """Reports that the broker has not yet acknowledged."""
        return len(self._producer)  # not a count of our own: SIGTERM may come in the middle of one

    def _produce(self, value: bytes, key: bytes, partition: int) -> None:
        with self._writing():
            kafka.produce(
                self._producer,
                self._topic,
                value,
                key,
                partition,
                while_full=self._while_full,
                on_delivery=self._delivered,
            )

    def _while_full(self) -> None:
        self._stop_if_told()  # the report in hand was not taken
        self._check()
        self.beat()

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed = error
        else:
            number = message.partition()
            self.after[number] = max(self.after.get(number, 0), message.offset() + 1)

    def _check(self) -> None:
        if self._refusal.error is not None:
            raise explain(self._settings, self._refusal.error, "Write", f"topic {self._topic}")
        if self._failed is not None:
            if is_access_denied(self._failed):
                raise explain(self._settings, self._failed, "Write", f"topic {self._topic}")
            raise OperatorError(f"a report could not be delivered to {self._topic}: {self._failed.str()}")


class Stop(BaseException):
    """SIGTERM or Ctrl-C. No ``Exception``: nothing on the way catches it."""


class Pace:
    """``max``, ``realtime``, or so many times as fast as the reports' own time."""

    def __init__(
        self, speed: str, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
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
    parser.add_argument(
        "--no-watermarks",
        action="store_true",
        help="of a receiver: do not tell the workers each minute how far the reports have come (another feed does)",
    )
    parser.add_argument(
        "--pages", metavar="HOST:PORT", help="of a receiver: /health, /ready and /metrics of this feed on this address"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--settings", type=Path, help="TOML file of settings")
    args = parser.parse_args(argv)
    if bool(args.paths) + args.stdin + bool(args.udp) + bool(args.tcp) + bool(args.tcp_listen) != 1:
        raise ConfigError(
            "feed: give archive paths, --stdin, --udp HOST:PORT, --tcp HOST:PORT or --tcp-listen HOST:PORT (one of them)"
        )
    if args.paths and (args.pages or args.no_watermarks):
        raise ConfigError("feed: --pages and --no-watermarks are of receivers, and PATH is an archive")
    settings = Settings.load(file=args.settings)
    pace = Pace(args.speed)
    columns = parse_columns(args.columns)
    if not args.paths:
        return _live(args, settings, pace)
    counts = Counts()
    rows = archive_rows(args.paths, args.format, counts, columns)
    feeder = Feeder(settings)
    skip = _remembered(args.resume, args.paths)
    start = time.monotonic()
    code = _send(args, rows, feeder, pace, skip, lambda row: None)
    _summary(feeder, settings, counts, start)
    if not (code or feeder.sent or feeder.stopped or skip) and args.limit != 0:
        raise nothing_read(args.paths, counts, args.format, columns)
    return code


def _live(args: argparse.Namespace, settings: Settings, pace: Pace) -> int:
    """Lines of a receiver, until there are no more or SIGTERM."""
    name = next(o for o in ("--stdin", "--udp", "--tcp", "--tcp-listen") if getattr(args, o[2:].replace("-", "_")))
    source = "standard input" if args.stdin else f"{name} {getattr(args, name[2:].replace('-', '_'))}"
    blocks = _receiver(args)
    listener = pages.listen(*receivers.address(args.pages, "--pages"), "--pages") if args.pages else None
    feeder = Feeder(settings)
    event_time = EventTime()
    watermarks = None if args.no_watermarks else Watermarks(settings, event_time)
    state = FeedState(source)

    def tick(_counts: Counts | None = None) -> None:
        if watermarks is not None:
            watermarks.tick(dict(feeder.after))
            state.watermark = watermarks.last
        state.tick(feeder.waiting, feeder.sent - feeder.waiting)

    def tick_and_poll(counts: Counts) -> None:
        feeder.poll()
        tick()

    feeder.beat = tick
    if listener is not None:
        PagesThread(listener, {"/health": state.health, "/ready": state.ready, "/metrics": state.metrics}).start()
    rows = live_rows(blocks, args.format, state.counts, tell=tick_and_poll)
    start = time.monotonic()
    code = _send(args, rows, feeder, pace, 0, lambda row: event_time.take(row[1]))
    if watermarks is not None:
        watermarks.flush(feed_daemon.LEAVE_S)
    _summary(feeder, settings, state.counts, start)
    return code


def _send(
    args: argparse.Namespace,
    rows: Iterator[Report],
    feeder: Feeder,
    pace: Pace,
    skip: int,
    sent: Callable[[Report], None],
) -> int:
    """All rows but the first ``skip``, until SIGTERM or Ctrl-C; the exit code."""
    bar = tqdm(rows, unit=" reports", unit_scale=True, disable=args.quiet, mininterval=0.5)
    live = not args.paths
    try:
        signal.signal(signal.SIGTERM, feeder.on_signal)  # until here there is nothing to make durable
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not ignored, as behind ``nohup``
            signal.signal(signal.SIGINT, feeder.on_signal)
        for i, row in enumerate(bar):
            if i < skip:
                feeder.t_max = max(feeder.t_max, row[1])
                continue
            if args.limit is not None and feeder.sent >= args.limit:
                break
            if pace.wait_for(row[1]) or live:
                feeder.poll()
            feeder.send(row)
            sent(row)
            if args.resume and feeder.sent % REMEMBER_EVERY == 0:
                feeder.flush()
                _remember(args.resume, args.paths, i + 1)
        feeder.flush()
        if args.finish:
            feeder.finish()
    except (KeyboardInterrupt, Stop):
        feeder.stopped = True
        feeder.flush(LEAVE_S)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        bar.close()
    if args.resume and not feeder.waiting:
        _remember(args.resume, args.paths, skip + feeder.sent)
    return exit_codes.TEMPFAIL if feeder.waiting else 0


def _summary(feeder: Feeder, settings: Settings, counts: Counts, start: float) -> None:
    seconds = time.monotonic() - start
    lost = f"; {feeder.waiting} of them did not reach the broker" if feeder.waiting else ""
    print(
        f"sent {feeder.sent} reports to {settings.topic} in {seconds:.1f} s ({feeder.sent / max(seconds, 1e-9):,.0f}/s){lost}",
        file=sys.stderr,
    )
    if rejected := sum(counts.rejected.values()):
        reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(counts.rejected.items()))
        print(f"left out {rejected} of {counts.received} lines or rows: {reasons}", file=sys.stderr)
    for note in notes_of(counts):
        print(note, file=sys.stderr)


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

"""Blocks of lines -> arrays of position reports; each line has one outcome code.

    decoder = BlockDecoder(line_format=None, at=None)
    for block in blocks_of_whole_lines:
        result = decoder.decode(block)          # bytes, or a pyarrow (large_)string / binary array of lines
    rest = decoder.finish()                     # the parts whose message never became whole

    decode_block(lines)                         # the same for lines that stand alone (one Spark partition)

A line is *accepted* (code 0) when it gives a report (a line into which two sentences ran gives two); a position message in several parts gives it on the line that
completes it, the other parts are ``not_a_position``. Each other line has the code of one ``Reason`` (``CODES``); a part
whose message is not whole at the end of the block has ``WAITING`` and is counted when it is settled, by a later call.
So ``counts.received = counts.accepted + sum(counts.rejected)`` holds for each result and for their sum, and the sum of
``received`` is the number of lines.

Order of lines is kept. ``ship_type`` and ``ship_name`` of a report are what its vessel said before that line.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...records import Counts, PositionReport, Reason
from ...stamps import Stamps, ahead_of_second, are_coarse, is_redated, require_plausible_span
from ...types import Reports
from ..decoder import Context, Decoder, Message, Rejected
from ..log_clock import Year
from ..positions import Heard, StaticData, StaticMemory, report_of, rows_to_array, static_of
from ..sentinels import clean_station
from . import positions as kernel
from . import statics as kernel_static
from .statics import Statics
from .stations import name_stations
from .timestamps import PADDING

if TYPE_CHECKING:
    import pyarrow as pa

Lines: TypeAlias = "bytes | bytearray | memoryview | pa.Array | pa.ChunkedArray"

LineKernel: TypeAlias = "kernel.LineKernel | Literal['auto'] | None"

# To load or compile a kernel takes some seconds: as long as NumPy takes for millions of lines.
COMPILED_FROM = 1_000_000

COMPARED_MAX = 4096  # stamps of a block, about, that are compared with the ships' own seconds; evenly drawn

# Code of an accepted line, of each reason, and of a part that waits for the others of its message.
ACCEPTED = 0
CODES: tuple[Reason, ...] = tuple(Reason)
CODE_OF: dict[Reason, int] = {reason: i + 1 for i, reason in enumerate(CODES)}
WAITING = 255


class Block(NamedTuple):
    """What n lines gave."""

    reports: Reports  # (m,) of REPORT_DTYPE, in the order of lines
    line: NDArray[np.int64]  # (m,) line of each report, from 0 in this block
    codes: NDArray[np.uint8]  # (n,) outcome of each line: ACCEPTED, a code of CODES, or WAITING
    statics: list[StaticData]  # heard in this block, in the order of lines
    counts: Counts  # of the lines settled by this call


def reason_of(code: int) -> Reason | None:
    """The reason behind a code; None for ACCEPTED and WAITING."""
    return CODES[code - 1] if 0 < code <= len(CODES) else None


def count_codes(codes: NDArray[np.uint8]) -> Counts:
    """Counts of settled lines."""
    n = np.bincount(codes, minlength=256)
    counts = Counts(received=int(len(codes) - n[WAITING]), accepted=int(n[ACCEPTED]))
    for i, reason in enumerate(CODES):
        counts.reject(reason, int(n[i + 1]))
    return counts


@functools.cache
def compiled_kernel() -> kernel.LineKernel:
    """The compiled kernel where numba is installed (extra ``fast``), else NumPy's."""
    try:
        from .compiled import numba_kernel
    except ImportError:
        return kernel.numpy_kernel
    return numba_kernel


# a kernel's outcome -> the code of the line
_OF_KERNEL = np.full(256, WAITING, dtype=np.uint8)
_OF_KERNEL[kernel.REPORT] = ACCEPTED
_OF_KERNEL[kernel.NO_TIME] = CODE_OF[Reason.NO_TIME]
_OF_KERNEL[kernel.BAD_MMSI] = CODE_OF[Reason.BAD_MMSI]
_OF_KERNEL[kernel.NO_POSITION] = CODE_OF[Reason.NO_POSITION]
_OF_KERNEL[kernel.NOT_A_POSITION] = CODE_OF[Reason.NOT_A_POSITION]


class _Work:
    """One block on its way: outcomes of its lines, reports and static data of those decoded one by one."""

    def __init__(self, codes: NDArray[np.uint8], first_line: int, waiting: set[int]) -> None:
        self.codes = codes
        self.first_line = first_line
        self.waiting = waiting  # lines of earlier blocks without an outcome yet
        self.rows: list[PositionReport] = []
        self.row_lines: list[int] = []
        self.statics: list[StaticData] = []
        self.heard: list[tuple[int, int, Heard]] = []  # (line, mmsi, what is known of it from there on)
        self.older = Counts()  # lines of earlier blocks that were settled by this one

    def settle(self, line: int, reason: Reason) -> None:
        i = line - self.first_line
        if i < 0:
            if line in self.waiting:  # a line may hold two parts, but it is counted once
                self.waiting.remove(line)
                self.older.received += 1
                self.older.reject(reason)
        elif self.codes[i] == WAITING:
            self.codes[i] = CODE_OF[reason]


class BlockDecoder:
    """State between the blocks of one archive: open parts, times that wait, names heard.

    line_format: one of ``framing.LINE_FORMATS``, None = each line by itself. at: Unix s for lines without time.
    memory: names heard in earlier files of the same archive. line_kernel: what decodes lines many at a time; "auto"
    takes the compiled one, where there is one, from ``COMPILED_FROM`` lines on; None leaves every line to pyais.
    arrival: ``at`` is when the lines arrived (live), so it also dates a sentence whose tag block cannot be trusted.
    year: of stamps that have none (``log_clock``).
    by_second: the stamps are coarse (``has_coarse_stamps``), so reports are dated by the ships' own seconds (``multitaskais.stamps``).
    """

    def __init__(
        self,
        line_format: str | None = None,
        at: float | None = None,
        memory: StaticMemory | None = None,
        line_kernel: LineKernel = "auto",
        arrival: bool = False,
        by_second: bool = False,
        year: Year | None = None,
    ) -> None:
        self._by_second = by_second
        self._decoder = Decoder(line_format, at, arrival, year)
        self._kernel = line_kernel
        self._trust = kernel.Trust(
            cdv=line_format in (None, "cdv"),
            tagblock=line_format in (None, "tagblock"),
            suffix=line_format in (None, "suffix"),
            at=float("nan") if at is None else float(at),
        )
        self.memory = StaticMemory() if memory is None else memory
        self._lines = 0  # lines before the present block
        self._waiting: set[int] = set()

    @property
    def broken_tags(self) -> int:
        """Sentences so far whose tag block has a wrong checksum; its time was not used."""
        return self._decoder.broken_tags

    def arrived(self, t: float) -> None:
        """What comes next without a time of its own is of the moment ``t``, Unix s."""
        self._decoder.at = t
        self._trust = self._trust._replace(at=t)

    def decode(self, lines: Lines) -> Block:
        """Reports and counts of a block of whole lines, as ``Decoder`` gives them line by line. Parts of messages wait for the next block."""
        buf, starts, ends = locate_lines(lines)
        n = len(starts)
        if self._kernel is None:
            scan = kernel.Scan(np.full(n, kernel.LEFT, np.uint8), rows_to_array([]))
        elif self._kernel == "auto":
            now = kernel.numpy_kernel if self._lines < COMPILED_FROM else compiled_kernel()
            scan = now(buf, starts, ends, self._trust)
        else:
            scan = self._kernel(buf, starts, ends, self._trust)
        if (scan.codes == kernel.NO_TIME).any():
            # The log may have a clock of its own, in lines between (RMC, ZDA, message 4): all in their order.
            scan.codes[(scan.codes == kernel.NO_TIME) | (scan.codes == kernel.NOT_A_POSITION)] = kernel.LEFT
        work = _Work(_OF_KERNEL[scan.codes], self._lines, self._waiting)
        fast_lines = np.flatnonzero(scan.codes == kernel.REPORT)
        fast = scan.reports
        self.memory.attach(fast)
        named = name_stations(fast, buf, starts[fast_lines], ends[fast_lines])
        statics = kernel_static.NONE
        if self._kernel is not None:
            statics = kernel_static.find(buf, starts, ends, np.flatnonzero(scan.codes == kernel.LEFT), self._trust)
        taken_back = self._one_by_one(buf, starts, ends, scan.codes, statics, work)
        if taken_back:
            keep = ~np.isin(fast_lines, taken_back)
            fast_lines, fast = fast_lines[keep], fast[keep]
        _hear_later(fast, fast_lines, work.heard)
        self._waiting.update((np.flatnonzero(work.codes == WAITING) + self._lines).tolist())
        self._lines += n
        counts = count_codes(work.codes)
        counts.add(work.older)
        reports, report_lines = _merge(fast, fast_lines, work)
        self._date(reports, counts.stamps, named or any(row.station for row in work.rows))
        return Block(reports, report_lines, work.codes, work.statics, counts)

    def _one_by_one(
        self,
        buf: NDArray[np.uint8],
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        left: NDArray[np.uint8],
        statics: Statics,
        work: _Work,
    ) -> list[int]:
        """Decode through pyais what the kernels left, and a line whose time stands on the line before it.

        Returns the lines that the kernel had decoded and that were decoded again.
        """
        taken_back: list[int] = []
        done = -1
        raw = memoryview(buf.data)
        paired: dict[int, int] = {}  # number of a pair whose second part is still to come -> line of the first
        first = [0] if self._decoder.waiting and len(starts) else []
        for i in first + np.flatnonzero(left == kernel.LEFT).tolist():
            line = i
            while line > done and line < len(starts):
                done = line
                if not self._decoder.waiting and self._heard(line, statics, paired, work):
                    break
                if left[line] != kernel.LEFT:
                    taken_back.append(line)
                    work.codes[line] = WAITING
                self._feed(line, bytes(raw[starts[line] : ends[line]]), work)
                line = line + 1 if self._decoder.waiting else -1
        return taken_back

    def _heard(self, line: int, statics: Statics, paired: dict[int, int], work: _Work) -> bool:
        """Take a line of static data that is decoded already; False where pyais and the assembler have to see it."""
        if line in statics.alone:
            said = statics.alone[line]
        elif (pair := statics.first.get(line, -1)) >= 0:
            if self._decoder.free(statics.keys[pair], len(statics.keys)):
                paired[pair] = line
                return True
            return False
        elif (pair := statics.second.get(line, -1)) in paired:
            work.codes[paired.pop(pair)] = CODE_OF[Reason.NOT_A_POSITION]
            said = statics.said[pair]
        else:
            return False
        work.codes[line] = CODE_OF[Reason.NOT_A_POSITION]
        if said is not None:
            self._hear(line, said, work)
        return True

    def _hear(self, line: int, said: StaticData, work: _Work) -> None:
        work.statics.append(said)
        if self.memory.hear(said):
            work.heard.append((line, said.mmsi, self.memory.get(said.mmsi)))

    def _feed(self, i: int, text: bytes, work: _Work) -> None:
        for outcome in self._decoder.feed(self._lines + i, text):
            if isinstance(outcome, Context):
                work.settle(outcome.line, Reason.NOT_A_POSITION)
            elif isinstance(outcome, Rejected):
                work.settle(outcome.line, outcome.reason)
            else:
                self._message(i, outcome, work)

    def _message(self, i: int, message: Message, work: _Work) -> None:
        m, bv = message.payload, message.bv
        if (static := static_of(m.msg_type, m, bv, message.t)) is not None:
            self._hear(i, static, work)
        report = report_of(m.msg_type, m, bv, message.t)
        for line in message.lines:
            if line != message.line:
                work.settle(line, Reason.NOT_A_POSITION)
        if isinstance(report, Reason):
            work.settle(message.line, report)
            return
        heard = self.memory.get(report.mmsi)
        station = clean_station(message.station)
        work.rows.append(report._replace(ship_type=heard.ship_type, ship_name=heard.name, station=station))
        work.row_lines.append(i)
        work.codes[i] = ACCEPTED

    def _date(self, reports: Reports, stamps: Stamps, named: bool) -> None:
        """Compare the stamps with the ships' own seconds; in place, date by them where that was asked for. What has no stamp of its own
        (``at``) is left out."""
        t = reports["t"].copy()
        some = slice(None) if self._by_second else slice(None, None, max(1, len(t) // COMPARED_MAX))
        ahead = ahead_of_second(t[some], reports["second"][some])
        if self._trust.at == self._trust.at:
            ahead[t[some] == self._trust.at] = np.nan
        stamps.compare(ahead, reports["station"][some] if named else None)
        if self._by_second:
            off = np.flatnonzero(is_redated(ahead))
            t[off] -= ahead[off]
            reports["t"] = t
            stamps.redated += len(off)
        stamps.see(t)

    def finish(self) -> Counts:
        """Counts of the parts that still wait: ``incomplete``. The decoder may go on with another archive."""
        work = _Work(np.zeros(0, dtype=np.uint8), self._lines, self._waiting)
        for rejected in self._decoder.finish():
            work.settle(rejected.line, rejected.reason)
        return work.older


@functools.lru_cache(16)
def has_coarse_stamps(head: bytes, line_format: str | None = None, where: str = "") -> bool:
    """Whether the first lines of a log show stamps that the ships' own seconds correct; ``head``: its first bytes.

    Raises ``InputError``, which names ``where``, when they can be no times.
    """
    whole = head[: head.rfind(b"\n") + 1] or head
    reports = BlockDecoder(line_format, line_kernel=kernel.numpy_kernel).decode(whole).reports
    require_plausible_span(reports["t"], where)
    return are_coarse(ahead_of_second(reports["t"], reports["second"]))


def _hear_later(reports: Reports, lines: NDArray[np.int64], heard: list[tuple[int, int, Heard]]) -> None:
    """Names heard within the block reach the reports of later lines, in place."""
    if not heard:
        return
    order = np.argsort(reports["mmsi"], kind="stable")
    mmsi = reports["mmsi"][order]
    for line, of, what in heard:
        lo, hi = np.searchsorted(mmsi, [of, of + 1])
        of_vessel = order[lo:hi]
        later = of_vessel[np.searchsorted(lines[of_vessel], line, side="right") :]
        reports["ship_type"][later], reports["ship_name"][later] = what.ship_type, what.name


def _merge(fast: Reports, fast_lines: NDArray[np.int64], work: _Work) -> tuple[Reports, NDArray[np.int64]]:
    """Both kinds of reports in the order of lines."""
    if not work.rows:
        return fast, fast_lines
    lines = np.concatenate([fast_lines, np.array(work.row_lines, dtype=np.int64)])
    order = np.argsort(lines, kind="stable")
    return np.concatenate([fast, rows_to_array(work.rows)])[order], lines[order]


def locate_lines(lines: Lines) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """A padded buffer, and where each line begins and ends in it; an empty piece after the last end is no line."""
    if isinstance(lines, bytes | bytearray | memoryview):
        data = np.frombuffer(lines, dtype=np.uint8)
        ends = np.flatnonzero(data == ord("\n"))
        if len(data) and data[-1] != ord("\n"):
            ends = np.append(ends, len(data))
        starts = np.empty_like(ends)
        starts[:1], starts[1:] = 0, ends[:-1] + 1
    else:
        data, starts, ends = _arrow_lines(lines)
    buf = np.empty(len(data) + PADDING, dtype=np.uint8)
    buf[: len(data)], buf[len(data) :] = data, ord("\n")
    returned = (ends > starts) & (buf[ends - 1] == ord("\r"))
    return buf, starts, ends - returned


def _arrow_lines(lines: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """The buffers of an Arrow array of text or bytes; a null is an empty line."""
    import pyarrow as pa

    if isinstance(lines, pa.ChunkedArray):
        lines = lines.combine_chunks()
        lines = pa.concat_arrays(lines.chunks) if isinstance(lines, pa.ChunkedArray) else lines
    lines = lines.cast(pa.large_binary())
    _, offsets, data = lines.buffers()
    if not len(lines):
        return np.zeros(0, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64)
    where = np.frombuffer(offsets, dtype=np.int64)[lines.offset : lines.offset + len(lines) + 1]
    text = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, np.uint8)
    starts, ends = where[:-1] - where[0], where[1:] - where[0]
    if lines.null_count:
        ends = np.where(lines.is_null().to_numpy(zero_copy_only=False), starts, ends)
    return text[where[0] : where[-1]], starts, ends


def decode_block(
    lines: Lines,
    line_format: str | None = None,
    at: float | None = None,
    line_kernel: LineKernel = "auto",
) -> Block:
    """Lines that stand alone: as ``BlockDecoder``, with nothing before and nothing after; no code is WAITING."""
    decoder = BlockDecoder(line_format, at, line_kernel=line_kernel)
    block = decoder.decode(lines)
    rest = decoder.finish()
    codes = np.where(block.codes == WAITING, CODE_OF[Reason.INCOMPLETE], block.codes).astype(np.uint8)
    block.counts.add(rest)
    return block._replace(codes=codes)

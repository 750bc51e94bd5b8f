"""Blocks of lines -> arrays of position reports; each line has one outcome code.

    decoder = BlockDecoder(line_format=None, at=None)
    for block in blocks_of_whole_lines:
        result = decoder.decode(block)          # bytes, or a pyarrow (large_)string / binary array of lines
    rest = decoder.finish()                     # the parts whose message never became whole

    decode_block(lines)                         # the same for lines that stand alone (one Spark partition)

A line is *accepted* (code 0) when it gives a report; a position message in several parts gives it on the line that
completes it, the other parts are ``not_a_position``. Each other line has the code of one ``Reason`` (``CODES``); a part
whose message is not whole at the end of the block has ``WAITING`` and is counted when it is settled, by a later call.
So ``counts.received = counts.accepted + sum(counts.rejected)`` holds for each result and for their sum, and the sum of
``received`` is the number of lines.

Order of lines is kept. ``ship_type`` and ``ship_name`` of a report are what its vessel said before that line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..records import Counts, PositionReport, Reason
from .decoder import Context, Decoder, Rejected
from .positions import StaticData, StaticMemory, report_of, rows_to_array, static_of

if TYPE_CHECKING:
    import pyarrow as pa

Lines: TypeAlias = "bytes | bytearray | memoryview | pa.Array | pa.ChunkedArray"

# Code of an accepted line, of each reason, and of a part that waits for the others of its message.
ACCEPTED = 0
CODES: tuple[Reason, ...] = tuple(Reason)
CODE_OF: dict[Reason, int] = {reason: i + 1 for i, reason in enumerate(CODES)}
WAITING = 255


class Block(NamedTuple):
    """What n lines gave."""

    reports: NDArray[np.void]  # (m,) of REPORT_DTYPE, in the order of lines
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


class BlockDecoder:
    """State between the blocks of one archive: open parts, times that wait, names heard.

    line_format: one of ``framing.LINE_FORMATS``, None = each line by itself. at: Unix s for lines without time.
    memory: names heard in earlier files of the same archive.
    """

    def __init__(
        self, line_format: str | None = None, at: float | None = None, memory: StaticMemory | None = None
    ) -> None:
        self._decoder = Decoder(line_format, at)
        self.memory = StaticMemory() if memory is None else memory
        self._lines = 0  # lines before the present block

    def decode(self, lines: Lines) -> Block:
        texts = split_lines(lines)
        codes = np.full(len(texts), WAITING, dtype=np.uint8)
        rows: list[PositionReport] = []
        row_lines: list[int] = []
        statics: list[StaticData] = []
        older = Counts()

        def settle(line: int, code: int) -> None:
            i = line - self._lines
            if i < 0:
                older.received += 1
                older.reject(CODES[code - 1])
            elif codes[i] == WAITING:
                codes[i] = code

        for i, text in enumerate(texts):
            for outcome in self._decoder.feed(self._lines + i, text):
                if isinstance(outcome, Context):
                    settle(outcome.line, CODE_OF[Reason.NOT_A_POSITION])
                elif isinstance(outcome, Rejected):
                    settle(outcome.line, CODE_OF[outcome.reason])
                else:
                    m = outcome.payload
                    if (static := static_of(m.msg_type, m, outcome.bv, outcome.t)) is not None:
                        statics.append(static)
                        self.memory.hear(static)
                    report = report_of(m.msg_type, m, outcome.bv, outcome.t)
                    for line in outcome.lines:
                        if line != outcome.line:
                            settle(line, CODE_OF[Reason.NOT_A_POSITION])
                    if isinstance(report, Reason):
                        settle(outcome.line, CODE_OF[report])
                    else:
                        heard = self.memory.get(report.mmsi)
                        rows.append(report._replace(ship_type=heard.ship_type, ship_name=heard.name))
                        row_lines.append(i)
                        settle(outcome.line, ACCEPTED)
        self._lines += len(texts)
        counts = count_codes(codes)
        counts.add(older)
        return Block(rows_to_array(rows), np.array(row_lines, dtype=np.int64), codes, statics, counts)

    def finish(self) -> Counts:
        """Counts of the parts that still wait: ``incomplete``. The decoder may go on with another archive."""
        counts = Counts()
        for rejected in self._decoder.finish():
            counts.received += 1
            counts.reject(rejected.reason)
        return counts


def split_lines(lines: Lines) -> list[bytes]:
    """Lines without their ends; an empty piece after the last end is no line."""
    if isinstance(lines, bytes | bytearray | memoryview):
        pieces = bytes(lines).split(b"\n")
        if not pieces[-1]:
            pieces.pop()
        return pieces
    return [(v.encode() if isinstance(v, str) else v) or b"" for v in lines.to_pylist()]


def decode_block(lines: Lines, line_format: str | None = None, at: float | None = None) -> Block:
    """Lines that stand alone: as ``BlockDecoder``, with nothing before and nothing after; no code is WAITING."""
    decoder = BlockDecoder(line_format, at)
    block = decoder.decode(lines)
    rest = decoder.finish()
    codes = np.where(block.codes == WAITING, CODE_OF[Reason.INCOMPLETE], block.codes).astype(np.uint8)
    block.counts.add(rest)
    return block._replace(codes=codes)

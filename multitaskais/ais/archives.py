"""Archives of any kind -> position reports, streamed.

    for reports, counts in read_reports(["2011/*/*.cdv", "noaa.parquet"]):
        ...

Lines of sentences (``framing``), receivers' JSON, decoded tables as CSV or Parquet (``tables``), in any container (``containers``). The
kind is recognised by content; ``format`` overrides. Only a file that cannot be read, or in which nothing is recognised, raises, an
``InputError`` that names it; whatever stands in it is counted. ``list_files`` is the one list of files of all commands.
"""

from __future__ import annotations

import glob
import io
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple, cast

from ..errors import FormatError, InputError
from ..records import Counts
from ..types import Reports
from . import containers, log_clock
from .containers import HEAD_BYTES, Forward, Member, readable
from .decoder import LINE_MAX
from .framing import LINE_FORMATS, Framer, sniff_line_format
from .json_lines import json_reports, looks_like_messages, one_document
from .log_clock import Year
from .positions import StaticMemory
from .tables.layout import TABLE_FORMATS, Layout, layout_of
from .tables.reading import csv_reports, parquet_reports
from .vectorized.block import BlockDecoder, has_coarse_stamps

FORMATS = (*LINE_FORMATS, *TABLE_FORMATS)
STDIN = "-"
BYTES_PER_LINE = 72  # of a .cdv position line: turns a number of lines into a number of bytes to read
CHUNK_LINES = 65536
CSV_BLOCK_BYTES = 1 << 22
_SUFFIXES = {".cdv", ".nmea", ".nm4", ".ais", ".aivdm", ".log", ".txt", ".json", ".jsonl", ".ndjson"}
_SUFFIXES |= {".csv", ".tsv", ".parquet"}
_SUFFIXES |= {".gz", ".zip", ".bz2", ".xz", ".zst", ".lz4", ".tar", ".tgz"}
# Never an archive, whatever stands in it: texts about it, programs, and what is being written or checked.
_OTHER_SUFFIXES = {".md", ".rst", ".html", ".htm", ".pdf", ".png", ".jpg", ".py", ".sh", ".toml", ".yml", ".yaml"}
_OTHER_SUFFIXES |= {".crc", ".md5", ".sha256", ".tmp", ".part", ".swp", ".lock"}


class Batch(NamedTuple):
    """Some lines' or rows' worth of an archive."""

    reports: Reports  # (m,) of REPORT_DTYPE
    counts: Counts


class Files(NamedTuple):
    """The archives among what was asked for."""

    paths: list[str]  # in the order asked for, sorted within each folder or pattern
    passed_over: list[str]  # files of a folder or pattern that are none, or whose format is not known

    def told(self) -> str:
        """One line on what was passed over; empty where nothing was."""
        n = len(self.passed_over)
        if not n:
            return ""
        shown = ", ".join(os.path.basename(p) for p in self.passed_over[:5]) + (", ..." if n > 5 else "")
        return f"passed over {n} file{'s' if n > 1 else ''} in which no AIS is recognised: {shown}"


def list_files(paths: Iterable[str | Path]) -> Files:
    """Files, folders (all archives in them, any depth) and glob patterns -> files. Standard input is ``-``.

    A name that is there is that file, also with ``[``, ``:`` or ``*`` in it. In a folder a file counts by the ending of its name (also of a
    rotated log, ``ais.log.2.gz``), and where that says nothing by its content. A pattern passes over what is surely no archive (texts,
    programs, unfinished files) unless it names that ending itself. Raises InputError for one that matches nothing.
    """
    files: list[str] = []
    passed_over: list[str] = []
    for given in paths:
        text = str(given)
        path = Path(text)
        if text == STDIN or (os.path.lexists(text) and not os.path.isdir(text)):
            files.append(text)
            continue
        if os.path.isdir(text):
            found = sorted(_files_below(path))
            # Spark and editors leave files and folders behind whose names begin so
            found = [p for p in found if not any(part[0] in "._" for part in p.relative_to(path).parts)]
            mine = [str(p) for p in found if _is_archive(p)]
            passed_over += sorted({str(p) for p in found} - set(mine))
        else:
            there = sorted(p for p in glob.glob(text, recursive=True) if os.path.isfile(p))
            named = Path(text).suffix.lower()
            mine = [p for p in there if (suffix := Path(p).suffix.lower()) == named or suffix not in _OTHER_SUFFIXES]
            passed_over += sorted(set(there) - set(mine))
        if not mine:
            _refuse_what_may_not_be_read(text)
            raise InputError(f"{text}: no such file, and as a folder or pattern it matches nothing that is an archive")
        files += mine
    return Files(files, passed_over)


def expand(paths: Iterable[str | Path]) -> list[str]:
    """The files of ``list_files``."""
    return list_files(paths).paths


def _files_below(folder: Path) -> Iterator[Path]:
    """All files of a folder at any depth. Raises InputError for a folder that this user may not read: its files would be missed in silence."""

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: {error.strerror}; its files cannot be listed")

    for parent, _, names in os.walk(folder, onerror=refuse):
        yield from (path for name in names if os.path.isfile(path := Path(parent, name)))


def _refuse_what_may_not_be_read(text: str) -> None:
    """Raises InputError where a name or pattern matches nothing only because a folder on its way is closed to this user."""
    path = Path(text)
    try:
        path.exists()
        if glob.has_magic(text):
            folder = next(p for p in (path, *path.parents) if not glob.has_magic(str(p)))
            if folder.is_dir():
                os.scandir(folder).close()
    except OSError as error:  # closed, or a name that no file can have
        raise InputError(f"{text[:200]}: {error.strerror}") from None


def _is_archive(path: Path) -> bool:
    """Whether a file of a folder is one to read."""
    suffix = path.suffix.lower()
    if suffix in _SUFFIXES:
        return True
    if suffix in _OTHER_SUFFIXES:
        return False
    try:
        if not path.stat().st_size:
            return False
        for archive in open_archive(path):
            return archive.format is not None
    except InputError:
        return False
    return False


def open_members(path: str | Path) -> Iterator[Member]:
    """The streams of one archive file, unpacked; ``-`` is standard input."""
    text = str(path)
    if text == STDIN:
        yield from containers.members("standard input", cast(IO[bytes], Forward(sys.stdin.buffer)))
        return
    with readable(text), open(text, "rb") as f:
        yield from containers.members(text, f)


class Archive:
    """One stream, its kind recognised.

    Attributes:
        format: one of ``FORMATS``; None where nothing is recognised in the first bytes.
        layout: of a table in text.
        columns: what the user said of the table's columns.
    """

    def __init__(
        self, member: Member, archive_format: str | None = None, columns: Mapping[str, str] | None = None
    ) -> None:
        self.path = member.path
        self.given = archive_format
        self.columns = columns
        self.is_parquet = member.is_parquet
        self._member = member
        self.layout: Layout | None = None
        self.format: str | None
        self.is_json = False
        self._time_lines_follow = False
        if member.is_parquet:
            self.format = "tracks"
            return
        self._stream = io.BufferedReader(cast(io.RawIOBase, Forward(member.stream)), buffer_size=HEAD_BYTES)
        with readable(self.path):
            self.head = self._stream.peek(HEAD_BYTES)
        if archive_format not in LINE_FORMATS:
            self.layout = layout_of(self.head, self.path, archive_format, columns)
            if self.layout is None and archive_format in TABLE_FORMATS:
                raise FormatError(
                    f"{self.path}: line 1 has no columns of a table of reports; leave --format out if it is none"
                )
        if self.layout is not None:
            self.format = self.layout.format
        elif archive_format not in LINE_FORMATS and is_json_table(self.head):
            self.format, self.is_json = "tracks", True
        elif how := one_document(self.head):
            raise InputError(f"{self.path}: reports as one JSON document: write one object a line ({how})")
        else:
            lines = self.head.split(b"\n")
            self.format = archive_format or sniff_line_format(lines[:-1] or lines)
            self._time_lines_follow = log_clock.time_lines_follow(self.head)

    @property
    def is_table(self) -> bool:
        return self.is_parquet or self.is_json or self.layout is not None

    @property
    def has_coarse_stamps(self) -> bool:
        """Whether its reports are to be dated by the ships' own seconds; of sentences alone."""
        head = b"".join(log_clock.time_lines_first([self.head])) if self._time_lines_follow else self.head
        return not self.is_table and has_coarse_stamps(head, self.given, self.path)

    @property
    def year(self) -> Year:
        """Of stamps that have none: as asked for, of another time in the log, or of its name."""
        asked = log_clock.asked_year(self.columns)
        if self.is_table or asked != Year() or not log_clock.lacks_year(self.head):
            return asked
        framer = Framer()
        for line in self.head.split(b"\n"):
            t = next((f.t for f in framer.frame(line).frames if f.t == f.t), framer.clock)
            if t == t:
                return Year(near=t)
        return log_clock.year_of_name(self.path)

    def line_blocks(self, size_bytes: int) -> Iterator[bytes]:
        """Whole lines of about ``size_bytes`` together, time lines before their sentences. Of an enormous line only the first bytes are kept."""
        blocks = self._line_blocks(size_bytes)
        return log_clock.time_lines_first(blocks) if self._time_lines_follow else blocks

    def _line_blocks(self, size_bytes: int) -> Iterator[bytes]:
        carry, skipping = b"", False
        while True:
            with readable(self.path):
                data = self._stream.read(size_bytes)
            if not data:
                break
            if skipping:
                end = data.find(b"\n")
                if end < 0:
                    continue
                carry, data, skipping = carry, data[end:], False
            cut = data.rfind(b"\n") + 1
            if cut:
                yield carry + data[:cut]
                carry = data[cut:]
            else:
                carry += data
            if len(carry) > max(size_bytes, 16 * LINE_MAX):
                carry, skipping = carry[: LINE_MAX + 1], True
        if carry:
            yield carry

    def lines(self) -> Iterator[bytes]:
        """Line by line, without the ends."""
        for block in self.line_blocks(1 << 20):
            pieces = block.split(b"\n")
            yield from pieces if pieces[-1] else pieces[:-1]

    def batches(self, at: float | None, chunk: int, memory: StaticMemory) -> Iterator[Batch]:
        """Reports and counts of the member, some ``chunk`` lines at a time; every line is in one count.

        Args:
            at: Unix s, of sentences without a time; None: they are rejected.
            memory: names and types of ships, which later batches know too.

        Raises:
            InputError: the member cannot be read to its end.
        """
        if self.is_parquet:
            for part in parquet_reports(self._member.stream, self.given, chunk, self.path, self.columns):
                yield Batch(*part)
            return
        if self.layout is not None:
            for part in csv_reports(self.line_blocks(CSV_BLOCK_BYTES), self.layout, self.path, chunk):
                yield Batch(*part)
            return
        if self.is_json:
            for part in json_reports(self.line_blocks(CSV_BLOCK_BYTES), self.path, self.columns):
                yield Batch(*part)
            return
        # Unless a format is asked for, each line may show its time in its own way.
        decoder = BlockDecoder(self.given, at, memory, by_second=self.has_coarse_stamps, year=self.year)
        for block in self.line_blocks(chunk * BYTES_PER_LINE):
            result = decoder.decode(block)
            yield Batch(result.reports, result.counts)
        if (rest := decoder.finish()).received:
            yield Batch(result.reports[:0], rest)


def is_json_table(head: bytes) -> bool:
    """Whether the first bytes are decoded messages as JSON, a line each, without their sentences."""
    return head.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"{") and b"VDM," not in head and looks_like_messages(head)


def is_plain_lines(path: str, format: str | None = None, columns: Mapping[str, str] | None = None) -> bool:
    """Whether a file is lines of sentences as they stand there, so that it may be read in pieces: in no container, no table, and with
    stamps that stand for themselves, whatever comes before them."""
    with readable(path), open(path, "rb") as f:
        head = f.read(HEAD_BYTES)
    return (
        containers.is_plain_text(head)
        and (format in LINE_FORMATS or layout_of(head, path, format, columns) is None)
        and format not in TABLE_FORMATS
        and (format in LINE_FORMATS or not is_json_table(head))
        and not has_coarse_stamps(head, format, path)
        and not log_clock.lacks_year(head)
        and not log_clock.time_lines_follow(head)
        and not _is_bare(head)
    )


def _is_bare(head: bytes) -> bool:
    """Whether the sentences have no time: other lines of the log (RMC, ZDA, message 4) may date them, and each needs what stands before it."""
    lines = head.split(b"\n")
    return sniff_line_format(lines[:-1] or lines) == "bare"


def recognise(head: bytes) -> str:
    """The format that the first bytes of a stream show; lines without any AIS sentence count as ``bare``."""
    lines = head.split(b"\n")
    layout = layout_of(head)
    return layout.format if layout else sniff_line_format(lines[:-1] or lines) or "bare"


def check_format(format: str | None) -> None:
    if format is not None and format not in FORMATS:
        raise FormatError(f"unknown format {format!r}: give one of {', '.join(FORMATS)}")


def open_archive(
    path: str | Path, format: str | None = None, columns: Mapping[str, str] | None = None
) -> Iterator[Archive]:
    """The streams of one file (several in a zip), each with its kind recognised. Each is open until the next is
    asked for."""
    check_format(format)
    for member in open_members(path):
        yield Archive(member, format, columns)


def is_parquet(path: str) -> bool:
    if path == STDIN or not Path(path).is_file():
        return False
    with readable(path), open(path, "rb") as f:
        return f.read(4) == b"PAR1"


def read_reports(
    paths: str | Path | Iterable[str | Path],
    format: str | None = None,
    at: float | None = None,
    chunk: int = CHUNK_LINES,
    memory: StaticMemory | None = None,
    columns: Mapping[str, str] | None = None,
) -> Iterator[Batch]:
    """All reports of the archives, in their order, about ``chunk`` lines or rows at a time.

    at: Unix s, dates lines without a time. memory: names heard so far (one for all paths by default: they are one
    archive). columns: of tables, our field -> its column (``tables.layout.parse_columns``). The sum of ``counts.received`` is the number
    of lines or rows, and always accepted + rejected.
    Raises InputError when a path matches nothing or a file cannot be read.
    """
    check_format(format)
    if chunk < 1:
        raise InputError(f"chunk is {chunk}: it must be at least 1 line")
    memory = StaticMemory() if memory is None else memory
    for path in expand([paths] if isinstance(paths, str | Path) else paths):
        for archive in open_archive(path, format, columns):
            yield from archive.batches(at, chunk, memory)

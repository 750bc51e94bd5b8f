"""Archives of any kind -> position reports, streamed.

    for reports, counts in read_reports(["2011/*/*.cdv", "noaa.parquet"]):
        ...

Lines of sentences (``framing``), decoded CSV of MarineCadastre and of the Danish Maritime Authority, MarineCadastre
Parquet and our own tracks Parquet. Line and CSV archives may be gzip, or zip with any number of members. The kind is
recognised by content; ``format`` overrides. Only a file that cannot be read raises, an ``InputError`` that names
it; whatever stands in it is counted.
"""

from __future__ import annotations

import glob
import gzip
import io
import lzma
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, InputError
from ..records import Counts
from .decoder import LINE_MAX
from .framing import LINE_FORMATS, sniff_line_format
from .positions import StaticMemory
from .tables import TABLE_FORMATS, csv_reports, parquet_reports, table_format
from .vectorized.block import BlockDecoder

FORMATS = (*LINE_FORMATS, *TABLE_FORMATS)
STDIN = "-"
HEAD_BYTES = 65536  # looked at to recognise the kind
BYTES_PER_LINE = 72  # of a .cdv position line: turns a number of lines into a number of bytes to read
CHUNK_LINES = 65536
_SUFFIXES = {".cdv", ".nmea", ".nm4", ".ais", ".aivdm", ".log", ".txt", ".csv", ".parquet", ".gz", ".zip"}


class Batch(NamedTuple):
    """Some lines' or rows' worth of an archive."""

    reports: NDArray[np.void]  # (m,) of REPORT_DTYPE
    counts: Counts


class Member(NamedTuple):
    """One stream of an archive file: the file itself, what a gzip holds, or one file of a zip."""

    path: str  # for messages: "file" or "file:member"
    stream: IO[bytes]


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Turns what reading can raise into one InputError that names the file."""
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError) as e:
        # RuntimeError: an encrypted zip member, or (a kind of it) a compression that zipfile does not know
        raise InputError(f"{path}: cannot be read ({e or type(e).__name__})") from None


def expand(paths: Iterable[str | Path]) -> list[str]:
    """Files, folders (all archives in them, any depth) and glob patterns -> files, sorted within each.

    Raises InputError for one that matches nothing.
    """
    files: list[str] = []
    for given in paths:
        text = str(given)
        path = Path(text)
        if text == STDIN or (path.exists() and not path.is_dir()):
            files.append(text)
            continue
        if path.is_dir():
            found = [p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in _SUFFIXES]
            # Spark and editors leave files and folders behind whose names begin so
            found = [p for p in found if not any(part[0] in "._" for part in p.relative_to(path).parts)]
        else:
            found = [Path(p) for p in glob.glob(text, recursive=True) if Path(p).is_file()]
        if not found:
            raise InputError(f"{text}: no such file, and as a folder or pattern it holds no archive")
        files += sorted(str(p) for p in found)
    return files


def open_members(path: str | Path) -> Iterator[Member]:
    """The streams of one archive file, unpacked; ``-`` is standard input."""
    text = str(path)
    with _readable(text):
        if text == STDIN:
            yield Member("standard input", io.BufferedReader(cast(io.RawIOBase, _Unseekable(sys.stdin.buffer))))
            return
        with open(text, "rb") as f:
            magic = f.peek(4)[:4]  # a pipe cannot be read again
            if magic[:2] == b"\x1f\x8b":
                with gzip.open(f, "rb") as unpacked:
                    yield Member(text, cast(IO[bytes], unpacked))
            elif magic == b"PK\x03\x04":
                with zipfile.ZipFile(f) as z:
                    for name in sorted(n for n in z.namelist() if not n.endswith("/")):
                        with z.open(name) as inner:
                            yield Member(f"{text}:{name}", inner)
            else:
                yield Member(text, f)


class _Unseekable(io.RawIOBase):
    """Standard input behind a buffer that can peek."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = getattr(self._stream, "read1", self._stream.read)(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Archive:
    """One stream, its kind recognised."""

    def __init__(self, member: Member, archive_format: str | None = None) -> None:
        self.path = member.path
        self._stream = io.BufferedReader(cast(io.RawIOBase, _Unseekable(member.stream)), buffer_size=HEAD_BYTES)
        self.given = archive_format
        with _readable(self.path):
            head = self._stream.peek(HEAD_BYTES)
        self.format = archive_format or recognise(head)

    @property
    def is_table(self) -> bool:
        return self.format in TABLE_FORMATS

    def line_blocks(self, size_bytes: int) -> Iterator[bytes]:
        """Whole lines of about ``size_bytes`` together. Of an enormous line only the first bytes are kept."""
        carry, skipping = b"", False
        while True:
            with _readable(self.path):
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
        if self.is_table:
            yield from (Batch(*b) for b in csv_reports(self._stream, self.format, self.path, chunk))
            return
        # Unless a format is asked for, each line may show its time in its own way.
        decoder = BlockDecoder(self.given, at, memory)
        for block in self.line_blocks(chunk * BYTES_PER_LINE):
            result = decoder.decode(block)
            yield Batch(result.reports, result.counts)
        if (rest := decoder.finish()).received:
            yield Batch(result.reports[:0], rest)


def recognise(head: bytes) -> str:
    """The format that the first bytes of a stream show; lines without any AIS sentence count as ``bare``."""
    lines = head.split(b"\n")
    return table_format(lines[0]) or sniff_line_format(lines[:-1] or lines) or "bare"


def check_format(format: str | None) -> None:
    if format is not None and format not in FORMATS:
        raise FormatError(f"unknown format {format!r}: give one of {', '.join(FORMATS)}")


def open_archive(path: str | Path, format: str | None = None) -> Iterator[Archive]:
    """The streams of one file (several in a zip), each with its kind recognised. Each is open until the next is
    asked for. Parquet is not a stream: see ``read_reports``."""
    check_format(format)
    for member in open_members(path):
        yield Archive(member, format)


def is_parquet(path: str) -> bool:
    if path == STDIN or not Path(path).is_file():
        return False
    with _readable(path), open(path, "rb") as f:
        return f.read(4) == b"PAR1"


def read_reports(
    paths: str | Path | Iterable[str | Path],
    format: str | None = None,
    at: float | None = None,
    chunk: int = CHUNK_LINES,
    memory: StaticMemory | None = None,
) -> Iterator[Batch]:
    """All reports of the archives, in their order, about ``chunk`` lines or rows at a time.

    at: Unix s, dates lines without a time. memory: names heard so far (one for all paths by default: they are one
    archive). The sum of ``counts.received`` is the number of lines or rows, and always accepted + rejected.
    Raises InputError when a path matches nothing or a file cannot be read.
    """
    check_format(format)
    if chunk < 1:
        raise InputError(f"chunk is {chunk}: it must be at least 1 line")
    memory = StaticMemory() if memory is None else memory
    for path in expand([paths] if isinstance(paths, str | Path) else paths):
        if is_parquet(path):
            yield from (Batch(*b) for b in parquet_reports(path, format, chunk))
            continue
        for archive in open_archive(path, format):
            yield from archive.batches(at, chunk, memory)

"""What is wrapped around the lines or rows of an archive, told by its first bytes and taken off, however deep.

Packed: gzip, bzip2, xz, zstd, lz4. Collections: zip and tar, also in each other. Text: UTF-16 and UTF-8 with a byte-order mark, line ends of
old Macs. What is known and cannot be read (a workbook, a 7-Zip file, a database) is one ``InputError`` that says what to do.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple, cast

import pyarrow as pa

from ..errors import InputError

HEAD_BYTES = 65536  # looked at to recognise what it is
DEPTH_MAX = 6  # containers in each other: more is an attack, not an archive
SPOOL_BYTES = 64 << 20  # of a collection within another is kept in memory, more of it on disk
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_NOT_READ = {
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip file: unpack it first",
    b"Rar!": "a RAR file: unpack it first",
    b"\x02\x21\x4c\x18": "lz4 of the old kind: unpack it first (lz4 -d)",
    b"\x5d\x00\x00": "lzma without a container: unpack it first (xz -d)",
    b"SQLite format 3": "an SQLite database: export its table of reports as CSV",
    b"\x89HDF": "HDF5 (or NetCDF 4): export the reports as CSV or Parquet",
    b"CDF\x01": "NetCDF: export the reports as CSV or Parquet",
    b"Obj\x01": "Avro: export the reports as CSV or Parquet",
    b"ORC": "ORC: export the reports as CSV or Parquet",
    b"ARROW1": "an Arrow file: write it as Parquet",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: export the sheet as CSV",
    b"%PDF": "a PDF: no archive of AIS",
    b"\xd4\xc3\xb2\xa1": "captured packets: export their payload as text (tshark -T fields -e data.text)",
    b"\x0a\x0d\x0d\x0a": "captured packets: export their payload as text (tshark -T fields -e data.text)",
}


class Member(NamedTuple):
    """One stream within an archive file: lines, rows, or a Parquet file."""

    path: str  # for messages: "file" or "file:member"
    stream: IO[bytes]  # unpacked, text as UTF-8 with \n; can be read once
    is_parquet: bool = False  # then the stream can seek


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Turns what reading can raise into one InputError that names the file."""
    try:
        yield
    except InputError:
        raise
    except (
        OSError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
        tarfile.TarError,
        RuntimeError,
        ValueError,
    ) as e:
        # RuntimeError: an encrypted zip member, or (a kind of it) a compression that zipfile does not know
        raise InputError(f"{path}: cannot be read ({str(e).splitlines()[0] if str(e) else type(e).__name__})") from None


def members(path: str, stream: IO[bytes], depth: int = 0) -> Iterator[Member]:
    """The streams in ``stream``, each to be read before the next is asked for. Raises ``InputError``."""
    with readable(path):
        if depth > DEPTH_MAX:
            raise InputError(f"{path}: more than {DEPTH_MAX} containers in each other; unpack it first")
        buffered = io.BufferedReader(cast(io.RawIOBase, Forward(stream)), buffer_size=HEAD_BYTES)
        head = buffered.peek(HEAD_BYTES)
        for magic, what in _NOT_READ.items():
            if head.startswith(magic):
                raise InputError(f"{path}: {what}")
        packed = next((kind for magic, kind in _PACKED.items() if head.startswith(magic)), None)
        if packed is not None:
            yield from members(path, _unpacked(buffered, packed), depth + 1)
        elif head.startswith(_ZIP):
            yield from _of_zip(path, stream, buffered, depth)
        elif head[257:262] == b"ustar":
            yield from _of_tar(path, buffered, depth)
        elif head.startswith(b"PAR1"):
            yield Member(path, _seekable(stream, buffered), True)
        else:
            yield Member(path, _as_text(buffered, head))


def is_plain_text(head: bytes) -> bool:
    """Whether the first bytes are of no container, and its text needs no change."""
    known = (*_NOT_READ, *_PACKED, *_ZIP, b"PAR1")
    if head.startswith(known) or head[257:262] == b"ustar":
        return False
    stream = io.BytesIO()
    return _as_text(stream, head) is stream


def _unpacked(stream: IO[bytes], kind: str) -> IO[bytes]:
    if kind == "gzip":
        return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    if kind == "bz2":
        return cast(IO[bytes], bz2.BZ2File(stream))
    if kind == "xz":
        return cast(IO[bytes], lzma.LZMAFile(stream))
    return cast(IO[bytes], _Frames(stream, kind))


class _Frames(io.RawIOBase):
    """zstd or lz4 of one or more frames, by Arrow."""

    def __init__(self, stream: IO[bytes], kind: str) -> None:
        self._data = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), kind)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        try:
            data = self._data.read(len(buffer))
        except pa.ArrowException as e:
            raise OSError(str(e).splitlines()[0]) from None
        buffer[: len(data)] = data
        return len(data)


def _seekable(stream: IO[bytes], buffered: IO[bytes]) -> IO[bytes]:
    """The stream from its beginning: itself where it can seek, else a copy on disk."""
    try:
        if stream.seekable() and not isinstance(stream, zipfile.ZipExtFile):
            stream.seek(0)
            return stream
    except (OSError, AttributeError):
        pass
    copy = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 (closed by its last reader)
    shutil.copyfileobj(buffered, copy, 1 << 20)
    copy.seek(0)
    return cast(IO[bytes], copy)


def _of_zip(path: str, stream: IO[bytes], buffered: IO[bytes], depth: int) -> Iterator[Member]:
    with zipfile.ZipFile(_seekable(stream, buffered)) as z:
        names = z.namelist()
        if "[Content_Types].xml" in names:
            raise InputError(f"{path}: an office document: export the sheet as CSV")
        for name in sorted(n for n in names if not n.endswith("/") and not _is_litter(n)):
            with z.open(name) as inner:
                yield from members(f"{path}:{name}", inner, depth + 1)


def _of_tar(path: str, stream: IO[bytes], depth: int) -> Iterator[Member]:
    with tarfile.open(fileobj=stream, mode="r|") as t:
        for info in t:
            if info.isfile() and not _is_litter(info.name) and (inner := t.extractfile(info)) is not None:
                yield from members(f"{path}:{info.name}", Forward(inner), depth + 1)  # type: ignore[arg-type]


def _is_litter(name: str) -> bool:
    """What systems leave in collections: resource forks, folders' settings."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2] in (".DS_Store", "Thumbs.db", "desktop.ini")


def _as_text(stream: IO[bytes], head: bytes) -> IO[bytes]:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return cast(IO[bytes], _Recoded(stream, "utf-16"))
    # UTF-16 without its mark: every other byte of plain text is 0.
    sample = head[:400]
    if len(sample) >= 40:
        even, odd = sample[::2].count(0), sample[1::2].count(0)
        if odd > 0.45 * len(sample) and not even:
            return cast(IO[bytes], _Recoded(stream, "utf-16-le"))
        if even > 0.45 * len(sample) and not odd:
            return cast(IO[bytes], _Recoded(stream, "utf-16-be"))
    if b"\r" in head.rstrip(b"\r") and b"\n" not in head:
        return cast(IO[bytes], _ReturnsAsNewlines(stream))
    return stream


class Forward(io.RawIOBase):
    """A stream that is only read, behind a buffer that can peek."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = getattr(self._stream, "read1", self._stream.read)(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _ReturnsAsNewlines(Forward):
    """Line ends of old Macs."""

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        n = super().readinto(buffer)
        buffer[:n] = bytes(buffer[:n]).replace(b"\r", b"\n")
        return n


class _Recoded(io.RawIOBase):
    """Text of another encoding as UTF-8."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while not self._ready:
            data = self._stream.read(HEAD_BYTES)
            self._ready = self._decoder.decode(data, not data).encode("utf-8", "replace")
            if not data:
                break
        n = min(len(buffer), len(self._ready))
        buffer[:n], self._ready = self._ready[:n], self._ready[n:]
        return n

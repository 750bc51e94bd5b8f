"""What a model folder from elsewhere may hold: files inside it, arrays of a bounded size.

Checked before anything is read into memory: a zip of some megabytes can declare gigabytes, an array's header any shape, and a
manifest may name any path.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from numpy.lib import format as npy

from ..errors import ModelCorrupt

FOLDER_MAX_BYTES = 1 << 30  # of all files of a folder, unpacked; the shipped models have some 10 MB
HEADER_MAX_BYTES = 10_000  # of an array; NumPy's own bound


def check_names(folder: Path, names: Iterable[str]) -> None:
    """Raise ``ModelCorrupt`` unless each name is a file inside the folder, and all of them together have a bounded size."""
    root = folder.resolve()
    total = 0
    for name in names:
        file = folder / name
        try:
            inside = bool(name) and not Path(name).is_absolute() and file.resolve().is_relative_to(root)
        except (OSError, ValueError, RuntimeError):
            inside = False
        if not inside:
            raise ModelCorrupt(
                f"{folder / 'manifest.json'} names {name[:200]!r}, which is not inside the folder: do not use this model"
            )
        if not file.is_file():
            raise ModelCorrupt(
                f"{file} is missing: copy the whole model folder again, or make it again with `multitaskais calibrate`"
            )
        total = _within_bound(file, total + file.stat().st_size)


def check_unpacked(folder: Path, names: Iterable[str]) -> None:
    """Raise ``ModelCorrupt`` unless all files together have a bounded size by what they declare; their checksums are right."""
    total = 0
    for file in (folder / name for name in names):
        total = _within_bound(file, total + (unpacked_bytes(file) if file.suffix == ".npz" else file.stat().st_size))


def _within_bound(file: Path, total: int) -> int:
    if total > FOLDER_MAX_BYTES:
        raise ModelCorrupt(
            f"{file}: the folder has more than {FOLDER_MAX_BYTES >> 20:,} MB when it is unpacked: do not use this model"
        )
    return total


def unpacked_bytes(file: Path) -> int:
    """Bytes of the arrays of an ``.npz`` by what it declares, twice: in the zip's directory and in each array's header.

    Raises:
        ModelCorrupt: it is no archive of arrays, or the two do not agree.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            total = 0
            for member in archive.infolist():
                with archive.open(member) as f:
                    needed = _array_bytes(f)
                if needed > member.file_size:
                    raise ValueError(f"{member.filename} declares {needed:,} bytes and holds {member.file_size:,}")
                total += member.file_size
            return total
    except Exception as e:  # zipfile, zlib and numpy each have their own errors for a broken file
        raise ModelCorrupt(f"{file} cannot be read ({e}): copy the whole model folder again") from None


def _array_bytes(f: IO[bytes]) -> int:
    version = npy.read_magic(f)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(f, max_header_size=HEADER_MAX_BYTES)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return math.prod(shape) * dtype.itemsize

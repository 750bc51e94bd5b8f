"""Lines of rows on disk: written once a vessel at a time in any order, read back by vessel, one line or many together.

    lines = LineFile(folder / "chosen", SAMPLE_DTYPE)
    lines.add(mmsi, size, rows); ...; lines.finish()
    rows = lines.read(7); rows, number = lines.some(keep)

What is held in memory is 24 bytes a line, none of its rows.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

WAITING_BYTES = 1 << 24  # that wait to be written


class LineFile:
    """See the module's text.

    Attributes, complete after ``finish``, by vessel and, of a vessel, as they were added:
        mmsi: (m,) of each line.
        size: (m,) rows that it has; 0 is a line too.
        order: (m,) how many lines were added before each.
    """

    def __init__(self, path: Path, dtype: np.dtype) -> None:
        """An empty one. Raises ``InputError`` where the file cannot be written."""
        self.path, self.dtype = path, dtype
        self.mmsi = np.zeros(0, np.int64)
        self.size = np.zeros(0, np.int64)
        self.order = np.zeros(0, np.int64)
        self._start = np.zeros(0, np.int64)
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        try:
            self._file = path.open("w+b", buffering=WAITING_BYTES)
        except OSError as e:
            raise InputError(f"{path}: cannot be written ({e.strerror}); give another --temp") from None
        weakref.finalize(self, self._file.close)

    def __len__(self) -> int:
        return len(self.mmsi)

    def add(self, mmsi: NDArray[np.integer], size: NDArray[np.integer], rows: NDArray[np.generic]) -> None:
        """Whole lines one after the other: (k,) MMSIs, (k,) sizes, and all their rows."""
        self._parts.append((np.asarray(mmsi, np.int64), np.asarray(size, np.int64)))
        try:
            self._file.write(np.ascontiguousarray(rows, self.dtype).view(np.uint8).data)
        except OSError as e:
            raise InputError(f"{self.path}: cannot be written ({e.strerror}); give another --temp") from None

    def finish(self) -> None:
        """All was added: it can be read."""
        self._file.flush()
        if self._parts:
            mmsi, size = (np.concatenate([part[k] for part in self._parts]) for k in (0, 1))
            order = self.order = np.argsort(mmsi, kind="stable")
            self.mmsi, self.size, self._start = mmsi[order], size[order], (np.cumsum(size) - size)[order]
            self._parts = []

    def read(self, i: int) -> NDArray[np.void]:
        """The rows of one line."""
        return self._rows(int(self._start[i]), int(self.size[i]))

    def some(self, keep: NDArray[np.bool_]) -> tuple[NDArray[np.void], NDArray[np.int64]]:
        """NDArray[np.void] of the (m,) lines to keep, in order, and the number of each row's line among them, from 0."""
        index = np.flatnonzero(keep)
        sizes = self.size[index]
        rows = np.empty(int(sizes.sum()), self.dtype)
        at = 0
        for i, n in zip(index.tolist(), sizes.tolist(), strict=True):
            rows[at : at + n] = self.read(i)
            at += n
        return rows, np.repeat(np.arange(len(index)), sizes)

    def _rows(self, start: int, n: int) -> NDArray[np.void]:
        size = self.dtype.itemsize
        data = os.pread(self._file.fileno(), n * size, start * size)
        if len(data) != n * size:
            raise InputError(f"{self.path}: the temporary file was cut; run it again, with --temp on a disk with room")
        return np.frombuffer(data, self.dtype)

    def close(self) -> None:
        self._file.close()

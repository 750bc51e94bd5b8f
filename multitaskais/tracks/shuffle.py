"""Reports of an archive of any size on disk, dealt out by vessel and by day, to be read back in order of time.

    shuffle = Shuffle.create(folder, bins)        # or Shuffle.open: one that was finished before
    shuffle.add(reports); ...; shuffle.finish()
    for reports in shuffle.runs([0, 5]): ...    # the vessels of two bins, in order of time
    for reports in shuffle.whole_vessels(): ...    # all of some vessels after all of others

A vessel lies in one bin, by a hash of its MMSI. So bins can be judged apart from each other, and all bins together give back the
archive in order of time. Equal times of a vessel keep the order of the archive. Memory is bounded by what waits to be written
(``BUFFERED_ROWS``), and by one day, or a part of a day with more than ``DAY_ROWS``, or the vessels of about ``VESSEL_ROWS`` reports, of what is read.

A file ``DAY/BIN`` is a row of frames: number of reports, number of bytes (two little-endian uint32), then the columns of
``REPORT_DTYPE`` one after the other, packed by Zstandard.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import InputError
from ..records import REPORT_DTYPE
from ..types import Reports

BINS = 32
BUFFERED_ROWS = 1_000_000  # 80 MB wait for being written
DAY_ROWS = 2_000_000  # of what is read; a day with more is read in parts of about half as many
VESSEL_ROWS = 500_000  # reports of whole vessels that are held at a time (of one vessel also more)
DAY_S, HOUR_S = 86_400, 3_600
_HEADER = struct.Struct("<II")
_INDEX = "shuffle.json"
_FRAME_ROWS = 1 << 20
_FIELDS: tuple[str, ...] = REPORT_DTYPE.names or ()


def bin_of(mmsi: NDArray[np.int64], bins: int) -> NDArray[np.int64]:
    """(n,) bin of each vessel: a hash, since the last digits of MMSIs are not evenly spread."""
    with np.errstate(over="ignore"):
        mixed = mmsi.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing, Knuth 6.4
    return ((mixed >> np.uint64(33)) % np.uint64(bins)).astype(np.int64)


def turn_of(mmsi: NDArray[np.int64], turns: int) -> NDArray[np.int64]:
    """(n,) which turn each vessel of a bin or part has, where it is looked at in several."""
    return bin_of(mmsi ^ 0x5DEECE66D, turns)  # another hash than that of the bins


class Shuffle:
    """A folder of reports; see the module's text. ``rows``: (bin, day) -> reports, complete after ``finish``."""

    def __init__(self, folder: Path, bins: int, rows: dict[tuple[int, int], int] | None = None) -> None:
        self.folder = folder
        self.bins = bins
        self.rows: dict[tuple[int, int], int] = rows or {}
        self._codec = pa.Codec("zstd", compression_level=1)
        self._buffered: list[Reports] = []
        self._n_buffered = 0

    @classmethod
    def create(cls, folder: Path, bins: int = BINS) -> Shuffle:
        """An empty one; what stood in the folder is removed. Raises ``InputError`` where it cannot be written."""
        try:
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
        except OSError as e:
            raise InputError(
                f"{folder}: cannot be written ({e.strerror}); give another folder for temporary files"
            ) from None
        return cls(folder, bins)

    @classmethod
    def open(cls, folder: Path) -> Shuffle | None:
        """One that was finished; None where there is none."""
        try:
            index = json.loads((folder / _INDEX).read_text())
            rows = {(int(b), int(day)): int(n) for b, day, n in index["rows"]}
            return cls(folder, int(index["bins"]), rows)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def __len__(self) -> int:
        """Reports in all."""
        return sum(self.rows.values())

    def in_bins(self, bins: Iterable[int]) -> int:
        """Reports of some bins."""
        wanted = set(bins)
        return sum(n for (b, _), n in self.rows.items() if b in wanted)

    # ---------------------------------------------------------------- in

    def add(self, reports: Reports) -> None:
        """Take (n,) reports of ``REPORT_DTYPE`` whose times are numbers."""
        if len(reports):
            self._buffered.append(reports)
            self._n_buffered += len(reports)
            if self._n_buffered >= BUFFERED_ROWS:
                self._write()

    def finish(self) -> None:
        """All was added: it can be read, now and by other processes."""
        self._write()
        index = {"bins": self.bins, "rows": [[b, day, n] for (b, day), n in sorted(self.rows.items())]}
        unfinished = self.folder / f".{_INDEX}"
        unfinished.write_text(json.dumps(index))
        unfinished.replace(self.folder / _INDEX)

    def drop(self, which: Callable[[Reports], NDArray[np.bool_]]) -> int:
        """Take out the reports that ``which`` marks among all of a vessel's, after ``finish``; returns how many.

        ``which`` is asked about whole vessels, about ``VESSEL_ROWS`` reports at a time; beside them a byte a report of one bin is held.
        """
        n = 0
        for number in range(self.bins):
            days = [day for b, day in sorted(self.rows) if b == number]
            out = {day: np.zeros(self.rows[number, day], bool) for day in days}
            turns = -(-sum(map(len, out.values())) // VESSEL_ROWS)
            for turn in range(turns):
                held, index = [], []
                for day in days:
                    reports = self._ordered((number, day))
                    mine = np.flatnonzero(turn_of(reports["mmsi"], turns) == turn)
                    held.append(reports[mine])
                    index.append(mine)
                marked = which(np.concatenate(held))
                n += int(marked.sum())
                for day, mine, mask in zip(
                    days, index, np.split(marked, np.cumsum([len(i) for i in index])[:-1]), strict=True
                ):
                    out[day][mine[mask]] = True
            for day, mask in out.items():
                if mask.any():
                    reports = self._ordered((number, day))
                    self._path(number, day).unlink()
                    self._append((number, day), reports[~mask])
                    self.rows[number, day] = len(reports) - int(mask.sum())
        self.rows = {place: rows for place, rows in self.rows.items() if rows}
        self.finish()
        return n

    def _write(self) -> None:
        if not self._buffered:
            return
        reports = self._buffered[0] if len(self._buffered) == 1 else np.concatenate(self._buffered)
        self._buffered, self._n_buffered = [], 0
        day = np.floor(reports["t"] / DAY_S).astype(np.int64)
        key = day * self.bins + bin_of(reports["mmsi"], self.bins)
        order = np.argsort(key, kind="stable")
        key = key[order]
        starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])).tolist()
        for a, b in zip(starts, [*starts[1:], len(key)], strict=True):
            which = int(key[a])
            place = which % self.bins, which // self.bins
            self._append(place, reports[order[a:b]])
            self.rows[place] = self.rows.get(place, 0) + b - a

    def _append(self, place: tuple[int, int], reports: Reports) -> None:
        path = self._path(*place)
        try:
            with path.open("ab") if path.parent.is_dir() else _made(path).open("ab") as f:
                for start in range(0, len(reports), _FRAME_ROWS):
                    part = reports[start : start + _FRAME_ROWS]
                    columns = b"".join(np.ascontiguousarray(part[name]).tobytes() for name in _FIELDS)
                    packed = self._codec.compress(columns, asbytes=True)
                    f.write(_HEADER.pack(len(part), len(packed)) + packed)
        except OSError as e:
            raise InputError(
                f"{path}: cannot be written ({e.strerror}); give another folder for temporary files"
            ) from None

    def _path(self, number: int, day: int) -> Path:
        return self.folder / str(day) / f"{number:03d}"

    # ---------------------------------------------------------------- out

    def runs(self, bins: Sequence[int] | None = None, period: tuple[float, float] | None = None) -> Iterator[Reports]:
        """The reports of some bins (None: of all) in order of time, then MMSI; an array a day or, of full days, some hours.

        ``period``: Unix s (from, to), both included: days without any of it are passed over; the rest of its days is given too.
        """
        chosen = sorted(range(self.bins) if bins is None else bins)
        wanted = set(chosen)
        first, last = (-np.inf, np.inf) if period is None else (np.floor(t / DAY_S) for t in period)
        for day in sorted({day for b, day in self.rows if b in wanted and first <= day <= last}):
            places = [(b, day) for b in chosen if (b, day) in self.rows]
            n = sum(self.rows[p] for p in places)
            if n <= DAY_ROWS:
                yield _in_order([frame for p in places for frame in self._frames(p)])
                continue
            hours = next(h for h in (12, 8, 6, 4, 3, 2, 1) if n * h <= DAY_ROWS * 12 or h == 1)
            for begin in range(day * DAY_S, (day + 1) * DAY_S, hours * HOUR_S):
                parts = []
                for place in places:
                    for frame in self._frames(place):
                        mine = (frame["t"] >= begin) & (frame["t"] < begin + hours * HOUR_S)
                        if mine.any():
                            parts.append(frame[mine])
                if parts:
                    yield _in_order(parts)

    def whole_vessels(self) -> Iterator[Reports]:
        """All reports, those of each vessel in one array, by MMSI and time; about ``VESSEL_ROWS`` in an array."""
        sizes = [0] * self.bins
        for (number, _), rows in self.rows.items():
            sizes[number] += rows
        together: list[int] = []
        for number in range(self.bins):
            if together and sum(sizes[b] for b in (*together, number)) > VESSEL_ROWS:
                yield from self._vessels_of(together, sum(sizes[b] for b in together))
                together = []
            together.append(number)
        yield from self._vessels_of(together, sum(sizes[b] for b in together))

    def _vessels_of(self, bins: list[int], rows: int) -> Iterator[Reports]:
        turns = -(-rows // VESSEL_ROWS)
        for turn in range(turns):
            mine = [run[turn_of(run["mmsi"], turns) == turn] if turns > 1 else run for run in self.runs(bins)]
            reports = mine[0] if len(mine) == 1 else np.concatenate(mine)
            del mine
            if len(reports):
                yield reports[np.argsort(reports["mmsi"], kind="stable")]

    def _ordered(self, place: tuple[int, int]) -> Reports:
        return _in_order(list(self._frames(place)))

    def _frames(self, place: tuple[int, int]) -> Iterator[Reports]:
        path = self._path(*place)
        size = REPORT_DTYPE.itemsize
        try:
            with path.open("rb") as f:
                while header := f.read(_HEADER.size):
                    n, packed = _HEADER.unpack(header)
                    columns = self._codec.decompress(f.read(packed), n * size)
                    reports = np.empty(n, REPORT_DTYPE)
                    at = 0
                    for name in _FIELDS:
                        kind = REPORT_DTYPE[name]
                        reports[name] = np.frombuffer(columns, kind, n, at)
                        at += n * kind.itemsize
                    yield reports
        except (OSError, struct.error, pa.ArrowException) as e:
            raise InputError(
                f"{path}: the temporary file cannot be read ({type(e).__name__}); run it again without --resume"
            ) from None

    def remove(self) -> None:
        """The folder goes."""
        shutil.rmtree(self.folder, ignore_errors=True)


def in_time(shuffles: Sequence[Shuffle]) -> Iterator[Reports]:
    """The reports of several shuffles together in order of time, then MMSI, of which each has its own vessels; a day at a time."""
    for day in sorted({day for s in shuffles for _, day in s.rows}):
        begin, end = day * DAY_S, (day + 1) * DAY_S - 1e-3
        runs = [run for s in shuffles for run in s.runs(None, (begin, end))]
        yield _in_order(runs)


def _made(path: Path) -> Path:
    os.makedirs(path.parent, exist_ok=True)
    return path


def _in_order(parts: list[Reports]) -> Reports:
    reports = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return reports[np.lexsort((reports["mmsi"], reports["t"]))]

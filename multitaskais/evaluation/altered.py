"""An archive of real tracks -> a labelled table: every clean track, and copies of some with one anomaly each.

Clean tracks are those that the whole-track rules choose (4 h, 20 reports, moving), as they came: displaced reports among
them stay, so that a false jump counts. A copy starts from the accepted reports of its track, has a ``track_id`` of its own and the
vessel's own MMSI. Each kind draws its tracks and its anomalies from a generator of its own, so that kinds do not disturb each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..config import Region, TrackRules
from ..errors import InputError
from ..records import REPORT_DTYPE, Reason
from ..tracks.line_file import LineFile
from ..tracks.quality import CODE
from ..tracks.segmentation import segment
from ..tracks.selection import Selection, choose
from ..tracks.tracker import track_name
from ..types import LabelledRows, Reports
from .inject import KINDS, InjectionSource, alter

CLEAN = "clean"
ROWS_AT_ONCE = 100_000  # of a table that is written: 35 MB
LABELLED_DTYPE = np.dtype([*REPORT_DTYPE.descr, ("track_id", "U48"), ("kind", "U16"), ("abnormal", "?")])


def clean_tracks(reports: Reports, rules: TrackRules, region: Region | None) -> list[Reports]:
    """Reports of any vessels in any order -> rows of ``LABELLED_DTYPE`` of each chosen track, in time order; of a longer track, its 24 h cuts.

    ``abnormal`` is set on displaced reports for the time being: ``labelled`` keeps them in clean tracks and leaves them out of copies.
    """
    labels = segment(reports, rules, region)
    tracks, of = choose(reports, labels, rules)
    out = []
    displaced = np.flatnonzero(labels["code"] == CODE[Reason.DISPLACED])
    displaced = displaced[np.argsort(reports["mmsi"][displaced], kind="stable")]
    vessel = reports["mmsi"][displaced]
    order = np.argsort(of, kind="stable")
    edge = np.searchsorted(of[order], np.arange(len(tracks) + 1))
    for k in np.flatnonzero(tracks["choice"] == Selection.CHOSEN):
        track = tracks[k]
        own = displaced[np.searchsorted(vessel, track["mmsi"]) : np.searchsorted(vessel, track["mmsi"], side="right")]
        own = own[(reports["t"][own] > track["start"]) & (reports["t"][own] < track["end"])]
        rows = np.concatenate([order[edge[k] : edge[k + 1]], own])
        rows = rows[np.argsort(reports["t"][rows], kind="stable")]
        table = np.zeros(len(rows), LABELLED_DTYPE)
        for name in REPORT_DTYPE.names or ():
            table[name] = reports[name][rows]
        table["track_id"] = track_name(int(track["mmsi"]), float(track["start"]), int(track["suffix"]))
        table["kind"] = CLEAN
        table["abnormal"] = np.isin(rows, own)
        out.append(table)
    return out


class CleanTracks(Sequence[Reports]):
    """``clean_tracks`` on disk, of which one at a time is read; by vessel, and of a vessel in the order in which they begin.

    ``add`` takes what ``clean_tracks`` gives of whole vessels; then ``finish``.
    """

    def __init__(self, file: Path) -> None:
        self._file = LineFile(file, _STORED_DTYPE)
        self._names: list[NDArray[np.bytes_]] = []
        self._wanted = np.zeros(0, np.int64)

    def add(self, tracks: list[Reports]) -> None:
        if not tracks:
            return
        rows = np.concatenate(tracks)
        stored = np.zeros(len(rows), _STORED_DTYPE)
        for name in _STORED_DTYPE.names or ():
            stored[name] = rows[name]
        self._file.add(np.array([t["mmsi"][0] for t in tracks]), np.array([len(t) for t in tracks]), stored)
        self._names.append(np.array([t["track_id"][0] for t in tracks], "S48"))

    def finish(self) -> CleanTracks:
        """All was added; returns itself."""
        self._file.finish()
        self._wanted = np.arange(len(self._file))
        names = np.concatenate([np.zeros(0, "S48"), *self._names])
        self._names = [names[self._file.order]]
        return self

    def keep(self, which: NDArray[np.integer]) -> None:
        """Only those tracks, by their number now."""
        self._wanted = self._wanted[which]

    def __len__(self) -> int:
        return len(self._wanted)

    @overload
    def __getitem__(self, i: int) -> Reports: ...
    @overload
    def __getitem__(self, i: slice) -> list[Reports]: ...
    def __getitem__(self, i: int | slice) -> Reports | list[Reports]:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        number = int(self._wanted[i])
        rows = self._file.read(number)
        table = np.zeros(len(rows), LABELLED_DTYPE)
        for name in _STORED_DTYPE.names or ():
            table[name] = rows[name]
        table["track_id"], table["kind"] = self._names[0][number].decode(), CLEAN
        return table


_STORED_DTYPE = np.dtype([*REPORT_DTYPE.descr, ("abnormal", "?")])


def labelled(
    tracks: Sequence[Reports],
    per_kind: int,
    seed: int,
    region: Region | None,
    kinds: tuple[str, ...] = tuple(KINDS),
) -> tuple[LabelledRows, dict[str, int]]:
    """All clean tracks and ``per_kind`` copies with an anomaly of each kind.

    A track is used once for a kind; when fewer tracks can carry it, they are gone through again, with other anomalies.

    Returns:
        (n,) rows of ``LABELLED_DTYPE``, and how many copies each kind got (0 where no track can carry it).
    """
    made = dict.fromkeys(kinds, 0)
    return np.concatenate(list(_tables(tracks, per_kind, seed, region, made))), made


def _tables(
    tracks: Sequence[Reports], per_kind: int, seed: int, region: Region | None, made: dict[str, int]
) -> Iterator[LabelledRows]:
    """The rows of ``labelled``, a track at a time; counts the copies of the kinds in ``made``."""
    if not len(tracks):
        raise InputError(
            "no track is long enough to carry an anomaly: give an archive with moving tracks of 4 h and more"
        )
    for kind in made:
        rng = np.random.default_rng([seed, list(KINDS).index(kind)])
        for _ in range(per_kind):
            before = made[kind]
            for k in rng.permutation(len(tracks)).tolist():
                if made[kind] == per_kind:
                    break
                track = tracks[k]
                copy = _copy(track[~track["abnormal"]], kind, made[kind], rng, region)
                if copy is not None:
                    yield copy
                    made[kind] += 1
            if made[kind] in (before, per_kind):
                break
    for t in tracks:
        clean = t.copy()
        clean["abnormal"] = False
        yield clean


def _copy(
    track: Reports, kind: str, number: int, rng: np.random.Generator, region: Region | None
) -> LabelledRows | None:
    altered = alter(
        InjectionSource(*(track[f] for f in ("t", "lat", "lon", "sog", "cog", "heading"))), kind, rng, region
    )
    if altered is None:
        return None
    out = track[altered.keep].copy()
    for name in ("lat", "lon", "sog", "cog", "heading", "abnormal"):
        out[name] = getattr(altered, name)
    out["track_id"] = f"{track['track_id'][0]}/{kind}-{number:03d}"
    out["kind"] = kind
    return out


def write_labelled(rows: LabelledRows, path: Path) -> None:
    """Parquet of the contract's columns and the optional ones; missing values are null."""
    _write([rows], path)


def write_altered(
    tracks: Sequence[Reports],
    per_kind: int,
    seed: int,
    region: Region | None,
    kinds: tuple[str, ...],
    path: Path,
) -> tuple[int, dict[str, int]]:
    """The rows of ``labelled`` into a Parquet table, some ``ROWS_AT_ONCE`` at a time; returns how many, and the copies of each kind."""
    made = dict.fromkeys(kinds, 0)
    return _write(_together(_tables(tracks, per_kind, seed, region, made)), path), made


def _together(tables: Iterable[LabelledRows]) -> Iterator[LabelledRows]:
    waiting: list[LabelledRows] = []
    n = 0
    for table in tables:
        waiting.append(table)
        n += len(table)
        if n >= ROWS_AT_ONCE:
            yield np.concatenate(waiting)
            waiting, n = [], 0
    if waiting:
        yield np.concatenate(waiting)


def _write(parts: Iterable[LabelledRows], path: Path) -> int:
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")  # a table with the name that was asked for is a whole one
    n, writer = 0, None
    try:
        for rows in parts:
            table = _arrow(rows)
            writer = writer or pq.ParquetWriter(unfinished, table.schema, compression="zstd")
            writer.write_table(table)
            n += len(rows)
    finally:
        if writer is not None:
            writer.close()
    unfinished.replace(path)
    return n


def _arrow(rows: LabelledRows) -> Any:
    import pyarrow as pa

    columns = {name: rows[name] for name in ("track_id", "mmsi", "t", "lat", "lon", "sog", "cog", "kind", "abnormal")}
    columns |= {name: rows[name] for name in ("heading", "nav_status", "ship_type")}
    arrays = {
        name: pa.array(v.tolist(), pa.string()).dictionary_encode()
        if v.dtype.kind == "U"
        else pa.array(np.ascontiguousarray(v), from_pandas=True)
        for name, v in columns.items()
    }
    return pa.table(arrays)

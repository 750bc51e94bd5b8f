"""The labelled table: reports of clean and abnormal tracks, and how it becomes input of the same fold as everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..ais.sentinels import known_angles, known_speeds
from ..errors import InputError
from ..model.subset import fair_lines
from ..records import REPORT_DTYPE
from ..tracks.quality import SHIP_MMSI
from ..types import LabelledTracks, Reports

REQUIRED = ("track_id", "mmsi", "t", "lat", "lon", "sog", "cog", "kind", "abnormal")
OPTIONAL = {"heading": np.nan, "nav_status": -1, "ship_type": -1, "msg_type": -1}
CLEAN = "clean"
FIRST_KEY, LAST_KEY = SHIP_MMSI  # surrogates are taken from the MMSI of ships, so that no rule stumbles over them
MOST_REPORTS = 1_000_000  # that are judged together: some 1.1 kB each with what is found in them
MOST_TRACKS = LAST_KEY - FIRST_KEY + 1

TRACK_DTYPE = np.dtype(
    [
        ("key", "i8"),  # surrogate MMSI
        ("track_id", "U64"),
        ("mmsi", "i8"),  # the ship's own
        ("kind", "U24"),
        ("ship_type", "i2"),
        ("reports", "i8"),
        ("t_first", "f8"),
        ("t_last", "f8"),
        ("t_abnormal", "f8"),  # first abnormal report; NaN of a clean track
    ]
)


class Whole(NamedTuple):
    """How much a table has of which only a part is judged."""

    tracks: int
    clean_tracks: int
    vessels: int
    reports: int


class Labelled(NamedTuple):
    """``reports`` carry their track's surrogate as MMSI, so that rows of different tracks never mix, whatever ship they are of."""

    reports: Reports  # (n,) REPORT_DTYPE sorted by t, then key
    abnormal: NDArray[np.bool_]  # (n,)
    tracks: LabelledTracks  # (m,) TRACK_DTYPE sorted by key; key = FIRST_KEY + row
    whole: Whole | None = None  # of the table, where some of its tracks were left out


def read_labelled(path: Path, most: int = MOST_REPORTS, seed: int = 0) -> Labelled:
    """Read a Parquet table (file or folder) with the columns ``REQUIRED`` and any of ``OPTIONAL``.

    Args:
        most: reports to take. Of a table with more, abnormal tracks fill up to half of it, clean tracks the rest; of each kind
            whole tracks are taken by ``seed``, so that no vessel gives more than another that has as many.

    Raises InputError when it is not there, lacks a column, or gives one track two kinds.
    """
    table = _Table(path)
    if table.rows <= most:
        return _labelled(*table.read(None))
    tracks = table.tracks()
    keep = _some(tracks, most, seed)
    whole = Whole(
        len(tracks), int((tracks["kind"] == CLEAN).sum()), len(np.unique(tracks["mmsi"])), int(tracks["reports"].sum())
    )
    return _labelled(*table.read(tracks["track_id"][keep]))._replace(whole=whole)


_ROW_DTYPE = np.dtype([("track_id", "U64"), ("mmsi", "i8"), ("kind", "U24"), ("reports", "i8")])  # of a track


def _some(tracks: LabelledTracks, most: int, seed: int) -> NDArray[np.bool_]:
    """Which of (m,) tracks of ``_ROW_DTYPE`` to judge."""
    keep = np.zeros(len(tracks), bool)
    kinds = [k for k in np.unique(tracks["kind"]).tolist() if k != CLEAN]
    left = most
    for kind in (*kinds, CLEAN):
        mine = np.flatnonzero(tracks["kind"] == kind)
        share = left if kind == CLEAN else most // 2 // len(kinds)
        mine = mine[fair_lines(tracks["mmsi"][mine], tracks["reports"][mine], share, seed)]
        # One track of each vessel may still be too many: then not all vessels are looked at.
        mine = np.random.default_rng([seed, len(mine)]).permutation(mine)
        mine = mine[np.cumsum(tracks["reports"][mine]) <= share]
        keep[mine] = True
        left -= int(tracks["reports"][mine].sum())
    return keep


class _Table:
    """A Parquet table, read a batch at a time. Raises ``InputError`` where it cannot be one of labelled tracks."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.dataset as ds

        try:
            self._data = ds.dataset(path, format="parquet", partitioning="hive")
            self.rows = self._data.count_rows()
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; make one with `multitaskais inject`") from None
        except (pa.ArrowInvalid, OSError) as e:
            raise InputError(f"{path}: not a Parquet table ({str(e).splitlines()[0]})") from None
        if missing := [c for c in REQUIRED if c not in self._data.schema.names]:
            raise InputError(f"{path}: column {missing[0]!r} is missing; needed: {', '.join(REQUIRED)}")
        if not self.rows:
            raise InputError(f"{path}: the table is empty")

    def tracks(self) -> LabelledTracks:
        """(m,) of ``_ROW_DTYPE``, by track id."""
        found: dict[str, tuple[int, str, int]] = {}
        for batch in self._data.to_batches(columns=["track_id", "mmsi", "kind"]):
            names, row = _coded(batch["track_id"])
            n = np.bincount(row, minlength=len(names))
            mmsi, kind = batch["mmsi"].cast("int64").to_numpy(zero_copy_only=False), batch["kind"]
            first = np.full(len(names), len(row))
            np.minimum.at(first, row, np.arange(len(row)))
            for name, k, at in zip(names.tolist(), n.tolist(), first.tolist(), strict=True):
                before = found.get(name, (int(mmsi[at]), kind[at].as_py(), 0))
                found[name] = (*before[:2], before[2] + k)
        return np.array([(name, *found[name]) for name in sorted(found)], _ROW_DTYPE)

    def read(
        self, wanted: NDArray[np.str_] | None
    ) -> tuple[_Coded, _Coded, NDArray[np.bool_], dict[str, NDArray[Any]]]:
        """Track ids, kinds, ``abnormal`` and columns of the rows of some tracks (None: of all), in the order of the table."""
        import pyarrow as pa
        import pyarrow.dataset as ds

        only = None if wanted is None else ds.field("track_id").cast(pa.string()).isin(wanted.tolist())
        names = [n for n in (*REQUIRED, *OPTIONAL) if n in self._data.schema.names]
        parts: list[dict[str, NDArray[Any]]] = []
        ids, kinds = _Names(), _Names()
        for batch in self._data.to_batches(columns=names, filter=only):
            part: dict[str, NDArray[Any]] = {
                "track_id": ids.codes(*_coded(batch["track_id"])),
                "kind": kinds.codes(*_coded(batch["kind"])),
                "abnormal": batch["abnormal"].cast(pa.bool_()).to_numpy(zero_copy_only=False).astype(bool),
                "mmsi": batch["mmsi"].cast(pa.int64()).to_numpy(zero_copy_only=False),
            }
            for name in names:
                if name not in part:
                    values = batch[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
                    part[name] = np.where(np.isnan(values), OPTIONAL.get(name, np.nan), values)
            parts.append(part)
        columns = {name: np.concatenate([part.pop(name) for part in parts]) for name in list(parts[0])}
        row, kind_row = columns.pop("track_id"), columns.pop("kind")
        return ids.sorted(row), kinds.sorted(kind_row), columns.pop("abnormal"), columns


_Coded = tuple[NDArray[np.str_], NDArray[np.int64]]  # different texts, and of each row which


def _coded(column: Any) -> _Coded:
    """Of one Arrow array of texts, the different ones as they come."""
    import pyarrow as pa

    coded = column.cast(pa.string()).dictionary_encode()
    return np.array(coded.dictionary.to_pylist(), dtype=str), coded.indices.to_numpy(zero_copy_only=False)


class _Names:
    """Texts of many batches, each with its number."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}

    def codes(self, names: NDArray[np.str_], row: NDArray[np.integer]) -> NDArray[np.int32]:
        """(n,) numbers of the texts of one batch."""
        number = [self._number.setdefault(name, len(self._number)) for name in names.tolist()]
        codes: NDArray[np.int32] = np.array(number, np.int32)[row]
        return codes

    def sorted(self, codes: NDArray[np.int32]) -> _Coded:
        """All texts in order, and of each row which."""
        names = np.array(list(self._number), dtype=str)
        order = np.argsort(names)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return names[order], place[codes]


def labelled(
    track_ids: NDArray[np.str_],
    kinds: NDArray[np.str_],
    abnormal: NDArray[np.bool_],
    columns: dict[str, NDArray[np.generic]],
) -> Labelled:
    """From (n,) arrays in any order; ``columns`` by the names of ``REPORT_DTYPE``. AIS sentinels become missing values."""
    if not len(track_ids):
        raise InputError("the labelled table is empty")
    ids, of_kinds = (np.unique(texts, return_inverse=True) for texts in (track_ids, kinds))
    return _labelled((ids[0], ids[1].ravel()), (of_kinds[0], of_kinds[1].ravel()), abnormal, columns)


def _labelled(ids: _Coded, kinds: _Coded, abnormal: NDArray[np.bool_], columns: dict[str, NDArray[Any]]) -> Labelled:
    """``labelled`` of texts that stand once each, in order."""
    names, row = ids
    n = len(row)
    if len(names) > MOST_TRACKS:
        raise InputError(f"{len(names)} tracks are more than one evaluation can tell apart")
    reports = np.zeros(n, REPORT_DTYPE)
    for name, missing_value in OPTIONAL.items():
        reports[name] = missing_value
    reports["second"] = -1
    for name, values in columns.items():
        if name in REPORT_DTYPE.names:  # type: ignore[operator]
            reports[name] = values
    reports["cog"], reports["heading"] = known_angles(reports["cog"]), known_angles(reports["heading"])
    reports["sog"] = known_speeds(reports["sog"])

    tracks = np.zeros(len(names), TRACK_DTYPE)
    tracks["key"] = FIRST_KEY + np.arange(len(names))
    tracks["track_id"] = names
    tracks["kind"] = CLEAN
    tracks["reports"] = np.bincount(row, minlength=len(names))
    tracks["t_first"], tracks["t_last"], tracks["t_abnormal"] = np.inf, -np.inf, np.inf
    np.minimum.at(tracks["t_first"], row, reports["t"])
    np.maximum.at(tracks["t_last"], row, reports["t"])
    np.minimum.at(tracks["t_abnormal"], row[abnormal], reports["t"][abnormal])
    tracks["t_abnormal"][np.isinf(tracks["t_abnormal"])] = np.nan
    tracks["mmsi"][row] = reports["mmsi"]
    ship_type = np.full(len(names), -1, np.int16)
    np.maximum.at(ship_type, row, reports["ship_type"])
    tracks["ship_type"] = ship_type
    kind_names, kind = kinds
    clean = int(np.searchsorted(kind_names, CLEAN))  # may be the number of none
    clean = clean if clean < len(kind_names) and kind_names[clean] == CLEAN else -1
    odd = np.flatnonzero(kind != clean)
    of_track = np.full(len(names), clean)
    of_track[row[odd]] = kind[odd]
    tracks["kind"] = np.where(of_track == clean, CLEAN, kind_names[np.maximum(of_track, 0)])
    if len(wrong := odd[of_track[row[odd]] != kind[odd]]):
        k = int(wrong[0])
        raise InputError(
            f"track {names[row[k]]!r} has two kinds: {kind_names[kind[k]]!r} and {kind_names[of_track[row[k]]]!r}"
        )
    # An abnormal track whose rows carry no flag counts as abnormal throughout.
    unmarked = (tracks["kind"] != CLEAN) & np.isnan(tracks["t_abnormal"])
    tracks["t_abnormal"][unmarked] = tracks["t_first"][unmarked]
    reports["mmsi"] = tracks["key"][row]
    order = np.lexsort((reports["mmsi"], reports["t"]))
    return Labelled(reports[order], abnormal[order], tracks)

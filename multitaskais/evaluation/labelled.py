"""The labelled table: reports of clean and abnormal tracks, and how it becomes input of the same fold as everything else."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..ais.sentinels import known_angles, known_speeds
from ..errors import InputError
from ..records import REPORT_DTYPE
from ..tracks.quality import SHIP_MMSI
from ..types import LabelledTracks, Reports

REQUIRED = ("track_id", "mmsi", "t", "lat", "lon", "sog", "cog", "kind", "abnormal")
OPTIONAL = {"heading": np.nan, "nav_status": -1, "ship_type": -1, "msg_type": -1}
CLEAN = "clean"
FIRST_KEY, LAST_KEY = SHIP_MMSI  # surrogates are taken from the MMSI of ships, so that no rule stumbles over them
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


class Labelled(NamedTuple):
    """``reports`` carry their track's surrogate as MMSI, so that rows of different tracks never mix, whatever ship they are of."""

    reports: Reports  # (n,) REPORT_DTYPE sorted by t, then key
    abnormal: NDArray[np.bool_]  # (n,)
    tracks: LabelledTracks  # (m,) TRACK_DTYPE sorted by key; key = FIRST_KEY + row


def read_labelled(path: Path) -> Labelled:
    """Read a Parquet table (file or folder) with the columns ``REQUIRED`` and any of ``OPTIONAL``.

    Raises InputError when it is not there, lacks a column, or gives one track two kinds.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; make one with `multitaskais inject`") from None
    except (pa.ArrowInvalid, OSError) as e:
        raise InputError(f"{path}: not a Parquet table ({str(e).splitlines()[0]})") from None
    if missing := [c for c in REQUIRED if c not in table.column_names]:
        raise InputError(f"{path}: column {missing[0]!r} is missing; needed: {', '.join(REQUIRED)}")
    if not len(table):
        raise InputError(f"{path}: the table is empty")

    def floats(name: str) -> NDArray[np.float64]:
        column: NDArray[np.float64] = table[name].cast(pa.float64()).to_numpy()
        return column

    columns: dict[str, NDArray[np.generic]] = {
        "t": floats("t"),
        "lat": floats("lat"),
        "lon": floats("lon"),
        "sog": floats("sog"),
        "cog": floats("cog"),
        "mmsi": table["mmsi"].cast(pa.int64()).to_numpy(),
    }
    for name, missing_value in OPTIONAL.items():
        if name in table.column_names:
            values = floats(name)
            columns[name] = np.where(np.isnan(values), missing_value, values)
    track_ids = np.array(table["track_id"].cast(pa.string()).to_pylist(), dtype="U64")
    kinds = np.array(table["kind"].cast(pa.string()).to_pylist(), dtype="U24")
    abnormal = table["abnormal"].cast(pa.bool_()).to_numpy(zero_copy_only=False).astype(bool)
    return labelled(track_ids, kinds, abnormal, columns)


def labelled(
    track_ids: NDArray[np.str_],
    kinds: NDArray[np.str_],
    abnormal: NDArray[np.bool_],
    columns: dict[str, NDArray[np.generic]],
) -> Labelled:
    """From (n,) arrays in any order; ``columns`` by the names of ``REPORT_DTYPE``. AIS sentinels become missing values."""
    n = len(track_ids)
    if n == 0:
        raise InputError("the labelled table is empty")
    names, row = np.unique(track_ids, return_inverse=True)
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
    odd = kinds != CLEAN
    tracks["kind"][row[odd]] = kinds[odd]
    if np.any(wrong := odd & (tracks["kind"][row] != kinds)):
        raise InputError(
            f"track {track_ids[wrong][0]!r} has two kinds: {kinds[wrong][0]!r} and {tracks['kind'][row[wrong][0]]!r}"
        )
    # An abnormal track whose rows carry no flag counts as abnormal throughout.
    unmarked = (tracks["kind"] != CLEAN) & np.isnan(tracks["t_abnormal"])
    tracks["t_abnormal"][unmarked] = tracks["t_first"][unmarked]
    reports["mmsi"] = tracks["key"][row]
    order = np.lexsort((reports["mmsi"], reports["t"]))
    return Labelled(reports[order], abnormal[order], tracks)

"""An archive of real tracks -> a labelled table: every clean track, and copies of some with one anomaly each.

Clean tracks are those that the whole-track rules choose (4 h, 20 reports, moving), as they came: displaced reports among
them stay, so that a false jump counts. A copy starts from the accepted reports of its track, has a ``track_id`` of its own and the
vessel's own MMSI. Each kind draws its tracks and its anomalies from a generator of its own, so that kinds do not disturb each other.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..config import Region, TrackRules
from ..errors import InputError
from ..records import REPORT_DTYPE, Reason
from ..tracks.quality import CODE
from ..tracks.segmentation import segment
from ..tracks.selection import Selection, choose
from ..tracks.tracker import track_name
from ..types import LabelledRows, Reports
from .inject import KINDS, InjectionSource, alter

CLEAN = "clean"
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


def labelled(
    tracks: list[Reports],
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
    if not tracks:
        raise InputError(
            "no track is long enough to carry an anomaly: give an archive with moving tracks of 4 h and more"
        )
    accepted = [t[~t["abnormal"]] for t in tracks]
    out, made = [], dict.fromkeys(kinds, 0)
    for kind in kinds:
        rng = np.random.default_rng([seed, list(KINDS).index(kind)])
        for _ in range(per_kind):
            before = made[kind]
            for k in rng.permutation(len(accepted)):
                if made[kind] == per_kind:
                    break
                copy = _copy(accepted[k], kind, made[kind], rng, region)
                if copy is not None:
                    out.append(copy)
                    made[kind] += 1
            if made[kind] in (before, per_kind):
                break
    for t in tracks:
        clean = t.copy()
        clean["abnormal"] = False
        out.append(clean)
    return np.concatenate(out), made


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
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: rows[name] for name in ("track_id", "mmsi", "t", "lat", "lon", "sog", "cog", "kind", "abnormal")}
    columns |= {name: rows[name] for name in ("heading", "nav_status", "ship_type")}
    arrays = {
        name: pa.array(v.tolist(), pa.string()).dictionary_encode()
        if v.dtype.kind == "U"
        else pa.array(np.ascontiguousarray(v), from_pandas=True)
        for name, v in columns.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays), path, compression="zstd")

"""Values to evaluate, built by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from multitaskais.evaluation.labelled import Labelled, labelled
from multitaskais.records import Alert, AlertType, Cause, DetectorScore, Place, Status, alert_id

HOUR = 3600.0


def trace_dtype(detectors: int) -> np.dtype:
    """The fields of a batch trace that evaluation reads."""
    return np.dtype(
        [("mmsi", "i8"), ("t", "f8"), ("lat", "f8"), ("lon", "f8"), ("judged", "?"), ("reason", "u1"), ("score", "f8"), ("z", "f8", (detectors,))]
    )  # fmt: skip


def table(tracks: list[dict[str, Any]], minutes: float = 10.0) -> Labelled:
    """Tracks given as {id, kind, hours, abnormal_from (h), lat, lon, mmsi, ship_type}; straight to the north at 10 kn."""
    ids, kinds, abnormal, columns = [], [], [], {k: [] for k in ("mmsi", "t", "lat", "lon", "sog", "cog", "ship_type")}
    for track in tracks:
        t = np.arange(0.0, track.get("hours", 6.0) * HOUR + 1, minutes * 60)
        n = len(t)
        ids += [track["id"]] * n
        kinds += [track.get("kind", "clean")] * n
        begin = track.get("abnormal_from", 2.0 if track.get("kind", "clean") != "clean" else np.inf)
        abnormal += list(t >= begin * HOUR)
        columns["mmsi"] += [track.get("mmsi", 227_000_000)] * n
        columns["t"] += list(track.get("t0", 1e9) + t)
        columns["lat"] += list(track.get("lat", 48.0) + t / HOUR * 10 / 60)
        columns["lon"] += [track.get("lon", -5.5)] * n
        columns["sog"] += [10.0] * n
        columns["cog"] += [0.0] * n
        columns["ship_type"] += [track.get("ship_type", -1)] * n
    return labelled(np.array(ids), np.array(kinds), np.array(abnormal), {k: np.array(v) for k, v in columns.items()})


def trace_of(
    data: Labelled, peak: dict[str, float], names: tuple[str, ...] = ("vrnn", "place"), warmup: int = 12
) -> np.ndarray:
    """A sample each 10 min; after the warm-up the scores rise to ``peak`` by track id (NaN: moored throughout)."""
    parts = []
    for track in data.tracks:
        r = data.reports[data.reports["mmsi"] == track["key"]]
        rows = np.zeros(len(r), trace_dtype(len(names)))
        for name in ("mmsi", "t", "lat", "lon"):
            rows[name] = r[name]
        top = peak[str(track["track_id"])]
        late = np.arange(len(r)) >= warmup
        rows["judged"] = late & np.isfinite(top)
        rows["reason"] = np.where(rows["judged"], 0, np.where(np.isfinite(top), 1, 2))
        ramp = top * np.clip((np.arange(len(r)) + 1) / len(r), 0, 1)
        rows["score"] = np.where(rows["judged"], ramp, np.nan)
        rows["z"] = np.where(rows["judged"], ramp, np.nan)[:, None] * np.arange(1, len(names) + 1)
        parts.append(rows)
    return np.concatenate(parts)


def alert_on(
    data: Labelled,
    track_id: str,
    hour: float,
    *,
    cause: Cause = Cause.OUT_OF_PLACE,
    score: float = 1.2,
    detectors: tuple[str, ...] = ("place",),
    alert_type: AlertType = AlertType.ABNORMAL,
    status: Status = Status.RAISED,
    first_hour: float | None = None,
    challenger: bool = False,
) -> Alert:
    track = data.tracks[data.tracks["track_id"] == track_id][0]
    t = float(track["t_first"]) + hour * HOUR
    first = t if first_hour is None else float(track["t_first"]) + first_hour * HOUR
    r = data.reports[data.reports["mmsi"] == track["key"]]
    here = r[np.argmin(np.abs(r["t"] - t))]
    place = Place(t, float(here["lat"]), float(here["lon"]))
    return Alert(
        alert_id(int(track["key"]), first, alert_type), 1 if first == t else 2, status, int(track["key"]), None, None, alert_type, cause,
        tuple(DetectorScore(d, 3.0) for d in detectors), track_id, place, place, t, score, None, None, "", "test", challenger,
    )  # fmt: skip

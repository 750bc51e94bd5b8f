"""What a model finds among labelled tracks, at track level, through the same fold and the same alerts as ``detect``.

The words, as everywhere in the figures:

- *score* of a track: the greatest fused score (an alert type's score divided by its threshold, the largest counts) over
  all its samples and alerts; of one detector: its greatest z. A track that was never judged scores -inf.
- *flagged*: an alert was raised on it. Of one detector: an alert that names the detector.
- *hours to alert*: from the first abnormal report to the first alert (raised or updated) decided after it, of flagged
  abnormal tracks only.
- *vessel-days*: hours from first to last report of the clean tracks, over 24.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..config import Region
from ..detection.promise import interval_of_share
from ..detection.threshold import Budget
from ..records import Alert, AlertType, NotJudged, Status
from ..types import LabelledTracks, Reports, Trace
from ..units import EARTH_RADIUS_M
from . import metrics
from .kinds import right_causes, vessel_class
from .labelled import CLEAN, Labelled

NEAR_M = 2000.0  # docs/method.md#low-coverage: other vessels within 2 km
NEAR_BANDS = ((0, 3, "0-2"), (3, 10, "3-9"), (10, 10**9, "10 or more"))


@dataclass(frozen=True)
class View:
    """What one detector, or the fusion of all, says of (m,) tracks."""

    name: str
    score: NDArray[np.float64]  # -inf where not judged
    alerts: NDArray[np.int64]  # distinct alerts raised
    hours: NDArray[np.float64]  # to the first alert after the first abnormal report; NaN where none, or clean

    @property
    def flagged(self) -> NDArray[np.bool_]:
        return self.alerts > 0


@dataclass(frozen=True)
class Outcome:
    """All that the figures and the pictures need; rows as in ``labelled.tracks``."""

    labelled: Labelled
    trace: Trace
    alerts: tuple[Alert, ...]
    fused: View
    detectors: tuple[View, ...]
    reason: NDArray[np.str_]  # (m,) why not judged; empty where judged
    cause: NDArray[np.str_]  # (m,) cause of the alert that counts; empty where none
    rejected: dict[str, int]  # reports left out by the fold, by reason
    near: NDArray[np.float64]  # (m,) median number of other clean vessels within 2 km; NaN without samples
    development_level: float = float(
        "nan"
    )  # the score that 5 % of the development tracks exceed; NaN where the model does not say


def outcome(
    data: Labelled,
    alerts: Sequence[Alert],
    trace: Trace,
    detector_names: Sequence[str],
    outside: NDArray[np.bool_],
    rejected: Mapping[str, int] | None = None,
    development_level: float = float("nan"),
) -> Outcome:
    """Join alerts and trace to the tracks.

    trace: of ``batch.run``: ``mmsi`` (the surrogate), ``t, lat, lon, judged, reason, score`` (NaN where none), ``z`` (., detectors).
    A track is judged when a sample of it was, or an alert was raised on it.
    outside: (reports,) which reports lie outside the model's region.
    """
    tracks = data.tracks
    m = len(tracks)
    row = np.searchsorted(tracks["key"], trace["mmsi"])
    fused = np.full(m, metrics.NOT_JUDGED)
    scored = np.isfinite(trace["score"])
    np.maximum.at(fused, row[scored], trace["score"][scored])
    judged = np.zeros(m, bool)
    judged[row[trace["judged"]]] = True
    fused[~judged] = metrics.NOT_JUDGED
    per_detector = np.full((m, len(detector_names)), metrics.NOT_JUDGED)
    for j in range(len(detector_names)):
        z = trace["z"][:, j]
        seen = np.isfinite(z) & judged[row]
        np.maximum.at(per_detector[:, j], row[seen], z[seen])

    told = [(int(np.searchsorted(tracks["key"], a.mmsi)), a) for a in alerts if not a.challenger]
    for i, alert in told:
        fused[i] = max(fused[i], alert.score)
    # Events at report resolution (jump, two ships on one MMSI) have no column in the trace: their alerts represent them.
    event_names = sorted(
        {str(a.alert_type) for _, a in told}
        & {str(AlertType.JUMP), str(AlertType.IDENTITY_CONFLICT)} - set(detector_names)
    )
    views = [
        _view(name, per_detector[:, j], tracks, [(i, a) for i, a in told if any(d.name == name for d in a.detectors)])
        for j, name in enumerate(detector_names)
    ]
    for name in event_names:
        mine = [(i, a) for i, a in told if a.alert_type == name]
        score = np.where(np.isfinite(fused), 0.0, metrics.NOT_JUDGED)  # judged, and no such event
        for i, alert in mine:
            score[i] = max(score[i], alert.score)
        views.append(_view(name, score, tracks, mine))

    cause = np.zeros(m, "U24")
    for i, alert in told:  # the first alert after the anomaly began; before that, the first of all
        after = not (alert.decided_at < tracks["t_abnormal"][i])
        if not cause[i] or (after and cause[i].startswith("?")):
            cause[i] = str(alert.cause) if after else f"?{alert.cause}"
    cause = np.char.lstrip(cause, "?")
    return Outcome(
        data,
        trace,
        tuple(alerts),
        _view("fused", fused, tracks, told),
        tuple(views),
        _reasons(data, trace, row, np.isfinite(fused), outside),
        cause,
        dict(rejected or {}),
        _near(tracks, trace, row),
        development_level,
    )


def _view(name: str, score: NDArray[np.float64], tracks: LabelledTracks, told: list[tuple[int, Alert]]) -> View:
    n = np.zeros(len(tracks), np.int64)
    hours = np.full(len(tracks), np.nan)
    ids: set[str] = set()
    for i, alert in told:
        if alert.alert_id not in ids:
            ids.add(alert.alert_id)
            n[i] += 1
        after = (alert.decided_at - tracks["t_abnormal"][i]) / 3600.0
        if alert.status in (Status.RAISED, Status.UPDATED) and after >= 0:
            hours[i] = np.fmin(hours[i], after)
    return View(name, score, n, hours)


def _reasons(
    data: Labelled,
    trace: Trace,
    row: NDArray[np.int64],
    judged: NDArray[np.bool_],
    outside: NDArray[np.bool_],
) -> NDArray[np.str_]:
    """Outside the region when most reports are; else the commonest reason of its samples, too short without any."""
    out = np.zeros(len(data.tracks), "U24")
    report_row = data.reports["mmsi"] - data.tracks["key"][0]
    away = np.bincount(report_row, weights=outside, minlength=len(out)) / np.maximum(data.tracks["reports"], 1)
    for i in np.flatnonzero(~judged):
        reasons = trace["reason"][row == i]
        reasons = reasons[reasons > 0]
        if away[i] > 0.5:
            out[i] = NotJudged.OUTSIDE_REGION.text
        else:
            out[i] = NotJudged(int(np.bincount(reasons).argmax())).text if len(reasons) else NotJudged.TOO_SHORT.text
    return out


def _near(tracks: LabelledTracks, trace: Trace, row: NDArray[np.int64]) -> NDArray[np.float64]:
    """Median over a track's samples of the number of other ships with a clean track that passed within 2 km, at any time."""
    out = np.full(len(tracks), np.nan)
    ship = tracks["mmsi"][row]
    clean = tracks["kind"][row] == CLEAN
    if not clean.any():
        return out
    lat, lon = np.radians(trace["lat"]), np.radians(trace["lon"])
    xyz = EARTH_RADIUS_M * np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
    # One point a ship and square of 500 m is enough, and keeps crowded harbours small.
    square = np.unique(np.round(xyz[clean] / 500.0).astype(np.int64), axis=0, return_inverse=True)[1].ravel()
    _, first = np.unique(np.stack([square, ship[clean]], axis=1), axis=0, return_index=True)
    points, owner = xyz[clean][first], ship[clean][first]
    ships = np.array(
        [
            len({*owner[near]} - {me})
            for near, me in zip(cKDTree(points).query_ball_point(xyz, NEAR_M), ship, strict=True)
        ]
    )
    for i in np.unique(row):
        out[i] = np.median(ships[row == i])
    return out


# ---------------------------------------------------------------- figures


def figures(view: View, tracks: LabelledTracks) -> dict[str, Any]:
    """The block of ``report.json`` for one view: means over kinds, and ``per_kind`` with the same names."""
    kind = tracks["kind"]
    clean = kind == CLEAN
    total, per_kind = metrics.ranking_by_kind(view.score, kind)
    days = float((tracks["t_last"] - tracks["t_first"])[clean].sum()) / 86400.0
    shared = {
        "clean_flagged": _mean(view.flagged[clean]),
        "alerts_per_vessel_day": float(view.alerts[clean].sum()) / days if days > 0 else float("nan"),
    }
    blocks: dict[str, dict[str, Any]] = {}
    for name, ranks in per_kind.items():
        mine = kind == name
        blocks[name] = {
            **ranks,
            **shared,
            "recall": _mean(view.flagged[mine]),
            "median_hours_to_alert": _median(view.hours[mine]),
            "tracks": int(mine.sum()),
            "found": int(view.flagged[mine].sum()),
        }
    return {
        **total,
        **shared,
        "recall": metrics.mean_over(blocks, "recall"),
        "median_hours_to_alert": _median(view.hours[~clean]),
        "per_kind": blocks,
    }


def report(result: Outcome, rng: np.random.Generator, draws: int = 200) -> dict[str, Any]:
    """All of ``report.json``; NaN where a figure has no data (written as null)."""
    tracks, fused = result.labelled.tracks, result.fused
    clean = tracks["kind"] == CLEAN
    not_judged = result.reason[result.reason != ""]
    block = figures(fused, tracks)
    block["intervals_95"] = intervals(fused, tracks, rng, draws)
    block["causes"] = causes(result)
    block["at_development_5pct"] = at_development_level(result)
    block["per_class"] = _by(result, np.array([vessel_class(int(s)) for s in tracks["ship_type"]]))
    near = np.full(len(tracks), "no samples", dtype="U12")
    for low, high, name in NEAR_BANDS:
        near[(result.near >= low) & (result.near < high)] = name
    block["per_vessels_nearby"] = _by(result, near)
    block["per_day"] = per_day(result)
    return {
        "tracks": len(tracks),
        "clean_tracks": int(clean.sum()),
        "abnormal_tracks": int((~clean).sum()),
        "reports": len(result.labelled.reports),
        "reports_rejected": result.rejected,
        "clean_vessel_days": float((tracks["t_last"] - tracks["t_first"])[clean].sum()) / 86400.0,
        "judged": int((result.reason == "").sum()),
        "not_judged": _count(not_judged),
        "not_judged_clean": _count(result.reason[clean & (result.reason != "")]),
        "fused": block,
        "detectors": {v.name: figures(v, tracks) for v in result.detectors},
    }


def budget_kept(result: Outcome, budget: Budget) -> dict[str, Any]:
    """What was set, what clean tracks show, their ratio, and the 90 % interval of the share of them flagged, clustered by vessel.

    ``within``: whether that interval covers the budget; None for a budget of alerts per vessel-day, which has no interval.
    """
    tracks = result.labelled.tracks
    clean = tracks["kind"] == CLEAN
    flagged = result.fused.flagged[clean]
    low, high = interval_of_share(flagged, tracks["mmsi"][clean])
    by_share = budget.alerts_per_vessel_day is None
    days = float((tracks["t_last"] - tracks["t_first"])[clean].sum()) / 86400.0
    seen = _mean(flagged) if by_share else float(result.fused.alerts[clean].sum()) / max(days, 1e-9)
    return {
        "set": budget.allowed,
        "seen": seen,
        "ratio": seen / budget.allowed,
        "clean_vessels": len(np.unique(tracks["mmsi"][clean])),
        "clean_flagged_interval_90": [low, high],
        "within": low <= budget.track_share <= high if by_share and len(flagged) else None,
    }


def intervals(view: View, tracks: LabelledTracks, rng: np.random.Generator, draws: int) -> dict[str, list[float]]:
    """95 % bootstrap intervals over tracks, drawn within kinds."""
    kind = tracks["kind"]
    days = np.where(kind == CLEAN, tracks["t_last"] - tracks["t_first"], 0.0) / 86400.0

    def one(picked: NDArray[np.int64]) -> dict[str, float]:
        k, flagged = kind[picked], view.flagged[picked]
        total, _ = metrics.ranking_by_kind(view.score[picked], k)
        found = [flagged[k == name].mean() for name in np.unique(k) if name != CLEAN]
        return {
            **total,
            "clean_flagged": _mean(flagged[k == CLEAN]),
            "alerts_per_vessel_day": float(view.alerts[picked][k == CLEAN].sum())
            / max(float(days[picked].sum()), 1e-9),
            "recall": float(np.mean(found)) if found else float("nan"),
            "median_hours_to_alert": _median(view.hours[picked]),
        }

    return {name: [v.low, v.high] for name, v in metrics.bootstrap(kind, one, rng, draws).items()}


def at_development_level(result: Outcome) -> dict[str, Any]:
    """At the score that 5 % of the development tracks exceed: the share of these clean tracks, and of each kind, that exceed it."""
    kind, level = result.labelled.tracks["kind"], result.development_level
    above = result.fused.score > level  # False without a level
    per_kind = {str(k): _mean(above[kind == k]) for k in np.unique(kind) if k != CLEAN}
    found = np.array(list(per_kind.values()))
    known = np.isfinite(level)
    return {
        "score": level,
        "clean_flagged": _mean(above[kind == CLEAN]) if known else float("nan"),
        "recall": _mean(found) if known else float("nan"),
        "recall_per_kind": per_kind if known else {},
    }


def causes(result: Outcome) -> dict[str, Any]:
    """Of the flagged abnormal tracks of kinds with a known cause: the share named right, and what each kind was called."""
    kind = result.labelled.tracks["kind"]
    right = n = 0
    table: dict[str, dict[str, int]] = {}
    for name in np.unique(kind[kind != CLEAN]):
        said = result.cause[(kind == name) & (result.cause != "")]
        table[str(name)] = _count(said)
        if accepted := {str(c) for c in right_causes(str(name))}:
            n += len(said)
            right += sum(c in accepted for c in said.tolist())
    return {"named_right": right / n if n else float("nan"), "tracks": n, "per_kind": table}


def per_day(result: Outcome) -> dict[str, dict[str, Any]]:
    """Per day (UTC) on which clean tracks began: their number and the share of them that was flagged: drift shows here."""
    tracks = result.labelled.tracks
    clean = tracks["kind"] == CLEAN
    day = np.floor(tracks["t_first"] / 86400.0).astype(np.int64)
    return {
        str(np.datetime64(d, "D")): {
            "clean_tracks": int((clean & (day == d)).sum()),
            "clean_flagged": _mean(result.fused.flagged[clean & (day == d)]),
        }
        for d in np.unique(day[clean]).tolist()
    }


def _by(result: Outcome, group: NDArray[np.str_]) -> dict[str, dict[str, Any]]:
    """Per group of tracks: clean share flagged and, at the thresholds of all clean tracks, the recall."""
    kind, view = result.labelled.tracks["kind"], result.fused
    clean = kind == CLEAN
    level = metrics.threshold_at(view.score[clean], 0.05)
    out: dict[str, dict[str, Any]] = {}
    for name in np.unique(group):
        mine = group == name
        ranks, _ = metrics.ranking_by_kind(view.score[mine], kind[mine])
        out[str(name)] = {
            "clean_tracks": int((mine & clean).sum()),
            "abnormal_tracks": int((mine & ~clean).sum()),
            "auroc": ranks["auroc"],
            "recall_at_5pct": _mean(view.score[mine & ~clean] > level),  # threshold of all clean tracks
            "clean_flagged": _mean(view.flagged[mine & clean]),
            "recall": _mean(view.flagged[mine & ~clean]),
        }
    return out


def _mean(x: NDArray[Any]) -> float:
    return float(x.mean()) if len(x) else float("nan")


def _median(x: NDArray[np.float64]) -> float:
    x = x[np.isfinite(x)]
    return float(np.median(x)) if len(x) else float("nan")


def _count(x: NDArray[np.str_]) -> dict[str, int]:
    return {str(k): int(n) for k, n in zip(*np.unique(x, return_counts=True), strict=True)}


def outside_region(reports: Reports, region: Region) -> NDArray[np.bool_]:
    """(n,) which reports lie outside the box."""
    return ~region.contains(reports["lat"], reports["lon"])

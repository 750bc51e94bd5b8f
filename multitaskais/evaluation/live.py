"""What a live run found: alerts of the topic against labels kept apart, as a summary and a picture.

Pure functions of values; alerts are those of the wire (``Alert.as_dict``), all revisions, in the order of the topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import Region
from ..export import latest_revisions, of_ships, stretch
from ..records import Status, VerdictKind
from ..types import Reports
from . import plots

TRACK_GAP_S = 7200.0  # a drawn line is cut where the ship was silent for longer


class TrackSeen(NamedTuple):
    """One track of the run. ``reason`` says why it was never judged; empty when it was."""

    track_id: str
    mmsi: int
    t_start: float
    t_end: float
    reason: str


class Truth(NamedTuple):
    """An abnormal ship: the rows of ``labels.json``."""

    mmsi: int
    kind: str
    t_start: float
    t_end: float
    partner: int = -1  # MMSI of the other ship of a meeting


def truths(rows: Iterable[Mapping[str, Any]]) -> list[Truth]:
    return [
        Truth(int(r["mmsi"]), str(r["kind"]), float(r["t_start"]), float(r["t_end"]), int(r.get("partner", -1)))
        for r in rows
    ]


def tracks_seen(
    tracks: Iterable[tuple[str, int, float, float]], verdicts: Iterable[Mapping[str, Any]]
) -> list[TrackSeen]:
    """Join (track_id, mmsi, t_start, t_end) with every verdict that was published (``Verdict.as_dict``).

    A track is judged when any of its verdicts was normal or abnormal; else its last reason stands, ``too_short`` when it had no
    verdict at all.
    """
    judged: set[str] = set()
    reason: dict[str, str] = {}
    for v in verdicts:
        if v["verdict"] != VerdictKind.NOT_JUDGED:
            judged.add(v["track_id"])
        elif v.get("reason"):
            reason[v["track_id"]] = v["reason"]
    return [
        TrackSeen(
            track_id,
            int(mmsi),
            float(start),
            float(end),
            "" if track_id in judged else reason.get(track_id, "too_short"),
        )
        for track_id, mmsi, start, end in tracks
    ]


def hours_to_alert(truth: Truth, alerts: Iterable[Mapping[str, Any]]) -> float:
    """From the first abnormal report to the first revision that was decided after it, of an alert that was not retracted. NaN when missed."""
    mine = [a for a in alerts if int(a["mmsi"]) == truth.mmsi and not a.get("challenger")]
    retracted = {a["alert_id"] for a in mine if a["status"] == Status.RETRACTED}
    times = [
        a["decided_at"]
        for a in mine
        if a["status"] in (Status.RAISED, Status.UPDATED)
        and a["alert_id"] not in retracted
        and a["decided_at"] >= truth.t_start
        and a["segment_end"]["t"] >= truth.t_start
    ]
    return (min(times) - truth.t_start) / 3600.0 if times else float("nan")


def summarise(
    labels: Sequence[Truth],
    alerts: Sequence[Mapping[str, Any]],
    tracks: Sequence[TrackSeen],
    reports: int,
    seconds: Mapping[str, float],
    reports_per_s: float,
) -> dict[str, Any]:
    """The figures of ``summary.json``.

    A positive is found when an alert on its ship, not retracted, was decided after its first abnormal report about a segment
    that reaches into its abnormal time. ``recall`` is found over positives. ``precision`` is the share of the ships with an alert
    that are labelled abnormal. ``clean_flagged`` is the share of the tracks of clean ships, judged or not, with an alert;
    ``alerts_per_vessel_day`` the alerts on them per 24 h of track.
    """
    hours = [hours_to_alert(truth, alerts) for truth in labels]
    per_kind: dict[str, dict[str, int]] = {}
    for truth, h in zip(labels, hours, strict=True):
        block = per_kind.setdefault(truth.kind, {"positives": 0, "found": 0})
        block["positives"] += 1
        block["found"] += int(np.isfinite(h))
    abnormal = {truth.mmsi for truth in labels} | {truth.partner for truth in labels if truth.partner >= 0}
    standing = [a for a in latest_revisions(alerts) if a["status"] != Status.RETRACTED]
    flagged_ships = {int(a["mmsi"]) for a in standing}
    clean = [t for t in tracks if t.mmsi not in abnormal]
    clean_alerts = [a for a in standing if int(a["mmsi"]) not in abnormal]
    flagged_tracks = {_track_of(a, clean) for a in clean_alerts} - {""}
    days = sum(t.t_end - t.t_start for t in clean) / 86400.0
    not_judged: dict[str, int] = {}
    for t in tracks:
        if t.reason:
            not_judged[t.reason] = not_judged.get(t.reason, 0) + 1
    found = [h for h in hours if np.isfinite(h)]
    return {
        "vessels": len({t.mmsi for t in tracks}),
        "reports": int(reports),
        "tracks": len(tracks),
        "judged": sum(not t.reason for t in tracks),
        "not_judged": dict(sorted(not_judged.items())),
        "alerts": len(standing),
        "per_kind": dict(sorted(per_kind.items())),
        "precision": _ratio(len(flagged_ships & abnormal), len(flagged_ships)),
        "recall": _ratio(len(found), len(labels)),
        "clean_flagged": _ratio(len(flagged_tracks), len(clean)),
        "alerts_per_vessel_day": None if days <= 0 else round(len(clean_alerts) / days, 4),
        "median_hours_to_alert": round(float(np.median(found)), 3) if found else None,
        "reports_per_s": round(float(reports_per_s), 1),
        "seconds": {step: round(float(s), 2) for step, s in seconds.items()},
    }


def _ratio(n: int, of: int) -> float | None:
    return round(n / of, 4) if of else None


def _track_of(alert: Mapping[str, Any], tracks: Sequence[TrackSeen]) -> str:
    """The track an alert is about: by its id, else the ship's track of that time; empty when there is none."""
    mine = [t for t in tracks if t.mmsi == int(alert["mmsi"])]
    for t in mine:
        if t.track_id == alert["track_id"]:
            return t.track_id
    at = alert["segment_end"]["t"]
    return next((t.track_id for t in mine if t.t_start <= at <= t.t_end), mine[-1].track_id if mine else "")


def table(summary: Mapping[str, Any]) -> str:
    """The summary as a watch officer's table (plain text)."""
    not_judged = ", ".join(f"{n} {reason}" for reason, n in summary["not_judged"].items()) or "none"
    lines = [
        f"ships seen            {summary['vessels']}",
        f"reports               {summary['reports']}",
        f"tracks                {summary['tracks']}, judged {summary['judged']}; not judged: {not_judged}",
        f"alerts                {summary['alerts']}",
        "found by kind         "
        + ", ".join(f"{k} {v['found']}/{v['positives']}" for k, v in summary["per_kind"].items()),
        f"recall                {_text(summary['recall'], '.0%')}",
        f"precision             {_text(summary['precision'], '.0%')}",
        f"clean tracks flagged  {_text(summary['clean_flagged'], '.1%')}",
        f"alerts / vessel-day   {_text(summary['alerts_per_vessel_day'], '.3f')} on clean ships",
        f"hours to alert        {_text(summary['median_hours_to_alert'], '.2f')} (median, from the first abnormal report)",
        f"reports per second    {summary['reports_per_s']:,.0f}",
        "seconds               " + ", ".join(f"{k} {v:.1f}" for k, v in summary["seconds"].items()),
    ]
    return "\n".join(lines)


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def picture(
    reports: Reports,
    alerts: Iterable[Mapping[str, Any]],
    labels: Sequence[Truth],
    region: Region,
    title: str = "",
) -> bytes:
    """PNG: all tracks over the coastline; abnormal parts that were found, that were missed, and false alarms in their colours."""
    from matplotlib.collections import LineCollection

    alerts = list(alerts)
    by_ship = of_ships(reports)
    truth = {x.mmsi: x for x in labels}
    standing = [a for a in latest_revisions(alerts) if a["status"] != Status.RETRACTED]
    ratio = (region.lat_max - region.lat_min) / (region.lon_max - region.lon_min)
    ratio /= np.cos(np.radians(0.5 * (region.lat_min + region.lat_max)))
    figure, ax = plots.new_figure(11, min(max(11 * ratio, 4.5), 12.0))
    plots.draw_land(ax, region)
    plots.degree_labels(ax)

    def lines(ships: Iterable[int], start: Mapping[int, float], end: Mapping[int, float]) -> list[NDArray[np.float64]]:
        out: list[NDArray[np.float64]] = []
        for m in ships:
            r = by_ship.get(m)
            if r is None:
                continue
            r = r[(r["t"] >= start.get(m, -np.inf)) & (r["t"] <= end.get(m, np.inf))]
            out += plots.track_lines(r["lon"], r["lat"], r["t"], TRACK_GAP_S)
        return out

    first = {m: x.t_start for m, x in truth.items()}
    last = {m: x.t_end for m, x in truth.items()}
    found = [x.mmsi for x in labels if np.isfinite(hours_to_alert(x, alerts))]
    missed = [x.mmsi for x in labels if x.mmsi not in set(found)]
    false = [a for a in standing if int(a["mmsi"]) not in truth]
    false_lines = [np.array(s) for a in false if len(s := stretch(by_ship.get(int(a["mmsi"])), a)) > 1]
    drawn = (
        (lines(by_ship, {}, {}), plots.BLUE, 0.5, 0.25, f"{len(by_ship)} ships"),
        (lines(found, first, last), plots.RED, 2.0, 1.0, f"abnormal, found ({len(found)})"),
        (lines(missed, first, last), "black", 1.8, 1.0, f"abnormal, missed ({len(missed)})"),
        (false_lines, plots.PINK, 1.8, 1.0, f"false alarms ({len(false)})"),
    )
    for z, (segments, colour, width, alpha, label) in enumerate(drawn, start=2):
        ax.add_collection(LineCollection(segments, colors=colour, linewidths=width, alpha=alpha, zorder=z))
        ax.plot([], [], color=colour, linewidth=max(width, 1.2), label=label)
    at = [(a["segment_end"]["lon"], a["segment_end"]["lat"]) for a in standing if int(a["mmsi"]) in set(found)]
    if at:
        x, y = np.array(at).T
        ax.plot(x, y, "o", color=plots.RED, markeredgecolor="white", markersize=6, zorder=7)
    for m in (*found, *missed):
        r = by_ship.get(m)
        if r is None or not len(r := r[(r["t"] >= first[m]) & (r["t"] <= last[m])]):
            continue
        ax.annotate(
            truth[m].kind, (float(r["lon"][len(r) // 2]), float(r["lat"][len(r) // 2])), xytext=(5, 4), textcoords="offset points",
            fontsize=7.5, color="#333333", zorder=8, annotation_clip=True,
        )  # fmt: skip
    ax.set_title(title or "What was found", loc="left", fontsize=12)
    ax.legend(loc=_emptiest(reports, region), fontsize=9, framealpha=0.95)
    ax.annotate("coastline: Natural Earth", (0.01, 0.01), xycoords="axes fraction", fontsize=7, color=plots.SHORE)
    return plots.png(figure)


def _emptiest(reports: Reports, region: Region) -> str:
    """Where a legend hides the fewest reports."""
    x = (reports["lon"] - region.lon_min) / (region.lon_max - region.lon_min)
    y = (reports["lat"] - region.lat_min) / (region.lat_max - region.lat_min)
    width, height = 0.22, 0.12  # of the axes
    columns = {"left": 0.0, "right": 1.0 - width}
    rows = {"upper": 1.0 - height, "center": 0.5 * (1.0 - height), "lower": 0.0}
    hidden = {
        f"{row} {column}": int(np.count_nonzero((x >= x0) & (x < x0 + width) & (y >= y0) & (y < y0 + height)))
        for row, y0 in rows.items()
        for column, x0 in columns.items()
    }
    return min(hidden, key=lambda k: hidden[k])

"""Meetings, silences and zone entries put into an archive, and what is found of them (docs/together.md).

A scene needs all ships at once and a vessel's own number, so it is no copy of a track as in ``inject``: the archive itself is changed, one
vessel a scene, and a folder holds it:

    reports.parquet   all reports
    labels.json       the scenes: mmsi, kind, t_start, t_end, partner
    lookalikes.json   ships of which nothing may be told (``simulate`` alone writes some)
    zones.geojson     what is watched
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..ais.archives import read_reports
from ..encounters import stops
from ..encounters.metric import cos_latitude
from ..errors import InputError
from ..records import REPORT_DTYPE, Alert, AlertType, Status
from ..types import Reports
from ..units import KNOT_MPS
from ..units import M_PER_DEG_CM as M_PER_DEG
from ..zones.zone import Zone, read_zones_file

KINDS = ("meeting", "silence", "zone")
HOUR_S = 3600.0
LEAD_S = 2.5 * HOUR_S  # heard so long before its scene
PARTNER_MMSI = 299_000_000  # of the ships that are added: no country has these numbers
ZONE_HALF_DEG = 0.02
EARLY_S = 120.0  # an alert may be decided so much before the labelled time: reports are not continuous


class SceneLabel(NamedTuple):
    """Who did what with whom, and when (Unix s). ``partner`` is -1 where there is none."""

    mmsi: int
    kind: str
    t_start: float
    t_end: float
    partner: int = -1

    def as_dict(self) -> dict[str, Any]:
        return {k: v for k, v in self._asdict().items() if k != "partner" or v >= 0}


@dataclass
class Scenes:
    """An archive with its labels."""

    reports: Reports
    labels: list[SceneLabel] = field(default_factory=list)
    lookalikes: list[SceneLabel] = field(default_factory=list)
    zones: list[Zone] = field(default_factory=list)
    features: list[dict[str, Any]] = field(default_factory=list)  # the zones as GeoJSON


def is_scenes(path: Path) -> bool:
    return (path / "labels.json").is_file()


def read(folder: Path) -> Scenes:
    """Raises InputError when a file is missing or cannot be read."""

    def labels(name: str) -> list[SceneLabel]:
        try:
            rows = json.loads((folder / name).read_text()) if (folder / name).is_file() else []
            return [
                SceneLabel(
                    int(r["mmsi"]), str(r["kind"]), float(r["t_start"]), float(r["t_end"]), int(r.get("partner", -1))
                )
                for r in rows
            ]
        except (ValueError, KeyError, TypeError) as e:
            raise InputError(f"{folder / name}: not a list of labels ({e!r})") from None

    parts = [batch.reports for batch in read_reports([folder / "reports.parquet"])]
    if not parts:
        raise InputError(f"{folder}/reports.parquet: no report in it")
    zones_file = folder / "zones.geojson"
    zones = (
        read_zones_file(zones_file) if zones_file.is_file() and json.loads(zones_file.read_text())["features"] else []
    )
    return Scenes(np.concatenate(parts), labels("labels.json"), labels("lookalikes.json"), zones)


def write(scenes: Scenes, folder: Path, write_reports: Callable[[Reports, Path], object]) -> None:
    """``write_reports`` writes (n,) reports as Parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    write_reports(scenes.reports, folder / "reports.parquet")
    for name, rows in (("labels.json", scenes.labels), ("lookalikes.json", scenes.lookalikes)):
        (folder / name).write_text(json.dumps([r.as_dict() for r in sorted(rows)], indent=1) + "\n")
    collection = {"type": "FeatureCollection", "features": scenes.features}
    (folder / "zones.geojson").write_text(json.dumps(collection, indent=1) + "\n")


# ---------------------------------------------------------------- into an archive


def inject(reports: Reports, n: int, rng: np.random.Generator, kinds: Sequence[str] = KINDS) -> Scenes:
    """(n,) screened reports in any order -> the same archive with ``n`` scenes of each kind, where vessels can carry them; no vessel carries two."""
    reports = reports[np.lexsort((reports["t"], reports["mmsi"]))]
    places = stops.learn(reports)
    first = np.flatnonzero(np.append(True, np.diff(reports["mmsi"]) != 0))
    tracks = np.split(reports, first[1:])
    order = rng.permutation(len(tracks)).tolist()
    out = Scenes(reports)
    used: set[int] = set()
    changed: dict[int, Reports] = {}
    added: list[Reports] = []
    for kind in kinds:
        made = 0
        for i in order:
            if made == n:
                break
            track = tracks[i]
            if i in used or (at := _moment(track, places, kind, rng)) is None:
                continue
            if kind == "silence":
                label = _silence(track, at, i, changed, rng)
            elif kind == "zone":
                label = _zone(track, at, reports, out, made)
            else:
                label = _meeting(track, at, i, changed, added, rng)
            used.add(i)
            out.labels.append(label)
            made += 1
    parts = [changed.get(i, track) for i, track in enumerate(tracks)] + added
    everything = np.concatenate(parts) if parts else np.zeros(0, REPORT_DTYPE)
    out.reports = everything[np.argsort(everything["t"], kind="stable")]
    return out


def _moment(track: Reports, places: stops.StoppingPlaces, kind: str, rng: np.random.Generator) -> int | None:
    """A report of the track at which a scene can begin: under way, heard for long before, heard well, and not where ships stop."""
    t = track["t"]
    if kind == "meeting" and not 70 <= int(track["ship_type"].max()) < 90:
        return None
    after_s = 3 * HOUR_S if kind != "zone" else HOUR_S
    fine = (t >= t[0] + LEAD_S) & (t <= t[-1] - after_s) & (track["sog"] > 6.0) & (track["sog"] < 25.0)
    fine &= (track["nav_status"] != 1) & (track["nav_status"] != 5)
    fine &= np.append(np.diff(t), np.inf) < 600.0
    at = np.flatnonzero(fine)
    at = at[~places.near(track["lat"][at], track["lon"][at])]
    return int(rng.choice(at)) if len(at) else None


def _silence(track: Reports, at: int, i: int, changed: dict[int, Reports], rng: np.random.Generator) -> SceneLabel:
    """Not heard for 6 to 14 h from one report on, or to the end of the archive."""
    t = track["t"]
    until = t[at] + rng.uniform(6.0, 14.0) * HOUR_S
    changed[i] = track[(t <= t[at]) | (t >= until)]
    return SceneLabel(int(track["mmsi"][0]), "silence", float(t[at]), float(min(until, t[-1])))


def _zone(track: Reports, at: int, reports: Reports, out: Scenes, number: int) -> SceneLabel:
    """An area around the vessel's place 20 min later, which every other vessel that was ever there may enter."""
    t = track["t"]
    middle = int(np.searchsorted(t, t[at] + 1200.0))
    lat, lon = float(track["lat"][middle]), float(track["lon"][middle])
    half_lon = ZONE_HALF_DEG / float(cos_latitude(np.array([lat]))[0])
    near = (np.abs(reports["lat"] - lat) < 1.2 * ZONE_HALF_DEG) & (np.abs(reports["lon"] - lon) < 1.2 * half_lon)
    mmsi = int(track["mmsi"][0])
    permitted = sorted({int(m) for m in np.unique(reports["mmsi"][near])} - {mmsi})
    s, n, w, e = lat - ZONE_HALF_DEG, lat + ZONE_HALF_DEG, lon - half_lon, lon + half_lon
    ring = [[round(x, 6), round(y, 6)] for x, y in ((w, s), (e, s), (e, n), (w, n), (w, s))]
    properties = {"name": f"injected {number + 1}", "rule": "enter", "permitted_mmsi": permitted}
    out.features.append(
        {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    )
    inside = (np.abs(track["lat"] - lat) < ZONE_HALF_DEG) & (np.abs(track["lon"] - lon) < half_lon)
    times = t[inside & (t >= t[0] + LEAD_S / 2)]
    return SceneLabel(mmsi, "zone", float(times[0]), float(times[-1]))


def _meeting(
    track: Reports,
    at: int,
    i: int,
    changed: dict[int, Reports],
    added: list[Reports],
    rng: np.random.Generator,
) -> SceneLabel:
    """The vessel stops for one to two hours and sails on that much later; another comes, lies 100 to 300 m off, and goes."""
    lie_s = float(rng.uniform(1.0, 2.0)) * HOUR_S
    t0 = float(track["t"][at])
    lat, lon = float(track["lat"][at]), float(track["lon"][at])
    before, after = track[: at + 1].copy(), track[at + 1 :].copy()
    after["t"] += lie_s
    lying = np.repeat(track[at : at + 1], int(lie_s / 60.0) - 1)
    lying["t"] = t0 + 60.0 * np.arange(1, len(lying) + 1)
    lying["sog"], lying["cog"] = 0.3, np.nan
    lying["lat"] = lat + 2e-6 * np.arange(1, len(lying) + 1)  # 0.1 kn to the north
    lying["lon"] = lon
    changed[i] = np.concatenate([before, lying, after])
    other = np.zeros(0, REPORT_DTYPE)
    scale = float(cos_latitude(np.array([lat]))[0])
    offset_m = float(rng.uniform(100.0, 300.0))
    for begin, end, away in ((-2.5 * HOUR_S, 0.0, True), (0.0, lie_s, False), (lie_s, lie_s + 2 * HOUR_S, True)):
        times = np.arange(begin, end, 60.0)
        part = np.repeat(track[at : at + 1], len(times))
        part["t"] = t0 + times
        bearing = rng.uniform(0, 2 * np.pi)
        run_m = np.zeros(len(times))
        if away:
            run_m = (np.maximum(-times, times - lie_s)) * 10.0 * KNOT_MPS
        part["lat"] = lat + (offset_m + run_m * np.cos(bearing)) / M_PER_DEG
        part["lon"] = lon + run_m * np.sin(bearing) / (M_PER_DEG * scale)
        part["sog"], part["cog"], part["heading"] = (10.0 if away else 0.3), np.nan, np.nan
        other = np.concatenate([other, part])
    partner = PARTNER_MMSI + len(added)
    other["mmsi"], other["ship_type"], other["ship_name"] = partner, int(rng.choice([70, 80])), b"INJECTED"
    added.append(other)
    mmsi = int(track["mmsi"][0])
    return SceneLabel(min(mmsi, partner), "meeting", t0, t0 + lie_s, max(mmsi, partner))


# ---------------------------------------------------------------- what is found


def figures(
    scenes: Scenes,
    alerts: Sequence[Alert],
    limit_s: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]] | None = None,
) -> dict[str, Any]:
    """Per kind the scenes and those found; per look-alike the ships and those of which something was told from then on; what was told of nobody's label.

    A scene is found when an alert of its type and vessel was raised between its first and (with 6 h more) last labelled time and not retracted. A
    silence where no limit was learnt (``limit_s``) cannot be found: such ones are counted apart (``no_limit``).
    """
    last = {a.alert_id: a for a in alerts}
    raised = [a for a in alerts if a.status is Status.RAISED and last[a.alert_id].status is not Status.RETRACTED]
    per_kind: dict[str, dict[str, Any]] = {}
    expected: set[str] = set()
    for label in scenes.labels:
        if label.kind not in KINDS:
            continue
        block = per_kind.setdefault(label.kind, {"positives": 0, "found": 0, "no_limit": 0, "hours": []})
        if label.kind == "silence" and limit_s is not None:
            row = _last_before(scenes.reports, label)
            if not np.isfinite(limit_s(row["lat"], row["lon"])).all():
                block["no_limit"] += 1
                continue
        block["positives"] += 1
        mine = [a for a in raised if a.mmsi == label.mmsi and str(a.alert_type) == label.kind]
        hits = [a for a in mine if label.t_start - EARLY_S <= a.decided_at <= label.t_end + 6 * HOUR_S]
        expected |= {a.alert_id for a in hits}
        if hits:
            block["found"] += 1
            block["hours"].append(max(0.0, (hits[0].decided_at - label.t_start) / HOUR_S))
    for block in per_kind.values():
        hours = block.pop("hours")
        block["median_hours_to_alert"] = float(np.median(hours)) if hours else None
    told: dict[int, float] = {}  # of each ship, when an alert of it was last raised
    for a in raised:
        for mmsi in (a.mmsi, *(() if a.partner is None else (a.partner.mmsi,))):
            told[mmsi] = max(told.get(mmsi, a.decided_at), a.decided_at)
    lookalikes: dict[str, dict[str, int]] = {}
    for label in scenes.lookalikes:
        entry = lookalikes.setdefault(label.kind, {"ships": 0, "told": 0})
        entry["ships"] += 1
        entry["told"] += told.get(label.mmsi, -np.inf) >= label.t_start - EARLY_S
    vessel_days = _vessel_days(scenes.reports)
    strays = [a for a in raised if a.alert_id not in expected]
    return {
        "vessel_days": vessel_days,
        "per_kind": dict(sorted(per_kind.items())),
        "lookalikes": dict(sorted(lookalikes.items())),
        "others": {
            str(k): sum(a.alert_type is k for a in strays)
            for k in (AlertType.MEETING, AlertType.SILENCE, AlertType.ZONE)
        },
        "others_per_vessel_day": len(strays) / vessel_days if vessel_days else None,
    }


def _last_before(reports: Reports, label: SceneLabel) -> Reports:
    mine = reports[(reports["mmsi"] == label.mmsi) & (reports["t"] <= label.t_start + 600.0)]
    last: Reports = mine[np.argsort(mine["t"])][-1:]
    return last


def _vessel_days(reports: Reports) -> float:
    """Time between reports of one vessel that are less than 2 h apart, days."""
    r = reports[np.lexsort((reports["t"], reports["mmsi"]))]
    same = np.diff(r["mmsi"]) == 0
    step = np.diff(r["t"])[same]
    return float(step[step < 2 * HOUR_S].sum()) / 86400.0


def table(found: dict[str, Any]) -> str:
    """The figures as lines of text."""
    lines = [
        f"{kind:>20}  found {b['found']} of {b['positives']}"
        + (f", {b['no_limit']} where no limit is known" if b["no_limit"] else "")
        + (f", {b['median_hours_to_alert']:.1f} h to the alert" if b["median_hours_to_alert"] is not None else "")
        for kind, b in found["per_kind"].items()
    ]
    lines += [
        f"{kind:>20}  told of {b['told']} of {b['ships']} ships that only look alike"
        for kind, b in found["lookalikes"].items()
    ]
    others = ", ".join(f"{k} {n}" for k, n in found["others"].items())
    rate = found["others_per_vessel_day"]
    lines.append(
        f"{'other alerts':>20}  {others}; {0.0 if rate is None else rate:.4f} a vessel-day in {found['vessel_days']:.0f} vessel-days"
    )
    return "\n".join(lines)

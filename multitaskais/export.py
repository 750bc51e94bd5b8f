"""Alerts for other programs: the latest revision of each, and GeoJSON (RFC 7946). Alerts are those of the wire (``Alert.as_dict``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .types import Reports

WireAlert = Mapping[str, Any]


def latest_revisions(alerts: Iterable[WireAlert], *, challengers: bool = False) -> list[WireAlert]:
    """Of each alert the revision with the greatest number, of equal numbers the later one; in the order in which alerts were raised.

    ``challengers`` are left out by default; with them, what a challenger says under the same id is an alert of its own.
    """
    latest: dict[tuple[str, bool], WireAlert] = {}
    for a in alerts:
        challenger = bool(a.get("challenger"))
        key = a["alert_id"], challenger
        if (challengers or not challenger) and (key not in latest or a["revision"] >= latest[key]["revision"]):
            latest[key] = a
    return list(latest.values())


def to_geojson(
    alerts: Iterable[WireAlert],
    reports: Reports | None = None,
    kinds: Mapping[int, str] | None = None,
    *,
    challengers: bool = False,
) -> dict[str, Any]:
    """A FeatureCollection of the latest revision of each alert, with all its fields as properties.

    Args:
        reports: (n,) of ``REPORT_DTYPE``, the way that is drawn; without any in a segment its two ends are joined. A segment of one
            place is a point.
        kinds: by MMSI, the label of an abnormal ship; with it each feature has ``kind``, null of another ship.
    """
    by_ship = {} if reports is None else of_ships(reports)
    features = []
    for a in latest_revisions(alerts, challengers=challengers):
        properties = {**a} if kinds is None else {**a, "kind": kinds.get(int(a["mmsi"]))}
        features.append(feature(properties, stretch(by_ship.get(int(a["mmsi"])), a)))
    return {"type": "FeatureCollection", "features": features}


def feature(alert: WireAlert, way: list[tuple[float, float]]) -> dict[str, Any]:
    """One alert, all its fields as properties. ``way``: (lon, lat) of what its ship sailed in the segment."""
    line = way
    if len(line) < 2:
        line = [(p["lon"], p["lat"]) for p in (alert["segment_start"], alert["segment_end"])]
    geometry: dict[str, Any] = {"type": "LineString", "coordinates": [[round(x, 6), round(y, 6)] for x, y in line]}
    if all(p == line[0] for p in line):
        geometry = {"type": "Point", "coordinates": geometry["coordinates"][0]}
    return {"type": "Feature", "id": alert["alert_id"], "geometry": geometry, "properties": {**alert}}


def of_ships(reports: Reports) -> dict[int, Reports]:
    """Reports (n,) by MMSI, each sorted by time."""
    reports = reports[np.lexsort((reports["t"], reports["mmsi"]))]
    ships, first = np.unique(reports["mmsi"], return_index=True)
    return dict(zip(ships.tolist(), np.split(reports, first[1:]), strict=True)) if len(ships) else {}


def stretch(reports: Reports | None, alert: WireAlert) -> list[tuple[float, float]]:
    """(lon, lat) of the reports within the alert's segment."""
    if reports is None:
        return []
    t = reports["t"]
    part = reports[(t >= alert["segment_start"]["t"]) & (t <= alert["segment_end"]["t"])]
    return list(zip(part["lon"].tolist(), part["lat"].tolist(), strict=True))

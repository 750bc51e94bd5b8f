"""A zone: a polygon with a rule, read from GeoJSON (RFC 7946).

A feature's properties say what holds in it. Anything that is not understood is an error with the feature's number and the reason: a
zone that silently does nothing is worse than none.

Zones have no budget of false alarms, unlike all that is decided by what is usual: the rule is the user's own, and each ship that breaks it
is told.

| property | meaning |
|---|---|
| ``name`` | text, unique in the set |
| ``rule`` | ``enter``, ``leave``, ``slower``, ``faster``, ``stop``, ``anchor``, ``cable_corridor`` |
| ``speed_knots`` | limit of ``slower``, ``faster``, ``cable_corridor`` (3 kn there unless given) |
| ``minutes`` | how long it must last; 0 for ``enter`` and ``leave``, 10 for the others |
| ``classes`` | list of ship classes that it is meant for; all when absent |
| ``permitted_mmsi`` | list of MMSIs that may do so |
| ``hours`` | ``"22:00-06:00"``, UTC, when it holds; always when absent |
| ``severity`` | ``low``, ``medium`` (default), ``high`` |
| ``margin_m`` | the border's width: a ship is in or out only when it is so by more (default 50 m) |
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ..detection.ship_classes import CLASSES, class_name
from ..encounters.metric import cos_latitude
from ..errors import InputError
from ..units import M_PER_DEG_CM

OTHER_CLASSES = ("other", "unknown")  # a known ship type without a class; no ship type
MAX_VERTICES = 20_000
MAX_ZONES = 5_000
NAME_LENGTH = 80
STOPPED_KNOTS = 0.5
CABLE_KNOTS = 3.0  # slower, over a cable, an anchor may be down
SEVERITIES = {"low": 1.0, "medium": 2.0, "high": 3.0}  # and the score of an alert
# GNSS of a ship without differential correction, antenna not at the middle, rounding of the message
DEFAULT_MARGIN_M = 50.0
DEFAULT_MINUTES = 10.0
DAY_S = 86400.0
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]|24):([0-5]\d)")
_KEYS = {
    "name",
    "rule",
    "speed_knots",
    "minutes",
    "classes",
    "permitted_mmsi",
    "hours",
    "severity",
    "margin_m",
    "description",
}


class Rule(StrEnum):
    ENTER = "enter"
    LEAVE = "leave"
    SLOWER = "slower"
    FASTER = "faster"
    STOP = "stop"
    ANCHOR = "anchor"
    CABLE_CORRIDOR = "cable_corridor"


@dataclass(frozen=True, slots=True)
class Zone:
    """One area and its rule. Distances to its border are measured on a flat chart at its middle latitude."""

    name: str
    rule: Rule
    shape: shapely.Geometry  # lon, lat degrees
    speed_knots: float | None = None
    minutes: float = 0.0
    classes: tuple[str, ...] = ()  # empty: all
    permitted_mmsi: frozenset[int] = frozenset()
    hours: tuple[float, float] | None = None  # seconds of the day, UTC; from > to goes over midnight
    severity: str = "medium"
    margin_m: float = DEFAULT_MARGIN_M

    @property
    def score(self) -> float:
        return SEVERITIES[self.severity]

    def meant_for(self, mmsi: int, ship_type: int) -> bool:
        if mmsi in self.permitted_mmsi:
            return False
        if not self.classes:
            return True
        found = class_name(ship_type) or ("unknown" if ship_type <= 0 else "other")
        return found in self.classes

    def holds_at(self, t: float) -> bool:
        """Whether its hours are on at ``t``, Unix s."""
        if self.hours is None:
            return True
        start, end = self.hours
        second = t % DAY_S
        return start <= second < end if start <= end else second >= start or second < end

    def box(self) -> tuple[float, float, float, float]:
        """lon_min, lat_min, lon_max, lat_max, wider by the margin."""
        lon_min, lat_min, lon_max, lat_max = self.shape.bounds
        north = 1.01 * self.margin_m / M_PER_DEG_CM
        east = north / min(cos_latitude(lat_min), cos_latitude(lat_max))
        return lon_min - east, lat_min - north, lon_max + east, lat_max + north

    def side(self, lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.int8]:
        """(n,) 1 inside and -1 outside by more than the margin, 0 on the border."""
        inside = shapely.contains_xy(self.shape, lon, lat)
        _, lat_min, _, lat_max = self.shape.bounds
        scale = cos_latitude(0.5 * (lat_min + lat_max))
        border = shapely.transform(self.shape.boundary, lambda xy: xy * np.array([scale, 1.0]))
        metres = shapely.distance(border, shapely.points(lon * scale, lat)) * M_PER_DEG_CM
        return np.where(metres <= self.margin_m, 0, np.where(inside, 1, -1)).astype(np.int8)

    def to_feature(self) -> dict[str, Any]:
        """The GeoJSON feature from which ``read_feature`` makes the same zone."""
        properties: dict[str, Any] = {
            "name": self.name,
            "rule": str(self.rule),
            "minutes": self.minutes,
            "severity": self.severity,
            "margin_m": self.margin_m,
        }
        if self.speed_knots is not None:
            properties["speed_knots"] = self.speed_knots
        if self.classes:
            properties["classes"] = list(self.classes)
        if self.permitted_mmsi:
            properties["permitted_mmsi"] = sorted(self.permitted_mmsi)
        if self.hours is not None:
            start, end = (int(x // 60) for x in self.hours)
            properties["hours"] = f"{start // 60:02d}:{start % 60:02d}-{end // 60:02d}:{end % 60:02d}"
        return {"type": "Feature", "properties": properties, "geometry": json.loads(shapely.to_geojson(self.shape))}


def read_zones(text: str | bytes, what: str = "zones") -> list[Zone]:
    """The zones of a FeatureCollection or of one Feature. Raises ``InputError``: one line with the feature and the reason."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise InputError(f"{what}: not JSON ({e})") from None
    if not isinstance(data, dict) or data.get("type") not in ("FeatureCollection", "Feature"):
        raise InputError(f"{what}: expected a GeoJSON FeatureCollection or Feature (RFC 7946)")
    features = data.get("features") if data["type"] == "FeatureCollection" else [data]
    if not isinstance(features, list) or not features:
        raise InputError(f"{what}: no features")
    if len(features) > MAX_ZONES:
        raise InputError(f"{what}: {len(features)} features; at most {MAX_ZONES} zones can be watched")
    zones: list[Zone] = []
    for number, feature in enumerate(features, start=1):
        try:
            zone = read_feature(feature)
        except InputError as e:
            raise InputError(f"{what}: feature {number}: {e}") from None
        if zone.name in {z.name for z in zones}:
            raise InputError(f"{what}: feature {number}: a second zone named {zone.name!r}")
        zones.append(zone)
    return zones


def read_zones_file(file: Path) -> list[Zone]:
    """``read_zones`` of a file; raises ``InputError`` when it cannot be read."""
    try:
        return read_zones(file.read_bytes(), str(file))
    except OSError as e:
        raise InputError(f"{file}: {e.strerror or e}; give a GeoJSON file of zones") from None


def read_feature(feature: Any) -> Zone:
    """One zone of a GeoJSON feature; raises ``InputError`` with the reason."""
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise InputError("not a GeoJSON Feature")
    p = feature.get("properties")
    if not isinstance(p, dict):
        raise InputError("it has no properties; name and rule are needed")
    if unknown := sorted(set(p) - _KEYS):
        raise InputError(f"unknown property {unknown[0]!r}; known: {', '.join(sorted(_KEYS))}")
    name = p.get("name")
    if not isinstance(name, str) or not name.strip() or len(name) > NAME_LENGTH or not name.isprintable():
        raise InputError(f"name must be a printable text of 1 to {NAME_LENGTH} characters")
    rule = _choice(p, "rule", [str(r) for r in Rule], None)
    quick = rule in (Rule.ENTER, Rule.LEAVE)
    speed = _number(p, "speed_knots", 0.1, 100.0, CABLE_KNOTS if rule == Rule.CABLE_CORRIDOR else None)
    if rule in (Rule.SLOWER, Rule.FASTER) and speed is None:
        raise InputError(f"rule {rule!r} needs speed_knots")
    if rule not in (Rule.SLOWER, Rule.FASTER, Rule.CABLE_CORRIDOR) and "speed_knots" in p:
        raise InputError(f"rule {rule!r} takes no speed_knots")
    minutes = _number(p, "minutes", 0.0, 24 * 60.0, 0.0 if quick else DEFAULT_MINUTES)
    margin = _number(p, "margin_m", 0.0, 10_000.0, DEFAULT_MARGIN_M)
    assert minutes is not None
    assert margin is not None
    return Zone(
        name.strip(),
        Rule(rule),
        _shape(feature.get("geometry")),
        speed,
        minutes,
        _classes(p),
        _permitted(p),
        _hours(p),
        _choice(p, "severity", list(SEVERITIES), "medium"),
        margin,
    )


def _choice(p: Mapping[str, Any], key: str, known: list[str], default: str | None) -> str:
    value = p.get(key, default)
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{key} is {json.dumps(value)[:60]}; it must be one of {', '.join(known)}")
    return value


def _number(p: Mapping[str, Any], key: str, least: float, most: float, default: float | None) -> float | None:
    value = p.get(key, default)
    if value is None and key not in p:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InputError(f"{key} is {json.dumps(value)[:60]}; it must be a number from {least:g} to {most:g}")
    return float(value)


def _classes(p: Mapping[str, Any]) -> tuple[str, ...]:
    value = p.get("classes", [])
    known = (*CLASSES, *OTHER_CLASSES)
    if not isinstance(value, list) or ("classes" in p and not value):
        raise InputError("classes must be a list of ship classes, or be left out for all ships")
    for item in value:
        if item not in known:
            raise InputError(f"unknown ship class {json.dumps(item)[:60]}; known: {', '.join(known)}")
    return tuple(value)


def _permitted(p: Mapping[str, Any]) -> frozenset[int]:
    value = p.get("permitted_mmsi", [])
    if not isinstance(value, list):
        raise InputError("permitted_mmsi must be a list of MMSIs")
    out = set()
    for item in value:
        text = str(item)
        if isinstance(item, bool) or not (text.isascii() and text.isdigit() and len(text) == 9):
            raise InputError(f"permitted_mmsi has {json.dumps(item)[:60]}; an MMSI has nine digits")
        out.add(int(text))
    return frozenset(out)


def _hours(p: Mapping[str, Any]) -> tuple[float, float] | None:
    if "hours" not in p:
        return None
    match = _HOURS.fullmatch(p["hours"]) if isinstance(p["hours"], str) else None
    if match is None:
        raise InputError(f'hours is {json.dumps(p["hours"])[:60]}; write them as "22:00-06:00" (UTC)')
    h1, m1, h2, m2 = (int(x) for x in match.groups())
    start, end = h1 * 3600.0 + m1 * 60.0, h2 * 3600.0 + m2 * 60.0
    if end > DAY_S or start == end:
        raise InputError(f"hours is {json.dumps(p['hours'])[:60]}: that is no span of a day")
    return start, end


def _shape(geometry: Any) -> shapely.Geometry:
    if not isinstance(geometry, dict) or geometry.get("type") not in ("Polygon", "MultiPolygon"):
        kind = geometry.get("type") if isinstance(geometry, dict) else None
        raise InputError(f"its geometry is {json.dumps(kind)[:60]}; a zone is a Polygon or a MultiPolygon")
    polygons = geometry.get("coordinates")
    if geometry["type"] == "Polygon":
        polygons = [polygons]
    if not isinstance(polygons, list) or not polygons:
        raise InputError("its geometry has no coordinates")
    count = 0
    parts = []
    for rings in polygons:
        if not isinstance(rings, list) or not rings:
            raise InputError("a polygon has no rings")
        checked = []
        for ring in rings:
            count += len(ring) if isinstance(ring, list) else 0
            if count > MAX_VERTICES:
                raise InputError(f"more than {MAX_VERTICES} vertices; simplify it")
            checked.append(_ring(ring))
        parts.append(shapely.Polygon(checked[0], checked[1:]))
    shape = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    if not shape.is_valid:
        raise InputError(f"its polygon is not valid: {shapely.is_valid_reason(shape)}")
    if not shape.area > 0.0:
        raise InputError("its polygon has no area")
    return shape


def _ring(ring: Any) -> list[tuple[float, float]]:
    if not isinstance(ring, list) or len(ring) < 4:
        raise InputError("a ring needs four positions or more, the last equal to the first")
    points = []
    for position in ring:
        if not isinstance(position, list) or len(position) < 2:
            raise InputError(f"{json.dumps(position)[:60]} is no position; write [longitude, latitude]")
        lon, lat = position[0], position[1]
        if any(isinstance(x, bool) or not isinstance(x, int | float) for x in (lon, lat)):
            raise InputError(f"{json.dumps(position)[:60]} is no position; write [longitude, latitude]")
        if not (-180.0 <= lon <= 180.0 and -90.0 <= lat <= 90.0):
            raise InputError(f"[{lon:g}, {lat:g}] lies outside the world; the order is longitude, latitude")
        points.append((float(lon), float(lat)))
    if points[0] != points[-1]:
        raise InputError("a ring is not closed: its last position must equal its first")
    if any(abs(b[0] - a[0]) > 180.0 for a, b in pairwise(points)):
        raise InputError("it crosses the antimeridian; cut it there into a MultiPolygon (RFC 7946, 3.1.9)")
    return points

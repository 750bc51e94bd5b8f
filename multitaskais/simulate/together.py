"""Ships that meet, fall silent, or enter a zone off Brittany; and ships that look alike and do nothing of the kind.

meeting   two merchant ships come from two sides, lie 100 to 250 m apart at sea for hours, and part
silence   a merchant ship in its lane is not heard for five hours and more
zone      a merchant ship crosses an area that it may not enter

Look-alikes, of which no meeting, silence or zone may be told: a pilot boat that is alongside for minutes; a tug with its tow; two ships at
an anchorage; a ship that calls at a port and switches its set off; one that leaves at the edge of reception; a ferry that is permitted to
cross the zone; and ships that are not heard while a station is silent (``evening_outage``).

All of it is drawn after the rest of the traffic and from numbers of its own, so that the rest stays as it is without.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..types import Reports, StaticRows
from ..units import KNOT_MPS, M_PER_NM
from . import brittany as sea
from .anomalies import HOUR
from .brittany import Complex
from .fleet import CLASSES, STATIC_DTYPE, ShipClass
from .motion import AT_ANCHOR, DT_S, MOORED, UNDER_WAY, Motion, chain, follow, stay, wander
from .radio import listen
from .settings import DAY_S
from .voyages import Lanes, Voyage

MID = 229  # Maltese flag: no other simulated ship has it, so that no number comes twice
ZONE_NAME = "Simulated reserve"
ZONE_CORNERS = (
    (48.55, -6.48),
    (48.55, -6.36),
    (48.70, -6.36),
    (48.70, -6.48),
)  # between two lanes: nobody else sails there
PLACES = (
    (47.72, -5.15),
    (48.10, -6.72),
    (47.75, -6.10),
    (48.85, -6.55),
    (47.85, -5.75),
)  # at sea, away from where ships stop
APPROACH_NM = 28.0  # how far off a ship is first heard: more than the 2 h that a track must last before it is judged
OUT_NM = 66.0  # so far on a ship has left the box: who ends at sea has fallen silent
OUTAGE_STATION, OUTAGE_REACH_M = sea.STATIONS[0], 95_000.0  # the station that hears most of the box
OUTAGE_HOUR, OUTAGE_S = (
    20.5,
    75.0 * 60.0,
)  # longer than ships are usually unheard there, shorter than a track may be (2 h)
LAST_HEARD_S = 900.0  # a ship is silenced by an outage when it was heard so shortly before
PILOT = ShipClass("pilot", (50,), 16.0, 1.0, 14.0, 18.0, (14, 18), (28, 45))


class Scene(NamedTuple):
    """One ship of a scene."""

    voyage: Voyage
    kind: str  # of the scene
    window: tuple[float, float] | None  # Unix s, abnormal time; None of a look-alike
    partner: int = -1  # number of the other ship of a meeting among all scenes
    deaf: tuple[float, float] | None = None  # Unix s, in which it is not heard


class Together(NamedTuple):
    reports: Reports  # REPORT_DTYPE, by t
    statics: StaticRows
    labels: list[tuple[int, str, float, float, int]]  # mmsi, kind, first and last abnormal report, partner's MMSI or -1
    lookalikes: list[tuple[int, str, float, float, int]]
    zones: dict[str, Any]  # GeoJSON FeatureCollection


def scenes(lanes: Lanes, day: float, n: int, rng: np.random.Generator) -> Together:
    """``n`` scenes of each kind and of each look-alike within the day that begins at ``day`` (Unix s)."""
    made: list[Scene] = []
    for k in range(n):
        made += _meeting(day, k, len(made), rng)
        made.append(_silence(lanes, day, rng))
        made.append(_crossing(day, k, "zone", "cargo", rng))
        made += _pilot(day, k, rng)
        made += _tow(lanes, day, rng)
        made += _anchorage(lanes, day, rng)
        made.append(_port_call(lanes, day, rng))
        made.append(_edge(lanes, day, rng))
        made.append(_crossing(day, k, "permitted_ferry", "ferry", rng))
    statics = _identities([s.voyage.ship for s in made], rng)
    heard: list[Reports] = []
    labels: list[tuple[int, str, float, float, int]] = []
    lookalikes: list[tuple[int, str, float, float, int]] = []
    for scene, who in zip(made, statics, strict=True):
        reports = listen(scene.voyage, who, rng)
        reports = reports[(reports["t"] >= day) & (reports["t"] < day + DAY_S)]
        t = reports["t"]
        if scene.deaf is not None:
            reports = reports[(t < scene.deaf[0]) | (t > scene.deaf[1])]
        heard.append(reports)
        begin, end = scene.window or (float(t[0]), float(t[-1]))
        inside = t[(t >= begin) & (t <= end)]
        partner = int(statics["mmsi"][scene.partner]) if scene.partner >= 0 else -1
        row = (int(who["mmsi"]), scene.kind, float(inside[0]), float(inside[-1]), partner)
        (lookalikes if scene.window is None else labels).append(row)
    # An alert of a meeting is of the ship with the lower MMSI; the other is its partner, and not one more to be found.
    labels = [row for row in labels if row[4] < 0 or row[0] < row[4]]
    everything = np.concatenate(heard)
    permitted = [int(who["mmsi"]) for who, s in zip(statics, made, strict=True) if s.kind == "permitted_ferry"]
    return Together(
        everything[np.argsort(everything["t"], kind="stable")], statics, labels, lookalikes, _zones(permitted)
    )


def without_station(
    reports: Reports, station: tuple[float, float], start: float, end: float, reach_m: float = 120_000.0
) -> Reports:
    """The reports that are left when one station (lat, lon) hears nothing between two times (Unix s) within ``reach_m`` of it."""
    here = sea.to_plane(reports["lat"], reports["lon"])
    at = _point(*station)
    return reports[~((reports["t"] >= start) & (reports["t"] <= end) & (np.abs(here - at) <= reach_m))]


def evening_outage(reports: Reports, day: float) -> tuple[Reports, list[tuple[int, str, float, float, int]]]:
    """The reports that are left when the station in the middle of the box hears nothing for 75 min in the evening of ``day`` (Unix s).

    And the ships that were under way when it began and heard again after it: look-alikes of a silence, in the rows of ``Together``.
    """
    start = day + OUTAGE_HOUR * HOUR
    left = without_station(reports, OUTAGE_STATION, start, start + OUTAGE_S, OUTAGE_REACH_M)
    rows = []
    for mmsi in np.unique(reports["mmsi"]).tolist():
        mine = left[left["mmsi"] == mmsi]
        cut = int(np.searchsorted(mine["t"], start))
        if not 0 < cut < len(mine):
            continue
        last, again = mine[cut - 1], mine[cut]
        if last["sog"] > 3.0 and last["t"] >= start - LAST_HEARD_S and again["t"] >= start + OUTAGE_S:
            rows.append((int(mmsi), "station_outage", float(last["t"]), float(again["t"]), -1))
    return left, rows


# ---------------------------------------------------------------- scenes


def _meeting(day: float, k: int, first: int, rng: np.random.Generator) -> list[Scene]:
    place = _point(*PLACES[k % len(PLACES)]) + 2_000.0 * complex(*rng.uniform(-1, 1, 2))
    lie_s = rng.uniform(1.5, 3.0) * HOUR
    begin = day + rng.uniform(6.0, 14.0) * HOUR
    n = int(lie_s / DT_S)
    # Wind and tide carry both alike.
    set_ = (
        rng.uniform(0.2, 0.6) * KNOT_MPS * np.exp(1j * (rng.uniform(0, 2 * np.pi) + 0.3 * wander(n, DT_S, 7200.0, rng)))
    )
    drift = np.cumsum(set_) * DT_S
    bearing = rng.uniform(0, 2 * np.pi)
    beside = rng.uniform(100.0, 250.0) * np.exp(1j * rng.uniform(0, 2 * np.pi))
    out = []
    for side, (offset, turn) in enumerate(((0.0, 0.0), (beside, rng.uniform(1.5, 2.5)))):
        ship = CLASSES["tanker" if side == 0 else str(rng.choice(["tanker", "cargo"]))]
        towards = np.exp(1j * (bearing + turn))
        lying = place + offset + drift
        come = _straight(lying[0] + APPROACH_NM * M_PER_NM * towards, lying[0], ship.speed, rng, ports=(False, True))
        go = _straight(lying[-1], lying[-1] + OUT_NM * M_PER_NM * towards * 1j, ship.speed, rng, ports=(True, False))
        motion = chain([come, Motion(lying, np.full(n, UNDER_WAY, np.int8)), go])
        voyage = Voyage(ship, begin - len(come.z) * DT_S, motion, "meeting")
        out.append(Scene(voyage, "meeting", (begin, begin + lie_s), first + 1 - side))
    return out


def _silence(lanes: Lanes, day: float, rng: np.random.Generator) -> Scene:
    """Goes silent in the middle of the box, where ships are heard well, and is heard again far on, or not at all."""
    route = sea.ROUTES[int(rng.integers(4))]
    ship = CLASSES["cargo"]
    motion = lanes.sail(route, ship, rng)
    start = day + rng.uniform(3.0, 10.0) * HOUR
    off = start + (0.25 + 0.1 * rng.random()) * len(motion.z) * DT_S
    on = off + rng.uniform(5.0, 6.5) * HOUR
    return Scene(Voyage(ship, start, motion, "silence"), "silence", (off - 180.0, on + HOUR), deaf=(off, on))


def _crossing(day: float, k: int, kind: str, who: str, rng: np.random.Generator) -> Scene:
    """From south-west to north-east, or back, through the zone."""
    ship = CLASSES[who]
    corners = np.array(ZONE_CORNERS)
    middle = _point(*corners.mean(axis=0)) + 1_500.0 * complex(*rng.uniform(-1, 1, 2))
    towards = np.exp(1j * np.radians(rng.uniform(70.0, 110.0))) * (1 if k % 2 else -1)
    reach = OUT_NM * M_PER_NM
    motion = _straight(middle - reach * towards, middle + reach * towards, ship.speed, rng)
    start = day + rng.uniform(7.0, 15.0) * HOUR - 0.5 * len(motion.z) * DT_S
    lat, lon = sea.to_degrees(motion.z)
    (south, west), (north, east) = corners.min(axis=0), corners.max(axis=0)
    inside = np.flatnonzero((lat > south) & (lat < north) & (lon > west) & (lon < east)) * DT_S
    window = None if kind != "zone" else (start + float(inside[0]), start + float(inside[-1]))
    return Scene(Voyage(ship, start, motion, kind), kind, window)


def _pilot(day: float, k: int, rng: np.random.Generator) -> list[Scene]:
    """A pilot boat comes out to a ship that slows down, is alongside for a quarter of an hour, and goes back; both moor in Brest."""
    place = _point(48.30, -5.02)
    into = np.array(
        [
            _point(lat, lon)
            for lat, lon in ((48.34, -4.65), (48.3545, -4.552), (48.345, -4.5), sea.BERTHS[k % len(sea.BERTHS)])
        ]
    )
    begin = day + (4.0 + 5.0 * k % 14.0) * HOUR
    n = int(900.0 / DT_S)
    way = 6.0 * KNOT_MPS * np.exp(1j * np.radians(20.0))
    slow = place + way * np.arange(n) * DT_S
    out = []
    for ship, beside in ((CLASSES["coaster"], 0j), (PILOT, 60j)):
        alongside = Motion(slow + beside, np.full(n, UNDER_WAY, np.int8))
        if ship is PILOT:
            come = _along(np.append(into[::-1], slow[0] + beside), ship.speed, rng, ports=(True, False))
        else:
            come = _straight(
                place - 25.0 * M_PER_NM * np.exp(1j * np.radians(35.0)), place, ship.speed, rng, ports=(False, True)
            )
        back = _along(np.append(slow[-1] + beside, into), min(ship.speed, 9.0), rng, ports=(False, True))
        quay = stay(complex(back.z[-1]), 24.0 * HOUR, MOORED, rng)
        voyage = Voyage(ship, begin - len(come.z) * DT_S, chain([come, alongside, back, quay]), "pilot_transfer")
        out.append(Scene(voyage, "pilot_transfer", None))
    return out


def _tow(lanes: Lanes, day: float, rng: np.random.Generator) -> list[Scene]:
    """A tug along the coast with a second ship 150 m on its beam."""
    ship = CLASSES["tug"]
    route = next(r for r in sea.ROUTES if r.name == "coast")
    motion = lanes.sail(route, ship, rng, back=bool(rng.integers(2)))
    start = day + rng.uniform(1.0, 10.0) * HOUR
    way = np.gradient(motion.z)
    beside = motion.z + 150j * way / np.maximum(np.abs(way), 1e-9)
    towed = Motion(beside, motion.status)
    return [Scene(Voyage(ship, start, m, "tow"), "tow", None) for m in (motion, towed)]


def _anchorage(lanes: Lanes, day: float, rng: np.random.Generator) -> list[Scene]:
    """Two ships come in, one after the other, and lie 300 m apart where ships anchor."""
    berth = _point(*sea.ANCHORAGES[0])
    out = []
    for side in range(2):
        ship = CLASSES["coaster"]
        route = next(r for r in sea.ROUTES if r.name == "brest_sw")
        come = lanes.sail(route, ship, rng)
        quay = stay(berth + 300.0 * side, 5.0 * HOUR, AT_ANCHOR, rng)
        run = _straight(come.z[-1], quay.z[0], 4.0, rng, corner_m=100.0)
        start = day + (2.0 + 2.0 * side) * HOUR
        out.append(Scene(Voyage(ship, start, chain([come, run, quay]), "anchorage"), "anchorage", None))
    return out


def _port_call(lanes: Lanes, day: float, rng: np.random.Generator) -> Scene:
    """Comes in, moors, and switches its set off."""
    ship = CLASSES["coaster"]
    come = lanes.sail(next(r for r in sea.ROUTES if r.name == "brest_n"), ship, rng)
    quay = stay(_point(*sea.BERTHS[0]), 2.0 * HOUR, MOORED, rng)
    run = _straight(come.z[-1], quay.z[0], 4.0, rng, corner_m=100.0)
    return Scene(
        Voyage(ship, day + rng.uniform(1.0, 5.0) * HOUR, chain([come, run, quay]), "port_call"), "port_call", None
    )


def _edge(lanes: Lanes, day: float, rng: np.random.Generator) -> Scene:
    """Leaves to the west, early in the day, and is not heard any more."""
    ship = CLASSES["cargo"]
    route = next(r for r in sea.ROUTES if r.name == "atlantic_w")
    motion = lanes.sail(route, ship, rng)
    return Scene(
        Voyage(ship, day + rng.uniform(1.0, 4.0) * HOUR, motion, "edge_of_reception"), "edge_of_reception", None
    )


# ---------------------------------------------------------------- parts


def _point(lat: float, lon: float) -> complex:
    return complex(sea.to_plane(np.array([lat]), np.array([lon]))[0])


def _straight(
    start: complex, end: complex, knots: float, rng: np.random.Generator, *, ports: tuple[bool, bool] = (False, False), corner_m: float = 300.0
) -> Motion:  # fmt: skip
    return _along(np.array([start, 0.5 * (start + end), end]), knots, rng, ports=ports, corner_m=corner_m)


def _along(
    line: Complex, knots: float, rng: np.random.Generator, *, ports: tuple[bool, bool] = (False, False), corner_m: float = 300.0
) -> Motion:  # fmt: skip
    return follow(line, np.full(len(line), 40.0), knots, rng, ports=ports, corner_m=corner_m, status=UNDER_WAY)


def _identities(ships: list[ShipClass], rng: np.random.Generator) -> StaticRows:
    from .fleet import identities

    rows = identities(ships, rng) if ships else np.zeros(0, STATIC_DTYPE)
    rows["mmsi"] = MID * 1_000_000 + rows["mmsi"] % 1_000_000
    return rows


def _zones(permitted: list[int]) -> dict[str, Any]:
    ring = [[lon, lat] for lat, lon in (*ZONE_CORNERS, ZONE_CORNERS[0])]
    properties = {"name": ZONE_NAME, "rule": "enter", "severity": "high", "permitted_mmsi": permitted}
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": properties, "geometry": geometry}],
    }

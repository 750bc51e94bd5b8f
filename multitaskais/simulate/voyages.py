"""What the ships of a day do: one voyage each, drawn from the routes, lines, grounds and berths of ``brittany``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..config import REGIONS
from ..data import on_land
from . import brittany as sea
from .anomalies import HOUR, Window, alter
from .fleet import CLASSES, ShipClass
from .motion import AT_ANCHOR, DT_S, MOORED, Motion, chain, fish, follow, stay
from .settings import DAY_S

TRIES = 60  # draws of a voyage before giving up: one that touches land is drawn again
CALM_S = 2.7 * HOUR  # normal sailing before anything abnormal: a detector may ask for 2 h (MIN_TIMESPAN)
AFTER_S = 3.4 * HOUR  # of the abnormal time at least so much ends before the voyage does
INSIDE_DEG = 0.03  # abnormal ships keep so far within the box


@dataclass(frozen=True)
class Voyage:
    ship: ShipClass
    start: float  # Unix s of the first place
    motion: Motion
    kind: str = "clean"
    window: Window | None = None  # abnormal time, s after ``start``


def fits_sea(motion: Motion) -> bool:
    """No place on land."""
    lat, lon = sea.to_degrees(motion.z[::6])
    return not on_land(lat, lon, REGIONS["brittany"]).any()


class Lanes:
    """The routes as they lie in one simulation: each shifted to one side by ``shift_m`` (less where they are narrow)."""

    def __init__(self, shift_m: float, rng: np.random.Generator) -> None:
        self._lines = {}
        for route in (*sea.ROUTES, *sea.FERRY_LINES, *sea.PLEASURE_TRIPS):
            normal = np.gradient(route.line)
            normal = 1j * normal / np.abs(normal)
            give = np.clip((route.sigma - 150.0) / 850.0, 0.0, 1.0)  # none in a narrow passage, all in a wide lane
            self._lines[route.name] = route.line + rng.choice([-1, 1]) * shift_m * give * normal

    def sail(self, route: sea.Route, ship: ShipClass, rng: np.random.Generator, *, back: bool = False) -> Motion:
        line, sigma = self._lines[route.name], route.sigma
        ports = (sigma[0] <= 160.0, sigma[-1] <= 160.0)
        if back:
            line, sigma, ports = line[::-1], sigma[::-1], ports[::-1]
        side = float(np.clip(rng.normal(0.0, 0.9), -2.5, 2.5)) * ship.wander
        # No two masters turn at the same place: the marks move, except in narrow passages.
        loose = np.where(sigma > 300.0, sigma, 0.0) * ship.wander
        line = line + loose * (rng.normal(0, 0.4, len(line)) + 1j * rng.normal(0, 0.4, len(line)))
        return follow(line, sigma * ship.wander, knots(ship, rng), rng, side=side, ports=ports)


def knots(ship: ShipClass, rng: np.random.Generator) -> float:
    return float(np.clip(rng.normal(ship.speed, ship.speed_sd), ship.speed_min, ship.speed_max))


def _draw(make: Callable[[], Voyage | None]) -> Voyage:
    for _ in range(TRIES):
        voyage = make()
        if voyage is not None and fits_sea(voyage.motion):
            return voyage
    raise RuntimeError("no voyage at sea was found: the lanes are shifted onto land")


def _pick(routes: tuple[sea.Route, ...], rng: np.random.Generator) -> sea.Route:
    weight = np.array([r.weight for r in routes])
    return routes[rng.choice(len(routes), p=weight / weight.sum())]


def _some_time(motion: Motion, day: float, rng: np.random.Generator) -> float:
    """A start for which a good part of the voyage lies within the day."""
    seconds = len(motion.z) * DT_S
    return day + rng.uniform(-0.6 * min(seconds, 8 * HOUR), DAY_S - min(0.6 * seconds, 5 * HOUR))


def passage(lanes: Lanes, day: float, rng: np.random.Generator) -> Voyage:
    """A merchant ship or coaster through the region; some that call at Brest stay at a berth or anchor first or after."""

    def make() -> Voyage:
        route = _pick(sea.ROUTES, rng)
        ship = CLASSES[str(rng.choice(route.classes))]
        back = route.two_way and bool(rng.integers(2))
        motion = lanes.sail(route, ship, rng, back=back)
        if route.name.startswith("brest") and rng.random() < 0.5:
            places, status = (sea.BERTHS, MOORED) if rng.random() < 0.6 else (sea.ANCHORAGES[:2], AT_ANCHOR)
            lat, lon = places[rng.integers(len(places))]
            berth = complex(sea.to_plane(np.array([lat]), np.array([lon]))[0]) + 120.0 * complex(*rng.uniform(-1, 1, 2))
            quay = stay(berth, rng.uniform(2, 8) * HOUR, status, rng)
            end = motion.z[0] if back else motion.z[-1]
            run = np.array([end, quay.z[0]] if not back else [quay.z[-1], end])
            harbour = follow(run, np.full(2, 10.0), 4.0, rng, corner_m=100.0)
            motion = chain([quay, harbour, motion] if back else [motion, harbour, quay])
        return Voyage(ship, _some_time(motion, day, rng), motion)

    return _draw(make)


def ferry(lanes: Lanes, day: float, rng: np.random.Generator) -> Voyage:
    """There, a stay, and back; the island ferry all day long."""

    def make() -> Voyage:
        route = _pick(sea.FERRY_LINES, rng)
        ship = CLASSES[route.classes[0]]
        island = route.name == "ouessant"
        parts: list[Motion] = []
        for _ in range(3 if island else 1):
            there = lanes.sail(route, ship, rng)
            parts += [there, stay(there.z[-1], rng.uniform(0.7, 1.6) * HOUR, MOORED, rng)]
            home = lanes.sail(route, ship, rng, back=True)
            # Berths differ by metres between the legs; the ship moves over while it lies still.
            parts += [home, stay(home.z[-1], rng.uniform(0.6, 1.2) * HOUR, MOORED, rng)] if island else [home]
        motion = _joined(parts)
        start = day + rng.uniform(5, 8) * HOUR if island else _some_time(motion, day, rng)
        return Voyage(ship, start, motion)

    return _draw(make)


def _joined(parts: list[Motion]) -> Motion:
    """Chain parts whose ends differ a little: each is moved so that it begins where the last ended, and fades back to its own line."""
    out = [parts[0]]
    for part in parts[1:]:
        off = out[-1].z[-1] - part.z[0]
        fade = np.exp(-np.arange(len(part.z)) * DT_S / 1800.0) if np.ptp(np.abs(part.z - part.z[0])) > 1000.0 else 1.0
        out.append(Motion(part.z + off * fade, part.status))
    return chain(out)


def fisher(lanes: Lanes, day: float, rng: np.random.Generator) -> Voyage:
    """Out before dawn, hauls over one ground, home in the afternoon; or out there for days."""

    def make() -> Voyage:
        ship = CLASSES["fishing"]
        weight = np.array([g.weight for g in sea.GROUNDS], float)
        ground = sea.GROUNDS[rng.choice(len(sea.GROUNDS), p=weight / weight.sum())]
        centre = complex(sea.to_plane(np.array([ground.lat]), np.array([ground.lon]))[0])
        if not ground.ways or rng.random() < 0.3:
            at = centre + 0.5 * ground.radius_m * complex(*rng.uniform(-1, 1, 2))
            motion = fish(ground, at, rng.uniform(10, 22) * HOUR, rng)
            return Voyage(ship, _some_time(motion, day, rng), motion)
        way = np.array(ground.ways[rng.integers(len(ground.ways))])
        marks = np.append(sea.to_plane(way[:, 0], way[:, 1]), centre)
        sigma = np.r_[40.0, np.full(len(way) - 1, 350.0), 1500.0]
        side = float(np.clip(rng.normal(0, 0.8), -2, 2))
        out = follow(marks, sigma, knots(ship, rng), rng, side=side, ports=(True, False))
        work = fish(ground, out.z[-1], rng.uniform(5, 10) * HOUR, rng)
        home_line = np.r_[work.z[-1], marks[:-1][::-1]]
        home = follow(home_line, np.r_[200.0, sigma[:-1][::-1]], knots(ship, rng), rng, side=-side, ports=(False, True))
        return Voyage(ship, day + rng.uniform(0.5, 6.0) * HOUR, _joined([out, work, home]))

    return _draw(make)


def pleasure(lanes: Lanes, day: float, rng: np.random.Generator) -> Voyage:
    """A day's sail along the coast."""

    def make() -> Voyage:
        route, ship = _pick(sea.PLEASURE_TRIPS, rng), CLASSES["pleasure"]
        motion = lanes.sail(route, ship, rng, back=bool(rng.integers(2)))
        return Voyage(ship, day + rng.uniform(6.5, 12.0) * HOUR, motion)

    return _draw(make)


def lying(lanes: Lanes, day: float, rng: np.random.Generator) -> Voyage:
    """Moored or at anchor for all or most of the day."""

    def make() -> Voyage:
        moored = rng.random() < 0.55
        places = sea.BERTHS if moored else sea.ANCHORAGES
        lat, lon = places[rng.integers(len(places))]
        at = complex(sea.to_plane(np.array([lat]), np.array([lon]))[0]) + (150.0 if moored else 700.0) * complex(
            *rng.uniform(-1, 1, 2)
        )
        motion = stay(at, rng.uniform(9, 24) * HOUR, MOORED if moored else AT_ANCHOR, rng)
        ship = CLASSES[str(rng.choice(["cargo", "tanker", "coaster", "tug", "fishing"]))]
        return Voyage(ship, day + rng.uniform(-6.0, 6.0) * HOUR, motion)

    return _draw(make)


MIX: tuple[tuple[Callable[[Lanes, float, np.random.Generator], Voyage], float], ...] = (
    (passage, 0.66),
    (ferry, 0.03),
    (fisher, 0.15),
    (pleasure, 0.07),
    (lying, 0.09),
)


def abnormal(lanes: Lanes, day: float, kind: str, rng: np.random.Generator) -> Voyage:
    """A merchant ship on one of the great lanes that does ``kind`` on the way. ``spoof`` and ``jump`` only set the window: the reports are changed later."""
    box = REGIONS["brittany"]
    hosts = tuple(r for r in sea.ROUTES if r.open_sea)

    def make() -> Voyage | None:
        route = _pick(hosts, rng)
        names = [n for n in route.classes if kind != "fast" or n != "fast_cargo"]  # a fast ship cannot go twice as fast
        ship = CLASSES[str(rng.choice(names))]
        motion = lanes.sail(route, ship, rng, back=kind == "reversed")
        lat, lon = sea.to_degrees(motion.z)
        entered = float(np.argmax(box.contains(lat, lon))) * DT_S
        room = len(motion.z) * DT_S - entered - CALM_S - AFTER_S
        if room <= 0:
            return None
        begin = entered + CALM_S + rng.uniform(0.0, 0.8) * room
        if kind == "reversed":
            window = Window(entered, len(motion.z) * DT_S)
        elif kind == "spoof":
            window = Window(begin, begin + rng.uniform(2.0, 3.0) * HOUR)
        elif kind == "jump":
            window = Window(begin, len(motion.z) * DT_S)  # the first reports heard from then on
        else:
            motion, window = alter(motion, kind, begin, rng)
        judged_end = begin + HOUR if kind == "jump" else window.end
        part = slice(int(max(window.start, entered) / DT_S) + 1, int(judged_end / DT_S))
        lat, lon = sea.to_degrees(motion.z[part])
        inside = box.contains(lat, lon, INSIDE_DEG)
        ok = inside.mean() > (0.85 if kind == "reversed" else 0.95)  # lanes end beyond the box
        seconds = len(motion.z) * DT_S
        if not ok or seconds > DAY_S - 0.5 * HOUR:
            return None
        start = day + rng.uniform(0.0, DAY_S - seconds)
        return Voyage(ship, start, motion, kind, window)

    return _draw(make)

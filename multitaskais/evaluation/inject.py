"""Put anomalies of eleven kinds into clean tracks, so that detectors can be measured on real traffic (docs/method.md#measured-decisions).

Every kind but two is a change of the ship's own path, written as

    position(t) = path(progress(t)) + offset(t)

where ``path`` is the track as sailed, ``progress`` the time along it (slower, faster or standing still in the anomaly)
and ``offset`` metres east and north. Both are smooth, so the ship moves into and out of its anomaly as a ship can; speed
and course over ground are then derived from the new positions. The two exceptions: in ``spoof`` the positions are true
and the reported velocity contradicts them; in ``jump`` a stretch of reports is displaced at once.

Everything follows from the track and the random generator that is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import Region
from ..units import KNOT_MPS, M_PER_DEG_SEEDED

Floats = NDArray[np.float64]

HOUR_S = 3600.0

LEAD_S = 2 * HOUR_S  # judgement starts after 12 samples; an anomaly before that could not be seen by anyone
LAST_S = 600.0  # an anomaly ends at least one sample before the track does, so that its end is sampled too
SPAN_MIN_S, SPAN_MAX_S = 2 * HOUR_S, 5 * HOUR_S  # how long an anomaly lasts
TRIES = 40  # windows tried in one track before it is given up for a kind
WINDOW_MIN_KNOTS = 3.0  # mean speed of a window that can be shifted, slowed, hurried, reversed
SAILING_SHARE = 0.9  # share of its reports above 1 kn
RAMP_MIN_S = 1200.0  # a ship needs this long to leave its lane
LATERAL_MPS = 4.0  # greatest speed across its own course while it does so (7.8 kn)
DRIFT_MAX_MPS = 2.3 * KNOT_MPS  # no wind carries a ship faster
TURN_S = 600.0  # a change of speed takes this long
BASE_S = 50.0  # velocity is derived over at least this time, so that 1 m of rounding stays below 0.1 kn


class Altered(NamedTuple):
    """A track with its anomaly; (m,) arrays, m <= n where the ship runs out of path (``fast``)."""

    keep: NDArray[np.bool_]  # (n,) which reports of the source are left
    lat: Floats
    lon: Floats
    sog: Floats
    cog: Floats
    heading: Floats
    abnormal: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class InjectionSource:
    """One clean track as arrays (n,): Unix s, degrees, knots, degrees; NaN where missing."""

    t: Floats
    lat: Floats
    lon: Floats
    sog: Floats
    cog: Floats
    heading: Floats

    def window(
        self, rng: np.random.Generator, span_min: float = SPAN_MIN_S, under_way: bool = True
    ) -> tuple[float, float] | None:
        """Start and end of a stretch that can carry an anomaly, or None. Under way: mean speed made and reported >= 3 kn."""
        first, last = self.t[0] + LEAD_S, self.t[-1] - LAST_S
        if last - first < span_min:
            return None
        for _ in range(TRIES):
            span = rng.uniform(span_min, max(span_min, min(SPAN_MAX_S, last - first)))
            start = rng.uniform(first, last - span)
            inside = (self.t >= start) & (self.t <= start + span)
            sog = self.sog[inside]
            if len(sog) < span / 1200.0 or np.diff(self.t[inside]).max(initial=0.0) > 1800.0:
                continue  # mostly silence: nobody could see the anomaly
            lead = sog[: max(3, len(sog) // 6)]
            moving = sog if under_way else lead
            if np.mean(moving) >= WINDOW_MIN_KNOTS and np.mean(moving > 1.0) >= SAILING_SHARE:
                return float(start), float(start + span)
        return None

    def across(self, start: float, end: float, side: float) -> tuple[float, float]:
        """Unit vector east, north across the way made between two times; side +1 to starboard, -1 to port."""
        lat, lon = np.interp([start, end], self.t, self.lat), np.interp([start, end], self.t, self.lon)
        east = (lon[1] - lon[0]) * np.cos(np.radians(lat.mean()))
        north = lat[1] - lat[0]
        length = float(np.hypot(east, north))
        if length * M_PER_DEG_SEEDED < 1000.0:  # came back to where it was: take north as the way made
            east, north, length = 0.0, 1.0, 1.0
        return side * north / length, -side * east / length


def _smooth(x: Floats) -> Floats:
    """0 below 0, 1 above 1, a half cosine between: no step in speed at either end."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(x, 0.0, 1.0))


def _plateau(t: Floats, start: float, end: float, ramp: float) -> Floats:
    """Rises from 0 to 1 within ``ramp`` after ``start`` and falls back to 0 within ``ramp`` before ``end``."""
    return _smooth((t - start) / ramp) * _smooth((end - t) / ramp)


def velocity(t: Floats, lat: Floats, lon: Floats) -> tuple[Floats, Floats]:
    """Speed (kn) and course (deg) over ground made at each of (n,) reports, over the nearest reports at least BASE_S apart."""
    n = len(t)
    before = np.clip(np.searchsorted(t, t - BASE_S / 2, side="right") - 1, 0, n - 1)
    after = np.clip(np.searchsorted(t, t + BASE_S / 2, side="left"), 0, n - 1)
    dt = np.maximum(t[after] - t[before], 1.0)
    north = (lat[after] - lat[before]) * M_PER_DEG_SEEDED
    east = (lon[after] - lon[before]) * M_PER_DEG_SEEDED * np.cos(np.radians(lat))
    sog = np.hypot(east, north) / dt / KNOT_MPS
    cog = np.degrees(np.arctan2(east, north)) % 360.0
    return sog, cog


def _wander(rng: np.random.Generator, n: int, sd: float, memory: int) -> Floats:
    """(n,) a slow random walk that stays near 0: standard deviation ``sd``, correlation time ``memory`` steps."""
    x = np.empty(n)
    last, keep = rng.normal(0.0, sd), np.exp(-1.0 / memory)
    for i, e in enumerate(rng.normal(0.0, sd * np.sqrt(1 - keep**2), n)):
        last = keep * last + e
        x[i] = last
    return x


def _sail(
    s: InjectionSource, progress: Floats, east: Floats, north: Floats, abnormal: NDArray[np.bool_], beam: float = 0.0
) -> Altered:
    """Follow ``path(progress) + offset``; velocity is derived wherever the ship is not where, or when, it was.

    beam: degrees the bow points away from the course made (a ship that drifts lies across its way).
    """
    keep = progress <= s.t[-1]
    t, progress, east, north = s.t[keep], progress[keep], east[keep], north[keep]
    lat = np.interp(progress, s.t, s.lat)
    lon = np.interp(progress, s.t, s.lon)
    moved = (np.abs(progress - t) > 0.5) | (np.hypot(east, north) > 1.0)
    lat = np.where(moved, lat + north / M_PER_DEG_SEEDED, lat)
    lon = np.where(moved, lon + east / (M_PER_DEG_SEEDED * np.cos(np.radians(lat))), lon)
    made, course = velocity(t, lat, lon)
    sog = np.where(moved, made, s.sog[keep])
    cog = np.where(moved, course, s.cog[keep])
    heading = np.where(moved & np.isfinite(s.heading[keep]), (course + beam) % 360.0, s.heading[keep])
    return Altered(keep, lat, lon, sog, cog, heading, abnormal[keep])


def _integrate(t: Floats, start: float, end: float, rate: float) -> Floats:
    """Progress along the path when its rate goes smoothly from 1 to ``rate`` at ``start`` and back to 1 at ``end``."""
    grid = np.arange(t[0], t[-1] + 10.0, 10.0)
    speed = 1.0 + (rate - 1.0) * _plateau(grid, start, end, TURN_S)
    done = t[0] + np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * 10.0)])
    progress = np.interp(t, grid, done)
    return np.where(t <= start, t, progress)


def _sideways(metres: float) -> Callable[[InjectionSource, np.random.Generator], Altered | None]:
    def shift(s: InjectionSource, rng: np.random.Generator) -> Altered | None:
        ramp = max(RAMP_MIN_S, 0.5 * np.pi * metres / LATERAL_MPS)
        window = s.window(rng, max(SPAN_MIN_S, 2 * ramp + HOUR_S))
        if window is None:
            return None
        start, end = window
        east, north = s.across(start, end, rng.choice([-1.0, 1.0]))
        offset = metres * _plateau(s.t, start, end, ramp)
        return _sail(s, s.t, east * offset, north * offset, (s.t > start) & (s.t < end))

    shift.__doc__ = f"Leaves its way, runs {metres / 1000:g} km beside it on one side, and comes back."
    return shift


def detour(s: InjectionSource, rng: np.random.Generator) -> Altered | None:
    """Swings out 10 to 20 km to one side in one wide arc and comes back: never parallel to its own way."""
    metres = rng.uniform(10_000.0, 20_000.0)
    window = s.window(rng, max(SPAN_MIN_S, np.pi * metres / LATERAL_MPS))
    if window is None:
        return None
    start, end = window
    east, north = s.across(start, end, rng.choice([-1.0, 1.0]))
    offset = metres * np.sin(np.pi * np.clip((s.t - start) / (end - start), 0.0, 1.0)) ** 2
    return _sail(s, s.t, east * offset, north * offset, (s.t > start) & (s.t < end))


def reversed_(s: InjectionSource, rng: np.random.Generator) -> Altered | None:
    """Sails the whole of its way from the end to the beginning, at the same speeds: the wrong way in a one-way lane."""
    if s.window(rng) is None:
        return None
    progress = s.t[-1] - (s.t - s.t[0])
    zero = np.zeros(len(s.t))
    return _sail(s, progress, zero, zero, np.ones(len(s.t), dtype=bool))


def slow(s: InjectionSource, rng: np.random.Generator) -> Altered | None:
    """Half its speed, on its own way; it sails the rest of the way late."""
    return _hurry(s, rng, 0.5)


def fast(s: InjectionSource, rng: np.random.Generator) -> Altered | None:
    """1.6 times its speed, on its own way; the track ends when the way does. Not for ships that would make over 28 kn."""
    return _hurry(s, rng, 1.6)


def _hurry(s: InjectionSource, rng: np.random.Generator, rate: float) -> Altered | None:
    window = s.window(rng)
    if window is None:
        return None
    start, end = window
    progress = _integrate(s.t, start, end, rate)
    covered = (s.t >= start) & (s.t <= start + (end - start) * max(rate, 1.0))
    if s.sog[covered].max(initial=0.0) * rate > 28.0 or start + (end - start) * rate > s.t[-1]:
        return None
    zero = np.zeros(len(s.t))
    return _sail(s, progress, zero, zero, (s.t > start) & (s.t < end))


def drift(s: InjectionSource, rng: np.random.Generator) -> Altered | None:
    """Stops its engine under way and is carried off at about 0.6 to 2 kn, bow across, as wind and tide change; then regains its way."""
    window = s.window(rng, under_way=False)
    if window is None:
        return None
    start, end = window
    progress = _integrate(s.t, start, end, 0.0)
    speed = rng.uniform(0.6, 2.0) * KNOT_MPS
    grid = np.arange(start, end, 60.0)
    bearing = rng.uniform(0, 2 * np.pi) + _wander(rng, len(grid), np.radians(30.0), 60)
    gusts = np.exp(_wander(rng, len(grid), 0.3, 40))
    carried = np.minimum(speed * gusts, DRIFT_MAX_MPS) * 60.0 * _plateau(grid, start, end, TURN_S)
    back = _smooth((s.t - end) / (3 * HOUR_S))  # regains its way over 3 h
    east = np.interp(s.t, grid, np.cumsum(carried * np.sin(bearing)), left=0.0) * (1 - back)
    north = np.interp(s.t, grid, np.cumsum(carried * np.cos(bearing)), left=0.0) * (1 - back)
    inside = (s.t > start) & (s.t < end)
    out = _sail(s, progress, east, north, inside, beam=0.0)
    bow = np.where(
        out.abnormal & np.isfinite(out.heading),
        (out.cog + rng.choice([-1, 1]) * rng.uniform(60, 120)) % 360.0,
        out.heading,
    )
    return out._replace(heading=bow)


def loiter(s: InjectionSource, rng: np.random.Generator) -> Altered | None:
    """Breaks off its voyage and goes round and round: loops of 0.4 to 1.5 km radius at about 3 to 8 kn from a point that moves slowly; then sails on."""
    window = s.window(rng, under_way=False)
    if window is None:
        return None
    start, end = window
    progress = _integrate(s.t, start, end, 0.05)
    speed = rng.uniform(3.0, 8.0) * KNOT_MPS
    grid = np.arange(start, end - TURN_S, 10.0)
    pace = np.exp(_wander(rng, len(grid), 0.25, 120))
    run = np.cumsum(speed * pace * 10.0 * _smooth((grid - start) / TURN_S))
    east, north = np.zeros(len(grid)), np.zeros(len(grid))
    done, bearing = 0.0, rng.uniform(0, 2 * np.pi)
    while len(run) and done < run[-1]:
        radius = rng.uniform(400.0, 1500.0)
        turn = rng.choice([-1.0, 1.0])
        here = (run >= done) & (run < done + 2 * np.pi * radius)
        if run[-1] < done + 2 * np.pi * radius:
            # The last loop must close in time: it is made as small as what is left.
            radius, here = (run[-1] - done) / (2 * np.pi), run >= done
        angle = (run[here] - done) / max(radius, 1.0)
        ahead, aside = radius * np.sin(angle), turn * radius * (1 - np.cos(angle))
        east[here] = ahead * np.sin(bearing) + aside * np.cos(bearing)
        north[here] = ahead * np.cos(bearing) - aside * np.sin(bearing)
        done += 2 * np.pi * max(radius, 1.0)
        bearing += rng.uniform(-0.8, 0.8)
    inside = (s.t > start) & (s.t < end)
    return _sail(
        s, progress, np.interp(s.t, grid, east, left=0, right=0), np.interp(s.t, grid, north, left=0, right=0), inside
    )


def spoof(s: InjectionSource, rng: np.random.Generator) -> Altered | None:
    """True positions, false velocity: course turned by 60 to 180 degrees and speed 4 to 8 kn off, constant through the window."""
    window = s.window(rng)
    if window is None:
        return None
    start, end = window
    inside = (s.t > start) & (s.t < end)
    turn = rng.choice([-1.0, 1.0]) * rng.uniform(60.0, 180.0)
    by = rng.uniform(4.0, 8.0) * (1.0 if np.median(s.sog[inside]) < 9.0 else rng.choice([-1.0, 1.0]))
    sog = np.where(inside, np.clip(s.sog + by, 0.0, 29.9), s.sog)
    cog = np.where(inside, (s.cog + turn) % 360.0, s.cog)
    heading = np.where(inside, (s.heading + turn) % 360.0, s.heading)
    return Altered(np.ones(len(s.t), dtype=bool), s.lat.copy(), s.lon.copy(), sog, cog, heading, inside)


def jump(s: InjectionSource, rng: np.random.Generator) -> Altered | None:
    """A stretch of 10 to 60 min of reports stands 10 to 30 km away; no ship sails there or back."""
    window = s.window(rng)
    if window is None:
        return None
    start = window[0]
    inside = (s.t > start) & (s.t < start + rng.uniform(600.0, 3600.0))
    if not inside.any() or inside[-1]:
        return None
    metres, bearing = rng.uniform(10_000.0, 30_000.0), rng.uniform(0, 2 * np.pi)
    lat = np.where(inside, s.lat + metres * np.cos(bearing) / M_PER_DEG_SEEDED, s.lat)
    lon = np.where(inside, s.lon + metres * np.sin(bearing) / (M_PER_DEG_SEEDED * np.cos(np.radians(lat))), s.lon)
    return Altered(np.ones(len(s.t), dtype=bool), lat, lon, s.sog.copy(), s.cog.copy(), s.heading.copy(), inside)


KINDS: dict[str, Callable[[InjectionSource, np.random.Generator], Altered | None]] = {
    "shift_2km": _sideways(2_000.0),
    "shift_5km": _sideways(5_000.0),
    "shift_10km": _sideways(10_000.0),
    "reversed": reversed_,
    "slow": slow,
    "fast": fast,
    "drift": drift,
    "loiter": loiter,
    "detour": detour,
    "spoof": spoof,
    "jump": jump,
}


def alter(s: InjectionSource, kind: str, rng: np.random.Generator, region: Region | None = None) -> Altered | None:
    """One anomaly in one track, or None when the track cannot carry it (too short, not under way, or it would leave ``region``)."""
    for _ in range(6):  # the other side, another time
        out = KINDS[kind](s, rng)
        if out is None:
            continue
        if region is None or region.contains(out.lat, out.lon).all():
            return out._replace(
                lat=np.round(out.lat, 5),
                lon=np.round(out.lon, 5),
                sog=np.round(out.sog, 1),
                cog=np.round(out.cog, 1) % 360.0,
                heading=np.round(out.heading) % 360.0,
            )
    return None

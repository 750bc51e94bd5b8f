"""What abnormal ships do. Six kinds change the motion, so that speed and course follow; two change what is reported.

shift     sails 5 to 10 km beside its lane for hours
detour    leaves the lane by 10 to 20 km and comes back
reversed  sails a one-way lane the wrong way (made in ``voyages``: the whole line is turned round)
drift     stops and is carried by wind and stream at 0.8 to 2.2 knots
loiter    goes round and round at 3 to 6 knots
fast      goes 1.7 to 2 times as fast as before
spoof     reports a speed and a course that its positions do not make
jump      a few reports stand 10 to 30 km away
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from ..types import Reports
from ..units import KNOT_MPS, M_PER_DEG_SEEDED
from .brittany import Complex
from .motion import DT_S, Motion, wander

HOUR = 3600.0
FASTEST_KNOTS = 28.5  # faster reports would be left out (docs/method.md#tracks)
RAMP_S = 1500.0  # a ship leaves its line over about this time
STOP_S = 600.0  # a ship stops or gets under way over this time


class Window(NamedTuple):
    """Seconds after the beginning of the motion."""

    start: float
    end: float


def smooth(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 below 0, 1 above 1, and between them without a corner (3 x^2 - 2 x^3)."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def alter(motion: Motion, kind: str, start_s: float, rng: np.random.Generator) -> tuple[Motion, Window]:
    """The motion with one of the kinds ``shift, detour, drift, loiter, fast`` from ``start_s`` on, and when."""
    match kind:
        case "shift":
            hold = rng.uniform(2.5, 4.5) * HOUR
            t = _seconds(len(motion.z)) - start_s
            weight = smooth(t / RAMP_S) * smooth((hold + 2 * RAMP_S - t) / RAMP_S)
            return _aside(motion, weight * rng.uniform(5_000, 10_000), rng), Window(
                start_s, start_s + hold + 2 * RAMP_S
            )
        case "detour":
            span = rng.uniform(3.0, 4.5) * HOUR
            x = (_seconds(len(motion.z)) - start_s) / span
            weight = np.where((x > 0) & (x < 1), np.sin(np.pi * np.clip(x, 0, 1)) ** 2, 0.0)
            return _aside(motion, weight * rng.uniform(10_000, 20_000), rng), Window(start_s, start_s + span)
        case "drift":
            n = int(rng.uniform(2.0, 4.0) * HOUR / DT_S)
            speed = rng.uniform(0.9, 1.8) * KNOT_MPS * (1 + 0.15 * wander(n, DT_S, 1800.0, rng))
            towards = rng.uniform(0, 2 * np.pi) + 0.5 * wander(n, DT_S, 7200.0, rng)
            return _stopped(motion, start_s, np.maximum(speed, 0.3) * np.exp(1j * towards))
        case "loiter":
            n = int(rng.uniform(2.0, 4.0) * HOUR / DT_S)
            speed = rng.uniform(3.0, 6.0) * KNOT_MPS * (1 + 0.1 * wander(n, DT_S, 1800.0, rng))
            turn = (
                rng.choice([-1, 1]) * 2 * np.pi / rng.uniform(1500.0, 3000.0) * (1 + 0.4 * wander(n, DT_S, 2400.0, rng))
            )
            heading = np.angle(_velocity(motion.z)[int(start_s / DT_S)]) + np.cumsum(turn) * DT_S
            return _stopped(motion, start_s, speed * np.exp(1j * heading))
        case "fast":
            i = int(start_s / DT_S)
            now = float(np.abs(_velocity(motion.z)[i])) / KNOT_MPS
            factor = min(rng.uniform(1.7, 2.0), FASTEST_KNOTS / now)
            hold = rng.uniform(2.5, 4.0) * HOUR
            t = _seconds(len(motion.z)) - start_s
            rate = 1 + (factor - 1) * smooth(t / STOP_S) * smooth((hold + 2 * STOP_S - t) / STOP_S)
            return _warped(motion, rate), Window(start_s, start_s + hold + 2 * STOP_S)
    raise ValueError(f"{kind} does not change the motion")


def misreport(reports: Reports, kind: str, window: Window, rng: np.random.Generator) -> tuple[Reports, Window]:
    """The reports (sorted by ``t``) with ``spoof`` or ``jump``; ``window`` in Unix seconds, narrowed to what was changed."""
    out = reports.copy()
    inside = np.flatnonzero((out["t"] >= window.start) & (out["t"] <= window.end))
    if kind == "spoof":
        out["sog"][inside] = np.round(np.minimum(out["sog"][inside] + rng.uniform(5.0, 9.0), FASTEST_KNOTS), 1)
        out["cog"][inside] = (
            np.round((out["cog"][inside] + rng.choice([-1, 1]) * rng.uniform(40.0, 120.0)) % 360.0, 1) % 360.0
        )
        out["heading"][inside] = np.round(out["cog"][inside]) % 360.0
    elif kind == "jump":
        n = int(rng.integers(1, 5))
        at = inside[:n]
        metres, towards = rng.uniform(10_000, 30_000), rng.uniform(0, 2 * np.pi)
        out["lat"][at] += metres * np.cos(towards) / M_PER_DEG_SEEDED
        out["lon"][at] += metres * np.sin(towards) / (M_PER_DEG_SEEDED * np.cos(np.radians(out["lat"][at])))
        inside = at
    else:
        raise ValueError(f"{kind} changes the motion, not the reports")
    return out, Window(float(out["t"][inside[0]]), float(out["t"][inside[-1]]))


def _seconds(n: int) -> NDArray[np.float64]:
    return np.arange(n, dtype=np.float64) * DT_S


def _velocity(z: Complex) -> Complex:
    return np.gradient(z) / DT_S


def _aside(motion: Motion, metres: NDArray[np.float64], rng: np.random.Generator) -> Motion:
    """Shifted across its way, to one side or the other. The way is smoothed: a bend must not fling the ship about."""
    v = _velocity(motion.z)
    normal = 1j * (
        gaussian_filter1d(v.real, 90.0, mode="nearest") + 1j * gaussian_filter1d(v.imag, 90.0, mode="nearest")
    )
    normal /= np.maximum(np.abs(normal), 1e-9)
    side = float(rng.choice([-1, 1]))
    moved: Complex = motion.z + side * metres * normal
    return Motion(moved, motion.status)


def _warped(motion: Motion, rate: NDArray[np.float64]) -> Motion:
    """The same way at ``rate`` times the speed; ends where the way ends."""
    at: NDArray[np.float64] = np.r_[0.0, np.cumsum(rate[:-1])]
    at = at[at <= len(motion.z) - 1]
    grid = np.arange(len(motion.z))
    z: Complex = np.interp(at, grid, motion.z.real) + 1j * np.interp(at, grid, motion.z.imag)
    return Motion(z, motion.status[at.astype(int)])


def _stopped(motion: Motion, start_s: float, velocity: Complex) -> tuple[Motion, Window]:
    """Stops, moves with ``velocity`` (m/s, every ``DT_S``), then gets under way and comes back to its line."""
    before, n, ramp = int(start_s / DT_S), len(velocity), int(STOP_S / DT_S)
    slope = smooth(np.arange(ramp) / ramp)
    rate = np.concatenate([np.ones(before), 1 - slope, np.zeros(n), slope, np.ones(len(motion.z))])
    warped = _warped(motion, rate)
    carried = np.zeros(len(warped.z), complex)
    # The velocity sets in while the ship loses way, and dies away while it gathers way.
    v = np.concatenate([slope * velocity[0], velocity, (1 - slope) * velocity[-1]])
    first, last = before, min(before + len(v), len(carried))
    carried[first:last] = np.cumsum(v[: last - first]) * DT_S
    back_s = max(3600.0, abs(carried[last - 1]) / (4 * KNOT_MPS))  # back on the line at no more than about 4 kn across
    carried[last:] = carried[last - 1] * (1 - smooth(np.arange(len(carried) - last) * DT_S / back_s))
    return Motion(warped.z + carried, warped.status), Window(start_s, (before + len(v)) * DT_S)

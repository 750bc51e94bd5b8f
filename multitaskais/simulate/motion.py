"""How a ship moves: along a line, at a stay, over a fishing ground. Positions in the plane of ``brittany.to_plane``, every 10 s."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

from ..units import KNOT_MPS, M_PER_NM
from .brittany import Complex, Ground, to_plane

DT_S = 10.0  # grid of the motion
DS_M = 100.0  # grid of the lines
HELM_M = M_PER_NM
WANDER_M, WANDER_SMOOTH_M = 20_000.0, 3_000.0  # over which distance a ship's place in the lane changes
CORNER_M = 900.0  # ships cut corners over about this distance (one sigma of the smoothing)
PORT_KNOTS = 6.0  # speed at which a port is left and reached
PORT_RUN_M = 2500.0  # over which speed is gained or lost there
NARROW_SIGMA_M = 160.0  # where ships keep closer to the line than this they also slow down ...
NARROW_KNOTS = 10.0  # ... to this

UNDER_WAY, AT_ANCHOR, MOORED, FISHING, UNKNOWN = 0, 1, 5, 7, 15  # navigational status, ITU-R M.1371-5 table 45


class Motion(NamedTuple):
    """(n,) places every ``DT_S`` seconds and the navigational status set there."""

    z: Complex
    status: NDArray[np.int8]


def wander(n: int, step: float, length: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(n,) stationary first-order Gauss-Markov noise of unit variance; ``length`` is its correlation length in units of ``step``."""
    a = np.exp(-step / length)
    x = rng.standard_normal(n) * np.sqrt(1 - a * a)
    x[0] = rng.standard_normal()
    noise: NDArray[np.float64] = lfilter([1.0], [1.0, -a], x)
    return noise


def follow(
    line: Complex,
    sigma: NDArray[np.float64],
    knots: NDArray[np.float64] | float,
    rng: np.random.Generator,
    *,
    side: float = 0.0,
    ports: tuple[bool, bool] = (False, False),
    status: int = UNDER_WAY,
    corner_m: float = CORNER_M,
    noise: float = 0.25,
) -> Motion:
    """Sail along a polyline.

    sigma (m) and knots hold at the polyline's points. ``side`` is where in the lane the ship keeps, in sigmas (port is
    positive); around it, it wanders by ``noise`` sigmas. ``ports``: whether the line begins and ends in a port.
    """
    at = np.r_[0.0, np.cumsum(np.abs(np.diff(line)))]
    s = np.arange(0.0, at[-1] + DS_M, DS_M)
    z = np.interp(s, at, line.real) + 1j * np.interp(s, at, line.imag)
    # Straight on beyond both ends while smoothing, so that the ends stay where they are.
    pad = int(4 * corner_m / DS_M)
    before, after = z[0] + (z[0] - z[1]) * np.arange(pad, 0, -1), z[-1] + (z[-1] - z[-2]) * np.arange(1, pad + 1)
    long = np.concatenate([before, z, after])
    z = (gaussian_filter1d(long.real, corner_m / DS_M) + 1j * gaussian_filter1d(long.imag, corner_m / DS_M))[pad:-pad]
    width = gaussian_filter1d(np.interp(s, at, sigma), corner_m / DS_M, mode="nearest")
    tangent = np.gradient(z)
    tangent /= np.abs(tangent)
    # A helm turns slowly: the wander is smooth over a mile, so that it bends the course by a few degrees and not at every report.
    helm = gaussian_filter1d(wander(len(s), DS_M, 15_000.0, rng), HELM_M / DS_M, mode="nearest")
    z = z + 1j * tangent * width * (side + noise * helm)

    speed = np.interp(s, at, np.broadcast_to(knots, line.shape)) * (1 + 0.025 * wander(len(s), DS_M, 12_000.0, rng))
    if status == UNDER_WAY:
        speed = np.where(width < NARROW_SIGMA_M, np.minimum(speed, NARROW_KNOTS), speed)
    if ports[0]:
        speed = np.minimum(speed, PORT_KNOTS + (speed - PORT_KNOTS) * np.minimum(s / PORT_RUN_M, 1.0))
    if ports[1]:
        speed = np.minimum(speed, PORT_KNOTS + (speed - PORT_KNOTS) * np.minimum((s[-1] - s) / PORT_RUN_M, 1.0))
    speed = gaussian_filter1d(speed, 4.0, mode="nearest")
    seconds = np.r_[0.0, np.cumsum(np.abs(np.diff(z)) / (KNOT_MPS * 0.5 * (speed[1:] + speed[:-1])))]
    t = np.arange(0.0, seconds[-1], DT_S)
    z = np.interp(t, seconds, z.real) + 1j * np.interp(t, seconds, z.imag)
    return Motion(z, np.full(len(z), status, np.int8))


def stay(z: complex, seconds: float, status: int, rng: np.random.Generator) -> Motion:
    """Lie at a berth, or swing round an anchor."""
    n = max(2, int(seconds / DT_S))
    places = np.full(n, z)
    if status == AT_ANCHOR:
        radius = rng.uniform(40.0, 90.0)  # m of chain and ship
        places = z + radius * np.exp(1j * (rng.uniform(0, 2 * np.pi) + 0.9 * wander(n, DT_S, 7200.0, rng)))
        places = gaussian_filter1d(places.real, 30.0, mode="nearest") + 1j * gaussian_filter1d(
            places.imag, 30.0, mode="nearest"
        )
    return Motion(places, np.full(n, status, np.int8))


def fish(ground: Ground, start: complex, seconds: float, rng: np.random.Generator) -> Motion:
    """Trawl to and fro over a ground: long straight hauls at 3 to 4 knots, a slow turn and the net lifted between them."""
    centre = complex(to_plane(np.array([ground.lat]), np.array([ground.lon]))[0])
    along = 1j * np.exp(-1j * np.radians(ground.bearing_deg))
    across = along * 1j
    points, knots = [start], [5.0]
    length = 0.0
    sense = rng.choice([-1.0, 1.0])
    drawn = rng.uniform(-0.6, 0.6)
    while length < seconds:
        haul = rng.uniform(3.0, 4.2)
        reach = rng.uniform(0.45, 0.85) * ground.radius_m
        for end in (-sense, sense):
            drawn = float(np.clip(drawn + rng.normal(0.0, 0.12), -0.8, 0.8))
            target = centre + along * reach * end + across * ground.radius_m * drawn
            length += abs(target - points[-1]) / (haul * KNOT_MPS)
            points.append(target)
            knots.append(haul)
            points.append(target + 350.0 * np.exp(1j * rng.uniform(0, 2 * np.pi)))  # the net is lifted and shot again
            knots.append(haul * 0.6)
    line = np.array(points)
    motion = follow(line, np.full(len(line), 60.0), np.array(knots), rng, status=FISHING, corner_m=250.0, noise=1.0)
    n = int(seconds / DT_S)
    return Motion(motion.z[:n], motion.status[:n])


def chain(parts: list[Motion]) -> Motion:
    """One after the other; each part begins where the one before it ended."""
    return Motion(np.concatenate([p.z for p in parts]), np.concatenate([p.status for p in parts]))

"""Samples of ships on a plain lane, for the detectors' tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multitaskais.config import Region
from multitaskais.records import SAMPLE_DTYPE
from multitaskais.types import Samples
from multitaskais.units import KNOT_MPS

REGION = Region("box", 47.0, 49.0, -8.0, -4.0)
M_PER_DEG = 111_195.0


def sail(
    mmsi: int,
    n: int = 30,
    lat: float = 48.0,
    lon: float = -7.0,
    sog: NDArray | float = 10.0,
    cog: NDArray | float = 90.0,
    n0: int = 0,
) -> Samples:
    """(n,) samples of one line that makes what it reports."""
    s = np.zeros(n, SAMPLE_DTYPE)
    sog, cog = np.broadcast_to(sog, n), np.broadcast_to(cog, n)
    north = np.concatenate([[0.0], np.cumsum((sog * np.cos(np.radians(cog)))[:-1])]) * KNOT_MPS * 600.0 / M_PER_DEG
    east = np.concatenate([[0.0], np.cumsum((sog * np.sin(np.radians(cog)))[:-1])]) * KNOT_MPS * 600.0 / M_PER_DEG
    s["mmsi"], s["n"], s["t"] = mmsi, n0 + np.arange(n), 1e9 + 600.0 * (n0 + np.arange(n))
    s["lat"] = lat + north
    s["lon"] = lon + east / np.cos(np.radians(lat))
    s["sog"], s["cog"] = sog, cog
    s["made_30min"] = 3 * sog * KNOT_MPS * 600.0
    s["moored"] = (sog < 0.5) & (s["made_30min"] < 150.0)
    s["nav_status"] = s["ship_type"] = -1
    return s


def lane(ships: int = 12, rng: np.random.Generator | None = None) -> Samples:
    """Ships one after the other on one lane to the east, a few hundred metres and 1 kn apart."""
    rng = rng or np.random.default_rng(5)
    return np.concatenate(
        [
            sail(
                200_000_000 + k,
                lat=48.0 + rng.normal(0, 0.002),
                lon=-7.0 + rng.uniform(0, 0.05),
                sog=10 + rng.normal(0, 0.5),
            )
            for k in range(ships)
        ]
    )


def run(detector, samples: Samples) -> NDArray[np.float64]:
    """Scores (m,) of the samples of one line."""
    state = detector.initial(1)
    out = []
    for k in range(len(samples)):
        state, scores = detector.step(state, samples[k : k + 1])
        out.append(scores.score[0])
    return np.array(out)

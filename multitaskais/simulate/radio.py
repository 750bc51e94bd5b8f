"""From motion to what shore stations hear: report times, noise, missing values, gaps, second receptions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from ..records import REPORT_DTYPE
from ..types import Reports
from ..units import EARTH_RADIUS_M, KNOT_MPS, M_PER_DEG
from . import brittany as sea
from .motion import AT_ANCHOR, DT_S, MOORED, UNDER_WAY, UNKNOWN, wander
from .voyages import Voyage

POSITION_QUANTUM_DEG = 1 / 600_000  # ITU-R M.1371-5: 1/10 000 minute
POSITION_NOISE_M = 2.0  # from report to report
POSITION_BIAS_M, BIAS_S = 6.0, 900.0  # satellite positions are off by some metres, and that moves slowly
SOG_NOISE_KNOTS = 0.1
LYING_THINNING = 0.25  # a moored class A ship reports every 3 min, not every 40 s
NEAR_KM, FAR_KM = 60.0, 180.0  # from the nearest station: full reception, worst reception
LOSS_NEAR, LOSS_FAR = 0.03, 0.40
GAPS_PER_HOUR, GAP_MEAN_S, GAP_LEAST_S, GAP_MOST_S = 0.04, 900.0, 300.0, 6000.0
LONG_GAP_SHARE, LONG_GAP_S = 0.02, (7800.0, 12000.0)  # some are away for longer than a track lasts (2 h)
SECOND_STATION_SHARE = 0.05
COG_MISSING = 0.01
POOR_GYRO_SHARE, POOR_GYRO_MISSING = 0.04, 0.35
SOG_MISSING = 0.001
NO_HEADING_SHARE = 0.1
NO_STATUS_SHARE = 0.08  # ships whose crew never sets the navigational status

M_PER_KM = 1000.0


def listen(voyage: Voyage, who: np.void, rng: np.random.Generator) -> Reports:
    """Reports of one voyage, sorted by ``t`` (whole seconds), values as coarse as AIS sends them; second receptions not yet in."""
    z, status = voyage.motion
    lat, lon = sea.to_degrees(z)
    east = np.gradient(np.radians(lon)) * np.cos(np.radians(lat)) * EARTH_RADIUS_M / DT_S
    north = np.gradient(np.radians(lat)) * EARTH_RADIUS_M / DT_S
    east, north = (gaussian_filter1d(v, 1.5, mode="nearest") for v in (east, north))

    low, high = voyage.ship.interval_s
    mean = rng.uniform(low, high)
    span = len(z) * DT_S
    t = np.cumsum(rng.gamma(6.0, mean / 6.0, int(span / mean * 1.3) + 20))
    t = np.unique(np.round(t[t < span - DT_S]))
    i = (t / DT_S).astype(int)
    lying = np.isin(status[i], (MOORED, AT_ANCHOR))
    km = np.min([np.abs(z[i] - s) for s in _stations()], axis=0) / M_PER_KM
    loss = LOSS_NEAR + (LOSS_FAR - LOSS_NEAR) * np.clip((km - NEAR_KM) / (FAR_KM - NEAR_KM), 0, 1)
    keep = (
        (rng.random(len(t)) >= loss)
        & (~lying | (rng.random(len(t)) < LYING_THINNING))
        & ~_silent(t, span, voyage.kind == "clean", rng)
    )
    t, i = t[keep], i[keep]

    grid = np.arange(len(z)) * DT_S
    out = np.zeros(len(t), REPORT_DTYPE)
    n = len(t)
    off_east, off_north = (
        np.interp(t, grid, POSITION_BIAS_M * wander(len(z), DT_S, BIAS_S, rng)) + rng.normal(0, POSITION_NOISE_M, n)
        for _ in range(2)
    )
    out["lat"] = np.interp(t, grid, lat) + off_north / M_PER_DEG
    out["lon"] = np.interp(t, grid, lon) + off_east / (M_PER_DEG * np.cos(np.radians(sea.LAT0)))
    e, v = np.interp(t, grid, east), np.interp(t, grid, north)
    true_sog = np.hypot(e, v) / KNOT_MPS
    true_cog = np.degrees(np.arctan2(e, v))
    out["sog"] = np.round(np.clip(true_sog + rng.normal(0, SOG_NOISE_KNOTS, n), 0, 102), 1)
    blur = 1.0 + 15.0 / (true_sog + 0.3)  # deg; a ship that lies still has no course
    out["cog"] = np.round((true_cog + rng.normal(0, 1, n) * blur) % 360.0, 1) % 360.0
    crab = rng.normal(0, 3.0)
    out["heading"] = np.round((true_cog + crab + rng.normal(0, 1, n) * np.minimum(blur, 8.0)) % 360.0) % 360.0
    if voyage.ship.class_b or rng.random() < NO_HEADING_SHARE:
        out["heading"] = np.nan
    poor = rng.random() < POOR_GYRO_SHARE
    out["cog"][rng.random(n) < (POOR_GYRO_MISSING if poor else COG_MISSING)] = np.nan
    out["sog"][rng.random(n) < SOG_MISSING] = np.nan
    out["lat"] = np.round(out["lat"] / POSITION_QUANTUM_DEG) * POSITION_QUANTUM_DEG
    out["lon"] = np.round(out["lon"] / POSITION_QUANTUM_DEG) * POSITION_QUANTUM_DEG

    set_status = status[i].copy()
    if rng.random() < NO_STATUS_SHARE:
        set_status[:] = rng.choice([UNDER_WAY, UNKNOWN])
    out["nav_status"] = -1 if voyage.ship.class_b else set_status
    out["msg_type"] = 18 if voyage.ship.class_b else np.where(lying[keep], 3, 1)
    out["mmsi"], out["ship_type"], out["ship_name"] = who["mmsi"], who["ship_type"], who["ship_name"]
    out["t"] = np.round(voyage.start) + t
    out["second"] = np.floor(out["t"]) % 60
    return out


def heard_twice(reports: Reports, rng: np.random.Generator) -> Reports:
    """Some reports once more, word for word, from a second station 0 to 3 s later; sorted by ``t``."""
    again = reports[rng.random(len(reports)) < SECOND_STATION_SHARE].copy()
    again["t"] += rng.integers(0, 4, len(again))
    both = np.concatenate([reports, again])
    return both[np.argsort(both["t"], kind="stable")]


def _stations() -> NDArray[np.complex128]:
    p = np.array(sea.STATIONS)
    return sea.to_plane(p[:, 0], p[:, 1])


def _silent(t: NDArray[np.float64], span: float, clean: bool, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(n,) True in the ship's silences. Abnormal ships have no long ones: what nobody heard cannot be labelled."""
    out = np.zeros(len(t), bool)
    for _ in range(rng.poisson(GAPS_PER_HOUR * span / 3600.0)):
        at, length = rng.uniform(0, span), min(GAP_LEAST_S + rng.exponential(GAP_MEAN_S), GAP_MOST_S)
        out |= (t >= at) & (t < at + length)
    if clean and span > 8 * 3600.0 and rng.random() < LONG_GAP_SHARE:
        at = rng.uniform(0.2, 0.7) * span
        out |= (t >= at) & (t < at + rng.uniform(*LONG_GAP_S))
    return out

"""Seeded ships and a model for benchmarks of what comes after decoding."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multitaskais.config import DetectionRules, Region
from multitaskais.detectors.vrnn import VrnnDetector
from multitaskais.errors import ModelNotFound
from multitaskais.model import folder as modelfolder
from multitaskais.model.fit import fit_model
from multitaskais.model.folder import Model
from multitaskais.model.samples import samples_of
from multitaskais.networks.weights import Sizes, VrnnWeights
from multitaskais.records import REPORT_DTYPE
from multitaskais.simulate import SimulationSettings, simulate
from multitaskais.types import Reports
from multitaskais.units import KNOT_MPS, M_PER_DEG_SEEDED

T0 = 1_500_000_000.0  # 2017-07-14, a multiple of 600
LANES = 6
ROUTES, SIMULATED = 300, 77  # simulated voyages, and their seed: not one of the shipped model's
BOX = (47.6, 49.4, -6.9, -4.1)  # inside the Brittany box
DAY = "data/noaa/ais_2020-01-01.parquet"
MODEL = os.environ.get("BENCH_MODEL", "brittany")  # a shipped model's name, or a folder


def shared_day() -> Path | None:
    """The real day, where it is; it does not come with the repository."""
    root = Path(os.environ.get("MULTITASKAIS_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    return root / DAY if (root / DAY).is_file() else None


def voyages(vessels: int, hours: float, every_s: float, seed: int = 0, first_mmsi: int = 227_000_000) -> Reports:
    """(n,) reports of ships on a few straight lanes, in time order: what they say is what they make, but for the air's rounding."""
    rng = np.random.default_rng(seed)
    n = max(2, int(hours * 3600 / every_s))
    reports = np.zeros((vessels, n), REPORT_DTYPE)
    dt = rng.uniform(0.8, 1.2, (vessels, n)) * every_s
    t = np.cumsum(dt, axis=1) - dt[:, :1] + rng.uniform(0, every_s, (vessels, 1))
    sog = rng.uniform(6, 16, (vessels, 1)) + rng.normal(0, 0.1, (vessels, n))
    # The lanes are the same for every seed, so that one seed's ships are usual to a model that learnt from another's.
    lanes = np.random.default_rng(LANES)
    lane = np.arange(vessels)[:, None] % LANES
    heading = lanes.uniform(0, 360, LANES)[lane]
    made = np.cumsum(sog * KNOT_MPS * dt, axis=1) + rng.uniform(0, 400e3, (vessels, 1))
    # A triangle wave in both axes: ships turn round inside the box.
    for name, low, high, across in (("lat", *BOX[:2], np.cos), ("lon", *BOX[2:], np.sin)):
        scale = M_PER_DEG_SEEDED * (np.cos(np.radians(48.5)) if name == "lon" else 1.0)
        start = lanes.uniform(0, high - low, LANES)[lane] + rng.normal(0, 0.005, (vessels, 1))
        x = start + made * across(np.radians(heading)) / scale
        phase = np.mod(x, 2 * (high - low))
        reports[name] = np.round(low + np.where(phase > high - low, 2 * (high - low) - phase, phase), 6)
    north = np.diff(reports["lat"], axis=1) * M_PER_DEG_SEEDED
    east = np.diff(reports["lon"], axis=1) * M_PER_DEG_SEEDED * np.cos(np.radians(reports["lat"][:, 1:]))
    course = np.degrees(np.arctan2(east, north)) % 360.0
    reports["cog"] = np.round(np.concatenate([course[:, :1], course], axis=1), 1) % 360.0
    reports["sog"] = np.round(sog, 1)
    reports["t"] = np.round(T0 + t)
    reports["mmsi"] = first_mmsi + np.arange(vessels)[:, None]
    reports["heading"], reports["msg_type"], reports["ship_type"] = np.nan, 1, 70
    flat = reports.reshape(-1)
    return flat[np.argsort(flat["t"], kind="stable")]


@lru_cache(maxsize=4)
def _routes(seed: int) -> tuple[NDArray[np.float64], ...]:
    """(3, n) seconds from the start, lat, lon of simulated voyages of clean ships."""
    settings = SimulationSettings(vessels=ROUTES, abnormal=0)
    reports = simulate(region(), settings, np.random.default_rng(seed)).reports
    reports = reports[np.argsort(reports["mmsi"], kind="stable")]
    tracks = np.split(reports, np.flatnonzero(np.diff(reports["mmsi"])) + 1)
    out = []
    for track in tracks:
        _, first = np.unique(track["t"], return_index=True)
        t = track["t"][first]
        # Heard without a gap, so that a copy of it has none either.
        if len(t) > 60 and t[-1] - t[0] > 2 * 3600 and np.diff(t).max() < 1200:
            out.append(np.stack([t - t[0], track["lat"][first], track["lon"][first]]))
    return tuple(out)


def usual(vessels: int, hours: float, every_s: float, seed: int = 0, first_mmsi: int = 227_000_000) -> Reports:
    """(n,) reports in time order of ships on the routes of simulated traffic, which the shipped Brittany model knows.

    Each goes its route there and back, as long as it takes, from another point and at another moment.
    """
    rng = np.random.default_rng([seed, 1])
    routes = _routes(SIMULATED)
    n = max(2, int(hours * 3600 / every_s))
    parts = []
    for r, (seconds, lat, lon) in enumerate(routes):
        mine = np.arange(r, vessels, len(routes))
        if not len(mine):
            continue
        at = rng.uniform(0, every_s, (len(mine), 1)) + (np.arange(n) + rng.uniform(-0.2, 0.2, (len(mine), n))) * every_s
        start = rng.uniform(0, 2 * seconds[-1], (len(mine), 1))
        at = np.round(np.maximum(at, 0.0)).astype(np.float64)

        def place(
            t: NDArray[np.float64],
            seconds: NDArray[np.float64] = seconds,
            lat: NDArray[np.float64] = lat,
            lon: NDArray[np.float64] = lon,
            start: NDArray[np.float64] = start,
        ) -> NDArray[np.float64]:
            phase = np.mod(start + t, 2 * seconds[-1])
            phase = np.where(phase > seconds[-1], 2 * seconds[-1] - phase, phase)
            return np.stack([np.interp(phase, seconds, lat), np.interp(phase, seconds, lon)])

        here, before, after = place(at), place(at - 30.0), place(at + 30.0)
        north = (after[0] - before[0]) * M_PER_DEG_SEEDED
        east = (after[1] - before[1]) * M_PER_DEG_SEEDED * np.cos(np.radians(here[0]))
        reports = np.zeros(at.shape, REPORT_DTYPE)
        reports["mmsi"] = first_mmsi + mine[:, None]
        reports["t"], reports["lat"], reports["lon"] = T0 + at, np.round(here[0], 6), np.round(here[1], 6)
        reports["sog"] = np.round(np.minimum(np.hypot(north, east) / 60.0 / KNOT_MPS, 29.9), 1)
        reports["cog"] = np.round(np.degrees(np.arctan2(east, north)), 1) % 360.0
        reports["heading"], reports["msg_type"], reports["ship_type"] = np.nan, 1, 70
        parts.append(reports.reshape(-1))
    flat = np.concatenate(parts)
    return flat[np.argsort(flat["t"], kind="stable")]


def one_track(fixes: int, hours: float, seed: int = 0) -> Reports:
    """(fixes,) reports of one ship, at different whole seconds."""
    track = voyages(1, hours, hours * 3600 / fixes, seed)
    if len(np.unique(track["t"])) < len(track):  # less than a second apart
        track["t"] = T0 + np.arange(len(track)) * (hours * 3600 / fixes)
    return track


def region() -> Region:
    return Region.load("brittany")


def random_vrnn(samples: int = 1, seed: int = 0, score: str = "position") -> VrnnDetector:
    """A VRNN of the method's size with random weights: what it says means nothing, what it costs is the same."""
    sizes = Sizes.of(region())
    weights = VrnnWeights.random(sizes, np.full(sizes.dim, 4 / sizes.dim), seed)
    return VrnnDetector(weights, region(), DetectionRules(), samples=samples, seed=seed, score=score)


@lru_cache(maxsize=2)
def model(vessels: int = 60) -> tuple[Model, str]:
    """The shipped model (or that of ``BENCH_MODEL``), else one that is learnt here from seeded ships; and which it is, in words."""
    try:
        found = modelfolder.load(MODEL)
        return found, f"model {found.version}: {', '.join(found.panel.names)}"
    except ModelNotFound:
        return learnt(vessels), "a model learnt from seeded ships, VRNN with random weights"


@lru_cache(maxsize=2)
def learnt(vessels: int = 60) -> Model:
    """All detectors on seeded ships; the VRNN has random weights."""
    samples, _, _ = samples_of(usual(vessels, 10.0, 120.0, seed=5), region(), all_tracks=True)
    half = 227_000_000 + vessels // 2
    train, dev = samples[samples["mmsi"] < half], samples[samples["mmsi"] >= half]
    return fit_model(train, dev, region(), name="bench", trained={"vrnn": random_vrnn()})

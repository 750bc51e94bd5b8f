"""Builders of reports, tracks and fleets for all tests; seeded, no clock. ``T0`` is a round Unix time."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multitaskais.detection.panel import Panel
from multitaskais.model.folder import Model
from multitaskais.records import REPORT_DTYPE, PositionReport
from multitaskais.types import Reports

T0 = 1_500_000_000.0  # 2017-07-14 02:40:00 UTC, a multiple of 600
MMSI = 227_000_001
NAN = float("nan")
M_PER_DEG = 111_195.0


def report(t: float = T0, lat: float = 48.0, lon: float = -5.0, **fields: Any) -> PositionReport:
    """One report; by default of a ship that makes 10 kn northwards."""
    values: dict[str, Any] = {"mmsi": MMSI, "sog": 10.0, "cog": 0.0, "nav_status": 0, "msg_type": 1, "ship_type": 70}
    return PositionReport(t=t, lat=lat, lon=lon, **(values | fields))


def array(rows: list[Any]) -> Reports:
    """Reports (tuples) as an array of ``REPORT_DTYPE``."""
    return np.array([tuple(row) for row in rows], REPORT_DTYPE)


def sail(
    n: int = 100,
    every_s: float | NDArray[np.float64] = 60.0,
    *,
    mmsi: int = MMSI,
    t: float = T0,
    lat: float = 48.0,
    lon: float = -5.0,
    sog: float = 10.0,
    cog: float | NDArray[np.float64] = 0.0,
    **fields: Any,
) -> Reports:
    """(n,) reports of a ship that makes good what it says. ``every_s`` and ``cog`` may be arrays: (n - 1,) intervals, (n,) courses."""
    dt = np.broadcast_to(np.asarray(every_s, float), (n - 1,))
    courses = np.broadcast_to(np.asarray(cog, float), (n,))
    out = np.zeros(n, REPORT_DTYPE)
    for name, value in (
        {"heading": NAN, "nav_status": 0, "msg_type": 1, "ship_type": 70, "second": -1} | fields
    ).items():
        out[name] = value
    out["mmsi"], out["sog"], out["cog"] = mmsi, sog, np.mod(courses, 360.0)
    out["t"] = t + np.concatenate([[0.0], np.cumsum(dt)])
    step_deg = dt * sog * 1852.0 / 3600.0 / M_PER_DEG
    middle = np.radians((courses[1:] + courses[:-1]) / 2)
    out["lat"] = lat + np.concatenate([[0.0], np.cumsum(step_deg * np.cos(middle))])
    across = step_deg * np.sin(middle) / np.cos(np.radians(out["lat"][:-1]))
    out["lon"] = lon + np.concatenate([[0.0], np.cumsum(across)])
    return out


def moved(reports: Reports, north_m: float = 0.0, east_m: float = 0.0, **fields: Any) -> Reports:
    """A copy shifted sideways, other fields set."""
    out = reports.copy()
    out["lat"] += north_m / M_PER_DEG
    out["lon"] += east_m / M_PER_DEG / np.cos(np.radians(reports["lat"]))
    for name, value in fields.items():
        out[name] = value
    return out


def merged(*parts: Reports) -> Reports:
    """All reports in time order."""
    out = np.concatenate(parts)
    return out[np.argsort(out["t"], kind="stable")]


def fleet(
    seed: int, vessels: int = 10, hours: float = 6.0, every_s: float = 60.0, box: tuple = (47.6, 49.4, -6.9, -4.1)
) -> Reports:
    """Traffic in time order: ships that turn slowly, some moored, some without course; uneven intervals around ``every_s``."""
    rng = np.random.default_rng(seed)
    parts = []
    for i in range(vessels):
        n = max(2, int(hours * 3600 / every_s))
        moored = rng.random() < 0.2
        track = sail(
            n,
            rng.uniform(0.5, 1.5, n - 1) * every_s,
            mmsi=227_000_001 + i,
            t=T0 + rng.uniform(0, every_s),
            lat=rng.uniform(box[0] + 0.4, box[1] - 0.4),
            lon=rng.uniform(box[2] + 0.6, box[3] - 0.6),
            sog=0.1 if moored else rng.uniform(3, 14),
            cog=rng.uniform(0, 360) + np.cumsum(rng.normal(0, 12, n)),
            nav_status=5 if moored else 0,
            ship_type=int(rng.choice([30, 60, 70, 80])),
            ship_name=f"SHIP {i}".encode(),
        )
        track["lat"] = np.round(track["lat"] + rng.normal(0, 3e-5, n), 6)
        track["lon"] = np.round(track["lon"] + rng.normal(0, 3e-5, n), 6)
        track["sog"] = np.round(track["sog"], 1)
        track["cog"] = np.where(rng.random(n) < 0.05, NAN, np.round(track["cog"], 1) % 360.0)
        parts.append(track)
    return merged(*parts)


def shuffled(reports: Reports, seed: int, lateness_s: float = 120.0) -> Reports:
    """Another arrival order in which no report is later than ``lateness_s``."""
    delay = np.random.default_rng(seed).uniform(0, lateness_s, len(reports))
    return reports[np.argsort(reports["t"] + delay, kind="stable")]


def another(model: Model, **fields: Any) -> Model:
    """A model of the same region with one detector less, and so other rows, that raises more."""
    panel = model.panel
    keep = [k for k, name in enumerate(panel.names) if name != "speed"]
    thresholds = dataclasses.replace(
        panel.thresholds,
        tail_score=tuple(panel.thresholds.tail_score[k] for k in keep),
        by_type=panel.thresholds.by_type * 0.8,
    )
    detectors, calibrations = [panel.detectors[k] for k in keep], [panel.calibrations[k] for k in keep]
    fewer = Panel(detectors, calibrations, thresholds, panel.rules, decision=panel.decision)
    return dataclasses.replace(model, panel=fewer, **fields)

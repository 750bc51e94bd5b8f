"""How cost grows: reports a second against the number of vessels, and against the length of one vessel's track, in the fold itself."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from multitaskais.engine.engine import PartitionEngine
from multitaskais.model.folder import Model
from multitaskais.records import REPORT_DTYPE
from multitaskais.types import Reports

from .harness import Result
from .panel_cost import hot
from .workload import T0, learnt, model, usual

RUN_REPORTS = 20_000  # catch-up takes long runs
VESSELS, REPORTS_EACH = (1_000, 10_000, 100_000), 24
QUICK_VESSELS = (200, 1_000)
LONG, OTHERS, PIECES = 100_000, 100, 10  # reports of the long track, other vessels, points of the curve


def rate(fleet: PartitionEngine, reports: Reports, run: int = RUN_REPORTS) -> float:
    """Reports per second of a core."""
    began = time.process_time()
    for start in range(0, len(reports), run):
        fleet.process(reports[start : start + run])
    return len(reports) / (time.process_time() - began)


def against_vessels(found: Model, sizes: tuple[int, ...]) -> list[float]:
    """Each fleet reports every 10 minutes for four hours; the second half, past the warm-up, is timed."""
    out = []
    for vessels in sizes:
        reports = usual(vessels, REPORTS_EACH * 600 / 3600, 600.0, seed=vessels)
        fleet = PartitionEngine(found)
        half = len(reports) // 2
        rate(fleet, reports[:half])
        out.append(rate(fleet, reports[half:]))
    return out


def against_length(found: Model, length: int) -> tuple[list[int], list[float]]:
    """One vessel reports every 2 s without end, ``OTHERS`` every minute; reports/s as the long track grows."""
    seconds = 2.0 * length
    others = usual(OTHERS, seconds / 3600, 60.0 * max(1.0, seconds / 36_000), seed=1)
    one = np.repeat(usual(1, 1.0, 600.0, seed=2, first_mmsi=226_000_000)[:1], length).astype(REPORT_DTYPE)
    one["t"] = T0 + 2.0 * np.arange(length)
    # It circles round one place: it never leaves the box and never has a gap.
    angle = np.arange(length) * 2.0 * 5.0 / 3000.0
    one["lat"], one["lon"] = 48.5 + 0.027 * np.sin(angle), -5.5 + 0.04 * np.cos(angle)
    one["sog"], one["cog"] = 19.4, np.degrees(-angle) % 360.0
    reports = np.concatenate([others, one])
    reports = reports[np.argsort(reports["t"], kind="stable")]
    fleet = PartitionEngine(found)
    x, y = [], []
    for k, piece in enumerate(np.array_split(reports, PIECES)):
        y.append(rate(fleet, piece))
        x.append((k + 1) * length // PIECES)
    return x, y


def run(quick: bool = False) -> list[Result]:
    found, which = model()
    if "vrnn" not in found.panel.names:
        found, which = learnt(), "a model learnt from seeded ships, VRNN with random weights"
    sizes = QUICK_VESSELS if quick else VESSELS
    rates = against_vessels(found, sizes)
    length = LONG // 10 if quick else LONG
    x, y = against_length(found, length)
    reports = usual(500, 4.0, 60.0, seed=3)
    dense = PartitionEngine(found)
    each_minute = rate(dense, reports)
    slowest, fastest = min(y[1:]), max(y[1:])
    nan = float("nan")

    def told(
        name: str,
        work: str,
        ratio: float,
        spread: tuple[float, float],
        notes: tuple[str, ...],
        figures: dict[str, Any],
    ) -> Result:
        return Result(name, work, "its own first size", "reports/s", nan, nan, ratio, *spread, 1, None, False, "", notes, figures)  # fmt: skip

    return [
        told(
            "growth/vessels",
            f"reports/s with {sizes[-1]:,} vessels / with {sizes[0]:,}, a report each 10 min",
            rates[-1] / rates[0],
            (rates[-1] / rates[0],) * 2,
            (
                which,
                "; ".join(f"{n:,} vessels {r:,.0f} reports/s" for n, r in zip(sizes, rates, strict=True)),
                "each of these reports makes a sample, which is judged: the dearest traffic there is for one report",
                f"500 vessels that report each minute: {each_minute:,.0f} reports/s; most time in: {hot(lambda: rate(PartitionEngine(found), reports[:20_000]))}",
            ),
            {
                "x": list(sizes), "y": rates, "x_label": "vessels", "y_label": "reports/s and core",
                "sample_us": 1e6 / rates[-1], "minute_reports_per_s": each_minute,
            },
        ),
        told(
            "growth/track length",
            f"reports/s in the slowest tenth of a track of {length:,} reports / in the fastest",
            slowest / fastest,
            (slowest / fastest,) * 2,
            ("from the second tenth on: " + ", ".join(f"{r:,.0f}" for r in y[1:]) + " reports/s",),
            {"x": x, "y": y, "x_label": "reports of one vessel so far", "y_label": "reports/s and core"},
        ),
    ]  # fmt: skip

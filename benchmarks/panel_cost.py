"""Claim: the whole panel (all detectors, calibration, windows, decision) costs at most three times the VRNN's step alone, at 1,024 vessels."""

from __future__ import annotations

import cProfile
import pstats
import statistics
from collections.abc import Callable
from functools import partial

import numpy as np

from multitaskais.detection.offline import lines_of
from multitaskais.detection.panel import Panel
from multitaskais.detection.protocol import Detector
from multitaskais.model import folder as modelfolder
from multitaskais.model.folder import Model
from multitaskais.model.samples import load_reports, samples_of
from multitaskais.simulate import SimulationSettings, simulate
from multitaskais.types import Reports, Rows, Samples

from .harness import Result, seconds
from .workload import SIMULATED, learnt, model, region, shared_day

VESSELS, QUICK_VESSELS, ROUNDS, GOAL = 1024, 256, 7, 3.0
WARM_STEPS = 14  # past the warm-up, so that all is judged

LIMITS = {
    "panel_cost": "the searches of place, speed and wrongway in k-d trees of up to half a million points, closer together on simulated lanes than at sea: their memory is out of the caches when the other detectors have run.",
}


def simulated(vessels: int) -> Reports:
    """Reports of ships as they sail on the simulated lanes; somewhat more than asked for, as some are heard for too short a time."""
    settings = SimulationSettings(vessels=int(1.1 * vessels), abnormal=0)
    return simulate(region(), settings, np.random.default_rng(SIMULATED)).reports


def warm(panel: Panel, model: Model, vessels: int, reports: Reports) -> tuple[Rows, Samples]:
    """Rows of so many lines after ``WARM_STEPS`` samples each, and their next samples."""
    samples, _, _ = samples_of(reports, model.region, model.track_rules, model.detection_rules, all_tracks=True)
    start, line = lines_of(samples)
    start = start[np.bincount(line) > WARM_STEPS][:vessels]
    rows = panel.initial(len(start))
    for k in range(WARM_STEPS):
        rows, _ = panel.step(rows, samples[start + k])
    return rows, samples[start + WARM_STEPS]


def run(quick: bool = False) -> list[Result]:
    vessels = QUICK_VESSELS if quick else VESSELS
    found, which = model()
    if "vrnn" not in found.panel.names:
        found, which = (
            learnt(),
            "a model learnt from seeded ships, VRNN with random weights (the shipped one has no VRNN)",
        )
    results = [measured("panel_cost", "simulated ships", found, which, simulated(vessels), vessels, quick)]
    if (day := shared_day()) is not None and not quick:
        gulf = modelfolder.load("gulf")
        reports, _ = load_reports(day, gulf.region)
        which = f"model {gulf.version}: {', '.join(gulf.panel.names)}"
        results.append(measured("panel_cost/gulf", "ships of the real day", gulf, which, reports, vessels, quick))
    return results


def measured(claim: str, whose: str, found: Model, which: str, reports: Reports, vessels: int, quick: bool) -> Result:
    panel = found.panel
    rows, samples = warm(panel, found, vessels, reports)
    n = len(samples)
    vrnn = panel.detectors[panel.names.index("vrnn")]
    state = rows["state_vrnn"].copy()
    panel.step(rows, samples)
    pairs = []
    for _ in range(2 if quick else ROUNDS):
        alone = seconds(lambda: vrnn.step(state, samples))
        pairs.append((seconds(lambda: panel.step(rows, samples)), alone))
    ratios = [whole / alone for whole, alone in pairs]
    whole, alone = (statistics.median(p[i] for p in pairs) for i in (0, 1))
    shares = ", ".join(
        f"{d.name} {1e6 * seconds(partial(d.step, _state(d, rows), samples)) / n:.1f}" for d in panel.detectors
    )
    return Result(
        claim,
        f"one step of the whole panel, {n:,} {whose}",
        "the VRNN's step alone",
        "vessel-steps/s",
        n / whole,
        n / alone,
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        len(pairs),
        GOAL,
        at_most=True,
        notes=(
            which,
            f"us a vessel-step: panel {1e6 * whole / n:.1f}; its detectors: {shares}; the rest is calibration, windows and decision",
            f"most time in: {hot(lambda: panel.step(rows, samples))}",
        ),
        figures={"panel_us": 1e6 * whole / n, "vrnn_us": 1e6 * alone / n},
    )


def _state(detector: Detector, rows: Rows) -> Rows:
    if detector.state_dtype.itemsize:
        return rows[f"state_{detector.name}"].copy()
    first: Rows = detector.initial(len(rows))
    return first


def hot(work: Callable[[], object], n: int = 5) -> str:
    """Where the time goes, in words."""
    profile = cProfile.Profile()
    profile.enable()
    work()
    profile.disable()
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    total = sum(v[2] for v in stats.values())
    first = sorted(stats.items(), key=lambda kv: -kv[1][2])[:n]
    return ", ".join(f"{k[2].strip('<>')} {v[2] / total:.0%}" for k, v in first)

"""How many cores the world needs: cost a report and cost a sample from small fleets predict it, a simulation at the world's rate checks it.

The world: 300,000 vessels and 300 million reports a day, all of them in the fold of one process for some minutes of vessel time.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from multitaskais.engine.engine import PartitionEngine
from multitaskais.model.folder import Model

from .harness import Result
from .machine import give_back_freed, resident_bytes
from .workload import learnt, model, usual

VESSELS, REPORTS_A_DAY, MINUTES = 300_000, 300e6, 21.0
QUICK_VESSELS, QUICK_MINUTES = 2_000, 21.0
RUN_REPORTS = 20_000


class Cost(NamedTuple):
    """Seconds of a core."""

    report: float
    sample: float

    def cores(self, reports_per_s: float, vessels: float) -> float:
        """A vessel makes a sample each 600 s."""
        return reports_per_s * self.report + vessels / 600.0 * self.sample


def fold(fleet: PartitionEngine, reports: np.ndarray) -> float:
    """Seconds of a core."""
    began = time.process_time()
    for start in range(0, len(reports), RUN_REPORTS):
        fleet.process(reports[start : start + RUN_REPORTS])
    return time.process_time() - began


def cost(found: Model) -> Cost:
    """From two fleets of known mix: few samples a report, and one sample a report. Solved for the two unknowns."""
    rows, spent = [], []
    for vessels, hours, every_s in ((200, 2.0, 10.0), (2_000, 3.5, 600.0)):
        reports = usual(vessels, hours, every_s, seed=21)
        fleet = PartitionEngine(found)
        spent.append(fold(fleet, reports))
        rows.append((len(reports), vessels * hours * 6))
    a, b = np.linalg.solve(np.array(rows, float), np.array(spent))
    return Cost(float(a), float(b))


def run(quick: bool = False) -> list[Result]:
    found, which = model()
    if "vrnn" not in found.panel.names:
        found, which = learnt(), "a model learnt from seeded ships, VRNN with random weights"
    vessels, minutes = (QUICK_VESSELS, QUICK_MINUTES) if quick else (VESSELS, MINUTES)
    rate = REPORTS_A_DAY / 86_400.0 * vessels / VESSELS
    each = cost(found)
    predicted = each.cores(rate, vessels)
    reports = usual(vessels, minutes / 60.0, vessels / rate, seed=22)
    fleet = PartitionEngine(found)
    before = resident_bytes()
    spent = fold(fleet, reports)
    give_back_freed()
    cores = spent / (minutes * 60.0)
    nan = float("nan")
    ratio = cores / predicted
    return [
        Result(
            "world",
            f"{len(reports):,} reports of {vessels:,} vessels in {minutes:g} min: cores of the fold / predicted from small fleets",
            f"prediction: {each.report * 1e6:.1f} us a report, {each.sample * 1e6:.0f} us a sample",
            "cores", nan, nan, ratio, ratio, ratio, 1,
            notes=(
                which,
                f"{cores:.2f} cores for the fold at {rate:,.0f} reports/s, predicted {predicted:.2f}; {(resident_bytes() - before) / len(fleet):,.0f} bytes resident a vessel",
            ),
            figures={"report_us": each.report * 1e6, "sample_us": each.sample * 1e6, "cores": cores, "predicted": predicted},
        )
    ]  # fmt: skip

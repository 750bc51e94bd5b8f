"""Claim: the fold moves the ordinary vessels of a run at once, at several times the rate of one report after the other.

The reference is the same engine with ``one_by_one``: tracker, sampler and bookkeeping in Python for each report, as before runs were arrays.
Runs are as long as in catch-up. The model judges the samples on both sides alike, so beside the rates stands what a report costs without them.
"""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any

from multitaskais.engine.engine import PartitionEngine
from multitaskais.model.folder import Model
from multitaskais.types import Reports

from .harness import Result, compare, require, seconds
from .panel_cost import hot
from .workload import learnt, model, usual

GOAL = 6.0
RUN_REPORTS = 20_000  # catch-up takes long runs
# vessels, hours, seconds between two reports of one
TRAFFIC = {"each 10 s": (400, 1.5, 10.0), "each minute": (1_250, 2.0, 60.0)}
QUICK_TRAFFIC = {"each 10 s": (40, 1.0, 10.0)}

LIMITS = {
    "fold/each 10 s": "the samples: a ship's sample each 10 min is judged by the same panel on both sides.",
    "fold/each minute": "the samples: each tenth report completes one, which is judged by the same panel on both sides.",
}


def fold(found: Model, reports: Reports, one_by_one: bool) -> PartitionEngine:
    engine = PartitionEngine(found, one_by_one=one_by_one)
    for start in range(0, len(reports), RUN_REPORTS):
        engine.process(reports[start : start + RUN_REPORTS])
    return engine


def answer(found: Model, reports: Reports, one_by_one: bool) -> tuple[Any, ...]:
    """All events of the log, and all states after it."""
    engine = PartitionEngine(found, one_by_one=one_by_one)
    told: list[Any] = []
    for start in range(0, len(reports), RUN_REPORTS):
        events = engine.process(reports[start : start + RUN_REPORTS])
        told.append((list(map(repr, events.alerts)), list(map(repr, events.verdicts)), events.counts))
    states = engine.snapshot()
    return told, states, list(map(repr, engine.advance_watermark(math.inf).alerts))


def run(quick: bool = False) -> list[Result]:
    found, which = model()
    if "vrnn" not in found.panel.names:
        found, which = learnt(), "a model learnt from seeded ships, VRNN with random weights"
    out = []
    for name, (vessels, hours, every_s) in (QUICK_TRAFFIC if quick else TRAFFIC).items():
        reports = usual(vessels, hours, every_s, seed=31)
        require(answer(found, reports, False) == answer(found, reports, True), f"events and states, a report {name}")
        steps = steps_of(found, reports)
        samples, panel_s = sum(s.targets for s in steps), sum(s.seconds for s in steps)
        ours, theirs = partial(fold, found, reports, False), partial(fold, found, reports, True)
        ours_s = seconds(ours, 0.0)
        out.append(
            compare(
                f"fold/{name}",
                work=f"{len(reports):,} reports of {vessels:,} vessels, a report {name}, {samples:,} samples",
                reference="the same engine, one report after the other",
                unit="reports/s",
                ours=ours,
                theirs=theirs,
                units=len(reports),
                rounds=1 if quick else 3,
                goal=None if quick else GOAL,
                same="every alert, verdict and count of each run, and every vessel's state in bytes",
                notes=(
                    which,
                    f"{ours_s / len(reports) * 1e6:.2f} us a report, of which the models' steps {panel_s / len(reports) * 1e6:.2f}; most time in: {hot(ours)}",
                ),
                figures={"report_us": ours_s / len(reports) * 1e6, "panel_us": panel_s / len(reports) * 1e6},
            )
        )
    return out


def steps_of(found: Model, reports: Reports) -> list[Any]:
    """The models' steps, with their seconds."""
    engine = PartitionEngine(found, timer=time.process_time)
    out = []
    for start in range(0, len(reports), RUN_REPORTS):
        out += engine.process(reports[start : start + RUN_REPORTS]).steps
    return out

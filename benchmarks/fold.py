"""Claim: the fold moves the ordinary vessels of a run at once, at several times the rate of one report after the other.

The reference is the same engine with ``one_by_one``: tracker, sampler and bookkeeping in Python for each report, as before runs were arrays.
Runs are as long as in catch-up, and all ships are known when the clock starts, as in a worker that was restored. The model judges the samples on both
sides alike, so beside the rates stands what a report costs without them.
"""

from __future__ import annotations

import math
import statistics
import time
from functools import partial
from typing import Any

import numpy as np

from multitaskais.engine.engine import PartitionEngine
from multitaskais.engine.events import ModelStep
from multitaskais.model.folder import Model
from multitaskais.types import Reports

from .harness import Result, of_rates, require
from .panel_cost import hot
from .workload import learnt, model, usual

GOAL = 6.0
RUN_REPORTS = 20_000  # catch-up takes long runs
KNOWN_S = 900.0  # of the ships' time that is folded before the clock starts
# vessels, hours, seconds between two reports of one
TRAFFIC = {"each 10 s": (400, 1.5, 10.0), "each minute": (1_250, 2.0, 60.0)}
QUICK_TRAFFIC = {"each 10 s": (40, 1.0, 10.0)}

_PANEL = "the samples: each is judged by the same panel on both sides, and half of our side's time or more goes to it"
LIMITS = {"fold/each 10 s": f"{_PANEL}.", "fold/each minute": f"{_PANEL}: each tenth report completes one."}

Stored = tuple[list[tuple[int, bytes]], bytes]


def runs(reports: Reports) -> list[Reports]:
    return [reports[start : start + RUN_REPORTS] for start in range(0, len(reports), RUN_REPORTS)]


def known(found: Model, reports: Reports) -> Stored:
    """The states of ships and partition after these reports."""
    engine = PartitionEngine(found)
    for run in runs(reports):
        engine.process(run)
    states = [(mmsi, state) for mmsi, state in engine.snapshot().items() if state is not None]
    return states, engine.partition_state()


def restored(found: Model, stored: Stored, **how: Any) -> PartitionEngine:
    engine = PartitionEngine(found, **how)
    engine.restore(*stored)
    return engine


def rate(found: Model, stored: Stored, reports: Reports, one_by_one: bool) -> float:
    """Reports per second of a core."""
    engine = restored(found, stored, one_by_one=one_by_one)
    began = time.process_time()
    for run in runs(reports):
        engine.process(run)
    return len(reports) / (time.process_time() - began)


def answer(found: Model, stored: Stored, reports: Reports, one_by_one: bool) -> tuple[Any, ...]:
    """All events of the log, and all states after it."""
    engine = restored(found, stored, one_by_one=one_by_one)
    told: list[Any] = []
    for run in runs(reports):
        events = engine.process(run)
        told.append((list(map(repr, events.alerts)), list(map(repr, events.verdicts)), events.counts))
    states = engine.snapshot()
    return told, states, list(map(repr, engine.advance_watermark(math.inf).alerts))


def steps_of(found: Model, stored: Stored, reports: Reports) -> list[ModelStep]:
    """The models' steps, with their seconds."""
    engine = restored(found, stored, timer=time.process_time)
    return [step for run in runs(reports) for step in engine.process(run).steps]


def run(quick: bool = False) -> list[Result]:
    found, which = model()
    if "vrnn" not in found.panel.names:
        found, which = learnt(), "a model learnt from seeded ships, VRNN with random weights"
    out = []
    for name, (vessels, hours, every_s) in (QUICK_TRAFFIC if quick else TRAFFIC).items():
        reports = usual(vessels, hours, every_s, seed=31)
        begin = int(np.searchsorted(reports["t"], reports["t"][0] + KNOWN_S))
        stored, reports = known(found, reports[:begin]), reports[begin:]
        require(
            answer(found, stored, reports, False) == answer(found, stored, reports, True),
            f"events and states, a report {name}",
        )
        steps = steps_of(found, stored, reports)
        samples, panel_us = sum(s.samples for s in steps), sum(s.seconds for s in steps) / len(reports) * 1e6
        pairs = [
            (rate(found, stored, reports, False), rate(found, stored, reports, True)) for _ in range(1 if quick else 3)
        ]
        ours_us, theirs_us = (1e6 / statistics.median(p[i] for p in pairs) for i in (0, 1))
        out.append(
            of_rates(
                f"fold/{name}",
                pairs,
                work=f"{len(reports):,} reports of {vessels:,} vessels, a report {name}, {samples:,} samples",
                reference="the same engine, one report after the other",
                unit="reports/s",
                goal=None if quick else GOAL,
                same="every alert, verdict and count of each run, and every vessel's state in bytes",
                notes=(
                    which,
                    f"{ours_us:.2f} us a report, one after the other {theirs_us:.2f}; {panel_us:.2f} of both are the models' steps: without them "
                    f"{(theirs_us - panel_us) / (ours_us - panel_us):.1f}x",
                    f"most time in: {hot(partial(rate, found, stored, reports, False))}",
                ),
                figures={"report_us": ours_us, "one_by_one_us": theirs_us, "panel_us": panel_us},
            )
        )
    return out

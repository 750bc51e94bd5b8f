"""Claim: a vessel costs at most 8 kB of memory all told, and 100,000 vessels fit into 1.5 GB resident."""

from __future__ import annotations

import gc

import numpy as np

from multitaskais.detection.protocol import Detector
from multitaskais.engine.engine import PartitionEngine

from .harness import Result, figure
from .machine import give_back_freed, resident_bytes
from .workload import learnt, model, usual

VESSELS, QUICK_VESSELS = 100_000, 4_000
BLOCK = 10_000  # vessels that are made at once: the input itself must not fill the memory
GOAL_BYTES, GOAL_RESIDENT = 8_000.0, 1.5e9
HOURS, EVERY_S = 2.6, 360.0  # every vessel past its warm-up

LIMITS = {
    "memory/vessel": "Python objects of the tracker and what the allocator keeps in part-filled arenas; the arrays are 4 kB."
}


def run(quick: bool = False) -> list[Result]:
    vessels = QUICK_VESSELS if quick else VESSELS
    found, which = model()
    if "vrnn" not in found.panel.names:
        found, which = learnt(), "a model learnt from seeded ships, VRNN with random weights"
    # The first vessels also bring what belongs to no vessel: caches, buffers of the libraries.
    fleet = PartitionEngine(found)
    fleet.process(usual(200, HOURS, EVERY_S, first_mmsi=200_000_000))
    gc.collect()
    give_back_freed()
    before = resident_bytes()
    # Blocks of vessels one after the other: to the fold they are ships heard at the same hours.
    for i, first in enumerate(range(0, vessels, BLOCK)):
        n = min(BLOCK, vessels - first)
        reports = usual(n, HOURS, EVERY_S, seed=i, first_mmsi=227_000_000 + first)
        fleet.clock = type(fleet.clock)()
        for start in range(0, len(reports), 20_000):
            fleet.process(reports[start : start + 20_000])
        fleet.snapshot()
        del reports
        gc.collect()
    untrimmed = resident_bytes()
    give_back_freed()
    after = resident_bytes()
    each = (after - before) / (len(fleet) - 200)
    # As it is written to the state topic.
    fleet._changed.update(list(fleet._vessels)[:500])
    stored = np.array([len(b) for b in fleet.snapshot().values() if b is not None])
    row = found.panel.row_dtype.itemsize
    states = ", ".join(f"{d.name} {_size(d):,}" for d in found.panel.detectors if _size(d))
    return [
        figure(
            "memory/vessel",
            work=f"resident memory a vessel, {vessels:,} vessels with {int(HOURS * 3600 / EVERY_S)} reports each",
            unit="bytes",
            value=each,
            goal=GOAL_BYTES,
            notes=(
                which,
                f"without what the C library keeps back of freed memory; with it {(untrimmed - before) / (len(fleet) - 200):,.0f} bytes",
                f"of it the panel's row {row:,} bytes (states: {states}), in tables that double when they are full; as stored in a checkpoint {stored.mean():,.0f} bytes",
            ),
            figures={"bytes_a_vessel": each, "stored_bytes": float(stored.mean()), "row_bytes": row},
        ),
        figure(
            "memory/resident",
            work=f"resident memory of the process with {len(fleet):,} vessels",
            unit="bytes",
            value=float(after),
            goal=None if quick else GOAL_RESIDENT,
        ),
    ]


def _size(detector: Detector) -> int:
    return detector.state_dtype.itemsize

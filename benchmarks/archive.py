"""Claims: whole vessels are judged as arrays at several times the rate of report by report, and an archive of any length in the same memory.

The reference is the state before: ``engine.batch.run`` over all reports in memory, one report after the other through the engine, as live.
Where the real day lies beside the checkout it is the traffic, repeated and shifted for the memory; seeded ships elsewhere.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from multitaskais.engine import batch
from multitaskais.model import folder as modelfolder
from multitaskais.model.folder import Model
from multitaskais.model.samples import load_reports
from multitaskais.simulate.archive import write_parquet
from multitaskais.types import Reports

from .harness import Result, compare, figure, require
from .workload import learnt, model, shared_day, usual

GOAL = 10.0  # reports/s of a core, over the state before
MEMORY_GOAL = 2.0e9  # bytes of the greatest process
SHARE = 0.1  # of the real day's vessels, for the rates
DAY_S = 86_400.0
DAYS, QUICK_DAYS = 3, 2

LIMITS = {"archive/judge": "the panel, which judges each sample on both sides: of ours it is three quarters."}

_IN_MEMORY = """
import sys
from multitaskais.engine import batch
from multitaskais.model import folder, samples
reports, _ = samples.load_reports(sys.argv[1:-1], None)
found = folder.load(sys.argv[-1])
batch.track_verdicts(batch.run(found, reports, trace=True, one_by_one=True))
batch.run_fleet(found, reports)
"""


def in_arrays(found: Model, reports: Reports) -> batch.VesselFold:
    fold = batch.VesselFold(found)
    fold.add(reports)
    fold.close()
    return fold


def answer(alerts: list[Any]) -> list[str]:
    return sorted(repr(a.as_dict()) for a in alerts)


def rates(quick: bool) -> Result:
    day = None if quick else shared_day()
    if day is not None:
        found, which = modelfolder.load("gulf"), f"a {SHARE:.0%} sample of the real day's vessels, model gulf"
        reports, _ = load_reports(day, found.region)
        ships = np.unique(reports["mmsi"])
        some = np.random.default_rng(1).choice(ships, int(len(ships) * SHARE), replace=False)
        reports = reports[np.isin(reports["mmsi"], some)]
    else:
        found, which = model()
        if "vrnn" not in found.panel.names:
            found, which = learnt(), "a model learnt from seeded ships, VRNN with random weights"
        reports = usual(60 if quick else 400, 6.0 if quick else 24.0, 30.0)
    reports = reports[np.lexsort((reports["t"], reports["mmsi"]))]
    before = batch.run(found, reports, trace=True, one_by_one=True)
    now = batch.VesselFold(found)
    now.add(reports)
    verdicts = now.close()
    require(answer(now.alerts) == answer(before.alerts), "alerts")
    require(verdicts == batch.track_verdicts(before), "verdicts of tracks")
    samples = len(before.trace)
    return compare(
        "archive/judge",
        work=f"{len(reports):,} reports of {len(np.unique(reports['mmsi'])):,} vessels, {samples:,} samples",
        reference="the engine, report by report",
        unit="reports/s",
        ours=lambda: in_arrays(found, reports),
        theirs=lambda: batch.track_verdicts(batch.run(found, reports, trace=True, one_by_one=True)),
        units=len(reports),
        rounds=1 if quick else 3,
        goal=None if quick else GOAL,
        same="every revision of every alert, and every track's verdict",
        notes=(which, f"{len(reports) / max(samples, 1):.0f} reports a sample"),
        figures={"reports_a_sample": len(reports) / max(samples, 1)},
    )


def memory(quick: bool) -> list[Result]:
    day = None if quick else shared_day()
    name = "gulf" if day is not None else "brittany"
    reports = load_reports(day, None)[0] if day is not None else usual(60 if quick else 600, 24.0, 60.0)
    n = QUICK_DAYS if quick else DAYS
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for k in range(n):
            reports["t"] += DAY_S if k else 0.0
            files.append(str(write_parquet(reports, Path(folder) / f"{k}.parquet")))
        rows = len(reports)
        del reports
        command = [sys.executable, "-m", "multitaskais", "detect", "--model", name, "--out", f"{folder}/out", "--json"]
        one, many = (peak_bytes([*command, *some]) for some in (files[:1], files))
        before = peak_bytes([sys.executable, "-c", _IN_MEMORY, *files, name])
    return [
        figure(
            "archive/memory",
            work=f"greatest memory of `detect` over {n} days, {n * rows:,} reports",
            unit="bytes",
            value=float(many),
            goal=None if quick else MEMORY_GOAL,
            reference="all in memory, as before",
            notes=(
                f"{one / 1e6:,.0f} MB over one day, {many / 1e6:,.0f} MB over {n}; all in memory {before / 1e6:,.0f} MB",
            ),
            figures={"one_day": one, "days": many, "in_memory": before},
        )
    ]


# A process begins with the greatest memory of the one that started it (getrusage(2)), so a small one stands between.
_PEAK = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(usage.ru_maxrss * 1024)
sys.exit(process.returncode)
"""


def peak_bytes(command: list[str]) -> int:
    """Greatest resident memory of a command that succeeds."""
    done = subprocess.run([sys.executable, "-c", _PEAK, *command], stdout=subprocess.PIPE, text=True)
    require(done.returncode == 0, f"{' '.join(command[:4])} ended with {done.returncode}")
    return int(done.stdout)


def run(quick: bool = False) -> list[Result]:
    return [rates(quick), *memory(quick)]

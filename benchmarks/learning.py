"""Claims: ``train``, ``calibrate``, ``inject`` and ``evaluate`` take an archive of any length in the same memory.

Each command runs over one day and over several that repeat it, each 27 hours after the one before, so that no ship goes on over the seam; the greatest
memory of its process is what is told. ``train`` makes few steps: its batches are drawn from disk, and one costs the same at any size.
Where the real day lies beside the checkout it is the traffic; seeded ships elsewhere.

    LEARNING_DAYS=30 python -m benchmarks learning    # a month: 130 million reports of the real day
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from multitaskais.model.samples import load_reports
from multitaskais.simulate.archive import write_parquet

from .archive import MEMORY_GOAL, peak_bytes
from .harness import Result, figure
from .workload import shared_day, usual

APART_S = 27 * 3600.0
DAYS, QUICK_DAYS = 3, 2
DAYS_VARIABLE = "LEARNING_DAYS"
STEPS = ("--steps", "20", "--val-every", "10")


def commands(files: list[str], region: str, folder: Path) -> dict[str, list[str]]:
    """Of a whole region, in order; the model folder is ``folder / "model"``."""
    model, held_out = str(folder / "model"), str(folder / "held_out.parquet")
    return {
        "train": ["train", *files, "--region", region, "--out", model, *STEPS],
        "calibrate": ["calibrate", *files, "--region", region, "--model", model],
        "inject": ["inject", *files, "--region", region, "--seed", "1", "--split", "test", "--out", held_out],
        "evaluate": ["evaluate", held_out, "--model", model, "--out", str(folder / "evaluation"), "--no-plots"],
    }


def run(quick: bool = False) -> list[Result]:
    day = None if quick else shared_day()
    region = "brittany" if day is None else "gulf"
    reports = usual(80, 24.0, 60.0) if day is None else load_reports(day, None)[0]
    n = QUICK_DAYS if quick else int(os.environ.get(DAYS_VARIABLE, DAYS))
    rows = len(reports)
    peaks: dict[str, list[int]] = {}
    took: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = []
        for k in range(n):
            reports["t"] += APART_S if k else 0.0
            files.append(str(write_parquet(reports, folder / f"{k}.parquet")))
        del reports
        for some in (files[:1], files):
            for command, call in commands(some, region, folder / str(len(some))).items():
                began = time.perf_counter()
                peaks.setdefault(command, []).append(peak_bytes([sys.executable, "-m", "multitaskais", *call]))
                took.setdefault(command, []).append(time.perf_counter() - began)
    return [
        figure(
            f"learning/{command}",
            work=f"greatest memory of `{command}` over {n} days, {n * rows:,} reports",
            unit="bytes",
            value=float(many),
            goal=None if quick else MEMORY_GOAL,
            notes=(
                f"{one / 1e6:,.0f} MB over one day, {many / 1e6:,.0f} MB over {n}; {took[command][0]:,.0f} s and {took[command][1]:,.0f} s",
            ),
            figures={"one_day": one, "days": many, "seconds": took[command]},
        )
        for command, (one, many) in peaks.items()
    ]

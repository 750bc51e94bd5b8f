"""``python -m benchmarks [NAME...] [--quick] [--plot] [--out DIR] [--docs FILE]``: run, print the table, write JSON, plots and the page.

Each benchmark runs in a process of its own with one BLAS thread (figures are per core unless the row says otherwise), so that none
leaves threads or memory behind for the next. OUT/results.json keeps the last run of each benchmark, with the machine's description.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from multitaskais.exact.tables import expect_much

from . import machine, report

# In the order of the table: the cheap ones first.
NAMES = (
    "decode",
    "resample",
    "decision",
    "vrnn_step",
    "panel_cost",
    "detectors",
    "alert_function",
    "training_step",
    "memory",
    "fold",
    "growth",
    "archive",
    "learning",
    "world",
    "tracks_build",
    "tracks_growth",
    "detect_spark",
    "live",
    "restore",
    "pipeline",
    "jobs",
    "store",
    "score",
    "workers",
    "map_pages",
)
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
SEVERAL_THREADS = ("tracks_build",)  # both sides on all cores


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="small workloads, one round: all of them in 3 minutes")
    parser.add_argument("--plot", action="store_true", help="figures beside the JSON")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), metavar="DIR", help="default: out/bench")
    parser.add_argument(
        "--docs", type=Path, metavar="FILE", help="write the page (docs/performance.md) from the results"
    )
    parser.add_argument("--in-process", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.in_process:
        expect_much()  # what is timed is a process that has been at work for long
        return _one(args.in_process, args.quick)
    if unknown := set(args.names) - set(NAMES):
        parser.error(f"no benchmark {min(unknown)!r}; there are: {', '.join(NAMES)}")
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / ("quick.json" if args.quick else "results.json")
    runs: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    failed = []
    # With --docs alone the page is written from what is there.
    names = args.names or (() if args.docs and runs else NAMES)
    # A quick run judges no ratio, so its benchmarks may share the cores; else one at a time.
    pool = ThreadPoolExecutor(2 if args.quick else 1)
    for name, (results, error, took) in zip(
        names, pool.map(partial(_in_own_process, quick=args.quick), names), strict=True
    ):
        if error:
            failed.append(name)
            print(f"{name} failed after {took:.0f} s:\n{error}", file=sys.stderr)
            continue
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        runs[name] = {
            "when": when,
            "seconds": round(took, 1),
            "machine": machine.describe(),
            "quick": args.quick,
            "results": results,
        }
        file.write_text(json.dumps(runs, indent=1) + "\n")
        print(report.table(results), flush=True)
    if args.plot:
        from . import plots

        for path in plots.draw(runs, args.out):
            print(path)
    if args.docs:
        # What was only run quickly stands in for what was not run in full, and says so.
        quick = args.out / "quick.json"
        small: dict[str, Any] = json.loads(quick.read_text()) if quick.is_file() else {}
        # What `python -m benchmarks.alert_function TRACKS --out OUT/alert_function` left.
        tracks = args.out / "alert_function" / "summary.json"
        archive = json.loads(tracks.read_text()) if tracks.is_file() else None
        args.docs.write_text(report.page(small | runs, NAMES, archive))
        print(args.docs)
    return 1 if failed else 0


def _in_own_process(name: str, quick: bool) -> tuple[list[dict[str, Any]], str, float]:
    """Its results, or what went wrong; seconds."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    began = time.monotonic()
    threads = {} if name in SEVERAL_THREADS else dict.fromkeys(ONE_THREAD, "1")
    command = [sys.executable, "-m", "benchmarks", "--in-process", name, *(["--quick"] if quick else [])]
    env = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", **os.environ, **threads}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    took = time.monotonic() - began
    last = done.stdout.strip().splitlines()[-1:] or [""]
    if done.returncode or not last[0].startswith("["):
        return [], (done.stderr + done.stdout)[-4000:], took
    return json.loads(last[0]), "", took


def _one(name: str, quick: bool) -> int:
    """The results of one benchmark as the last line of standard output."""
    results = importlib.import_module(f".{name}", __package__).run(quick)
    print(json.dumps([r.to_dict() for r in results]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

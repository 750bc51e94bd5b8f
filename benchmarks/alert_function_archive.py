"""The alert function over a whole tracks folder.

    python -m benchmarks.alert_function TRACKS --model M --out DIR [--per-month] [--jobs N]

runs every track of a tracks folder: ``tracks.csv`` (one row a track), ``summary.json`` (seconds a track, verdicts, reasons, vessels in
10 minutes, cores needed; with --per-month also each month and year), ``seconds.png``, ``length.png``, ``vessels.png``. It goes on where it was
stopped. Seconds are of a core: a track's own resampling, and its share (by samples) of the steps that it made together with others.
Each track starts from nothing, also after a cut at 24 h, and jumps and two ships on one MMSI were told apart when tracks were built.

One Parquet file is one task. Its rows go to ``DIR/parts/`` in one move, so a run that was stopped goes on with the files that are not
there yet. A vessel lies in one file a year, so counts of vessels add up over files.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from multitaskais.config import STEP_S, DetectionRules
from multitaskais.detection import offline
from multitaskais.detection.panel import Panel
from multitaskais.errors import InputError, MultitaskAISError
from multitaskais.model import folder as modelfolder
from multitaskais.model.folder import Model
from multitaskais.records import REPORT_DTYPE, NotJudged
from multitaskais.tracks.resample import resample_track
from multitaskais.types import Reports

COLUMNS = ("track_id", "mmsi", "reports", "hours", "seconds", "verdict", "reason", "start")
TOGETHER = 512  # tracks that step together
NO_SAMPLE = "no_sample"
_REPORT = tuple(name for name in REPORT_DTYPE.names or () if name not in ("ship_name", "second", "station"))
_READ = ("track_id", *_REPORT, "left_out")


class Outcome(NamedTuple):
    """Of one track."""

    samples: int
    seconds: float  # of a core
    verdict: str  # normal | abnormal | not_judged
    reason: str  # of its last sample when no sample was judged


def alert_function(
    panel: Panel,
    tracks: Sequence[Reports],
    rules: DetectionRules,
    clock: Callable[[], float] = time.process_time,
) -> list[Outcome]:
    """Whole tracks (reports of one line each, in time order) -> verdicts, as detection gives them to samples of these tracks."""
    own, samples = [], []
    for i, track in enumerate(tracks):
        began = clock()
        found = resample_track(track, rules)
        found["mmsi"] = i  # lines are told apart by it; the panel knows no names
        samples.append(found)
        own.append(clock() - began)
    began = clock()
    result = offline.run_panel(panel, np.concatenate(samples)) if samples else None
    lengths = [len(s) for s in samples]
    a_sample = (clock() - began) / max(1, sum(lengths))
    out, start = [], 0
    for length, seconds in zip(lengths, own, strict=True):
        here = slice(start, start + length)
        start += length
        if not length or result is None:
            out.append(Outcome(0, seconds, "not_judged", NO_SAMPLE))
            continue
        abnormal = bool((result.score[here] >= 1.0).any())
        judged = abnormal or bool(result.judged[here].any())
        verdict = "abnormal" if abnormal else "normal" if judged else "not_judged"
        reason = "" if judged else NotJudged(int(result.reason[here][-1])).text
        out.append(Outcome(length, seconds + a_sample * length, verdict, reason))
    return out


def tracks_of(file: Path) -> tuple[list[str], list[Reports]]:
    """Ids and reports of the file's tracks, without the reports that were left out of them."""
    import pyarrow.parquet as pq

    parquet = pq.ParquetFile(file)
    names = set(parquet.schema_arrow.names)
    if missing := [n for n in _READ[:6] if n not in names]:
        raise InputError(f"{file}: no column {missing[0]!r}; give a tracks folder as tracks_builder writes it")
    table = parquet.read(columns=[n for n in _READ if n in names])
    if "left_out" in names:
        table = table.filter(table["left_out"].is_null())
    ids = table["track_id"].combine_chunks().dictionary_encode()
    codes = ids.indices.to_numpy()
    reports = np.zeros(len(codes), REPORT_DTYPE)
    reports["nav_status"] = reports["msg_type"] = reports["ship_type"] = -1
    reports["cog"] = reports["heading"] = np.nan
    for name in set(_REPORT) & names:
        column = table[name].to_numpy()
        reports[name] = column
    order = np.lexsort((reports["t"], codes))
    starts = np.flatnonzero(np.diff(codes[order])) + 1
    groups = np.split(order, starts) if len(order) else []
    return [ids.dictionary[int(codes[g[0]])].as_py() for g in groups], [reports[g] for g in groups]


_model: Model  # of a worker process: loaded once, used for every file


def _start(name: str) -> None:
    global _model
    threadpool_limits(1)
    _model = modelfolder.load(name)


def _judge(file: Path, part: Path) -> int:
    """Judge a file's tracks; write their rows and the vessels of each 10-minute window."""
    ids, tracks = tracks_of(file)
    rows: list[list[Any]] = []
    for i in range(0, len(tracks), TOGETHER):
        some = tracks[i : i + TOGETHER]
        outcomes = alert_function(_model.panel, some, _model.detection_rules)
        for track_id, track, o in zip(ids[i:], some, outcomes, strict=False):
            t = track["t"]
            hours = (t[-1] - t[0]) / 3600.0
            start = datetime.fromtimestamp(float(t[0]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            rows.append([track_id, int(track["mmsi"][0]), len(t), f"{hours:.3f}", f"{o.seconds:.6f}", o.verdict, o.reason, start])  # fmt: skip
    windows, vessels = vessels_by_window(tracks)
    np.savez(part.with_suffix(".tmp.npz"), windows=windows, vessels=vessels)
    part.with_suffix(".tmp.npz").replace(part.with_suffix(".npz"))
    new = part.with_suffix(".tmp")
    with new.open("w", newline="") as f:
        csv.writer(f).writerows(rows)
    new.replace(part)
    return len(rows)


def vessels_by_window(tracks: list[Reports]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """10-minute windows with reports, and how many different vessels reported in each."""
    pairs = [np.unique((t["t"] // STEP_S).astype(np.int64)) * 2**30 + int(t["mmsi"][0]) for t in tracks]
    if not pairs:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.unique(np.unique(np.concatenate(pairs)) // 2**30, return_counts=True)


# ---------------------------------------------------------------- what came out


def spread(x: NDArray[np.float64]) -> dict[str, float]:
    """count, mean, std, min, quartiles, p99, max."""
    if not len(x):
        return {"count": 0}
    q = np.quantile(x, [0.25, 0.5, 0.75, 0.99])
    names = ("mean", "std", "min", "p25", "p50", "p75", "p99", "max")
    values = (x.mean(), x.std(), x.min(), *q, x.max())
    return {"count": len(x)} | {n: float(f"{v:.6g}") for n, v in zip(names, values, strict=True)}


def summarise(rows: list[dict[str, str]]) -> dict[str, Any]:
    """Of some rows of ``tracks.csv``."""
    seconds = np.array([float(r["seconds"]) for r in rows])
    reports = np.array([int(r["reports"]) for r in rows])
    reasons: dict[str, int] = {}
    for r in rows:
        if r["verdict"] == "not_judged":
            reasons[r["reason"]] = reasons.get(r["reason"], 0) + 1
    judged = [r for r in rows if r["verdict"] != "not_judged"]
    abnormal = sum(r["verdict"] == "abnormal" for r in judged)
    return {
        "tracks": len(rows),
        "judged": len(judged),
        "abnormal": abnormal,
        "abnormal_share": round(abnormal / len(judged), 5) if judged else None,
        "not_judged": dict(sorted(reasons.items())),
        "seconds": spread(seconds),
        "seconds_judged": spread(np.array([float(r["seconds"]) for r in judged])),
        "reports": spread(reports.astype(float)),
        "tracks_per_s_and_core": float(f"{len(rows) / seconds.sum():.4g}") if len(rows) and seconds.sum() else None,
    }


def load_summary(vessels: NDArray[np.int64], seconds: float, hours: float) -> dict[str, Any]:
    """Vessels in 10 minutes, and the cores that a coast like this needs."""
    out: dict[str, Any] = {}
    if len(vessels):
        mean, p95, p99, top = vessels.mean(), *np.quantile(vessels, [0.95, 0.99]), vessels.max()
        out = {"mean": round(float(mean), 1), "p95": float(p95), "p99": float(p99), "max": int(top)}
        # One sample a vessel and window: seconds a vessel-step, times the most vessels in a window, in 600 s.
        a_step = seconds / max(1.0, hours * 3600.0 / STEP_S)
        out["cores_needed_at_max"] = float(f"{a_step * float(top) / STEP_S:.3g}")
    return out


def figures(rows: list[dict[str, str]], windows: NDArray[np.int64], vessels: NDArray[np.int64], out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    ms = 1e3 * np.array([float(r["seconds"]) for r in rows])
    hours = np.array([float(r["hours"]) for r in rows])
    blue = "#2a6f97"
    fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
    ax.hist(ms, bins=80, color=blue)
    ax.set(xlabel="ms of a core a track", ylabel="tracks", yscale="log", title=f"alert function, {len(rows):,} tracks")
    fig.savefig(out / "seconds.png", dpi=120)
    fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
    ax.scatter(hours, ms, s=4, alpha=0.4, color=blue)
    ax.set(xlabel="length of the track, h", ylabel="ms of a core", title="time against length", ylim=0)
    fig.savefig(out / "length.png", dpi=120)
    fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
    ax.plot((windows * STEP_S).astype("datetime64[s]"), vessels, lw=0.7, color=blue)
    ax.set(ylabel="vessels in 10 minutes", title="different vessels a 10-minute window", ylim=0)
    ax.tick_params(axis="x", rotation=30)
    fig.savefig(out / "vessels.png", dpi=120)
    plt.close("all")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.alert_function", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )  # fmt: skip
    parser.add_argument("tracks", type=Path, metavar="TRACKS", help="tracks folder, or one of its Parquet files")
    parser.add_argument("--model", required=True, help="a shipped model's name, or a model folder")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument("--per-month", action="store_true", help="the same figures for each month and each year")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    args = parser.parse_args(argv)
    try:
        return _run(args)
    except MultitaskAISError as e:
        print(f"benchmarks.alert_function: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _run(args: argparse.Namespace) -> int:
    files = [args.tracks] if args.tracks.is_file() else sorted(args.tracks.rglob("*.parquet"))
    files = [f for f in files if f.name[0] not in "._"]
    if not files:
        raise InputError(f"{args.tracks}: no Parquet file in it; give a folder that tracks_builder wrote")
    version = modelfolder.load(args.model).version
    parts = args.out / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    _same_run(args.out / "run.json", {"model": version})
    todo = {f: parts / (hashlib.sha256(f"{f.resolve()} {f.stat().st_size}".encode()).hexdigest()[:16] + ".csv") for f in files}  # fmt: skip
    open_ = {f: p for f, p in todo.items() if not p.is_file()}
    began = time.monotonic()
    judged = 0
    with (
        ProcessPoolExecutor(max(1, args.jobs), initializer=_start, initargs=(args.model,)) as pool,
        tqdm(total=len(files), initial=len(files) - len(open_), unit="file") as bar,
    ):
        for n in pool.map(_judge, open_, open_.values()):
            judged += n
            bar.update()
            bar.set_postfix(tracks=judged)
    wall = time.monotonic() - began

    rows: list[dict[str, str]] = []
    total: dict[int, int] = {}
    for part in todo.values():
        with part.open(newline="") as f:
            rows += [dict(zip(COLUMNS, r, strict=True)) for r in csv.reader(f)]
        with np.load(part.with_suffix(".npz")) as counts:
            for w, v in zip(counts["windows"].tolist(), counts["vessels"].tolist(), strict=True):
                total[w] = total.get(w, 0) + v
    rows.sort(key=lambda r: r["track_id"])
    with (args.out / "tracks.csv").open("w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(COLUMNS)
        writer.writerows([r[c] for c in COLUMNS] for r in rows)
    windows = np.array(sorted(total), np.int64)
    vessels = np.array([total[w] for w in windows.tolist()], np.int64)
    summary: dict[str, Any] = {"model": version, "files": len(files), "jobs": args.jobs} | summarise(rows)
    if judged:
        summary["wall_s"], summary["tracks_judged_now"] = round(wall, 2), judged
    summary["vessels_in_10_minutes"] = load_summary(
        vessels, sum(float(r["seconds"]) for r in rows), sum(float(r["hours"]) for r in rows)
    )
    if args.per_month:
        for name, digits in (("by_month", 7), ("by_year", 4)):
            keys = sorted({r["start"][:digits] for r in rows})
            summary[name] = {k: summarise([r for r in rows if r["start"].startswith(k)]) for k in keys}
    (args.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    figures(rows, windows, vessels, args.out)
    print(table(summary))
    return 0


def _same_run(file: Path, settings: dict[str, Any]) -> None:
    """Parts of two models must not end up in one table."""
    if file.is_file() and (there := json.loads(file.read_text())) != settings:
        raise InputError(f"{file.parent} holds a run with model {there.get('model')}: give another --out, or remove it")
    file.write_text(json.dumps(settings) + "\n")


def table(summary: dict[str, Any]) -> str:
    s = summary["seconds"]
    of = summary["not_judged"]
    lines = [
        f"{summary['tracks']:,} tracks: {summary['judged']:,} judged, {summary['abnormal']:,} abnormal"
        + (f" ({summary['abnormal_share']:.1%})" if summary["judged"] else ""),
        "not judged: " + (", ".join(f"{k} {v:,}" for k, v in of.items()) or "none"),
    ]
    if s["count"]:
        figures = ", ".join(f"{k} {1e3 * s[k]:.3g}" for k in ("mean", "std", "min", "p25", "p50", "p75", "p99", "max"))
        rate = summary["tracks_per_s_and_core"] or math.nan
        lines.append(f"ms a track: {figures}; {rate:,.0f} tracks/s and core")
    if v := summary["vessels_in_10_minutes"]:
        lines.append(
            "vessels in 10 minutes: " + ", ".join(f"{k} {x:g}" for k, x in v.items() if k != "cores_needed_at_max")
        )
        lines.append(f"cores that the busiest 10 minutes need: {v['cores_needed_at_max']:g}")
    return "\n".join(lines)

"""Results as a table for the terminal, and as the page ``docs/performance.md``."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterable
from typing import Any

from .harness import Result

_HEAD = ("what", "reference in the same run", "ours", "reference", "ratio", "min-max", "goal", "")

# docs/method.md#published-figures: what the earlier operator's authors published, and where the same stands in ``alert_function_archive``'s summary.
EARLIER = (
    ("alert function, a track on one core", "mean 2.08 s, min 1.49, max 3.75"),
    ("tracks per second and core", "0.5"),
    ("cores for the tracks of a year", "32 cores x 6 h for 237,863 tracks, from raw archives"),
    ("tracks: all, judged, abnormal of the judged", "237,863; 90,077; 6.4 %"),
    ("reports a track", "20 to 184,408"),
    ("vessels in 10 minutes", "off Brittany: mean 50, p99 193, max 387"),
)
TRACKS_OF_A_YEAR = 237_863


def number(x: float) -> str:
    """Four digits that count, thousands parted; a dash for none."""
    if not math.isfinite(x):
        return "-"
    if abs(x) >= 1000:
        return f"{x:,.0f}"
    return f"{x:.3g}"


def _cells(r: Result) -> tuple[str, ...]:
    limit = "-" if r.goal is None else f"{'<=' if r.at_most else '>='} {number(r.goal)}"
    verdict = {True: "met", False: "**missed**", None: ""}[r.met]
    rate = f"{number(r.ours)} {r.unit}" if math.isfinite(r.ours) else ""
    their = f"{number(r.theirs)} {r.unit}" if math.isfinite(r.theirs) else ""
    unit = f" {r.unit}" if r.at_most and not math.isfinite(r.ours) else "x" if math.isfinite(r.ours) else ""
    spread = f"{number(r.ratio_min)}-{number(r.ratio_max)}" if r.rounds > 1 else ""
    return r.work, r.reference, rate, their, f"{number(r.ratio)}{unit}", spread, limit, verdict


def table(results: Iterable[dict[str, Any]]) -> str:
    """Aligned text of some results."""
    rows = [_HEAD, *(_cells(Result.from_dict(r)) for r in results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = [f"    {r['name']}: {note}" for r in results for note in r["notes"]]
    return "\n".join([*lines, *notes])


def markdown(results: Iterable[dict[str, Any]]) -> str:
    rows = ["| " + " | ".join(_HEAD) + " |", "|" + "---|" * len(_HEAD)]
    rows += ["| " + " | ".join(_cells(Result.from_dict(r))) + " |" for r in results]
    return "\n".join(rows)


def claim_of(name: str) -> str:
    """First line of the benchmark's docstring."""
    doc = importlib.import_module(f".{name}", __package__).__doc__ or name
    return doc.split("\n\n")[0].replace("\n", " ")


def beside_earlier(ours: dict[str, Any] | None) -> list[str]:
    """The earlier operator's table; beside it the summary that ``python -m benchmarks.alert_function TRACKS`` wrote, where there is one."""
    rows: list[tuple[str, ...]] = [("", "the earlier operator, as published"), *EARLIER]
    if ours is not None:
        rows = [(*row, mine) for row, mine in zip(rows, _as_published(ours), strict=True)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]


def _as_published(summary: dict[str, Any]) -> tuple[str, ...]:
    s, v, n = summary["seconds"], summary["vessels_in_10_minutes"], summary["reports"]
    hours = TRACKS_OF_A_YEAR / summary["tracks_per_s_and_core"] / 3600
    return (
        f"`python -m benchmarks.alert_function`, model {summary['model']}",
        f"mean {1e3 * s['mean']:.1f} ms, min {1e3 * s['min']:.1f}, max {1e3 * s['max']:.0f}",
        f"{summary['tracks_per_s_and_core']:,.0f}",
        f"one core x {hours:.1f} h for as many tracks like these, once built (`tracks_build`)",
        f"{summary['tracks']:,}; {summary['judged']:,}; {100 * (summary['abnormal_share'] or 0.0):.1f} %",
        f"{n['min']:,.0f} to {n['max']:,.0f}",
        f"mean {v['mean']:.0f}, p99 {v['p99']:.0f}, max {v['max']}: {v['cores_needed_at_max']:g} cores",
    )


def page(runs: dict[str, Any], names: Iterable[str], archive: dict[str, Any] | None = None) -> str:
    """The page, from the last run of each benchmark; one that was not run is named as such. archive: see ``beside_earlier``."""
    out = [
        "# Performance",
        "",
        "<!-- made by `python -m benchmarks --docs docs/performance.md`; do not edit by hand -->",
        "",
        "Every claim is a ratio against a named reference that ran in the same run, in turns with ours, after both were asserted to give",
        "the same answer. Rates are medians over the rounds and belong to the machine below; the ratios hold better than the rates.",
        "The references are in `benchmarks/reference/`, plain and readable. One core and one BLAS thread, unless the row says otherwise.",
        "",
        "    make bench                              # all, and the table",
        "    python -m benchmarks decode --plot      # one, with figures",
        "    python -m benchmarks --docs docs/performance.md",
        "",
    ]
    machines = {json.dumps({k: v for k, v in r["machine"].items() if k != "load_1min"}) for r in runs.values()}
    for text in sorted(machines):
        m = json.loads(text)
        loads = [r["machine"]["load_1min"] for r in runs.values()]
        versions = ", ".join(f"{k} {v}" for k, v in m["versions"].items())
        out += [
            f"**Machine**: {m['processor']}, {m['cores']} cores, {m['memory_gb']} GB; {m['system']}; {versions}. Other work on it: load average "
            f"{min(loads)} to {max(loads)} at the end of a benchmark" + (" (not a quiet machine: rates are low, and ratios spread).", ".")[max(loads) < 1.5 * m["cores"]],
            "",
        ]  # fmt: skip
    judged = [r for run in runs.values() for r in run["results"] if r["met"] is not None and not run.get("quick")]
    missed = [r for r in judged if not r["met"]]
    out += [f"{len(judged) - len(missed)} of {len(judged)} goals are met.", ""]
    for name in names:
        out += [f"## {name}", "", claim_of(name), ""]
        if name not in runs:
            out += ["Not run.", ""]
            continue
        run = runs[name]
        if run.get("quick"):
            out += ["**Small workload (`--quick`), not the claim's: the goal is not judged.**", ""]
            run = run | {"results": [r | {"goal": None, "met": None} for r in run["results"]]}
        out += [markdown(run["results"]), ""]
        same = sorted({r["same"] for r in run["results"] if r["same"]})
        out += [f"Asserted first: {'; '.join(same)}.", ""] if same else []
        notes = [f"- `{r['name']}`: {note}" for r in run["results"] for note in r["notes"]]
        limits = getattr(importlib.import_module(f".{name}", __package__), "LIMITS", {})
        notes += [f"- `{r['name']}` misses its goal: {limits[r['name']]}" for r in run["results"] if r["met"] is False and r["name"] in limits]  # fmt: skip
        out += [*notes, ""] if notes else []
        out += [f"({run['when']}, {run['seconds']:.0f} s)", ""]
        if name == "alert_function":
            out += [*beside_earlier(archive), ""]
    return "\n".join(out).rstrip() + "\n"

"""A model's card: what it was made from, what it finds among vessels it has not seen, and where it must not be used."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..detection.grid import CellGrid
from ..model.folder import Model
from .report import kept

_FIGURES = (
    ("auroc", "AUROC"),
    ("average_precision", "average precision"),
    ("recall_at_1pct", "recall at 1 %"),
    ("recall_at_5pct", "recall at 5 %"),
    ("recall", "recall as shipped"),
    ("clean_flagged", "clean flagged as shipped"),
)

MAP_COLUMNS = 60  # of the map of coverage

_SPLITS = {"vessels": "other vessels", "days": "later days"}  # of `evaluate --split`; a card has a section for each
_FOUND = re.compile(r"^## Found on (other vessels|later days): .*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)

CAVEATS = """- Only in its box, and for traffic like that of its period: it knows no season, no new lane, no works at sea.
- Places where few vessels were seen are `little_known`: detectors that rest on place say nothing there.
- The memory of places holds thinned samples of the training vessels under random numbers. Live, a vessel's own past is not left
  out of it: a vessel that did the same strange thing in the training period looks normal.
- The budget is what is to be expected of other vessels in like traffic; the promise says how far off it may be.
- An alert says that a track is unusual, not that anything is wrong. It is no means of collision avoidance or of evidence."""


def card(model: Model, figures: Mapping[str, Any] | None, notes: str = "", before: str = "") -> str:
    """Markdown.

    Args:
        figures: those of ``evaluate``'s report.json, None when the model has not been evaluated.
        notes: a paragraph at the head.
        before: the card as it stands; what was found on the other split by the same version is kept.
    """
    made, region = model.made_from, model.region
    day = [time.strftime("%Y-%m-%d", time.gmtime(made[k])) for k in ("first_t", "last_t") if k in made]
    lines = [
        f"# Model {model.name}",
        "",
        f"Version `{model.version}`. Box {region.lat_min:g}..{region.lat_max:g} N, {region.lon_min:g}..{region.lon_max:g} E; bins"
        f" {region.lat_bin_deg:g} deg, {region.lon_bin_deg:g} deg, {region.sog_bin_knots:g} kn, {region.cog_bin_deg:g} deg;"
        f" cells of {region.cell_deg:g} deg. Detectors: {', '.join(model.panel.names)}.",
        "",
    ]
    if notes:
        lines += [notes, ""]
    lines += ["## Made from", ""]
    if day:
        lines.append(f"- Period: {' to '.join(dict.fromkeys(day))} (UTC).")
    lines += [f"- {key.replace('_', ' ')}: {made[key]}" for key in sorted(made) if key not in ("first_t", "last_t")]
    lines += [f"- {line}" for line in model.credits]
    lines.append(
        f"- Budget of false alarms: {model.budget.track_share:.1%} of normal tracks."
        if model.budget.alerts_per_vessel_day is None
        else f"- Budget of false alarms: {model.budget.alerts_per_vessel_day:g} alerts per vessel-day."
    )
    if (limits := model.panel.thresholds) is not None and limits.promise is not None:
        by_alerts = model.budget.alerts_per_vessel_day is not None
        lines += [f"- Promise: {x}." for x in limits.promise.lines(model.budget.allowed, alerts=by_alerts)]
        lines += [
            f"- Fixed rules alone flag {limits.promise.by_rules:.1%} of these tracks"
            + (f"; limits raised for that: {_limits(limits.rule_limits)}." if limits.rule_limits else ".")
        ]
    if (covered := model.panel.covered) is not None:
        lines += ["", *_coverage(model.panel.coverage_grid, covered)]
    found = {} if f"Version `{model.version}`" not in before else {m[1]: m[0].rstrip() for m in _FOUND.finditer(before)}
    if figures is not None:
        found[_split(figures)] = "\n".join(_evaluation(figures))
    for name in _SPLITS.values():
        if name in found:
            lines += ["", found[name]]
    return "\n".join([*lines, "", "## Limits", "", CAVEATS, ""])


def _split(figures: Mapping[str, Any]) -> str:
    return _SPLITS["days" if figures.get("split") == "days" else "vessels"]


def _drawn(figures: Mapping[str, Any]) -> str:
    """Of a table of which only a part was judged."""
    table = figures.get("table")
    return f", drawn from {table['clean_tracks']:,} of {table['vessels']:,} vessels" if table else ""


def _evaluation(figures: Mapping[str, Any]) -> list[str]:
    fused = figures["fused"]
    lines = [
        f"## Found on {_split(figures)}: {figures['labelled']}",
        "",
        f"{figures['clean_tracks']} clean tracks{_drawn(figures)} ({figures['clean_vessel_days']:.0f} vessel-days) and {figures['abnormal_tracks']} with an injected"
        f" anomaly; not judged: {', '.join(f'{n} {r}' for r, n in figures['not_judged'].items()) or 'none'}."
        f" {fused['alerts_per_vessel_day']:.3f} alerts per clean vessel-day; median {fused['median_hours_to_alert'] or float('nan'):.1f} h from the first"
        f" abnormal report to the alert; cause named right in {fused['causes']['named_right'] or float('nan'):.0%}.",
        "",
        "| | " + " | ".join(label for _, label in _FIGURES) + " |",
        "|---|" + "---|" * len(_FIGURES),
    ]
    if (at_5pct := fused.get("at_development_5pct", {})).get("clean_flagged") is not None:
        lines[2] += (
            f" At the threshold that 5 % of the development tracks exceed, {at_5pct['clean_flagged']:.1%} of these clean tracks do,"
            f" and {at_5pct['recall']:.0%} of the abnormal ones (mean over kinds)."
        )
    lines[2] += (
        f" What took no part in making the model: these {'days' if figures.get('split') == 'days' else 'vessels'}."
    )
    by_day = {d: b for d, b in fused.get("per_day", {}).items() if b["clean_flagged"] is not None}
    if len(by_day) > 1:
        lines[2] += " Clean tracks flagged by day: " + ", ".join(
            f"{d} {b['clean_flagged']:.1%} of {b['clean_tracks']}" for d, b in sorted(by_day.items())[-14:]
        ) + "."  # fmt: skip
    if (block := figures.get("budget_kept")) is not None:
        lines[2] += f" Budget: {kept(block)}."
    rows = {"**fused**": fused, **{f"`{k}` alone": v for k, v in sorted(figures["detectors"].items())}}
    lines += [_row(name, block) for name, block in rows.items()]
    lines += ["", "By kind (fused):", "", "| kind | AUROC | recall at 1 % | recall at 5 % | recall as shipped |", "|---|---|---|---|---|"]  # fmt: skip
    for kind, b in sorted(fused["per_kind"].items()):
        lines.append(f"| {kind} | " + " | ".join(_number(b.get(k)) for k in ("auroc", "recall_at_1pct", "recall_at_5pct", "recall")) + " |")  # fmt: skip
    return lines


def _coverage(grid: CellGrid, covered: NDArray[np.bool_]) -> list[str]:
    """How much of the box is judged by place, and where: north is up."""
    shape = covered.reshape(grid.n_lat, grid.n_lon)
    block = max(1, -(-grid.n_lon // MAP_COLUMNS))
    rows = [
        "".join(".+#"[_part(shape[r : r + block, c : c + block])] for c in range(0, grid.n_lon, block))
        for r in range(0, grid.n_lat, block)
    ]
    return [
        "## Coverage",
        "",
        f"{covered.mean():.0%} of the box, in {covered.size} cells of {grid.cell_deg:g} deg, is judged by place. Elsewhere, land among it, nothing was"
        " ever received, or ships were lost on their way: no normal is known there (`no_coverage`), and what does not rest on place judges alone.",
        f"Each sign is {block * grid.cell_deg:g} deg a side: `#` judged, `+` in part, `.` no coverage.",
        "",
        "```text",
        *rows[::-1],
        "```",
    ]


def _part(cells: NDArray[np.bool_]) -> int:
    return 2 if cells.all() else int(cells.any())


def _limits(limits: Mapping[str, float]) -> str:
    return ", ".join(f"{k} {v:.3g} kn" if v < float("inf") else f"{k} off" for k, v in sorted(limits.items()))


def _row(name: str, block: Mapping[str, Any]) -> str:
    return f"| {name} | " + " | ".join(_number(block.get(key)) for key, _ in _FIGURES) + " |"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"

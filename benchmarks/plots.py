"""Figures of a run: all ratios beside their goals, and each curve of growth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .harness import Result


def draw(runs: dict[str, Any], out: Path) -> list[Path]:
    """Write ``ratios.png`` and ``NAME.png`` of each result with a curve; returns the paths."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    results = [Result.from_dict(r) for run in runs.values() for r in run["results"]]
    paths = []
    rows = [r for r in results if r.goal is not None and not r.at_most][::-1]
    if rows:
        fig, ax = plt.subplots(figsize=(9, 0.8 + 0.45 * len(rows)), layout="constrained")
        y = range(len(rows))
        colours = ["#2a6f97" if r.met else "#c1121f" for r in rows]
        spread = [[r.ratio - r.ratio_min for r in rows], [r.ratio_max - r.ratio for r in rows]]
        ax.barh(y, [r.ratio for r in rows], color=colours, xerr=spread, ecolor="#333333", height=0.6)
        for i, r in enumerate(rows):
            assert r.goal is not None
            ax.plot([r.goal, r.goal], [i - 0.4, i + 0.4], color="black", lw=2)
        ax.set_yticks(y, [r.name for r in rows])
        ax.set_xscale("log")
        ax.set_xlabel("times as fast as the reference (black mark: goal)")
        ax.grid(axis="x", alpha=0.3)
        fig.savefig(out / "ratios.png", dpi=120)
        plt.close(fig)
        paths.append(out / "ratios.png")
    for r in results:
        if "x" not in r.figures:
            continue
        fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
        ax.plot(r.figures["x"], r.figures["y"], "o-", color="#2a6f97")
        if min(r.figures["x"]) > 0:
            ax.set_xscale("log")
        ax.set_ylim(0)
        ax.set_xlabel(r.figures["x_label"])
        ax.set_ylabel(r.figures["y_label"])
        ax.set_title(r.work, fontsize=10)
        ax.grid(alpha=0.3)
        path = out / f"{r.name.replace('/', '-')}.png"
        fig.savefig(path, dpi=120)
        plt.close(fig)
        paths.append(path)
    return paths

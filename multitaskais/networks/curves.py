"""The course of a training as a picture."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


def plot_curves(rows: Sequence[Any], path: Path) -> None:
    """Bounds and KL against steps (``train.LogRow``) as PNG; says so and goes on where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        log.info("no curves drawn: matplotlib is not installed (pip install 'multitaskais[plot]')")
        return
    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True)
    steps = [r.step for r in rows]
    looks = [r for r in rows if r.val_bound == r.val_bound]
    top.plot(steps, [r.train_bound for r in rows], label="training vessels")
    top.plot([r.step for r in looks], [r.val_bound for r in looks], "o-", label="unseen vessels")
    top.set_ylabel("bound (nats a sample)")
    top.legend()
    bottom.plot(steps, [r.train_kl for r in rows], label="training vessels")
    bottom.plot([r.step for r in looks], [r.val_kl for r in looks], "o-", label="unseen vessels")
    bottom.set_ylabel("KL (nats a sample)")
    bottom.set_xlabel("step")
    bottom.set_ylim(bottom=0)
    figure.savefig(path, dpi=110, metadata={"Software": None})

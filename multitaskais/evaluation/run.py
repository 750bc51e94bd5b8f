"""Labelled tracks through the product's own fold."""

from __future__ import annotations

from ..engine.batch import run
from ..model.folder import Model
from .evaluate import Outcome, outcome, outside_region
from .labelled import Labelled


def judge(model: Model, data: Labelled) -> Outcome:
    """The same fold, panel and alert life as ``detect`` and the live operator; each track is a vessel of its own."""
    result = run(model, data.reports, trace=True)
    outside = outside_region(data.reports, model.region)
    rejected = {str(reason): n for reason, n in sorted(result.counts.rejected.items())}
    thresholds = model.panel.thresholds
    level = float("nan") if thresholds is None else thresholds.score_at_5pct
    return outcome(data, result.alerts, result.trace, result.detector_names, outside, rejected, level)

"""Labelled tracks through the product's own fold."""

from __future__ import annotations

from .. import batch
from ..modelfolder import Model
from .evaluate import Outcome, outcome, outside_region
from .labelled import Labelled


def judge(model: Model, data: Labelled) -> Outcome:
    """The same fold, panel and alert life as ``detect`` and the live operator; each track is a vessel of its own."""
    result = batch.run(model, data.reports, trace=True)
    return outcome(data, result.alerts, result.trace, result.detector_names, outside_region(data.reports, model.region))

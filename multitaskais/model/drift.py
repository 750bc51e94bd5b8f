"""Does a model still fit? Tracks of later days against what was to be expected when its thresholds were set."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..detection import offline
from ..detection.promise import CONFIDENCE, upper_share
from ..detection.threshold import Budget
from ..errors import ConfigError
from ..types import Samples
from .fit import MIN_DEV_VESSELS, tracks_of, with_budget
from .folder import Model

TOLERATED = 1.33  # times the share that is to be expected: less is not worth a new calibration


@dataclass(frozen=True)
class DriftCheck:
    """Of the learnt scores of a model on later tracks; fixed rules are not among them.

    Attributes:
        tracks, vessels, days: that were looked at.
        exceed: share of them in which some type reaches its threshold.
        expected: share of normal tracks of which that was to be expected (the promise's, without fixed rules; the development
            tracks' where the model has none).
        exceed_at_least: no smaller share explains so many, with 95 % confidence, one track a vessel counted.
        quantiles: of the tracks' greatest score / threshold: 50, 80, 90, 95, 99 %.
    """

    tracks: int
    vessels: int
    days: int
    exceed: float
    expected: float
    exceed_at_least: float
    quantiles: tuple[float, ...]

    @property
    def fits(self) -> bool:
        return self.exceed_at_least <= TOLERATED * self.expected

    def line(self) -> str:
        what = f"{self.exceed:.1%} of {self.tracks} tracks exceed what {self.expected:.1%} did"
        return f"the model still fits: {what}" if self.fits else f"the model no longer fits: {what}"


def check(model: Model, samples: Samples) -> DriftCheck:
    """Samples (m,) of normal tracks of later days, sorted by line, through the model as it is.

    Raises:
        ConfigError: too few vessels to tell anything.
    """
    vessels = len(np.unique(samples["mmsi"]))
    if vessels < MIN_DEV_VESSELS:
        raise ConfigError(f"{vessels} vessels are too few to tell whether a model still fits: give more days")
    thresholds = model.panel.thresholds
    if thresholds is None:
        raise ConfigError("the model has no thresholds yet: calibrate it first")
    start, track = tracks_of(samples)
    score = np.full(len(start), np.nan)
    np.fmax.at(score, track, offline.run_panel(model.panel, samples).score)
    score = np.nan_to_num(score, nan=0.0)
    over = score >= 1.0
    promise = thresholds.promise
    expected = thresholds.flagged if promise is None else max(promise.flagged - promise.by_rules, 0.0)
    # Tracks of one vessel are alike: no more of them count than there are vessels.
    share = float(over.mean())
    at_least = 1.0 - upper_share((1.0 - share) * vessels, vessels, CONFIDENCE) if share else 0.0
    days = len(np.unique(np.floor(samples["t"][start] / 86400.0)))
    quantiles = tuple(float(q) for q in np.quantile(score, (0.5, 0.8, 0.9, 0.95, 0.99)))
    return DriftCheck(len(start), vessels, days, share, expected, at_least, quantiles)


def recalibrated(model: Model, samples: Samples, budget: Budget, rule_events: NDArray[np.void] | None = None) -> Model:
    """The same detectors and cells under thresholds of later tracks; ``made_from`` says of which.

    The version is another, so it takes over by rollout.
    """
    made = with_budget(model, samples, budget, rule_events)
    facts = {
        "recalibrated_from": model.version,
        "recalibrated_first_t": float(samples["t"].min()),
        "recalibrated_last_t": float(samples["t"].max()),
        "recalibrated_vessels": len(np.unique(samples["mmsi"])),
    }
    return replace(made, made_from={**model.made_from, **facts})

"""Does a model still fit? Tracks of later days against what was to be expected when its thresholds were set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..detection import offline
from ..detection.answers import answers_of, suppressed
from ..detection.promise import CONFIDENCE, upper_share
from ..detection.suppression import AnswerKind, OfficerAnswer, Suppression, suppressions_of
from ..detection.threshold import Budget
from ..errors import ConfigError
from ..records import AlertType
from ..types import RuleEvents, Samples
from .fit import MIN_DEV_VESSELS, with_budget
from .folder import Model
from .thresholds import tracks_of

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
        if self.fits and self.exceed > TOLERATED * self.expected:
            what += f", which may be chance: they are of {self.vessels} vessels"
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


class Answered(NamedTuple):
    """What officers said of alerts on the tracks that thresholds are set from."""

    suppressions: Sequence[Suppression] = ()  # kinds that are normal at a place: nothing is raised of them there
    real: Sequence[OfficerAnswer] = ()  # their tracks are no normal ones


def answered(
    alerts: Iterable[Mapping[str, Any]], answers: Iterable[Mapping[str, Any]]
) -> tuple[Answered, dict[str, int]]:
    """From records of alerts and of answers; and how many answers are left aside, by reason."""
    given, aside = answers_of(alerts, answers, 0.0)
    return Answered(suppressions_of(given), [a for a in given if a.answer is AnswerKind.REAL]), aside


def tracks_of_answers(samples: Samples, answers: Iterable[OfficerAnswer]) -> NDArray[np.bool_]:
    """(m,) samples of tracks of an answered vessel that passed within ``RADIUS_KM`` of the answered stretch."""
    start, track = tracks_of(samples)
    hit = np.zeros(len(start), bool)
    for a in answers:
        near = suppressed([Suppression(alert_type=str(AlertType.ABNORMAL), cause=a.cause, stretch=a.stretch, since=0.0, least_score=1.0, mmsi=a.mmsi)], samples)  # fmt: skip
        hit[track[near.any(axis=1)]] = True
    return hit[track]


def recalibrated(
    model: Model,
    samples: Samples,
    budget: Budget,
    rule_events: RuleEvents | None = None,
    said: Answered | None = None,
) -> Model:
    """The same detectors and cells under thresholds of later tracks; ``made_from`` says of which.

    Tracks with an alert that an officer called real do not count as normal, and what officers called normal at a place uses up no
    budget there, since it raises no alert there. The version is another, so it takes over by rollout.
    """
    said = said or Answered()
    real = tracks_of_answers(samples, said.real)
    samples = samples[~real]
    if not len(samples):
        raise ConfigError("every track of these days has an alert that was called real: give more days")
    mask = suppressed(said.suppressions, samples) if said.suppressions else None
    made = with_budget(model, samples, budget, rule_events, mask)
    facts: dict[str, Any] = {
        "recalibrated_from": model.version,
        "recalibrated_first_t": float(samples["t"].min()),
        "recalibrated_last_t": float(samples["t"].max()),
        "recalibrated_vessels": len(np.unique(samples["mmsi"])),
    }
    if said.suppressions or said.real:
        facts |= {"answers_suppressions": len(said.suppressions), "answers_real": len(said.real)}
    return replace(made, made_from={**model.made_from, **facts})


def found_again(model: Model, samples: Samples, answers: Iterable[OfficerAnswer]) -> int:
    """On how many of the answers' vessels something reaches a threshold of the model, of those with a track here."""
    score = offline.run_panel(model.panel, samples).score
    return sum(bool((score[tracks_of_answers(samples, [a])] >= 1.0).any()) for a in answers)

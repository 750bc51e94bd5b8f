"""From a budget of false alarms to thresholds, on development tracks, after fusion.

The user sets what he can feel: the share of normal tracks that may be flagged, or alerts per vessel-day. Each alert type takes its
share of the budget. In docs/method.md#budget unseen vessels are flagged up to twice as often as development vessels. Two things are done
against it: each vessel is left out of the cells that calibrate it and, where the detector can, of what the detector learned; so
thresholds may rest on all normal tracks there are, not on the few development tracks alone; and the default budget of 4 %
leaves room below 5 to 8 %.

Detectors are made comparable by ``TailScore``: the windowed score of a detector becomes -ln(share of normal tracks whose greatest
score reaches it). It is 0 for what most tracks reach, 3 for one track in 20, 4.6 for one in 100, whatever the detector's unit.
A detector with a weight below 1 must be so much rarer to count as much (ln weight is added), and each alert type is given a
handicap that brings its threshold to the greatest of all: the largest score of all types is then the one that its share of the
budget makes least likely (weighted Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..exact import functions, scalars
from ..exact.constants import LN_2
from ..records import PANEL_ALERT_TYPES

TYPES = PANEL_ALERT_TYPES
N_TYPES = len(TYPES)
TYPE_INDEX = {t: i for i, t in enumerate(TYPES)}
REST_STEPS = (
    6  # samples below the threshold between two alerts when alerts are counted; DetectionRules.close_after_steps
)

_TAIL_FROM = (
    0.8  # above this quantile of the development tracks the tail is taken as exponential (peaks over threshold)
)
_TAIL_FLOOR = 0.05  # least scale of that tail, in z
_KNOTS = np.linspace(0.0, _TAIL_FROM, 9)
_LOG_TAIL = float(functions.log1p(-_TAIL_FROM))
# Of the clean tracks' contradictions: twice the knots are as much rarer as 0.4 to 0.5 thresholds of the others.
RULE_SLOPE = 0.5


def over_limit(score: NDArray[np.float64] | float, limit: float) -> NDArray[np.float64]:
    """Score of a rule with a limit of its own (knots) -> score / threshold: linear below the limit, 1 + ln(score / limit) / 2 above it.

    The scores of all other alert types are logarithms (``TailScore``); without this, the largest of all would always be the rule's.
    """
    ratio = np.asarray(score, np.float64) / limit
    return np.where(ratio > 1.0, 1.0 + RULE_SLOPE * functions.log(np.maximum(ratio, 1.0)), ratio)


@dataclass(frozen=True)
class TailScore:
    """Windowed score -> -ln(share of normal tracks that reach it); empirical up to the 80 % quantile, then exponential."""

    knots: tuple[float, ...]
    tail_scale: float

    @classmethod
    def fit(cls, track_max: NDArray[np.float64]) -> TailScore:
        """From the greatest windowed score of each development track; NaN (never judged) does not count."""
        x = track_max[np.isfinite(track_max)]
        if not len(x):
            return cls((0.0,) * len(_KNOTS), 1.0)
        knots = np.quantile(x, _KNOTS)
        excess = x[x > knots[-1]] - knots[-1]
        scale = float(excess.mean()) if len(excess) else 0.0
        return cls(tuple(knots.tolist()), max(scale, _TAIL_FLOOR))

    def __call__(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Elementwise; 0 below the least knot, NaN stays NaN."""
        knots = np.array(self.knots)
        body = np.interp(score, knots, -functions.log1p(-_KNOTS))
        tail = (score - knots[-1]) / self.tail_scale - _LOG_TAIL
        return np.where(score > knots[-1], tail, body)


class TailScores:
    """Those of all detectors at once, (..., D) -> (..., D), with the bits of each alone."""

    def __init__(self, each: Sequence[TailScore]) -> None:
        self._knots = np.array([s.knots for s in each])
        self._tail_scale = np.array([s.tail_scale for s in each])
        self._start = np.arange(len(each)) * len(_KNOTS)
        # Of the stretch that begins at each knot: where, at what height, and how steep; the last is the tail's.
        heights = -functions.log1p(-_KNOTS)
        rise, run = np.diff(heights), np.diff(self._knots, axis=1)
        slope = np.divide(rise, run, out=np.zeros_like(run), where=run > 0)
        self._slope = np.append(slope, np.zeros((len(each), 1)), axis=1).ravel()
        self._height = np.tile(heights, len(each))

    def __call__(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """0 below the least knot, NaN stays NaN."""
        stretch = np.add.reduce(score[..., None] >= self._knots, axis=-1, dtype=np.int64) - 1
        at = np.maximum(stretch, 0) + self._start
        body = self._slope.take(at) * (score - self._knots.take(at)) + self._height.take(at)
        last = self._knots[:, -1]
        tail = (score - last) / self._tail_scale - _LOG_TAIL
        return np.where(score > last, tail, np.where(stretch < 0, score * 0.0, body))


@dataclass(frozen=True)
class Budget:
    """What the user allows on normal traffic, and how the alert types share it.

    Attributes:
        track_share: share of development tracks that may be flagged. Unseen vessels show up to twice of it.
        alerts_per_vessel_day: used instead when given.
        weights: of the alert types that are decided by a learnt score, chosen on vessels left out in turn (docs/studies/panel.md).
            Jumps, identity conflicts and contradictions follow fixed rules (docs/method.md#jump-and-contradiction) and take none.
    """

    track_share: float = 0.04
    alerts_per_vessel_day: float | None = None
    weights: dict[str, float] = field(
        default_factory=lambda: {
            "abnormal": 0.45,
            "contradiction": 0.1,
            "loitering": 0.1,
            "drift": 0.2,
            "speed": 0.25,
        }
    )

    def __post_init__(self) -> None:
        if not 0 < self.track_share < 1:
            raise ConfigError("the budget's share of tracks must lie between 0 and 1, for instance 0.03")
        if self.alerts_per_vessel_day is not None and not self.alerts_per_vessel_day > 0:
            raise ConfigError("the budget of alerts per vessel-day must be greater than 0, for instance 0.06")
        if unknown := set(self.weights) - {str(t) for t in TYPES}:
            raise ConfigError(f"the budget names an unknown alert type {min(unknown)!r}; known: {', '.join(TYPES)}")
        if any(not w >= 0 for w in self.weights.values()):
            raise ConfigError("the budget's weights must not be negative")

    def to_dict(self) -> dict[str, Any]:
        return {
            "track_share": self.track_share,
            "alerts_per_vessel_day": self.alerts_per_vessel_day,
            "weights": dict(self.weights),
        }


@dataclass(frozen=True)
class Thresholds:
    """Learnt on development tracks.

    Attributes:
        tail_score: of each detector, in the panel's order.
        by_type: (N_TYPES,) least tail_score that raises an alert of each type; inf where the type is off or an event.
        log10_eps: of the a-contrario rule, by the same budget as ``abnormal``; NaN without it.
        n_tracks: development tracks they rest on.
        flagged: share of those tracks that they flag.
        alerts_per_vessel_day: on those tracks.
        score_at_5pct: the fused score that 5 % of those tracks exceed, whatever the budget; NaN where it was not kept.
    """

    tail_score: tuple[TailScore, ...]
    by_type: NDArray[np.float64]
    log10_eps: float
    n_tracks: int
    flagged: float
    alerts_per_vessel_day: float
    score_at_5pct: float = math.nan

    @property
    def common(self) -> float:
        """The threshold that all types have with their handicaps: the greatest."""
        known = self.by_type[np.isfinite(self.by_type)]
        return float(known.max()) if len(known) else 1.0

    @property
    def threshold_offset(self) -> NDArray[np.float64]:
        """(N_TYPES,) what is added to each type's tail_score; -inf where the type is off."""
        return self.common - self.by_type

    def to_dict(self) -> dict[str, Any]:
        return {
            "surprise": [{"knots": list(s.knots), "tail_scale": s.tail_scale} for s in self.tail_score],
            "by_type": {str(t): float(v) for t, v in zip(TYPES, self.by_type, strict=True) if np.isfinite(v)},
            "log10_eps": self.log10_eps if np.isfinite(self.log10_eps) else None,
            "n_tracks": self.n_tracks,
            "flagged": self.flagged,
            "alerts_per_vessel_day": self.alerts_per_vessel_day,
            "score_at_5pct": self.score_at_5pct if np.isfinite(self.score_at_5pct) else None,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Thresholds:
        return cls(
            tuple(TailScore(tuple(s["knots"]), s["tail_scale"]) for s in values["surprise"]),
            np.array([values["by_type"].get(str(t), np.inf) for t in TYPES]),
            np.nan if values["log10_eps"] is None else values["log10_eps"],
            values["n_tracks"],
            values["flagged"],
            values["alerts_per_vessel_day"],
            math.nan if (level := values.get("score_at_5pct")) is None else level,
        )


@dataclass(frozen=True)
class DevelopmentScores:
    """What the panel said on the development tracks.

    Attributes:
        tail_score: (m, N_TYPES) of each sample, the largest among the type's detectors; NaN where not judged.
        track: (m,) number of each sample's track, 0..n_tracks - 1, ascending, samples of a track in time order.
        hours: of all tracks together.
    """

    tail_score: NDArray[np.float64]
    track: NDArray[np.int64]
    n_tracks: int
    hours: float

    def track_max(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m,) or (m, k) -> (n_tracks,) or (n_tracks, k), NaN for a track without a number."""
        out = np.full((self.n_tracks, *values.shape[1:]), np.nan)
        np.fmax.at(out, self.track, values)
        return out

    def flagged(self, by_type: NDArray[np.float64]) -> float:
        """Share of tracks in which some type reaches its threshold."""
        return float((self.track_max(self.tail_score) >= by_type).any(1).mean())

    def alerts_per_vessel_day(self, by_type: NDArray[np.float64]) -> float:
        """Alerts counted as the alert life counts them: one until ``REST_STEPS`` samples in a row stay below."""
        hot = self.tail_score >= by_type
        n = 0
        for k in range(hot.shape[1]):
            at = np.flatnonzero(hot[:, k])
            if len(at):
                fresh = (np.diff(at) > REST_STEPS) | (np.diff(self.track[at]) != 0)
                n += 1 + int(fresh.sum())
        return n / max(self.hours / 24.0, 1e-9)


def choose(scores: DevelopmentScores, budget: Budget) -> NDArray[np.float64]:
    """(N_TYPES,) thresholds in tail_score that use up the budget and share it by the weights.

    Each type's threshold lies where the fitted share of development tracks above it is c times its weight; c is the greatest number
    for which all types together stay within the budget.
    """
    best = scores.track_max(scores.tail_score)
    weights = np.array([budget.weights.get(str(t), 0.0) for t in TYPES])
    off = (weights <= 0) | ~np.isfinite(best).any(0)
    greatest = np.fmax.reduce(best, axis=0)
    fits = [TailScore.fit(best[:, k]) for k in range(N_TYPES)]
    weights = np.where(off, 0.0, weights)
    weights = weights / max(weights.sum(), 1e-9)

    def at(c: float) -> NDArray[np.float64]:
        out = np.full(N_TYPES, np.inf)
        for k in np.flatnonzero(~off):
            # No higher than just above all normal tracks: some scores are bounded, and no tail reaches beyond their bound.
            out[k] = max(min(_inverse(fits[k], -scalars.log(min(1.0, c * weights[k]))), 1.0001 * greatest[k]), 1e-3)
        return out

    def fits_budget(c: float) -> bool:
        if budget.alerts_per_vessel_day is not None:
            return scores.alerts_per_vessel_day(at(c)) <= budget.alerts_per_vessel_day
        return scores.flagged(at(c)) <= budget.track_share

    low, high = -12.0, LN_2  # of ln c; bisection: the share flagged never falls when c grows
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if fits_budget(scalars.exp(middle)) else (low, middle)
    return at(scalars.exp(low))


def _inverse(tail_score: TailScore, value: float) -> float:
    """The score that has this tail_score."""
    top = -_LOG_TAIL
    if value > top:
        return tail_score.knots[-1] + (value - top) * tail_score.tail_scale
    return float(np.interp(value, -functions.log1p(-_KNOTS), np.array(tail_score.knots)))

"""From a budget of false alarms to thresholds, on development tracks, after fusion.

The user sets what he can feel: the share of normal tracks that may be flagged, or alerts per vessel-day. One budget holds for all
alert types together: what fixed rules (contradictions, jumps, two ships on one MMSI) flag on development tracks is taken off first,
and the learnt scores share the rest. Thresholds aim at the budget as the share of *future* tracks of *other* vessels:

- each vessel is left out of the cells that calibrate it and, where the detector can, of what the detector learned; so is each day,
  where there are several (``model.fit``);
- it has no part in the tails that make detectors comparable: a tenth of the vessels at a time is left out of them (``as_left_out``);
- a trained network knows its train vessels: what it alone flags is counted on the other vessels only;
- between two tracks' scores the threshold stands where the expected share of future tracks, k / (n + 1) to (k + 1) / (n + 1), is the
  budget's, not where the share of the development tracks is.

How far it can be relied on is a ``Promise``: the bound that holds with 95 % confidence, clustered by vessel and day.

Detectors are made comparable by ``TailScore``: the windowed score of a detector becomes -ln(share of normal tracks whose greatest
score reaches it). It is 0 for what most tracks reach, 3 for one track in 20, 4.6 for one in 100, whatever the detector's unit.
A detector with a weight below 1 must be so much rarer to count as much (ln weight is added), and each alert type is given a
handicap that brings its threshold to the greatest of all: the largest score of all types is then the one that its share of the
budget makes least likely (weighted Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..exact import functions, scalars
from ..exact.constants import LN_2
from ..records import PANEL_ALERT_TYPES
from .promise import CONFIDENCE, MIN_DAYS, Promise, bounded_rate, bounded_share, least_share

TYPES = PANEL_ALERT_TYPES
N_TYPES = len(TYPES)
TYPE_INDEX = {t: i for i, t in enumerate(TYPES)}
# samples below the threshold between two alerts when alerts are counted; DetectionRules.close_after_steps
REST_STEPS = 6

SCORE_LEVELS = (0.25, 0.5, 0.75, 1.0)  # of score / threshold, at which the shares of samples above are kept

# above this quantile of the development tracks the tail is taken as exponential (peaks over threshold)
_TAIL_FROM = 0.8
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
        track_share: share of normal tracks of other vessels that may be flagged, by all alert types together.
        alerts_per_vessel_day: used instead when given.
        confidence: with which the budget must be kept, for instance 0.95: the thresholds are then so high that the bound of
            ``Promise`` stays within the budget, where so few vessels allow it. None: the budget is the share to be expected.
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
    confidence: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.track_share < 1:
            raise ConfigError("the budget's share of tracks must lie between 0 and 1, for instance 0.03")
        if self.alerts_per_vessel_day is not None and not self.alerts_per_vessel_day > 0:
            raise ConfigError("the budget of alerts per vessel-day must be greater than 0, for instance 0.06")
        if unknown := set(self.weights) - {str(t) for t in TYPES}:
            raise ConfigError(f"the budget names an unknown alert type {min(unknown)!r}; known: {', '.join(TYPES)}")
        if any(not w >= 0 for w in self.weights.values()):
            raise ConfigError("the budget's weights must not be negative")
        if self.confidence is not None and not 0.5 <= self.confidence < 1:
            raise ConfigError("the budget's confidence must lie between 0.5 and 1, for instance 0.95")

    @property
    def allowed(self) -> float:
        """The share, or the alerts per vessel-day."""
        return self.track_share if self.alerts_per_vessel_day is None else self.alerts_per_vessel_day

    def to_dict(self) -> dict[str, Any]:
        return {
            "track_share": self.track_share,
            "alerts_per_vessel_day": self.alerts_per_vessel_day,
            "weights": dict(self.weights),
            "confidence": self.confidence,
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
        rule_limits: by alert type, the limit of a fixed rule (knots) where its own would use up the budget on normal tracks; inf: the
            rule raises no alert. A rule that is not named keeps its own.
        promise: what may be relied on; None in models made before it was computed.
        samples_above: share of the judged development samples whose score / threshold exceeds each of ``SCORE_LEVELS``, so that live
            scores can be held against it; empty where it was not kept.
    """

    tail_score: tuple[TailScore, ...]
    by_type: NDArray[np.float64]
    log10_eps: float
    n_tracks: int
    flagged: float
    alerts_per_vessel_day: float
    score_at_5pct: float = math.nan
    rule_limits: Mapping[str, float] = field(default_factory=dict)
    promise: Promise | None = None
    samples_above: Mapping[float, float] = field(default_factory=dict)

    def rule_limit(self, alert_type: str, own: float) -> float:
        """The limit of a fixed rule: its own, unless the budget needs a higher one."""
        return max(own, self.rule_limits.get(str(alert_type), own))

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
        """For ``thresholds.json``: infinities and NaN become null or are left out."""
        return {
            "surprise": [{"knots": list(s.knots), "tail_scale": s.tail_scale} for s in self.tail_score],
            "by_type": {str(t): float(v) for t, v in zip(TYPES, self.by_type, strict=True) if np.isfinite(v)},
            "log10_eps": self.log10_eps if np.isfinite(self.log10_eps) else None,
            "n_tracks": self.n_tracks,
            "flagged": self.flagged,
            "alerts_per_vessel_day": self.alerts_per_vessel_day,
            "score_at_5pct": self.score_at_5pct if np.isfinite(self.score_at_5pct) else None,
            "rule_limits": {k: v if math.isfinite(v) else None for k, v in sorted(self.rule_limits.items())},
            "promise": None if self.promise is None else self.promise.to_dict(),
            "samples_above": {f"{level:g}": share for level, share in sorted(self.samples_above.items())},
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Thresholds:
        """Read what ``to_dict`` gave, also from before a field was added. Raises ``KeyError`` on what lacks an older one."""
        return cls(
            tuple(TailScore(tuple(s["knots"]), s["tail_scale"]) for s in values["surprise"]),
            np.array([values["by_type"].get(str(t), np.inf) for t in TYPES]),
            np.nan if values["log10_eps"] is None else values["log10_eps"],
            values["n_tracks"],
            values["flagged"],
            values["alerts_per_vessel_day"],
            math.nan if (level := values.get("score_at_5pct")) is None else level,
            {k: math.inf if v is None else float(v) for k, v in values.get("rule_limits", {}).items()},
            None if (promise := values.get("promise")) is None else Promise(**promise),
            {float(level): float(share) for level, share in values.get("samples_above", {}).items()},
        )


@dataclass(frozen=True)
class DevelopmentScores:
    """What the panel said on the development tracks.

    Attributes:
        tail_score: (m, N_TYPES) of each sample, the largest among the type's detectors; NaN where not judged.
        track: (m,) number of each sample's track, 0..n_tracks - 1, ascending, samples of a track in time order.
        hours: of all tracks together.
        cross_fitted: (m, N_TYPES) the same without the detectors that know some of these vessels; None: there are none.
        unseen: (n_tracks,) tracks of vessels that no detector knows; None: all.
        vessel, day: (n_tracks,) of each track; None: each track is a vessel of its own, all on one day.
        rule_alerts: (n_tracks,) alerts of fixed rules on each track; None: none.
    """

    tail_score: NDArray[np.float64]
    track: NDArray[np.int64]
    n_tracks: int
    hours: float
    cross_fitted: NDArray[np.float64] | None = None
    unseen: NDArray[np.bool_] | None = None
    vessel: NDArray[np.int64] | None = None
    day: NDArray[np.int64] | None = None
    rule_alerts: NDArray[np.int64] | None = None

    def track_max(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m,) or (m, k) -> (n_tracks,) or (n_tracks, k), NaN for a track without a number."""
        out = np.full((self.n_tracks, *values.shape[1:]), np.nan)
        np.fmax.at(out, self.track, values)
        return out

    @cached_property
    def best(self) -> NDArray[np.float64]:
        """(n_tracks, N_TYPES) greatest ``tail_score``; on tracks that are not unseen, of the cross-fitted detectors alone."""
        best = self.track_max(self.tail_score)
        return best if self.cross_fitted is None else np.where(self._unseen[:, None], best, self._best_cross_fitted)

    @cached_property
    def _best_cross_fitted(self) -> NDArray[np.float64]:
        return self.track_max(self.tail_score if self.cross_fitted is None else self.cross_fitted)

    @cached_property
    def _unseen(self) -> NDArray[np.bool_]:
        return np.ones(self.n_tracks, bool) if self.unseen is None or not self.unseen.any() else self.unseen

    @cached_property
    def _rules(self) -> NDArray[np.int64]:
        return np.zeros(self.n_tracks, np.int64) if self.rule_alerts is None else self.rule_alerts

    def flagged_tracks(self, by_type: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(n_tracks,) flagged by a rule or a cross-fitted detector; (n_tracks,) unseen tracks flagged by another detector alone."""
        everywhere = (self._best_cross_fitted >= by_type).any(1) | (self._rules > 0)
        return everywhere, (self.best >= by_type).any(1) & self._unseen & ~everywhere

    def flagged(self, by_type: NDArray[np.float64]) -> float:
        """Estimated share of normal tracks in which some type reaches its threshold, or a fixed rule raises an alert.

        What only detectors flag that know some of the vessels is counted on the unseen ones alone.
        """
        everywhere, more = self.flagged_tracks(by_type)
        return float(everywhere.mean()) + float(more.sum()) / int(self._unseen.sum())

    def least_expected(self, by_type: NDArray[np.float64], allowed: float) -> float:
        """The share of future tracks to be expected at least: k / (n + 1) when k of n are flagged.

        Few vessels are unseen, and a threshold that waits for one of them to be flagged comes late: half a track more is counted of
        them, yet no more than half of what is ``allowed``.
        """
        everywhere, more = self.flagged_tracks(by_type)
        share = float(everywhere.sum()) / (self.n_tracks + 1.0)
        if self.cross_fitted is None:
            return share
        n = int(self._unseen.sum()) + 1.0
        return share + float(more.sum()) / n + min(0.5 / n, 0.5 * allowed)

    def alerts_per_track(self, values: NDArray[np.float64], by_type: NDArray[np.float64]) -> NDArray[np.int64]:
        """(n_tracks,) alerts counted as the alert life counts them: one until ``REST_STEPS`` samples in a row stay below."""
        hot = values >= by_type
        out = np.zeros(self.n_tracks, np.int64)
        for k in np.flatnonzero(hot.any(0)).tolist():
            at = np.flatnonzero(hot[:, k])
            fresh = np.append(True, (np.diff(at) > REST_STEPS) | (np.diff(self.track[at]) != 0))
            out += np.bincount(self.track[at[fresh]], minlength=self.n_tracks)
        return out

    @cached_property
    def track_days(self) -> NDArray[np.float64]:
        """(n_tracks,) vessel-days, in proportion to the tracks' samples."""
        samples = np.bincount(self.track, minlength=self.n_tracks)
        return np.asarray(samples * (self.hours / 24.0 / max(int(samples.sum()), 1)), np.float64)

    def alerts(self, by_type: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n_tracks,) alerts, as many as there would be were no vessel known: those of the unseen tracks stand for the others."""
        if self.cross_fitted is None:
            return (self.alerts_per_track(self.tail_score, by_type) + self._rules).astype(np.float64)
        known = self.alerts_per_track(self.cross_fitted, by_type)
        more = self.alerts_per_track(self.tail_score, by_type) - known
        scale = self.track_days.sum() / max(float(self.track_days[self._unseen].sum()), 1e-9)
        found: NDArray[np.float64] = np.maximum(known + self._rules + np.where(self._unseen, more * scale, 0.0), 0.0)
        return found

    def alerts_per_vessel_day(self, by_type: NDArray[np.float64]) -> float:
        """Estimated, fixed rules among them."""
        return float(self.alerts(by_type).sum()) / max(self.hours / 24.0, 1e-9)

    def promise(self, by_type: NDArray[np.float64], confidence: float = CONFIDENCE) -> Promise:
        """What may be relied on of these thresholds."""
        n = self.n_tracks
        vessel = np.arange(n) if self.vessel is None else self.vessel
        day = np.zeros(n, np.int64) if self.day is None else self.day
        everywhere, more = self.flagged_tracks(by_type)
        n_unseen = int(self._unseen.sum())
        # Each track's part in the estimate, less what is expected of it.
        residual = (everywhere - everywhere.mean()) / n + self._unseen * (more - more.sum() / n_unseen) / n_unseen
        unseen_vessels = len(np.unique(vessel[self._unseen]))
        share = self.flagged(by_type)
        alerts = self.alerts(by_type)
        days = len(np.unique(day))
        return Promise(
            confidence=confidence,
            tracks=n,
            vessels=len(np.unique(vessel)),
            days=days,
            unseen_vessels=unseen_vessels,
            flagged=share,
            flagged_at_most=bounded_share(share, residual, vessel, day, everywhere | more, unseen_vessels, confidence),
            least=least_share(unseen_vessels, confidence),
            by_rules=float((self._rules > 0).mean()),
            alerts_per_vessel_day=float(alerts.sum()) / max(self.hours / 24.0, 1e-9),
            alerts_at_most=bounded_rate(alerts, self.track_days, vessel, confidence),
            other_days=days >= MIN_DAYS,
        )


def type_tails(best: NDArray[np.float64]) -> tuple[TailScore, ...]:
    """Of each alert type, how often normal tracks reach a score: from (n_tracks, N_TYPES) greatest scores."""
    return tuple(TailScore.fit(best[:, k]) for k in range(N_TYPES))


def choose(scores: DevelopmentScores, budget: Budget, fitted: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """(N_TYPES,) thresholds in tail_score that use up the budget and share it by the weights.

    Each type's threshold lies where the fitted share of development tracks above it is c times its weight; c is the number for which
    all types together, and the fixed rules with them, are expected to use up the budget on tracks of other vessels.

    fitted: (n_tracks, N_TYPES) the greatest scores from which these shares are fitted, where ``scores`` are those of tracks left out of
        the fit (``as_left_out``); the scores' own when None.
    """
    best = scores.best if fitted is None else fitted
    weights = np.array([budget.weights.get(str(t), 0.0) for t in TYPES])
    off = (weights <= 0) | ~np.isfinite(best).any(0)
    greatest = np.fmax.reduce(best, axis=0)
    # No higher than just above all normal tracks where a score is bounded, since no tail reaches beyond its bound. Elsewhere the tail
    # goes on: just above n tracks each type is reached by one future track in n + 1, which few tracks can not afford.
    bounded = (best >= greatest * (1.0 - 1e-9)).sum(axis=0) > 1
    most = np.where(bounded | (fitted is None), 1.0001 * greatest, math.inf)
    fits = type_tails(best)
    weights = np.where(off, 0.0, weights)
    weights = weights / max(weights.sum(), 1e-9)

    def at(c: float) -> NDArray[np.float64]:
        out = np.full(N_TYPES, np.inf)
        for k in np.flatnonzero(~off):
            share = min(1.0, c * weights[k])
            score = _inverse(fits[k], -scalars.log(share)) if share > 0 else math.inf
            out[k] = max(min(score, most[k]), 1e-3)
        return out

    def fits_budget(c: float) -> bool:
        by_type = at(c)
        if budget.confidence is not None:
            promise = scores.promise(by_type, budget.confidence)
            return (promise.flagged_at_most if by_share else promise.alerts_at_most) <= budget.allowed
        on_development = scores.flagged(by_type) if by_share else scores.alerts_per_vessel_day(by_type)
        return on_development <= budget.allowed and expected(c) <= budget.allowed

    def expected(c: float) -> float:
        """Of the budget, on future tracks, with a threshold at the score of the last development track above it."""
        if by_share:
            return scores.least_expected(at(c), budget.allowed)
        n = scores.n_tracks
        return scores.alerts_per_vessel_day(at(c)) * n / (n + 1.0)

    by_share = budget.alerts_per_vessel_day is None
    low, high = _crossing(fits_budget, -12.0, LN_2)
    if budget.confidence is not None:
        return at(low)
    # From the track that is the last above the threshold up to the first that would be too many, the share of the development tracks
    # is the same; that of future tracks is not.
    now, next_ = expected(low), expected(high)
    if next_ <= now:
        return at(low)
    last = _crossing(lambda c: expected(c) < now, -12.0, scalars.log(low))[0] if now > 0 else 0.0
    part = (budget.allowed - now) / (next_ - now)
    return at(last + min(max(part, 0.0), 1.0) * (low - last))


def _crossing(holds: Callable[[float], bool], low: float, high: float) -> tuple[float, float]:
    """The greatest c for which ``holds``, and the least above it for which it does not, of numbers between exp(low) and exp(high)."""
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if holds(scalars.exp(middle)) else (low, middle)
    return float(scalars.exp(low)), float(scalars.exp(high))


def as_left_out(
    score: NDArray[np.float64], left_out: Sequence[TailScore], fitted: Sequence[TailScore]
) -> NDArray[np.float64]:
    """(m, N_TYPES) scores of tracks that had no part in ``left_out`` -> the scores that are as rare by ``fitted``; NaN stays NaN.

    Tails that are fitted to a few dozen tracks follow the greatest of these tracks, which so look commoner than the like of them will
    be: held against the tails of the other tracks they look as a stranger's.
    """
    out = np.full(score.shape, np.nan)
    for k, (others, all_) in enumerate(zip(left_out, fitted, strict=True)):
        rarity = others(score[:, k])
        knots = np.array(all_.knots)
        body = np.interp(rarity, -functions.log1p(-_KNOTS), knots)
        tail = knots[-1] + (rarity + _LOG_TAIL) * all_.tail_scale
        out[:, k] = np.where(np.isnan(rarity), np.nan, np.where(rarity > -_LOG_TAIL, tail, body))
    return out


def _inverse(tail_score: TailScore, value: float) -> float:
    """The score that has this tail_score."""
    top = -_LOG_TAIL
    if value > top:
        return tail_score.knots[-1] + (value - top) * tail_score.tail_scale
    return float(np.interp(value, -functions.log1p(-_KNOTS), np.array(tail_score.knots)))

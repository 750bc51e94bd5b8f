"""From what a panel says of development samples to thresholds within a budget, its fixed rules included (docs/method.md#calibration).

A tenth of the vessels at a time is left out of the tails that make detectors comparable, so that few vessels keep the budget too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..config import STEP_S
from ..detection import offline
from ..detection.panel import Panel
from ..detection.promise import CONFIDENCE
from ..detection.threshold import (
    N_TYPES,
    SCORE_LEVELS,
    TYPE_INDEX,
    Budget,
    DevelopmentScores,
    TailScore,
    Thresholds,
    as_left_out,
    choose,
    type_tails,
)
from ..records import AlertType
from ..types import RuleEvents, Samples

DAY_S = 86400.0
CUT_SAMPLES = 144  # a track is cut at 24 h (docs/method.md#tracks): so it is counted
PARTS = 10  # of the vessels that are left out in turn where scores are made comparable
RULES_SHARE = 0.5  # of the budget that fixed rules may take; more, and a rule fires on ordinary traffic


def tracks_of(samples: Samples) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First sample of each track, and (m,) each sample's track: lines, cut at 24 h."""
    start, line = offline.lines_of(samples)
    piece = (samples["n"] - samples["n"][start][line]) // CUT_SAMPLES if len(samples) else np.zeros(0, np.int64)
    fresh = np.append(True, (np.diff(line) != 0) | (np.diff(piece) != 0))[: len(samples)]
    return np.flatnonzero(fresh), np.cumsum(fresh) - 1


def choose_thresholds(
    panel: Panel,
    samples: Samples,
    windowed: NDArray[np.float64],
    budget: Budget,
    first: Sequence[int],
    rule_events: RuleEvents | None = None,
    suppressed: NDArray[np.bool_] | None = None,
) -> Thresholds:
    """``first``: of each detector, the first sample (of a line) from which on its scores are to be believed."""
    start, track = tracks_of(samples)
    n_tracks, hours = len(start), len(samples) * STEP_S / 3600.0
    if suppressed is not None:
        windowed = np.where(suppressed[:, panel.types], np.nan, windowed)
    plain = DevelopmentScores(windowed, track, n_tracks, hours)
    best = plain.track_max(windowed)
    # Of each detector, the first track that it does not know.
    known_from = np.array([track[f] if f else 0 for f in first])
    typed = _TypeScores(panel, best, known_from)
    everybody = np.ones(n_tracks, bool)
    tail_score = typed.tails(everybody)
    fitted = typed.of_tracks(tail_score)
    by_type, cross_fitted = np.full((2, len(samples), N_TYPES), np.nan)
    part = vessel_parts(samples["mmsi"][start])
    for p in range(int(part.max(initial=0)) + 1):
        here, others = part == p, part != p
        if not others.any():
            others = here
        tails = typed.tails(others)
        shares = type_tails(typed.of_tracks(tails)[others])
        mine = here[track]
        for out, scored in zip((by_type, cross_fitted), typed.of_samples(tails, windowed[mine]), strict=True):
            out[mine] = as_left_out(scored, shares, type_tails(fitted))
    last = np.append(start[1:], len(samples)) - 1
    rule_limits, rule_alerts = _rules_within(_rule_knots(panel, samples, windowed, start, last, rule_events), budget)
    scores = DevelopmentScores(
        by_type,
        track,
        n_tracks,
        hours,
        cross_fitted=cross_fitted if any(first) else None,
        unseen=np.arange(n_tracks) >= track[max(first)] if any(first) else None,
        vessel=samples["mmsi"][start],
        day=np.floor(samples["t"][start] / DAY_S).astype(np.int64),
        rule_alerts=rule_alerts,
    )
    limits = choose(scores, budget, fitted)

    # eps of the a-contrario rule: the share of tracks that `abnormal` itself is given.
    abnormal = TYPE_INDEX[AlertType.ABNORMAL]
    only = np.full(N_TYPES, np.inf)
    only[abnormal] = limits[abnormal]
    least = -plain.track_max(-_nfa(panel, samples))[track[max(first)] if max(first) else 0 :]
    known = least[np.isfinite(least)]
    share = min(replace(scores, rule_alerts=None).flagged(only), 1.0)
    log10_eps = min(float(np.quantile(known, share, method="lower")), -1e-3) if len(known) else np.nan
    promise = scores.promise(limits, budget.confidence or CONFIDENCE)
    chosen = Thresholds(
        tail_score,
        limits,
        log10_eps,
        n_tracks,
        promise.flagged,
        promise.alerts_per_vessel_day,
        rule_limits=rule_limits,
        promise=promise,
    )
    fused = np.fmax.reduce(scores.best + chosen.threshold_offset, axis=1) / chosen.common
    return replace(
        chosen,
        score_at_5pct=float(np.nanquantile(np.nan_to_num(fused, nan=0.0), 0.95)),
        samples_above=_samples_above(panel, chosen, windowed[max(first) :]),
    )


class _TypeScores:
    """From windowed scores of detectors to scores of alert types, by tails that were fitted on some of the tracks.

    best: (n_tracks, D) greatest windowed score of each track. known_from: (D,) the first track whose vessel a detector has not learned
    from: what it says of those before is not believed.
    """

    def __init__(self, panel: Panel, best: NDArray[np.float64], known_from: NDArray[np.int64]) -> None:
        self._panel, self._best, self._known_from = panel, best, known_from
        self._unseen = np.arange(len(best)) >= known_from.max(initial=0)

    def tails(self, tracks: NDArray[np.bool_]) -> tuple[TailScore, ...]:
        """One a detector, of the tracks of a mask."""
        return tuple(
            TailScore.fit(self._best[int(f) :, k][tracks[int(f) :]]) for k, f in enumerate(self._known_from.tolist())
        )

    def of_samples(
        self, tails: Sequence[TailScore], windowed: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(m, D) -> (m, N_TYPES) of all detectors, and of those that know none of these vessels."""
        by_type, cross_fitted = np.full((2, len(windowed), N_TYPES), np.nan)
        for k, (t, traits) in enumerate(zip(self._panel.types, self._panel.traits, strict=True)):
            if traits.fixed_threshold is None:
                said = tails[k](windowed[:, k]) + self._panel.log_weight[k]
                by_type[:, t] = np.fmax(by_type[:, t], said)
                if not self._known_from[k]:
                    cross_fitted[:, t] = np.fmax(cross_fitted[:, t], said)
        return by_type, cross_fitted

    def of_tracks(self, tails: Sequence[TailScore]) -> NDArray[np.float64]:
        """(n_tracks, N_TYPES) greatest of each track: of all detectors where none knows its vessel, else of those that do not."""
        # A tail score grows with its score, so that the greatest of a track is that of its greatest.
        by_type, cross_fitted = self.of_samples(tails, self._best)
        return np.where(self._unseen[:, None], by_type, cross_fitted)


def _nfa(panel: Panel, samples: Samples) -> NDArray[np.float64]:
    """(m,) log10 NFA; NaN without a detector for it."""
    for detector, calibration_, traits in zip(panel.detectors, panel.calibrations, panel.traits, strict=True):
        if traits.a_contrario:
            return offline.run_panel(Panel([detector], [calibration_], None, panel.rules), samples).log10_nfa
    return np.full(len(samples), np.nan)


def vessel_parts(mmsi: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n_tracks,) part of each track, 0..``PARTS`` - 1; a vessel's tracks are in one part."""
    vessels, at = np.unique(mmsi, return_inverse=True)
    order = np.random.default_rng(0).permutation(len(vessels))  # MMSIs of one country or company are not kept together
    return np.asarray(order[at.ravel()] % min(PARTS, max(len(vessels), 1)), np.int64)


def _samples_above(panel: Panel, thresholds: Thresholds, windowed: NDArray[np.float64]) -> dict[float, float]:
    """Share of the samples with a score whose score / threshold exceeds each level, as the live operator sees them."""
    score = Panel(panel.detectors, panel.calibrations, thresholds, panel.rules).score_of(windowed)
    score = score[np.isfinite(score)]
    return {level: float((score > level).mean()) for level in SCORE_LEVELS} if len(score) else {}


def _rule_knots(
    panel: Panel,
    samples: Samples,
    windowed: NDArray[np.float64],
    start: NDArray[np.int64],
    last: NDArray[np.int64],
    events: RuleEvents | None,
) -> dict[str, NDArray[np.float64]]:
    """By alert type of a fixed rule, (n_tracks,) the greatest value at which it raises an alert; NaN on tracks where it is silent."""
    out: dict[str, NDArray[np.float64]] = {}
    for k, (calibration_, traits) in enumerate(zip(panel.calibrations, panel.traits, strict=True)):
        if traits.fixed_threshold is not None:
            said = calibration_.score_of_region(windowed[:, k])
            best = np.fmax.reduceat(said, start)
            out[str(traits.alert_type)] = np.where(best >= traits.fixed_threshold, best, np.nan)
    if events is None:
        return out
    order = np.lexsort((samples["t"][start], samples["mmsi"][start]))
    mmsi, since, until = samples["mmsi"][start][order], samples["t"][start][order], samples["t"][last][order]
    for event in events:
        mine = (mmsi == event["mmsi"]) & (since - STEP_S <= event["t"]) & (event["t"] <= until + STEP_S)
        values = out.setdefault(str(event["alert_type"]), np.full(len(start), np.nan))
        at = order[mine]
        values[at] = np.fmax(values[at], event["knots"])
    return out


def _rules_within(
    knots: Mapping[str, NDArray[np.float64]], budget: Budget
) -> tuple[dict[str, float], NDArray[np.int64] | None]:
    """Limits of the rules that would use up more than their part of the budget, and (n_tracks,) alerts of all rules under them.

    The rule that flags most tracks gives way first: its limit rises above the least of the tracks that it flags.
    """
    limits: dict[str, float] = {}
    if not knots:
        return limits, None
    fires = {name: np.isfinite(v) | (v == np.inf) for name, v in knots.items()}
    # A share of which less than one track could be meant is not measured here: one track may be.
    n_tracks = len(next(iter(knots.values())))
    allowed = max(RULES_SHARE * budget.track_share * n_tracks, 1.0)
    while int(np.any(list(fires.values()), axis=0).sum()) > allowed:
        name = max(sorted(fires), key=lambda k: int(fires[k].sum()))
        least = float(knots[name][fires[name]].min())
        rest = knots[name][fires[name] & (knots[name] > least)]
        # Halfway to the next, so that the same track rounded otherwise stays below; off when all are alike.
        limits[name] = 0.5 * (least + float(rest.min())) if len(rest) and np.isfinite(rest.min()) else np.inf
        fires[name] = fires[name] & (knots[name] >= limits[name]) & bool(np.isfinite(limits[name]))
    return limits, np.sum(list(fires.values()), axis=0, dtype=np.int64)

"""What may be promised of a share that was counted on few tracks, of fewer vessels, on some days.

A threshold that k of n exchangeable tracks reach will be reached by more than x of all future tracks with a probability of
1 - confidence at most, where x is the Clopper-Pearson bound of k in n: the quantile of Beta(k + 1, n - k). For a threshold that was
chosen as an order statistic of the same n tracks this is exact and needs no distribution of the scores (Wilks 1941; split conformal
prediction, Vovk et al. 2005). Tracks of one vessel are alike, and so are those of one day: n is the number of tracks that would
tell as much if all were independent (Korn and Graubard 1998: the variance between clusters, with the t quantile of their number).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, gammaincinv, stdtrit

from ..exact import functions

CONFIDENCE = 0.95
MIN_DAYS = 5  # with fewer, the spread between days is not known well enough to promise anything for other days
_FEW = 5  # vessels flagged: with fewer the spread between vessels cannot be seen, and one track a vessel is counted


@dataclass(frozen=True)
class Promise:
    """Of the thresholds of a model; shares of normal tracks, 0..1.

    Attributes:
        confidence: of the bounds.
        tracks, vessels, days: that the figures rest on.
        unseen_vessels: those of them that no trained detector has learned from.
        flagged: estimated share of normal tracks with an alert of any type, fixed rules among them.
        flagged_at_most: no more of the tracks of other vessels are flagged, with ``confidence``.
        least: what could be promised at best from so much data, were none of them flagged.
        by_rules: the part of ``flagged`` that fixed rules alone make (contradictions, jumps, two ships on one MMSI).
        alerts_per_vessel_day, alerts_at_most: the same of the alerts per 24 h of track.
        other_days: the bounds hold for other days too; False: for other vessels on these days alone.
    """

    confidence: float
    tracks: int
    vessels: int
    days: int
    unseen_vessels: int
    flagged: float
    flagged_at_most: float
    least: float
    by_rules: float
    alerts_per_vessel_day: float
    alerts_at_most: float
    other_days: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self, budget: float, alerts: bool = False) -> list[str]:
        """What is to be said of it, one statement a line; ``budget``: the share, or the alerts per vessel-day, that was asked for."""
        made = f"{_count(self.tracks, 'track')} of {_count(self.vessels, 'vessel')} on {_count(self.days, 'day')}"
        if self.unseen_vessels < self.vessels:
            made += f" ({self.unseen_vessels} of them new to the trained detectors)"
        sure = f"with {self.confidence:.0%} confidence at most"
        if alerts:
            text = [
                f"{made}: {self.alerts_per_vessel_day:.3f} alerts per vessel-day to be expected, {sure} {self.alerts_at_most:.3f}"
            ]
        else:
            text = [f"{made}: {self.flagged:.1%} of normal tracks to be expected, {sure} {self.flagged_at_most:.1%}"]
            if self.least > budget:
                text.append(
                    f"{_count(self.tracks, 'track')}: no less than {self.least:.1%} can be promised, so the budget of {budget:.1%} is"
                    f" aimed at and not promised; {vessels_for(budget, self.confidence)} vessels are the fewest that could"
                )
        if not self.other_days:
            text.append(
                f"{_count(self.days, 'day')}: nothing can be promised for other days, only for other vessels; give {MIN_DAYS} days or more"
            )
        return text


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def upper_share(k: float, n: float, confidence: float = CONFIDENCE) -> float:
    """Clopper-Pearson: the greatest share that is compatible with k of n; neither need be whole."""
    if n <= 0 or k >= n:
        return 1.0
    return float(betaincinv(k + 1.0, n - k, confidence))


def upper_rate(k: float, exposure: float, confidence: float = CONFIDENCE) -> float:
    """The greatest Poisson rate that is compatible with k events in ``exposure`` (Garwood 1936)."""
    return float(gammaincinv(k + 1.0, confidence)) / exposure if exposure > 0 else math.inf


def vessels_for(share: float, confidence: float = CONFIDENCE) -> int:
    """The fewest independent tracks from which ``share`` can be promised at all: none of them flagged."""
    return math.ceil(float(functions.log1p(-confidence) / functions.log1p(-share)))


def least_share(n: float, confidence: float = CONFIDENCE) -> float:
    """What can be promised at best from n independent tracks."""
    return upper_share(0.0, n, confidence)


def variance_between(residual: NDArray[np.float64], cluster: NDArray[np.int64]) -> tuple[float, int]:
    """Variance of a sum of (n,) residuals whose clusters are independent, and the number of clusters (ultimate cluster estimator)."""
    _, at = np.unique(cluster, return_inverse=True)
    sums = np.bincount(at.ravel(), residual)
    m = len(sums)
    return (float(m / (m - 1) * np.sum((sums - sums.mean()) ** 2)) if m > 1 else math.inf), m


def bounded_share(
    share: float,
    residual: NDArray[np.float64],
    vessel: NDArray[np.int64],
    day: NDArray[np.int64],
    flagged: NDArray[np.bool_],
    n_unseen: int,
    confidence: float = CONFIDENCE,
) -> float:
    """The bound of an estimated share.

    Args:
        residual: (n,) what each track adds to the estimate beyond its expectation; their sum is 0.
        vessel, day: (n,) clusters.
        flagged: (n,) which tracks count as flagged.
        n_unseen: vessels that nothing has learned from: no more independent tracks than these when few are flagged.
    """
    n = float(len(residual))
    few = len(np.unique(vessel[flagged])) < _FEW
    if few:
        n = min(n, float(n_unseen))
    if 0 < share < 1:
        spreads = [(vessel, 2)] + ([(day, MIN_DAYS)] if len(np.unique(day)) >= MIN_DAYS else [])
        for cluster, least in spreads:
            variance, m = variance_between(residual, cluster)
            if m < least or variance <= 0:
                continue
            # The fewer clusters, the less is known of their spread.
            known = (stdtrit(len(residual) - 1, confidence) / stdtrit(m - 1, confidence)) ** 2
            n = min(n, share * (1 - share) / variance * known)
    n = max(n, 1.0)
    return max(upper_share(share * n, n, confidence), least_share(n_unseen, confidence))


def interval_of_share(
    flagged: NDArray[np.bool_], vessel: NDArray[np.int64], confidence: float = 0.9
) -> tuple[float, float]:
    """Two-sided Clopper-Pearson interval of the share of (n,) tracks that are flagged, clustered by vessel; NaN without tracks."""
    n = float(len(flagged))
    if not n:
        return math.nan, math.nan
    share = float(flagged.mean())
    if len(np.unique(vessel[flagged])) < _FEW:
        n = float(len(np.unique(vessel)))
    elif share < 1:
        residual = np.asarray((flagged - share) / n, np.float64)
        variance, m = variance_between(residual, vessel)
        known = (stdtrit(n - 1, confidence) / stdtrit(m - 1, confidence)) ** 2
        n = min(n, share * (1 - share) / variance * known) if variance > 0 else n
    tail = 0.5 * (1.0 - confidence)
    low = float(betaincinv(share * n, n - share * n + 1.0, tail)) if share > 0 else 0.0
    return low, upper_share(share * n, n, 1.0 - tail)


def bounded_rate(
    alerts: NDArray[np.float64], days: NDArray[np.float64], vessel: NDArray[np.int64], confidence: float = CONFIDENCE
) -> float:
    """The bound of alerts per vessel-day from (n,) alerts and vessel-days of tracks, clustered by vessel."""
    exposure, k = float(days.sum()), float(alerts.sum())
    if exposure <= 0 or k <= 0:
        return upper_rate(0.0, exposure, confidence)
    rate = k / exposure
    variance, _ = variance_between((alerts - rate * days) / exposure, vessel)
    seen = (
        min(k, rate * rate / variance) if variance > 0 else k
    )  # events that would tell as much if all were independent
    return rate * upper_rate(seen, seen, confidence)

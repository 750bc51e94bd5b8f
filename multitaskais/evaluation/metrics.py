"""Figures of merit over track scores. Higher score = more anomalous; a track that was not judged has score -inf.

``positives`` are the scores of the abnormal tracks of one kind, ``clean`` those of all clean tracks. Nothing is dropped: a
track that was not judged stays in every denominator, loses against every judged one and ties with the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
NOT_JUDGED = -np.inf

SHARES = {"recall_at_1pct": 0.01, "recall_at_5pct": 0.05}


def auroc(positives: Floats, clean: Floats) -> float:
    """Chance that an abnormal track scores above a clean one, ties counted half (Mann-Whitney U). NaN when a side is empty."""
    n, m = len(positives), len(clean)
    if n == 0 or m == 0:
        return float("nan")
    ranks = rankdata(np.concatenate([positives, clean]))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def average_precision(positives: Floats, clean: Floats) -> float:
    """Sum over thresholds of precision times the gain in recall; equal scores enter together. NaN when there are no positives."""
    if len(positives) == 0:
        return float("nan")
    scores = np.concatenate([positives, clean])
    hit = np.r_[np.ones(len(positives)), np.zeros(len(clean))]
    order = np.argsort(-scores, kind="stable")
    scores, hit = scores[order], hit[order]
    last_of_ties = np.r_[scores[1:] != scores[:-1], True]
    found = np.cumsum(hit)[last_of_ties]
    flagged = (np.arange(len(scores)) + 1)[last_of_ties]
    gain = np.diff(found, prepend=0.0) / len(positives)
    return float(np.sum(gain * found / flagged))


def threshold_at(clean: Floats, share: float) -> float:
    """The least threshold that at most ``share`` of the clean tracks exceed (``score > threshold`` flags).

    With n clean tracks, floor(share * n) of them may be flagged: the threshold is the next greatest clean score. Ties fall on
    the careful side: where tied clean tracks would go over the share together, none of them is flagged. +inf without
    clean tracks.
    """
    if len(clean) == 0:
        return float("inf")
    allowed = int(np.floor(share * len(clean) + 1e-9))
    return float(np.sort(clean)[::-1][min(allowed, len(clean) - 1)])


def recall_at(positives: Floats, clean: Floats, share: float) -> float:
    """Share of the positives above ``threshold_at(clean, share)``; a track that was not judged is never found."""
    if len(positives) == 0:
        return float("nan")
    return float(np.mean(positives > threshold_at(clean, share)))


def ranking(positives: Floats, clean: Floats) -> dict[str, float]:
    """The four figures that need no threshold of the model's own."""
    return {
        "auroc": auroc(positives, clean),
        "average_precision": average_precision(positives, clean),
        **{name: recall_at(positives, clean, share) for name, share in SHARES.items()},
    }


def mean_over(per_kind: Mapping[str, Mapping[str, float]], name: str) -> float:
    """Unweighted mean over kinds, of those that have the figure; NaN when none has."""
    values = np.array([k[name] for k in per_kind.values()], float)
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


def ranking_by_kind(scores: Floats, kinds: NDArray[np.str_]) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """(mean over kinds, per kind) of ``ranking``; each kind against all clean tracks. ``kinds`` (n,) with ``clean`` among them."""
    clean = scores[kinds == "clean"]
    per_kind = {str(k): ranking(scores[kinds == k], clean) for k in np.unique(kinds) if k != "clean"}
    names = ("auroc", "average_precision", *SHARES)
    return {name: mean_over(per_kind, name) for name in names}, per_kind


class Interval(NamedTuple):
    low: float
    high: float


def bootstrap(
    groups: NDArray[np.str_],
    figures: Callable[[NDArray[np.int64]], Mapping[str, float]],
    rng: np.random.Generator,
    draws: int = 200,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Percentile intervals (Efron 1979) of ``figures(indices)``, tracks drawn again within each group.

    groups (n,): the kind of each track; each keeps its size. ``figures`` takes the (n,) indices of one draw.
    """
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    seen: dict[str, list[float]] = {}
    for _ in range(draws):
        picked = np.concatenate([rng.choice(m, len(m)) for m in members])
        for name, value in figures(picked).items():
            seen.setdefault(name, []).append(value)
    tail = 50.0 * (1.0 - level)
    out = {}
    for name, values in seen.items():
        finite = np.array([v for v in values if np.isfinite(v)])
        low, high = np.percentile(finite, [tail, 100.0 - tail]) if len(finite) else (np.nan, np.nan)
        out[name] = Interval(float(low), float(high))
    return out


def roc(positives: Floats, clean: Floats) -> tuple[Floats, Floats]:
    """(share of clean flagged, share of positives flagged) from (0, 0) on, for the picture; stops at what was judged."""
    thresholds = np.unique(np.concatenate([positives, clean]))[::-1]
    thresholds = thresholds[np.isfinite(thresholds)]
    flagged = 1.0 - np.searchsorted(np.sort(clean), thresholds, side="left") / max(len(clean), 1)
    found = 1.0 - np.searchsorted(np.sort(positives), thresholds, side="left") / max(len(positives), 1)
    return np.r_[0.0, flagged], np.r_[0.0, found]

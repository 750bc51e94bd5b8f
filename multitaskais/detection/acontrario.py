"""A contrario decision on low steps (METHOD 7), in its incremental form.

Over the last 24 grid steps, a segment with n judged steps of which k are low has

    NFA(n, k) = N_s * P(Binomial(n, 0.1) >= k),    N_s = 24 * 25 / 2 = 300 segments,

and is meaningful when NFA < eps (Nguyen et al., GeoTrackNet, IEEE T-ITS 2021, equations 11-13). Segments that end at one
step are looked at when that step comes, so each segment of a track is looked at once; the union of the meaningful ones is the
abnormal part. Two departures from the prototype: steps that abstain count neither in n nor in k (contract, "Segments"), and
eps is no expected number of false alarms here, because low steps come in runs; it is set by a budget (``threshold``).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..config import DetectionRules

_ONE = np.uint32(1)


class AContrario:
    """Tables of one window length and quantile.

    Attributes:
        log10_nfa: (W + 1, W + 1) of [n, k]; 0 <= k <= n <= W, elsewhere NaN; n = 0 gives log10 N_s.
    """

    def __init__(self, window_steps: int = 24, low_quantile: float = 0.1) -> None:
        self.window_steps = window_steps
        self.low_quantile = low_quantile
        self.n_segments = window_steps * (window_steps + 1) // 2
        self.log10_nfa = np.full((window_steps + 1, window_steps + 1), np.nan)
        for n in range(window_steps + 1):
            for k in range(n + 1):
                self.log10_nfa[n, k] = math.log10(self.n_segments * _binomial_tail(n, k, low_quantile))
        self._keep = np.uint32((1 << window_steps) - 1)

    def k_min(self, log10_eps: float) -> NDArray[np.int64]:
        """(W + 1,) least k of n judged steps that makes a segment meaningful; W + 1 where none does."""
        out = np.full(self.window_steps + 1, self.window_steps + 1)
        for n in range(self.window_steps + 1):
            hit = np.flatnonzero(self.log10_nfa[n, : n + 1] < log10_eps)
            if len(hit):
                out[n] = hit[0]
        return out

    def push(
        self,
        judged: NDArray[np.uint32],
        low: NDArray[np.uint32],
        is_judged: NDArray[np.bool_],
        is_low: NDArray[np.bool_],
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Shift one step into the masks of (n,) lines; bit 0 is the newest step. A low step must be judged."""
        judged = ((judged << _ONE) & self._keep) | is_judged.astype(np.uint32)
        low = ((low << _ONE) & self._keep) | (is_low & is_judged).astype(np.uint32)
        return judged, low

    def best(
        self, judged: NDArray[np.uint32], low: NDArray[np.uint32]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Smallest log10 NFA among the segments that end at the newest step, and that segment's length in grid steps.

        (n,) masks -> (n,), (n,). Of equally meaningful segments the shortest. NaN and 0 where no step is judged.
        """
        n_lines = len(judged)
        best = np.full(n_lines, np.inf)
        length = np.zeros(n_lines, np.int64)
        n = np.zeros(n_lines, np.int64)
        k = np.zeros(n_lines, np.int64)
        for step in range(self.window_steps):
            shift = np.uint32(step)
            n += (judged >> shift) & _ONE
            k += (low >> shift) & _ONE
            value = self.log10_nfa[n, k]
            better = value < best
            best = np.where(better, value, best)
            length = np.where(better, step + 1, length)
        none = judged == 0
        return np.where(none, np.nan, best), np.where(none, 0, length)


def _binomial_tail(n: int, k: int, p: float) -> float:
    """P(Binomial(n, p) >= k), summed from the smallest term so that deep tails keep their digits."""
    terms = [math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1)]
    return min(1.0, math.fsum(terms))


@lru_cache(maxsize=8)
def tables(window_steps: int, low_quantile: float) -> AContrario:
    """The tables of these settings, made once."""
    return AContrario(window_steps, low_quantile)


def of(rules: DetectionRules) -> AContrario:
    return tables(rules.window_steps, rules.low_quantile)

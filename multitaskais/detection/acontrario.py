"""A contrario decision on low steps (docs/method.md#a-contrario-decision), in its incremental form.

Over the last 24 grid steps, a segment with n judged steps of which k are low has

    NFA(n, k) = N_s * P(Binomial(n, 0.1) >= k),    N_s = 24 * 25 / 2 = 300 segments,

and is meaningful when NFA < eps (Nguyen et al., GeoTrackNet, IEEE T-ITS 2021, equations 11-13). Segments that end at one
step are looked at when that step comes, so each segment of a track is looked at once; the union of the meaningful ones is the
abnormal part. Two departures from the prototype: steps that abstain count neither in n nor in k (docs/contract.md#tracks-samples-verdicts), and
eps is no expected number of false alarms here, because low steps come in runs; it is set by a budget (``threshold``).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..config import DetectionRules
from ..exact import scalars

_ONE = np.uint32(1)


class AContrario:
    """Tables of one window length and quantile.

    A segment that begins with a step that is not low is never better than the same without it. So only the marks of judged steps
    matter, and of those only where the low ones are: the least NFA is read from tables of the newer and the older half of the marks.

    Attributes:
        log10_nfa: (W + 1, W + 1) of [n, k]; 0 <= k <= n <= W, elsewhere NaN; k = 0 gives log10 N_s.
    """

    def __init__(self, window_steps: int = 24, low_quantile: float = 0.1) -> None:
        self.window_steps = window_steps
        self.low_quantile = low_quantile
        self.n_segments = window_steps * (window_steps + 1) // 2
        self.log10_nfa = np.full((window_steps + 1, window_steps + 1), np.nan)
        for n in range(window_steps + 1):
            for k in range(n + 1):
                self.log10_nfa[n, k] = scalars.log10(self.n_segments * _binomial_tail(n, k, low_quantile))
        self._keep = np.uint32((1 << window_steps) - 1)
        half = (window_steps + 1) // 2
        self._half = np.uint32(half)
        self._newer_bits = np.uint32((1 << half) - 1)
        newer = np.fmin(self._least_of_half(half, 0, 0), self.log10_nfa[1, 0])
        # One row after the other: of k low steps among the newer half.
        older = np.concatenate([self._least_of_half(window_steps - half, half, k) for k in range(half + 1)])
        # Kept as ranks, so that the tables stay in the processor's cache.
        self._values, rank = np.unique(np.concatenate([newer, older]), return_inverse=True)
        self._newer, self._older = np.split(rank.astype(np.uint16), [len(newer)])
        self._older_size = np.uint32(1 << (window_steps - half))

    def _least_of_half(self, bits: int, n: int, k: int) -> NDArray[np.float64]:
        """(2**bits,) of all marks of so many judged steps, bit 0 the newest: least log10 NFA of the segments that begin at a low one
        of them and hold ``n`` newer steps, ``k`` of them low; inf where none is low."""
        marks = np.arange(1 << bits)
        best = np.full(len(marks), np.inf)
        low = np.full(len(marks), k)
        for step in range(bits):
            here = (marks >> step & 1).astype(bool)
            low += here
            best[here] = np.fmin(best[here], self.log10_nfa[n + step + 1, low[here]])
        return best

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

    def push_all(
        self,
        judged: NDArray[np.uint32],
        low: NDArray[np.uint32],
        is_judged: NDArray[np.bool_],
        is_low: NDArray[np.bool_],
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Several steps: (n,) masks and (T * n,) marks, the first step of every line before the second of any -> (T * n,) masks after each."""
        n = len(judged)
        if len(is_judged) == n:
            return self.push(judged, low, is_judged, is_low)
        out = np.empty((2, len(is_judged)), np.uint32)
        for first in range(0, len(is_judged), n):
            here = slice(first, first + n)
            judged, low = self.push(judged, low, is_judged[here], is_low[here])
            out[0, here], out[1, here] = judged, low
        return out[0], out[1]

    def least(self, judged: NDArray[np.uint32], low: NDArray[np.uint32]) -> NDArray[np.float64]:
        """(n,) masks -> (n,) smallest log10 NFA among the segments that end at the newest step; NaN where no step is judged."""
        gaps = np.flatnonzero((judged & (judged + _ONE)).astype(bool) & low.astype(bool))
        if len(gaps):  # steps that abstain count neither in n nor in k
            low = low.copy()
            low[gaps] = _squeeze(low[gaps], judged[gaps])
        newer = low & self._newer_bits
        older = low >> self._half
        older += np.bitwise_count(newer) * self._older_size
        found: NDArray[np.float64] = self._values.take(np.minimum(self._newer.take(newer), self._older.take(older)))
        found[judged == 0] = np.nan
        return found

    def best(
        self, judged: NDArray[np.uint32], low: NDArray[np.uint32]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Smallest log10 NFA among the segments that end at the newest step, and that segment's length in grid steps.

        (n,) masks -> (n,), (n,). Of equally meaningful segments the shortest. NaN and 0 where no step is judged. The plain form of
        ``least``, for the few lines of which the length is asked.
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


def _squeeze(marks: NDArray[np.uint32], keep: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """(n,) the bits of ``marks`` that ``keep`` has, side by side from bit 0 on in their order.

    By parallel suffixes: H. S. Warren, Hacker's Delight, 2nd ed., section 7-4 ("compress").
    """
    marks = marks & keep
    zeros_below = ~keep << _ONE
    for i in range(5):  # each kept bit moves down by 2**i where the number of dropped bits below it has bit i
        odd = zeros_below
        for j in range(5):
            odd = odd ^ (odd << np.uint32(1 << j))
        shift = np.uint32(1 << i)
        moving = odd & keep
        keep = (keep ^ moving) | (moving >> shift)
        moved = marks & moving
        marks = (marks ^ moved) | (moved >> shift)
        zeros_below = zeros_below & ~odd
    return marks


def _binomial_tail(n: int, k: int, p: float) -> float:
    """P(Binomial(n, p) >= k), summed from the smallest term so that deep tails keep their digits."""
    if k == 0:
        return 1.0
    terms = [math.comb(n, i) * scalars.power(p, i) * scalars.power(1.0 - p, n - i) for i in range(k, n + 1)]
    return min(1.0, math.fsum(terms))


@lru_cache(maxsize=8)
def tables(window_steps: int, low_quantile: float) -> AContrario:
    """The tables of these settings, made once."""
    return AContrario(window_steps, low_quantile)


def of(rules: DetectionRules) -> AContrario:
    return tables(rules.window_steps, rules.low_quantile)

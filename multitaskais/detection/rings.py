"""Rings of the last samples of each line: what was seen, and how strange each detector found it.

A ring is the last axis of an array, newest last. All sums run in one fixed order over the steps, never over a NumPy reduction
whose order depends on shapes, so that a line's numbers do not depend on the lines beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

RING_STEPS = 12  # docs/method.md#measured-decisions: the mean of 12 samples (2 h) was the best of those tried
MIN_SHARE = 10 / 12  # of a window that must be judged: the mean of a few is strange too often (half: AUROC 0.01 less)


def push(ring: NDArray[Any], value: NDArray[Any]) -> NDArray[Any]:
    """(..., W) and (...) -> (..., W) with the oldest gone and ``value`` as the newest."""
    out = np.empty_like(ring)
    push_into(out, ring, value)
    return out


def push_into(out: NDArray[Any], ring: NDArray[Any], value: NDArray[Any]) -> None:
    """``push`` into an array that is there, which must not be ``ring`` itself."""
    out[..., :-1] = ring[..., 1:]
    out[..., -1] = value


# ---------------------------------------------------------------- several steps of each line
#
# A block of T steps of n lines is T * n values: the first step of every line, then the second of every line, and so on.

BLOCK_ROWS = 4096  # values of one block, whose rows stay near the processor


def block_steps(longest: int, n_lines: int) -> int:
    """Steps of the next block of up to ``n_lines`` lines, of which one has ``longest`` samples left: a power of two, so that lines of any
    lengths meet in few blocks."""
    most = min(longest, max(1, BLOCK_ROWS // n_lines))
    return 1 << (most.bit_length() - 1)


def rings_after(ring: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """(n, ..., W) rings and the (T * n, ...) values of a block -> (T * n, ..., W) the ring after each of them: ``push`` T times."""
    n, width = len(ring), ring.shape[-1]
    steps = len(values) // max(n, 1)
    if steps <= 1:
        return push(ring, values)
    all_ = np.empty((*ring.shape[:-1], width + steps), ring.dtype)
    all_[..., :width] = ring
    all_[..., width:] = np.moveaxis(values.reshape(steps, n, *values.shape[1:]), 0, -1)
    every = np.lib.stride_tricks.sliding_window_view(all_, width, axis=-1)[..., 1:, :]
    return np.moveaxis(every, -2, 0).reshape(len(values), *ring.shape[1:])


def before_each(first: NDArray[Any], after: NDArray[Any]) -> NDArray[Any]:
    """What (n, ...) lines began with and the (T * n, ...) that they had after each step -> what they had before it."""
    return np.concatenate([first, after[: len(after) - len(first)]])


def counted(seen: NDArray[Any], n_values: int, most: int) -> NDArray[np.int64]:
    """(n,) samples seen before a block of ``n_values``, at most ``most`` -> (n_values,) seen after each."""
    step = np.arange(1, n_values // max(len(seen), 1) + 1)
    after: NDArray[np.int64] = np.minimum(seen + step[:, None], most)
    return after.reshape(-1)


def summed(first: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """(n,) sums before a block and its (T * n,) values -> (T * n,) the sum after each, added one after another."""
    n = len(first)
    sums: NDArray[Any]
    if len(values) == n:
        sums = first + values
        return sums
    sums = np.add.accumulate(np.concatenate([first[None], values.reshape(-1, n)]), axis=0)
    return sums[1:].reshape(-1)


def window_mean(ring: NDArray[np.float32], steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of the last ``steps[d]`` values of each detector; NaN values do not count.

    Args:
        ring: (n, D, W) with NaN where a detector abstained.
        steps: (D,) window of each detector, 1..W.

    Returns:
        (n, D) mean; NaN where less than ``MIN_SHARE`` of the window is present (at least one must be) or where the newest value is
        missing: a sample that was not judged gives no judgement.
    """
    longest = int(steps.max(initial=1))
    # Newest first, so that each step is one block of memory.
    values = np.ascontiguousarray(ring.transpose(2, 0, 1)[: -longest - 1 : -1])
    use = values == values  # not NaN
    newest = use[0].copy()
    use &= (np.arange(longest)[:, None] < steps)[:, None]
    values = np.where(use, values, np.float32(0.0))
    total = np.zeros(ring.shape[:2])
    for value in values:
        total += value
    count = np.add.reduce(use, axis=0, dtype=np.int64)
    enough = (count >= np.maximum(1, np.floor(steps * MIN_SHARE + 1e-9))) & newest
    return np.where(enough, total / np.maximum(count, 1), np.nan)

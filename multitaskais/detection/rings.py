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
    out[..., :-1] = ring[..., 1:]
    out[..., -1] = value
    return out


# ---------------------------------------------------------------- several steps of each line
#
# A block of T steps of n lines is T * n values: the first step of every line, then the second of every line, and so on.

BLOCK_ROWS = 4096  # values of one block, whose rows stay near the processor


def block_steps(longest: int, n_lines: int) -> int:
    """Steps of the next block of up to ``n_lines`` lines, of which one has ``longest`` samples left: a power of two, so that lines of any
    lengths meet in few blocks."""
    most = min(longest, max(1, BLOCK_ROWS // n_lines))
    return 1 << (most.bit_length() - 1)


def history(ring: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """(n, ..., W) rings and the (T * n, ...) values of a block -> (W + T, n, ...) all of them, oldest first: before step k the ring holds
    ``[k : k + W]``, after it ``[k + 1 : k + 1 + W]``."""
    n, width = len(ring), ring.shape[-1]
    n_steps = len(values) // max(n, 1)
    out = np.empty((width + n_steps, *ring.shape[:-1]), ring.dtype)
    out[:width] = np.moveaxis(ring, -1, 0)
    out[width:] = values.reshape(n_steps, *ring.shape[:-1])
    return out


def newest(history: NDArray[Any], width: int) -> NDArray[Any]:
    """(n, ..., W) the rings after all steps of a ``history``."""
    return np.moveaxis(history[len(history) - width :], 0, -1)


def oldest_before(history: NDArray[Any], width: int) -> NDArray[Any]:
    """(T * n, ...) what leaves the ring with each step of a ``history``."""
    return history[: len(history) - width].reshape(-1, *history.shape[2:])


def after_each(history: NDArray[Any], width: int) -> list[NDArray[Any]]:
    """W arrays (T * n, ...): of the ring after each step of a ``history`` its oldest value, the next, ... and its newest."""
    n_steps = len(history) - width
    return [history[k : k + n_steps].reshape(-1, *history.shape[2:]) for k in range(1, width + 1)]


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
    return window_means(np.moveaxis(ring, -1, 0), steps, ring.shape[-1] - 1)


def window_means(
    history: NDArray[np.float32], steps: NDArray[np.int64], width: int = RING_STEPS
) -> NDArray[np.float64]:
    """``window_mean`` after each step of a block: (width + T, n, D) ``history`` -> (T * n, D)."""
    n_steps = len(history) - width
    use = history == history  # not NaN
    values = np.where(use, history, np.float32(0.0))
    total = np.zeros((n_steps, *history.shape[1:]))
    count = np.zeros(total.shape, np.int64)
    for back in range(int(steps.max(initial=1))):
        mine = back < steps
        here = slice(width - back, width - back + n_steps)
        if mine.all():
            total += values[here]
            count += use[here]
        else:
            total += np.where(mine, values[here], np.float32(0.0))
            count += use[here] & mine
    enough = (count >= np.maximum(1, np.floor(steps * MIN_SHARE + 1e-9))) & use[width:]
    mean = np.where(enough, total / np.maximum(count, 1), np.nan)
    return mean.reshape(-1, history.shape[-1])

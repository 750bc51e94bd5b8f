"""Detectors and panels over whole tracks: many lines step together, several steps of each at once.

The same bits as live, whichever lines step together; used to calibrate, to set thresholds and in tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..row_bytes import put, take
from ..types import Samples
from .panel import Panel, StepResult
from .protocol import Detector, steps
from .rings import block_steps

TOGETHER = 2048  # lines that step together: their rows are held

Progress = Callable[[int, int], None]  # (samples done, of all)


def lines_of(samples: Samples) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of (m,) samples sorted by line: start of each line, and (m,) each sample's line.

    A line is a run of one vessel's samples whose ``n`` goes up by one from its first.
    """
    if not len(samples):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    fresh = np.ones(len(samples), bool)
    fresh[1:] = (samples["mmsi"][1:] != samples["mmsi"][:-1]) | (samples["n"][1:] != samples["n"][:-1] + 1)
    return np.flatnonzero(fresh), np.cumsum(fresh) - 1


def groups(samples: Samples) -> Iterator[slice]:
    """Runs of (m,) samples sorted by line, of ``TOGETHER`` lines each."""
    start, _ = lines_of(samples)
    yield from itertools.starmap(slice, itertools.pairwise([*start[::TOGETHER].tolist(), len(samples)]))


def batches(samples: Samples) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(lines, samples) indices of each step: the k-th sample of every line that has one."""
    start, _ = lines_of(samples)
    length = np.diff(np.append(start, len(samples)))
    for k in range(int(length.max(initial=0))):
        lines = np.flatnonzero(length > k)
        yield lines, start[lines] + k


def blocks(samples: Samples) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(lines (n,), samples (T * n,)) indices of blocks: the next T samples of each of n lines, the first of every line before the second
    of any. Over all blocks each line's samples come in their order."""
    start, _ = lines_of(samples)
    length = np.diff(np.append(start, len(samples)))
    done = np.zeros(len(start), np.int64)
    while True:
        left = length - done
        there = int((left > 0).sum())
        if not there:
            return
        n_steps = block_steps(int(left.max()), there)
        lines = np.flatnonzero(left >= n_steps)
        first = start[lines] + done[lines]
        yield lines, (first + np.arange(n_steps)[:, None]).reshape(-1)
        done[lines] += n_steps


def run_detector(
    detector: Detector, samples: Samples, progress: Progress | None = None
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """(m,) samples sorted by line -> (m,) scores and reasons."""
    score, reason = np.full(len(samples), np.nan), np.zeros(len(samples), np.uint8)
    done = 0
    for group in groups(samples):
        mine = samples[group]
        state = detector.initial(len(lines_of(mine)[0]))
        for lines, at in blocks(mine):
            state[lines], scores = steps(detector, state[lines], mine[at])
            score[group][at], reason[group][at] = scores.score, scores.reason
            done += len(at)
            if progress:
                progress(done, len(samples))
    return score, reason


def run_panel(panel: Panel, samples: Samples) -> StepResult:
    """(m,) samples sorted by line -> what the panel says of each."""
    out: list[NDArray[Any]] | None = None
    for group in groups(samples):
        mine = samples[group]
        rows = panel.initial(len(lines_of(mine)[0]))
        for lines, at in blocks(mine):
            after, _, result = panel.steps(take(rows, lines), take(mine, at))
            put(rows, lines, after)
            if out is None:
                out = [np.zeros((len(samples), *c.shape[1:]), c.dtype) for c in result]
            for whole, column in zip(out, result, strict=True):
                whole[group][at] = column
    return StepResult(*out) if out is not None else panel.step(panel.initial(0), samples)[1]

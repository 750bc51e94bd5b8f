"""Detectors and panels over whole tracks: all lines step together, the k-th samples of all lines in one batch.

The same ``step`` as live; used to calibrate, to set thresholds and in tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import Samples
from .panel import Panel, StepResult
from .protocol import Detector

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


def batches(samples: Samples) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(lines, samples) indices of each step: the k-th sample of every line that has one."""
    start, _ = lines_of(samples)
    length = np.diff(np.append(start, len(samples)))
    for k in range(int(length.max(initial=0))):
        lines = np.flatnonzero(length > k)
        yield lines, start[lines] + k


def run_detector(
    detector: Detector, samples: Samples, progress: Progress | None = None
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """(m,) samples sorted by line -> (m,) scores and reasons."""
    score, reason = np.full(len(samples), np.nan), np.zeros(len(samples), np.uint8)
    state = detector.initial(len(lines_of(samples)[0]))
    done = 0
    for lines, at in batches(samples):
        state[lines], scores = detector.step(state[lines], samples[at])
        score[at], reason[at] = scores.score, scores.reason
        done += len(at)
        if progress:
            progress(done, len(samples))
    return score, reason


def run_panel(panel: Panel, samples: Samples) -> StepResult:
    """(m,) samples sorted by line -> what the panel says of each."""
    rows = panel.initial(len(lines_of(samples)[0]))
    out: list[NDArray[Any]] | None = None
    for lines, at in batches(samples):
        rows[lines], result = panel.step(rows[lines], samples[at])
        if out is None:
            out = [np.zeros((len(samples), *c.shape[1:]), c.dtype) for c in result]
        for whole, column in zip(out, result, strict=True):
            whole[at] = column
    return StepResult(*out) if out is not None else panel.step(rows, samples)[1]

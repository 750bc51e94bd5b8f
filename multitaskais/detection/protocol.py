"""What a detector is. Calibration, decision, alert life and evaluation know this protocol and no detector by name.

A detector is causal, incremental and deterministic. Its state is a value: one row of ``state_dtype`` a track line,
kept by the fleet, written to bytes and back. A step takes the rows of many lines and their next samples and gives new
rows and one number a line. Detectors are found by the entry point group ``multitaskais.detectors``.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..config import DetectionRules, Region
from ..records import AlertType


class Scores(NamedTuple):
    """Of one step of n lines."""

    score: NDArray[np.float64]  # (n,) higher = stranger; NaN = abstains
    reason: NDArray[np.uint8]  # (n,) records.NotJudged; 0 where there is a score
    parts: NDArray[np.float64] | None = None  # (n, 4) strangeness by lat, lon, sog, cog; NaN where missing


@runtime_checkable
class Detector(Protocol):
    """One kind of strangeness.

    ``step`` must give bit-identical results for a line whatever other lines stand in the batch and in what order.
    A sample that the detector cannot use (moored, missing values, warm-up, unknown place) gets NaN and a reason, and
    still moves the state.
    """

    name: str
    alert_type: AlertType
    warmup_samples: int  # samples of a line before the first judgement
    state_dtype: np.dtype

    def initial(self, n: int) -> NDArray[np.void]:
        """(n,) rows of a line that has seen nothing."""

    def step(self, state: NDArray[np.void], samples: NDArray[np.void]) -> tuple[NDArray[np.void], Scores]:
        """state (n,) of ``state_dtype``, samples (n,) of ``SAMPLE_DTYPE`` -> the new state and the scores."""

    @classmethod
    def fit(cls, samples: NDArray[np.void], region: Region, rules: DetectionRules) -> Self:
        """Learn from the samples of normal tracks, sorted by line (``mmsi``, ``n``)."""

    def save(self, folder: Path) -> None:
        """Write all that ``load`` needs as files into ``folder``; nothing in them may name a vessel."""

    @classmethod
    def load(cls, folder: Path, region: Region, rules: DetectionRules) -> Self: ...

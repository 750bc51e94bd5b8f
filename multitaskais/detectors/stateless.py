"""Base of detectors that learn nothing from traffic: a model folder holds no file of theirs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Self

from ..config import DetectionRules, Region
from ..types import Samples


class NothingLearnt:
    """``fit`` and ``load`` give the same detector; ``save`` writes nothing."""

    def excluding_own(self) -> AbstractContextManager[None]:
        """No vessel's data are in it: its scores of any vessel may calibrate it."""
        return nullcontext()

    @classmethod
    def fit(cls, samples: Samples, region: Region, rules: DetectionRules) -> Self:
        return cls()

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def load(cls, folder: Path, region: Region, rules: DetectionRules) -> Self:
        return cls()

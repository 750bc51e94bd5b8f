"""The seam between the operator and what it runs: all of one partition is one value, moved by a pure fold.

The operator knows this protocol alone; the product's fold is ``multitaskais.engine.engine.PartitionEngine``.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from multitaskais.errors import ConfigError
from multitaskais.records import Alert, Counts, Reason, Verdict

from ..settings import Settings

if TYPE_CHECKING:
    from multitaskais.model.folder import Model

log = logging.getLogger("stream_operator")


class Events(Protocol):
    """What a run led to."""

    @property
    def alerts(self) -> Sequence[Alert]: ...
    @property
    def verdicts(self) -> Sequence[Verdict]: ...
    @property
    def rejected(self) -> Sequence[tuple[int, Reason]]: ...
    @property
    def counts(self) -> Counts: ...
    @property
    def steps(self) -> Sequence[tuple[int, float]]:
        """(lines, seconds) of each step of a model."""


class Core(Protocol):
    """A deterministic fold over one partition's log; the same log gives the same events however it is cut into runs."""

    def process(self, reports: NDArray[np.void]) -> Events: ...

    def advance_watermark(self, t: float) -> Events: ...

    def announce(self, version: str, source: str, since: float) -> bool:
        """A model speaks from ``since`` on; False when it would anyway. Raises ``ModelError`` when it is refused: all stays as it was."""

    def models(self) -> Sequence[tuple[Model, str]]:
        """The models in use, each with its role: ``before``, ``speaks``, ``next`` or ``challenger``."""

    def snapshot(self) -> dict[int, bytes | None]:
        """States of the vessels that changed since the last snapshot; None for a vessel that was forgotten."""

    def partition_state(self) -> bytes:
        """What belongs to the partition and to no vessel: its clock."""

    def open_track_counts(self) -> dict[tuple[str, str], int]:
        """Open tracks by (verdict, reason or empty)."""


class OpenCore(Protocol):
    """Makes the fold of one partition: fresh when ``partition_state`` is None, else as it was written."""

    def __call__(self, vessels: Iterable[tuple[int, bytes]], partition_state: bytes | None) -> Core: ...


def load(settings: Settings) -> OpenCore:
    """What the setting ``CORE`` names, called with the settings."""
    module, _, function = settings.core.partition(":")
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as e:
        raise ConfigError(f"CORE={settings.core!r}: cannot be imported ({e})") from None
    return make(settings)


def fleet(settings: Settings) -> OpenCore:
    """The product's fold with the model (and the challenger) of the settings, or the models that a stored state names."""
    from multitaskais.engine.engine import PartitionEngine

    from .registry import Models

    models = Models(settings)
    model, challenger = models.first, models.challenger
    if challenger is not None and challenger.region.to_dict() != model.region.to_dict():
        raise ConfigError(
            f"CHALLENGER={settings.challenger!r} is a model of region {challenger.region.name!r}, MODEL one of {model.region.name!r}: give two of one region"
        )
    log.info(
        "model %s %s, region %s%s",
        model.name,
        model.version,
        model.region.name,
        f", challenger {challenger.version}" if challenger else "",
    )

    def open_(vessels: Iterable[tuple[int, bytes]], partition_state: bytes | None) -> Core:
        fleet = PartitionEngine(
            model, challenger=challenger, timer=time.perf_counter, source=models.source, find=models.find
        )
        fleet.restore(vessels, partition_state, models.find_stored)
        return fleet

    return open_

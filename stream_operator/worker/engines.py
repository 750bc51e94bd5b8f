"""How a worker makes the engine of each partition that it is given.

An engine (``multitaskais.engine.engine.PartitionEngine``) holds all vessels of one partition. It is deterministic: the same log
gives the same events however it is cut into batches.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

from multitaskais.errors import ConfigError

from ..settings import Settings

if TYPE_CHECKING:
    from multitaskais.engine.engine import PartitionEngine

log = logging.getLogger("stream_operator")

# Makes the engine of one partition from (mmsi, state) of its vessels and the partition's own state: new when that is None, else
# as it was written.
OpenEngine: TypeAlias = "Callable[[Iterable[tuple[int, bytes]], bytes | None], PartitionEngine]"


def engine_opener(settings: Settings) -> OpenEngine:
    """Opens engines with the model (and the challenger) of the settings, or with the models that a stored state names.

    Raises:
        ConfigError: model and challenger are of two regions.
        ModelError: a model of the settings cannot be used.
    """
    from multitaskais.engine.engine import PartitionEngine
    from multitaskais.exact.tables import expect_much

    from .registry import Models

    models = Models(settings)
    expect_much()  # no report waits for it later
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
        extra={"version": model.version},
    )

    def open_engine(vessels: Iterable[tuple[int, bytes]], partition_state: bytes | None) -> PartitionEngine:
        engine = PartitionEngine(
            model,
            challenger=challenger,
            keep_samples=settings.keeps_samples,
            timer=time.perf_counter,
            source=models.source,
            find=models.find,
        )
        engine.restore(vessels, partition_state, models.find_stored)
        return engine

    return open_engine

"""A small panel of real detectors on a plain lane."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np

from multitaskais.detection.threshold import Budget
from multitaskais.model.fit import fit_model
from multitaskais.model.folder import Model
from tests.support.lane_traffic import REGION, sail

DETECTORS = ("place", "cells", "contradiction", "loitering", "drift", "speed")
MMSI0 = 228_000_000


def fleet(ships: int, seed: int, first: int = 0, length: int = 40) -> np.ndarray:
    """Ships to the east on one lane, each with its own speed; sorted by line."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [
            sail(
                MMSI0 + first + k,
                length,
                lat=48.0 + rng.normal(0, 0.004),
                lon=-7.5 + rng.uniform(0, 0.3),
                sog=rng.normal(11, 1) + rng.normal(0, 0.3, length),
                cog=90 + rng.normal(0, 2, length),
            )
            for k in range(ships)
        ]
    )


@lru_cache(maxsize=1)
def model() -> Model:
    return fit_model(
        fleet(40, 1),
        fleet(30, 2, 100),
        REGION,
        name="lane",
        detectors=DETECTORS,
        budget=Budget(0.05),
        credits=["nobody"],
    )


def touchy() -> Model:
    """``model()`` that raises alerts at little: most lines have some, so that their lives are compared."""
    found = model()
    thresholds = found.panel.thresholds
    assert thresholds is not None
    low = dataclasses.replace(thresholds, by_type=0.4 * np.asarray(thresholds.by_type))
    panel = type(found.panel)(found.panel.detectors, found.panel.calibrations, low, found.detection_rules)
    return dataclasses.replace(found, panel=panel)

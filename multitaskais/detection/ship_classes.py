"""Vessel classes, from the ship type of ITU-R M.1371 (table 53); the same numbers as MarineCadastre's VesselType below 100."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CLASSES = ("fishing", "tow", "tug", "pleasure", "passenger", "cargo", "tanker")

_TABLE = np.full(256, -1, np.int8)
for _name, _codes in {
    "fishing": [30],
    "tow": [31, 32],
    "tug": [52],
    "pleasure": [36, 37],
    "passenger": range(60, 70),
    "cargo": range(70, 80),
    "tanker": range(80, 90),
}.items():
    _TABLE[list(_codes)] = CLASSES.index(_name)


def vessel_class(ship_type: NDArray[np.integer]) -> NDArray[np.int64]:
    """(n,) ship types -> (n,) index into ``CLASSES``, -1 for all others and unknown."""
    known = (ship_type >= 0) & (ship_type < 256)
    return np.where(known, _TABLE[np.where(known, ship_type, 0)], -1).astype(np.int64)


# What people are shown of a ship that has no class of its own: too few, or too various, to learn from.
_OTHERS = {"high speed": range(40, 50), "pilot or rescue": (50, 51), "authority": (35, 55)}
SHOWN_CLASSES = (*CLASSES, *_OTHERS, "other", "unknown")


def shown_class(ship_type: int) -> str:
    """One of ``SHOWN_CLASSES``: ``unknown`` for -1 and 0 (not available), ``other`` for what has no name here."""
    if not 0 < ship_type < 256:
        return "unknown"
    return class_name(ship_type) or next((name for name, types in _OTHERS.items() if ship_type in types), "other")


def class_name(ship_type: int) -> str | None:
    k = int(vessel_class(np.array([ship_type]))[0])
    return None if k < 0 else CLASSES[k]

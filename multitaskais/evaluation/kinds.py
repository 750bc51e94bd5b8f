"""Words of the evaluation: which causes name an anomaly rightly, and classes of ships."""

from __future__ import annotations

from ..detection.ship_classes import class_name
from ..records import Cause

# Which causes name a kind rightly; by the first word of the kind, so that shift_2km and shift_10km are both a shift.
RIGHT_CAUSES: dict[str, frozenset[Cause]] = {
    "shift": frozenset({Cause.OUT_OF_PLACE}),
    "detour": frozenset({Cause.OUT_OF_PLACE, Cause.COURSE}),
    "reversed": frozenset({Cause.COURSE}),
    "reverse": frozenset({Cause.COURSE}),
    "slow": frozenset({Cause.SPEED, Cause.DRIFT}),
    "half": frozenset({Cause.SPEED, Cause.DRIFT}),
    "fast": frozenset({Cause.SPEED}),
    "drift": frozenset({Cause.DRIFT}),
    "loiter": frozenset({Cause.LOITERING}),
    "spoof": frozenset({Cause.CONTRADICTION}),
    "contradiction": frozenset({Cause.CONTRADICTION}),
    "jump": frozenset({Cause.JUMP, Cause.IDENTITY_CONFLICT}),
}


def right_causes(kind: str) -> frozenset[Cause]:
    """Empty for a kind that is not known: it is then left out of the share named right."""
    word = kind.lower().replace("-", "_").split("_")[0].rstrip("0123456789km")
    return RIGHT_CAUSES.get(kind.lower(), RIGHT_CAUSES.get(word, frozenset()))


def vessel_class(ship_type: int) -> str:
    """The class of an AIS ship type; ``unknown`` for -1 and 0 (not available), ``other`` for what has no class of its own."""
    if ship_type <= 0:
        return "unknown"
    return class_name(ship_type) or "other"

"""Who sails: classes of ships with their speeds and habits, and invented identities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..types import StaticRows

STATIC_DTYPE = np.dtype(
    [
        ("mmsi", "i8"),
        ("class_b", "?"),
        ("imo", "i8"),  # 0 when the ship has none
        ("ship_type", "i2"),
        ("ship_name", "S20"),
        ("call_sign", "S7"),
        ("length_m", "i2"),
        ("beam_m", "i2"),
    ]
)


@dataclass(frozen=True)
class ShipClass:
    """Speeds in knots; ``wander`` scales how far from the middle of a lane such ships keep."""

    name: str
    ship_types: tuple[int, ...]  # ITU-R M.1371-5 table 53
    speed: float
    speed_sd: float
    speed_min: float
    speed_max: float
    length_m: tuple[int, int]
    interval_s: tuple[float, float]  # mean time between received reports
    wander: float = 1.0
    class_b: bool = False


CLASSES = {
    c.name: c
    for c in (
        ShipClass("cargo", (70, 70, 70, 71, 72, 79), 12.5, 1.6, 9.0, 16.5, (120, 229), (32, 55)),
        ShipClass("fast_cargo", (70, 71, 72, 79), 17.0, 1.6, 14.0, 21.0, (200, 399), (30, 50)),
        ShipClass("tanker", (80, 80, 81, 82, 89), 12.0, 1.1, 9.5, 14.5, (110, 274), (32, 55)),
        ShipClass("coaster", (70, 79, 80), 10.5, 1.2, 8.0, 13.5, (70, 119), (35, 58)),
        ShipClass("tug", (31, 52), 9.0, 1.0, 6.5, 11.5, (25, 60), (35, 58)),
        ShipClass("ferry", (60, 69), 21.0, 1.2, 18.0, 25.0, (140, 215), (28, 45), wander=0.7),
        ShipClass("island_ferry", (60,), 15.0, 0.8, 13.0, 17.0, (35, 45), (30, 45), wander=0.7),
        ShipClass("fishing", (30,), 9.0, 0.8, 7.0, 10.5, (14, 38), (35, 60)),
        ShipClass("pleasure", (36, 37), 5.5, 0.9, 4.0, 8.5, (8, 16), (50, 75), class_b=True),
    )
}

_MID = (226, 227, 228, 232, 235, 244, 255, 304, 305, 538, 563, 636, 219, 249, 256)  # ITU maritime identification digits
_FIRST = ("ARMOR", "CELTIC", "NORTHERN", "BALTIC", "ATLANTIC", "ATLAS", "BLUE", "CAPE", "CORAL", "EASTERN", "GOLDEN", "GRAND", "HARBOUR", "IRIS", "JADE",
          "KERVOR", "LUNAR", "MARIS", "NOVA", "OCEAN", "PEARL", "POLAR", "QUIET", "ROSCO", "SILVER", "SOUTHERN", "STELLA", "TERRA", "UNION", "VEGA")  # fmt: skip
_SECOND = ("ARROW", "BAY", "BREEZE", "CARRIER", "CREST", "DAWN", "EAGLE", "FALCON", "GULL", "HORIZON", "ISLE", "LADY", "LINER", "MOON", "PETREL",
           "PIONEER", "PRIDE", "QUEEN", "SKY", "SPIRIT", "STAR", "STREAM", "SUN", "TERN", "TIDE", "TRADER", "VENTURE", "VOYAGER", "WAVE", "WIND")  # fmt: skip


def identities(classes: list[ShipClass], rng: np.random.Generator) -> StaticRows:
    """One row of ``STATIC_DTYPE`` a ship: distinct valid MMSI, invented names, sizes that suit the class."""
    n = len(classes)
    rows = np.zeros(n, STATIC_DTYPE)
    serials = rng.choice(999_999, size=n, replace=False) + 1  # distinct, so that MMSI are, whatever the flag
    rows["mmsi"] = rng.choice(_MID, n) * 1_000_000 + serials
    letters = np.array(list("ABCDEFGHKLMNPQRSTUVWXYZ"))
    for i, c in enumerate(classes):
        length = int(rng.integers(c.length_m[0], c.length_m[1] + 1))
        rows[i] = (
            rows["mmsi"][i],
            c.class_b,
            0 if length < 60 else 9_000_000 + int(serials[i]),
            int(rng.choice(c.ship_types)),
            f"{rng.choice(_FIRST)} {rng.choice(_SECOND)}"[:20].encode(),
            ("F" + "".join(rng.choice(letters, 3)) + str(rng.integers(10))).encode(),
            length,
            max(3, round(length / 6.5)),
        )
    return rows

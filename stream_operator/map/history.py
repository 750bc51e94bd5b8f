"""An hour of everybody's past as one block of bytes that a browser reads without parsing."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

from .ships import PAST_DTYPE, Ship

LEAD_S = 900.0  # positions before the block, so that ships can be drawn from its first second
NO_COURSE = 0xFFFF
HEADER = struct.Struct("<4sIId")


def pack(ships: Iterable[Ship], t0: float, t1: float) -> bytes:
    """All past positions with ``t0 - LEAD_S <= t <= t1``.

    Little endian: ``AIS1``, u4 ships m, u4 positions n, f8 base (Unix s) | u4[m] MMSI | u4[m + 1] first position of each ship |
    f4[n] lat | f4[n] lon | u2[n] s since base | u2[n] course in 0.1 deg (65535 none) | u1[n] verdict code.

    Raises:
        ValueError: the span does not fit into 16 bits of seconds.
    """
    base = t0 - LEAD_S
    if not 0 <= t1 - base < 65535:
        raise ValueError("the span of a replay block is at most 18 hours")
    mmsis, parts, codes = [], [], []
    for ship in ships:
        rows = ship.past.between(base, t1)
        if not len(rows):
            continue
        mmsis.append(ship.mmsi)
        parts.append(rows)
        steps = ship.steps
        table = np.array([0, *(s.code for s in steps)], np.uint8)
        codes.append(table[np.searchsorted([s.t for s in steps], rows["t"], "right")])
    rows = np.concatenate(parts) if parts else np.empty(0, PAST_DTYPE)
    starts = np.concatenate([[0], np.cumsum([len(p) for p in parts])])
    course = np.where(np.isnan(rows["cog"]), NO_COURSE, np.round(np.nan_to_num(rows["cog"]) * 10.0))
    return b"".join(
        [
            HEADER.pack(b"AIS1", len(mmsis), len(rows), base),
            np.array(mmsis, "<u4").tobytes(),
            starts.astype("<u4").tobytes(),
            rows["lat"].astype("<f4").tobytes(),
            rows["lon"].astype("<f4").tobytes(),
            np.floor(rows["t"] - base).astype("<u2").tobytes(),
            course.astype("<u2").tobytes(),
            (np.concatenate(codes) if codes else np.empty(0, np.uint8)).tobytes(),
        ]
    )

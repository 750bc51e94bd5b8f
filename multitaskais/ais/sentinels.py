"""What AIS writes for "not available" (ITU-R M.1371-5, tables 45 to 48 and 52), and how columns of it become missing: NaN, -1 or empty.

All readers end here: sentences (``positions``), tables (``tables.columns``), the topic, requests to the score server, labelled tables.
The block path (``vectorized``) applies the same constants to raw bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records import REPORT_DTYPE

MMSI_MAX = 999_999_999  # nine digits; 30 bits reach beyond
LAT_MAX, LON_MAX = 90.0, 180.0  # 91 and 181 mean not available; all beyond the poles and the date line is no position
SOG_NOT_AVAILABLE = 102.3  # raw 1023; 102.2 means "102.2 or more" and stays
SOG_NOT_AVAILABLE_27 = 63.0
ANGLE_END_DEG = 360.0  # course: 360 means not available; heading: 511
NAV_STATUS_MAX, MSG_TYPE_MAX, SHIP_TYPE_MAX, SECOND_MAX = 15, 27, 255, 59
MOORED_STATUS = (1, 5)  # at anchor, moored: the vessel is not under way
NAME_BYTES = 20
STATION_BYTES = REPORT_DTYPE["station"].itemsize  # NMEA 0183: 15 characters in a tag block
_CONTROLS = bytes([*range(0x20), 0x7F])  # no six-bit character is one; JSON and CSV can carry them

Floats = NDArray[np.float64]


def known_positions(lat: Floats, lon: Floats) -> tuple[Floats, Floats]:
    """(n,) degrees; both NaN where one of them is no place on Earth."""
    there = (np.abs(lat) <= LAT_MAX) & (np.abs(lon) <= LON_MAX)
    return np.where(there, lat, np.nan), np.where(there, lon, np.nan)


def known_speeds(sog: Floats) -> Floats:
    """(n,) knots; NaN below 0 and where it rounds to ``SOG_NOT_AVAILABLE`` or more."""
    return np.where((sog >= 0.0) & (sog <= SOG_NOT_AVAILABLE - 0.05), sog, np.nan)


def known_angles(angle: Floats) -> Floats:
    """(n,) degrees in [0, 360), of course or heading; NaN elsewhere."""
    return np.where((angle >= 0.0) & (angle < ANGLE_END_DEG), angle, np.nan)


def known_codes(number: Floats, greatest: int, least: int = 0) -> NDArray[np.int64]:
    """(n,) whole numbers ``least..greatest``; -1 elsewhere."""
    known = (number >= least) & (number <= greatest) & (number == np.floor(number))
    return np.where(known, number, -1.0).astype(np.int64)


def clean_name(text: Any) -> bytes:
    """Of a ship, or its call sign: ASCII up to the first '@' (the padding), without control characters and spaces at its ends."""
    if text is None:
        return b""
    raw = text if isinstance(text, bytes) else str(text).encode("ascii", "replace")
    return raw.split(b"@", 1)[0].translate(None, _CONTROLS).strip()[:NAME_BYTES]


def clean_station(text: bytes | str) -> bytes:
    """As it is kept in a report: printable ASCII, cut."""
    raw = text if isinstance(text, bytes) else text.encode("ascii", "replace")
    return bytes(c for c in raw[:STATION_BYTES] if 0x20 < c < 0x7F)

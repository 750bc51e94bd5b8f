"""What can be said of a report alone: whether its fields can be right. Vectorised; the first rule that fails names the reason."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..ais.sentinels import LAT_MAX, LON_MAX
from ..config import Region, TrackRules
from ..records import Reason
from ..times import LATEST
from ..types import Reports

# The code of a report is an index into this table; 0 = accepted so far. The order is part of stored tables: append only.
REASONS: tuple[Reason, ...] = (
    cast(Reason, None),
    Reason.BAD_MMSI,
    Reason.NO_TIME,
    Reason.NO_POSITION,
    Reason.OUT_OF_REGION,
    Reason.SOG_NOT_AVAILABLE,
    Reason.TOO_FAST,
    Reason.FUTURE,
    Reason.BEHIND,
    Reason.LATE,
    Reason.DUPLICATE,
    Reason.DISPLACED,
    Reason.STATION_CLOCK,
    Reason.TOO_MANY,
)
CODE: dict[Reason, int] = {reason: i for i, reason in enumerate(REASONS) if i}

# ITU-R M.585: a ship's MMSI is MIDxxxxxx, a craft that belongs to a ship 98MIDxxxx; MIDs run from 201 to 775. All of that
# range is taken, also countries not (yet) assigned. Left out are coast stations (00MID), groups (0MID), search aircraft
# (111MID), hand-held radios (8MID), aids to navigation (99MID), and distress beacons (970, 972, 974): none is a vessel under way.
SHIP_MMSI = (201_000_000, 775_999_999)
CRAFT_MMSI = (982_010_000, 987_759_999)
# A Unix time outside 1990..2100 is a field that was never filled or holds another unit.
TIME_RANGE_S = (631_152_000.0, LATEST)
# From here on a report does not say how fast its ship is (ITU-R M.1371-5: 1022 is "102.2 knots or higher").
SOG_OR_MORE_KNOTS = 102.2


def screen(reports: Reports, region: Region | None, rules: TrackRules) -> NDArray[np.uint8]:
    """Codes (n,), indices into ``REASONS``, of (n,) reports of ``REPORT_DTYPE``; 0 where nothing is wrong.

    Args:
        region: its box, half open; None takes the whole world.
    """
    mmsi, t, lat, lon, sog = (reports[name] for name in ("mmsi", "t", "lat", "lon", "sog"))
    plausible = ((mmsi >= SHIP_MMSI[0]) & (mmsi <= SHIP_MMSI[1])) | ((mmsi >= CRAFT_MMSI[0]) & (mmsi <= CRAFT_MMSI[1]))
    # Written as "not inside" so that NaN fails.
    has_time = (t >= TIME_RANGE_S[0]) & (t < TIME_RANGE_S[1])
    has_position = (np.abs(lat) <= LAT_MAX) & (np.abs(lon) <= LON_MAX)
    codes = np.where(sog > rules.speed_max_knots, CODE[Reason.TOO_FAST], 0).astype(np.uint8)
    codes[~(sog >= 0.0)] = CODE[Reason.SOG_NOT_AVAILABLE]
    if region is not None:
        codes[~region.contains(lat, lon)] = CODE[Reason.OUT_OF_REGION]
    codes[~has_position] = CODE[Reason.NO_POSITION]
    codes[~has_time] = CODE[Reason.NO_TIME]
    codes[~plausible] = CODE[Reason.BAD_MMSI]
    return codes


def of_fast_craft(reports: Reports, codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(n,) which reports are left out of tracks for their speed alone (``codes`` of ``screen``), and say what it is."""
    fast: NDArray[np.bool_] = (codes == CODE[Reason.TOO_FAST]) & (reports["sog"] < SOG_OR_MORE_KNOTS)
    return fast

"""A decoded message -> the position report or the static data that it carries; what a vessel has said about itself.

Raw values that mean "not available" (``sentinels``) become NaN or -1; the block path (``vectorized.block``) applies the same constants to arrays.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..records import REPORT_DTYPE, PositionReport, Reason
from ..types import Reports
from .sentinels import ANGLE_END_DEG, LAT_MAX, LON_MAX, MMSI_MAX, SOG_NOT_AVAILABLE, SOG_NOT_AVAILABLE_27, clean_name

NAN = float("nan")

POSITION_TYPES = frozenset({1, 2, 3, 18, 19, 27})
STATIC_TYPES = frozenset({5, 24})  # and 19, which is both
KNOWN_TYPES = frozenset(range(1, 28))

HEADING_END_BIT = {1: 137, 2: 137, 3: 137, 18: 133, 19: 133, 27: 94}  # a shorter payload has lost part of the report
SECOND_END_BIT = {1: 143, 2: 143, 3: 143, 18: 139, 19: 139}
SHIP_TYPE_BIT = {5: 232, 19: 263}  # read raw: pyais folds the spare codes (57, 71, ...) into their neighbours


class StaticData(NamedTuple):
    """What a vessel says about itself (types 5, 19, 24). A part that its message does not carry is None or -1."""

    mmsi: int
    t: float  # Unix s, NaN when unknown
    msg_type: int
    name: bytes | None  # six-bit ASCII without padding
    ship_type: int  # ITU-R M.1371 1..255, -1 unknown (0 on the air)
    callsign: bytes | None
    imo: int  # -1 unknown (0 on the air)
    to_bow: int  # m from the antenna, -1 unknown
    to_stern: int
    to_port: int
    to_starboard: int

    @property
    def length(self) -> int:
        """m, -1 unknown."""
        return (
            self.to_bow + self.to_stern if min(self.to_bow, self.to_stern) >= 0 and self.to_bow + self.to_stern else -1
        )

    @property
    def width(self) -> int:
        """m, -1 unknown."""
        both = self.to_port + self.to_starboard
        return both if min(self.to_port, self.to_starboard) >= 0 and both else -1


def report_of(msg_type: int, m: Any, bv: Any, t: float) -> PositionReport | Reason:
    """The report in a pyais message of a position type (``bv``: its bits); else why there is none."""
    if msg_type not in POSITION_TYPES:
        return Reason.NOT_A_POSITION if msg_type in KNOWN_TYPES else Reason.UNKNOWN_TYPE
    if len(bv) < HEADING_END_BIT[msg_type]:
        return Reason.MALFORMED
    if t != t:
        return Reason.NO_TIME
    if not 0 < m.mmsi <= MMSI_MAX:
        return Reason.BAD_MMSI
    if not (abs(m.lat) <= LAT_MAX and abs(m.lon) <= LON_MAX):
        return Reason.NO_POSITION
    sog_missing = SOG_NOT_AVAILABLE_27 if msg_type == 27 else SOG_NOT_AVAILABLE
    heading = 511 if msg_type == 27 else m.heading
    return PositionReport(
        mmsi=int(m.mmsi),
        t=t,
        lat=m.lat,
        lon=m.lon,
        sog=NAN if m.speed >= sog_missing else float(m.speed),
        cog=NAN if m.course >= ANGLE_END_DEG else float(m.course),
        heading=NAN if heading >= ANGLE_END_DEG else float(heading),
        nav_status=-1 if msg_type in (18, 19) else int(m.status),
        msg_type=msg_type,
        second=second_of(m, bv),
    )


def second_of(m: Any, bv: Any) -> int:
    """UTC second of the fix in a pyais message; -1 where the ship does not know it (60 and above) or the message has none."""
    if len(bv) < SECOND_END_BIT.get(m.msg_type, 1 << 16):
        return -1
    return int(m.second) if 0 <= m.second < 60 else -1


def _static_bits(msg_type: int, m: Any) -> int:
    """Least length that holds name and type whole."""
    if msg_type == 24:
        return 160 if getattr(m, "partno", 1) == 0 else 48
    return SHIP_TYPE_BIT[msg_type] + 8


def static_of(msg_type: int, m: Any, bv: Any, t: float) -> StaticData | None:
    """The static data in a pyais message of type 5, 19 or 24; None when it carries none."""
    if msg_type not in (5, 19, 24) or len(bv) < _static_bits(msg_type, m) or not 0 < m.mmsi <= MMSI_MAX:
        return None

    def number(name: str) -> int:
        value = getattr(m, name, None)
        return -1 if value is None else int(value)

    ship_type = number("ship_type")
    if ship_type >= 0 and (bit := SHIP_TYPE_BIT.get(msg_type)) is not None:
        ship_type = bv.get(bit, 8)
    return StaticData(
        mmsi=int(m.mmsi),
        t=t,
        msg_type=msg_type,
        name=clean_name(getattr(m, "shipname", None)) or None,
        ship_type=ship_type or -1,
        callsign=clean_name(getattr(m, "callsign", None)) or None,
        imo=number("imo") or -1,
        to_bow=number("to_bow"),
        to_stern=number("to_stern"),
        to_port=number("to_port"),
        to_starboard=number("to_starboard"),
    )


class Heard(NamedTuple):
    """Of one vessel: the last name and type it gave."""

    ship_type: int = -1
    name: bytes = b""


class StaticMemory:
    """Name and type by MMSI, as heard so far in one archive; a message that lacks one leaves the older."""

    def __init__(self) -> None:
        self._heard: dict[int, Heard] = {}
        self._sorted: tuple[NDArray[np.int64], NDArray[np.void]] | None = None

    def __len__(self) -> int:
        return len(self._heard)

    def get(self, mmsi: int) -> Heard:
        return self._heard.get(mmsi, Heard())

    def hear(self, data: StaticData) -> bool:
        """True when this changed what is known."""
        old = self.get(data.mmsi)
        new = Heard(data.ship_type if data.ship_type > 0 else old.ship_type, data.name or old.name)
        if new == old:
            return False
        self._heard[data.mmsi] = new
        self._sorted = None
        return True

    def attach(self, reports: Reports) -> None:
        """Fill ``ship_type`` and ``ship_name`` of reports, in place, with what is known now."""
        if not self._heard or not len(reports):
            return
        if self._sorted is None:
            known = np.array(sorted(self._heard), dtype=np.int64)
            rows = np.array(
                [tuple(self._heard[k]) for k in known.tolist()], dtype=[("ship_type", "i2"), ("name", "S20")]
            )
            self._sorted = known, rows
        known, rows = self._sorted
        at = np.searchsorted(known, reports["mmsi"])
        at[at == len(known)] = 0
        hit = np.flatnonzero(known[at] == reports["mmsi"])
        reports["ship_type"][hit] = rows["ship_type"][at[hit]]
        reports["ship_name"][hit] = rows["name"][at[hit]]


def rows_to_array(rows: list[PositionReport]) -> Reports:
    """(n,) of ``REPORT_DTYPE``."""
    return np.array(rows, dtype=REPORT_DTYPE) if rows else np.zeros(0, dtype=REPORT_DTYPE)

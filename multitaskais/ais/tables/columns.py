"""Mapping: columns of an archive -> ``REPORT_DTYPE``: its units, codes, times and points, and what it writes for "not available"."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ... import times
from ...errors import FormatError
from ...records import REPORT_DTYPE, Counts, Reason
from ...stamps import ahead_of_second
from ...types import Reports
from ..sentinels import (
    ANGLE_END_DEG,
    LAT_MAX,
    LON_MAX,
    MMSI_MAX,
    MSG_TYPE_MAX,
    NAV_STATUS_MAX,
    SECOND_MAX,
    SHIP_TYPE_MAX,
    SOG_NOT_AVAILABLE,
    clean_name,
    clean_station,
    known_codes,
)

INNER = "\x1e"  # a delimiter within a quoted field, while the row is taken apart

# ITU-R M.1371-5 table 45, as the archives spell it
_NAV_STATUS = {
    "under way using engine": 0,
    "at anchor": 1,
    "not under command": 2,
    "restricted manoeuvrability": 3,
    "restricted maneuverability": 3,
    "constrained by her draught": 4,
    "moored": 5,
    "aground": 6,
    "engaged in fishing": 7,
    "under way sailing": 8,
    "reserved for future amendment [hsc]": 9,
    "reserved for future amendment [wig]": 10,
    "power-driven vessel towing astern": 11,
    "power-driven vessel pushing ahead or towing alongside": 12,
    "reserved for future use [13]": 13,
    "reserved for future use": 13,
    "ais-sart": 14,
    "ais-sart (active)": 14,
    "undefined": 15,
    "not defined": 15,
}
# ITU-R M.1371-5 table 53, as the Danish archive spells it
_SHIP_TYPE = {
    "wig": 20,
    "fishing": 30,
    "towing": 31,
    "towing long/wide": 32,
    "dredging": 33,
    "diving": 34,
    "military": 35,
    "sailing": 36,
    "pleasure": 37,
    "hsc": 40,
    "pilot": 50,
    "sar": 51,
    "tug": 52,
    "port tender": 53,
    "anti-pollution": 54,
    "law enforcement": 55,
    "spare 1": 56,
    "spare 2": 57,
    "medical": 58,
    "not party to conflict": 59,
    "passenger": 60,
    "cargo": 70,
    "tanker": 80,
    "other": 90,
}
# MarineCadastre files before 2018 carry codes of the vessel register in place of the air's (their vessel type table)
_REGISTER_TYPE = {1001: 30, 1002: 30, 1003: 70, 1004: 70, 1012: 60, 1013: 60, 1014: 60, 1015: 60, 1016: 70, 1017: 80}
_REGISTER_TYPE |= {1019: 37, 1023: 52, 1024: 80, 1025: 31}
_VESSELS = {"class a", "class b"}  # other mobiles of the Danish archive are stations, marks and aircraft


def to_reports(
    columns: dict[str, pa.Array],
    archive_format: str,
    day_first: bool | None = None,
    path: str = "",
    factors: Mapping[str, float] | None = None,
) -> tuple[Reports, Counts]:
    """Columns of n rows -> the accepted reports and the counts of all rows.

    Args:
        factors: our field -> to our unit from that of the column, where it is said (``layout.factors_of``).

    Raises ``FormatError`` where day and month of its dates could be either, or the speeds are tenths of knots and nothing says so.
    """
    factors = factors or {}
    n = len(columns["mmsi"])
    mmsi = _floats(columns["mmsi"])
    if "time_of_day" in columns:
        columns = columns | {"t": _moments(columns["t"], columns["time_of_day"])}
    t = _times(columns["t"], True if archive_format == "dma" and day_first is None else day_first, path)
    if "lat" in columns and "lon" in columns:
        lat, lon = (_floats(columns[name]) * factors.get(name, 1.0) for name in ("lat", "lon"))
    else:
        lat, lon = points_of(columns["geometry"], path)
    reason = np.zeros(n, dtype=np.uint8)
    tests: list[tuple[Reason, NDArray[np.bool_]]] = [
        (Reason.NO_TIME, np.isnan(t)),
        (Reason.BAD_MMSI, ~((mmsi >= 1) & (mmsi <= MMSI_MAX))),
        (Reason.NO_POSITION, ~((np.abs(lat) <= LAT_MAX) & (np.abs(lon) <= LON_MAX))),
    ]
    if "mobile" in columns:
        vessel = _mapped(columns["mobile"], dict.fromkeys(_VESSELS, 1), 0) == 1
        tests.insert(0, (Reason.NOT_A_POSITION, ~vessel))
    counts = Counts(received=n)
    for i, (why, failed) in enumerate(tests):
        new = failed & (reason == 0)
        reason[new] = i + 1
        counts.reject(why, int(np.count_nonzero(new)))
    keep = np.flatnonzero(reason == 0)
    counts.accepted = len(keep)
    out = np.zeros(len(keep), dtype=REPORT_DTYPE)
    out["mmsi"], out["t"], out["lat"], out["lon"] = mmsi[keep], t[keep], lat[keep], lon[keep]
    for name, missing_from, decimals in (
        ("sog", SOG_NOT_AVAILABLE, 1),
        ("cog", ANGLE_END_DEG, 1),
        ("heading", ANGLE_END_DEG, 0),
    ):
        out[name], lost = _measured(columns, name, keep, missing_from, decimals, factors.get(name), path)
        counts.blank(name, lost)
    out["nav_status"] = _codes(columns, "nav_status", keep, _NAV_STATUS, NAV_STATUS_MAX, 0)
    out["msg_type"] = _codes(columns, "msg_type", keep, {}, MSG_TYPE_MAX, 1)
    out["ship_type"] = _codes(
        columns, "ship_type", keep, _SHIP_TYPE | {str(k): v for k, v in _REGISTER_TYPE.items()}, SHIP_TYPE_MAX, 1
    )
    out["second"] = _codes(columns, "second", keep, {}, SECOND_MAX, 0)
    _compare(out, counts)
    if "ship_name" in columns:
        names = columns["ship_name"].take(pa.array(keep)).to_pylist()
        out["ship_name"] = [_name(v) for v in names]
    if "station" in columns:
        stations = columns["station"].take(pa.array(keep)).to_pylist()
        out["station"] = [clean_station(v if isinstance(v, bytes) else str(v or "")) for v in stations]
    return out, counts


# Whole numbers, many different ones, and half of those that are not 0 above this: in knots no traffic is so fast.
TENTHS_FROM, TENTHS_VALUES, TENTHS_DISTINCT = 45.0, 20, 10


def _require_knots(sog: NDArray[np.float64], path: str) -> None:
    """Raises ``FormatError`` where speeds can only be tenths of knots, as some exports write them."""
    for some in (sog[: 10 * TENTHS_VALUES], sog):  # nearly always a few show that they are no whole numbers
        moving = some[(some > 0.0) & (some <= 1022.0)]
        if not (moving == np.rint(moving)).all():
            return
    if len(moving) < TENTHS_VALUES:
        return
    if np.median(moving) > TENTHS_FROM and len(np.unique(moving)) >= TENTHS_DISTINCT:
        raise FormatError(
            f"{path}: its speeds are whole numbers, half of them above {TENTHS_FROM:g}: tenths of knots? "
            "Say their unit, such as --columns 'sog=SPEED[1/10 kn]' (or [kn], [km/h], [m/s])"
        )


def _compare(reports: Reports, counts: Counts) -> None:
    counts.stamps.compare(ahead_of_second(reports["t"], reports["second"]))
    counts.stamps.see(reports["t"])


def _name(value: object) -> bytes:
    raw = value.encode("ascii", "replace") if isinstance(value, str) else value
    return clean_name(raw.replace(INNER.encode(), b",")) if isinstance(raw, bytes) and raw != b"Unknown" else b""


# Values that say "not available" and are no loss: ITU-R M.1371-5, and what archives write for it.
_SENTINELS = {"sog": (102.3, -0.1, 1023.0), "cog": (360.0, 409.5, 511.0, -49.6, 3600.0), "heading": (511.0, 360.0)}
COG_WRAP_DEG = 409.6  # a course of 12 bits that was read as a signed number: -149.6 is 260.0


def _measured(
    columns: dict[str, pa.Array],
    name: str,
    keep: NDArray[np.int64],
    missing_from: float,
    decimals: int,
    factor: float | None,
    path: str,
) -> tuple[NDArray[np.float64], int]:
    """Rounded to the resolution of the air; NaN below 0 and from ``missing_from`` on; and how many values that blanked."""
    if name not in columns:
        return np.full(len(keep), np.nan), 0
    value = _floats(columns[name])[keep]
    if name == "sog" and factor is None:
        _require_knots(value, path)
    value = np.round(value if factor is None else value * factor, decimals)
    if name == "cog":
        wrapped = (value < 0) & (value >= -COG_WRAP_DEG / 2)
        value = np.where(wrapped, np.round(value + COG_WRAP_DEG, decimals), value)
    good = (value >= 0) & (value < missing_from)
    blanked = ~good & ~np.isnan(value) & ~np.isin(value, _SENTINELS[name])
    return np.where(good, value, np.nan), int(np.count_nonzero(blanked))


def _codes(
    columns: dict[str, pa.Array], name: str, keep: NDArray[np.int64], texts: dict[str, int], top: int, bottom: int
) -> NDArray[np.int64]:
    """Whole numbers bottom..top, or one of ``texts``; -1 for all else."""
    if name not in columns:
        return np.full(len(keep), -1)
    column = columns[name].take(pa.array(keep))
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        value = _floats(column)
        for text, code in texts.items():
            if text.isdigit():
                value[value == int(text)] = code
    else:
        value = _mapped(column, texts, -1, numbers=True)
    return known_codes(value, top, bottom)


def _mapped(column: pa.Array, texts: dict[str, int], default: int, numbers: bool = False) -> NDArray[np.float64]:
    """Text of few distinct values -> codes."""

    def code(value: object) -> float:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
        text = text.strip().lower()
        if text in texts:
            return texts[text]
        try:
            number = float(text) if numbers else default
        except ValueError:
            return default
        return texts.get(str(int(number)), number) if number == number and abs(number) < 1e6 else default

    encoded = pc.dictionary_encode(column)
    table = np.array([code(v) for v in encoded.dictionary.to_pylist()] + [default], dtype=np.float64)
    codes: NDArray[np.float64] = table[pc.fill_null(encoded.indices, len(table) - 1).to_numpy(zero_copy_only=False)]
    return codes


def _text(column: pa.Array) -> pa.Array:
    """Trimmed text, null where empty; raises ArrowInvalid on bad UTF-8."""
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _floats(column: pa.Array) -> NDArray[np.float64]:
    """(n,) numbers, NaN where there is none."""
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        value = column.cast(pa.float64())
    else:
        try:
            value = _text(column).cast(pa.float64())
        except pa.ArrowInvalid:  # some value is no number, or has a decimal comma: one by one
            return np.array([_float(v) for v in column.to_pylist()], dtype=np.float64)
    return np.array(pc.fill_null(value, float("nan")).to_numpy(zero_copy_only=False), dtype=np.float64)


def _float(value: object) -> float:
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if isinstance(value, str):
        value = value.replace(INNER, ",").strip()
        if value.count(",") == 1 and "." not in value:
            value = value.replace(",", ".")
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


DATE_CHARS = 10  # 2024-05-13, 13.05.2024
_ISO = "%Y-%m-%dT%H:%M:%S"
_DAY_FIRST = "%d/%m/%Y %H:%M:%S"
# What may follow the first 19 characters of the usual spellings and changes nothing.
_PLAIN_ENDS = ("", "Z", ".0", ".000", ".0Z", ".000Z", "+00:00", " UTC")


def _times(column: pa.Array, day_first: bool | None, path: str) -> NDArray[np.float64]:
    """(n,) Unix s, UTC; NaN where it is no time."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        us = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        return _floats(us) / 1e6
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return _epochs(_floats(column))
    try:
        text = _text(column)
    except pa.ArrowInvalid:
        text = pa.array([v.decode("ascii", "replace").strip() if v else None for v in column.to_pylist()], pa.string())
    first = (
        next((v for v in text.to_pylist() if v), "")
        if len(text) < 64
        else next((v for v in text[:64].to_pylist() if v), "")
    )
    if first.replace(".", "", 1).isdigit() and len(first.partition(".")[0]) != 14:
        numbers = _floats(text)
        return np.where(np.isnan(numbers), _times_one_by_one(text, day_first, path), _epochs(numbers))
    t = _usual_times(text, _DAY_FIRST if times.is_short_date(first) and day_first else _ISO)
    odd = np.flatnonzero(np.isnan(t))
    if len(odd):
        t[odd] = _times_one_by_one(text.take(pa.array(odd)), day_first, path)
    return t


def _moments(date: pa.Array, time_of_day: pa.Array) -> pa.Array:
    """(n,) texts of both, joined where the date is one alone."""
    if pa.types.is_timestamp(date.type):
        return date
    return pa.array(
        [_moment(d, clock) for d, clock in zip(_as_text(date), _as_text(time_of_day), strict=True)], pa.string()
    )


def _moment(date: str, clock: str) -> str:
    if ":" in date or len(date) > DATE_CHARS or not clock:
        return date
    if date.isdigit() and len(date) == 8:
        date = f"{date[:4]}-{date[4:6]}-{date[6:]}"
    if clock.isdigit() and len(clock) == 6:
        clock = f"{clock[:2]}:{clock[2:4]}:{clock[4:]}"
    return f"{date} {clock}"


def _as_text(column: pa.Array) -> list[str]:
    values = column.to_pylist()
    return [
        (v.decode("ascii", "replace") if isinstance(v, bytes) else "" if v is None else str(v)).strip() for v in values
    ]


def _epochs(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts of s, ms, us or ns -> s; a number that is no moment of AIS in any unit stays as it is, for the screen to reject."""
    t = value.copy()
    for unit in (1e3, 1e6, 1e9):
        seconds = value / unit
        t = np.where((value >= times.LATEST) & (seconds >= times.EARLIEST) & (seconds < times.LATEST), seconds, t)
    return t


def _usual_times(text: pa.Array, spelling: str) -> NDArray[np.float64]:
    """Those in the one usual spelling; NaN for all others."""
    begin = pc.utf8_slice_codeunits(text, 0, 19)
    if spelling == _ISO:
        begin = pc.replace_substring(begin, " ", "T")
    # the parser would take 30 February for 1 March: what it read must spell what stands there
    stamp = pc.strptime(begin, format=spelling, unit="s", error_is_null=True)
    same = pc.and_(
        pc.equal(pc.strftime(stamp, format=spelling), begin),
        pc.is_in(pc.utf8_slice_codeunits(text, 19), value_set=pa.array(_PLAIN_ENDS)),
    )
    stamp = pc.if_else(same, stamp, pa.scalar(None, stamp.type))
    return _floats(stamp.cast(pa.int64()))


def _times_one_by_one(text: pa.Array, day_first: bool | None, path: str) -> NDArray[np.float64]:
    values = ["" if v is None else v for v in text.to_pylist()]
    try:
        return times.read_column(values, day_first).t
    except FormatError as e:
        raise FormatError(f"{path}: {e}; say it with --columns dates=day_first or dates=month_first") from None


def points_of(column: pa.Array, path: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(latitude, longitude), each (n,), of points in WKB or WKT; NaN where there is no point."""
    lat, lon = np.full(len(column), np.nan), np.full(len(column), np.nan)
    if not (
        pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type) or pa.types.is_string(column.type)
    ):
        raise FormatError(f"{path}: its geometry is {column.type}: write the points as WKB, or as columns lat and lon")
    for i, value in enumerate(column.to_pylist()):
        point = _point(value)
        if point is not None:
            lon[i], lat[i] = point
    return lat, lon


def _point(value: bytes | str | None) -> tuple[float, float] | None:
    if not value:
        return None
    if isinstance(value, bytes) and len(value) >= 21 and value[0] in (0, 1):
        order = "<" if value[0] else ">"
        (kind,) = struct.unpack(order + "I", value[1:5])
        at = 9 if kind & 0x20000000 else 5  # extended WKB names the reference system first
        if kind & 0xFF == 1 and len(value) >= at + 16:
            x, y = struct.unpack(order + "dd", value[at : at + 16])
            return x, y
        return None
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    try:
        # POINT (lon lat), also with SRID=4326; before it, or as hexadecimal WKB
        if "POINT" in text.upper():
            x, y = text.upper().partition("POINT")[2].strip(" ZM()").split()[:2]
            return float(x), float(y.strip(")"))
        return _point(bytes.fromhex(text))
    except ValueError:
        return None

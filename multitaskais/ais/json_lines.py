"""Receivers' JSON without the sentences: one decoded message a line -> the columns of a table of reports.

Known: AIS-catcher's decoded messages, gpsd (scaled or raw numbers), aisstream (``MessageType``, ``Message``, ``MetaData``), the records of our own
topic ``ais.dynamic``, GeoJSON features of points, and any flat object whose fields are named as the columns of a table.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from ..records import REPORT_DTYPE, Counts, Reason
from ..types import Reports
from .framing import JSON_STATIONS, json_time
from .positions import POSITION_TYPES
from .tables.columns import to_reports
from .tables.layout import columns_of, factors_of

_NUMBERS = tuple(name for name in REPORT_DTYPE.names or () if REPORT_DTYPE[name].kind != "S")
_FIELDS = (*_NUMBERS, "ship_name")
_RAW_DEGREES_27 = 600.0
_RAW_DEGREES = 600_000.0  # gpsd's numbers without ``scaled`` are those of the air: 1/10000 minute, 0.1 kn, 0.1 deg


def json_reports(
    blocks: Iterable[bytes], path: str, columns: Mapping[str, str] | None = None, at: float | None = None
) -> Iterator[tuple[Reports, Counts]]:
    """Reports of whole lines; each line counts once. at: Unix s, of messages without a time."""
    clock = float("nan")  # of a log of gpsd: the time of the last fix, for messages without one
    for block in blocks:
        rows: list[dict[str, Any]] = []
        counts = Counts()
        lines = block.split(b"\n")
        for line in lines if lines[-1] else lines[:-1]:
            counts.received += 1
            try:
                value = msgspec.json.decode(line) if line.strip() else None
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                counts.reject(Reason.MALFORMED)
                continue
            if not isinstance(value, dict):
                counts.reject(Reason.NOT_AIS)
                continue
            if value.get("class") == "TPV":
                clock = json_time(value)
            row = _row(value, columns)
            if isinstance(row, Reason):
                counts.reject(row)
                continue
            if row.get("t") is None:
                row["t"] = clock if clock == clock else at
            rows.append(row)
        counts.received -= len(rows)  # they are counted below
        if not rows:
            yield np.zeros(0, REPORT_DTYPE), counts
            continue
        table: dict[str, pa.Array] = {n: pa.array([_number(r.get(n)) for r in rows], pa.float64()) for n in _NUMBERS}
        table["ship_name"] = pa.array([str(r["ship_name"]) if r.get("ship_name") else None for r in rows], pa.string())
        table["station"] = pa.array([str(r.get("station") or "") for r in rows], pa.string())
        # A live feed goes on, whatever a receiver calls a speed.
        reports, of_rows = to_reports(table, "tracks", None, path, None if at is None else {"sog": 1.0})
        of_rows.add(counts)
        yield reports, of_rows


@functools.lru_cache(256)
def _known(names: tuple[str, ...], columns: tuple[tuple[str, str], ...]) -> tuple[dict[str, str], dict[str, float]]:
    """Our fields of an object with these keys, and the factors to our units."""
    found = columns_of(names, dict(columns))
    return found, factors_of(found, names, dict(columns))


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # the last: a whole number of hundreds of digits
        return None
    return number if number == number else None


def _row(value: dict[str, Any], columns: Mapping[str, str] | None) -> dict[str, Any] | Reason:
    """Our fields of one message, or why it is no report."""
    t = json_time(value)
    if isinstance(value.get("MetaData"), dict) and isinstance(value.get("Message"), dict):  # aisstream
        meta = value["MetaData"]
        body = next((b for b in value["Message"].values() if isinstance(b, dict)), {})
        t = json_time(meta)
        value = meta | body | {"mmsi": body.get("UserID", meta.get("MMSI")), "type": body.get("MessageID")}
        value.pop("Timestamp", None)  # there it is the second of the fix
    if value.get("type") == "Feature" and isinstance(value.get("properties"), dict):
        value = _point_of(value) | value["properties"]
        t = json_time(value)
    found, factors = _known(tuple(map(str, value)), tuple(columns.items()) if columns else ())
    row = {ours: value.get(name) for ours, name in found.items() if ours in _FIELDS}
    for field, factor in factors.items():
        if factor != 1.0 and (number := _number(row.get(field))) is not None:
            row[field] = number * factor
    message = value.get("type", row.get("msg_type"))
    row["msg_type"] = message if isinstance(message, int) else None
    row["t"] = t if t == t else None
    if station := next((v for k in JSON_STATIONS if isinstance(v := value.get(k), str | int)), ""):
        row["station"] = station
    if "mmsi" not in row:
        return Reason.NOT_AIS
    if isinstance(message, int) and message not in POSITION_TYPES:
        return Reason.NOT_A_POSITION
    if "lat" not in row or "lon" not in row:
        return Reason.NOT_A_POSITION
    if value.get("class") == "AIS" and value.get("scaled") is not True and _looks_raw(row):
        coarse = message == 27
        for name in ("lat", "lon"):
            row[name] = round((_number(row[name]) or 0.0) / (_RAW_DEGREES_27 if coarse else _RAW_DEGREES), 6)
        for name in ("sog", "cog"):
            if not coarse and (number := _number(row.get(name))) is not None:
                row[name] = number / 10.0
    return row


def _point_of(feature: dict[str, Any]) -> dict[str, Any]:
    """Longitude and latitude of a GeoJSON feature; empty where it is no point."""
    geometry = feature.get("geometry")
    if not isinstance(geometry, dict) or geometry.get("type") != "Point":
        return {}
    at = geometry.get("coordinates")
    return {"lon": at[0], "lat": at[1]} if isinstance(at, list) and len(at) >= 2 else {}


def _looks_raw(row: dict[str, Any]) -> bool:
    """Whole numbers, beyond the poles or the date line."""
    lat, lon = row["lat"], row["lon"]
    return isinstance(lat, int) and isinstance(lon, int) and (abs(lat) > 180 or abs(lon) > 360)


def one_document(head: bytes) -> str | None:
    """How to write one object a line, where the first bytes begin a JSON array or a GeoJSON collection of reports; else None."""
    begin = head.lstrip(b"\xef\xbb\xbf \r\n\t")
    if not re.search(rb'"(mmsi|ssvid|userid)"', begin, re.IGNORECASE):
        return None
    if begin.startswith(b"["):
        return "jq -c '.[]'"
    return "jq -c '.features[]'" if begin.startswith(b"{") and b"FeatureCollection" in begin[:4096] else None


def looks_like_messages(head: bytes) -> bool:
    """Whether the first lines are JSON objects with an MMSI."""
    for line in head.split(b"\n")[:50]:
        if line.lstrip().startswith(b"{"):
            try:
                value = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if isinstance(value, dict) and _row(value, None) is not Reason.NOT_AIS:
                return True
    return False

"""Bytes <-> records. The only place that knows the JSON of the topics.

A whole run of raw records becomes one array of reports; what cannot be a report becomes a rejection with its reason,
and never takes a neighbour with it. Nothing here raises on bad input.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from multitaskais.ais.sentinels import (
    MSG_TYPE_MAX,
    NAV_STATUS_MAX,
    SECOND_MAX,
    SHIP_TYPE_MAX,
    clean_name,
    clean_station,
    known_angles,
    known_codes,
    known_positions,
    known_speeds,
)
from multitaskais.detection.ship_classes import CLASSES, vessel_class
from multitaskais.encounters.silence import Outage
from multitaskais.engine.events import JudgedSamples
from multitaskais.records import REPORT_DTYPE, Alert, Reason, Verdict, six_digits
from multitaskais.times import LATEST
from multitaskais.tracks.station_clock import StationClock
from multitaskais.tracks.tracker import Report
from multitaskais.types import Reports

# Keys of control records until they got a topic of their own (kafka/control.py). Who may write reports may not command:
# here they are refused and counted.
CONTROL_KEYS = frozenset({b"watermark", b"model"})


class ConsumerRecord(NamedTuple):
    """One record as it lies in the log."""

    offset: int
    key: bytes | None
    value: bytes | None


class Decoded(NamedTuple):
    """A run, decoded. Indices count the run's records."""

    reports: Reports  # (n,) in log order
    record_of: NDArray[np.intp]  # (n,) record of each report
    bad: list[tuple[int, Reason]]


class _Report(msgspec.Struct):
    """A report as JSON (docs/contract.md#reports-and-topics). Integers may come as ``5.0``; other fields are ignored."""

    mmsi: str
    tagblock_timestamp: float | None = None
    x: float | None = None
    y: float | None = None
    sog: float | None = None
    cog: float | None = None
    true_heading: float | None = None
    nav_status: float | None = None
    msg_type: float | None = None
    ship_type: float | None = None
    ship_name: str | None = None
    second: float | None = None
    station: Any = None  # a text names who received it; anything else is some other program's field


_report = msgspec.json.Decoder(_Report)


def decode(records: Sequence[ConsumerRecord], record_max_bytes: int = 65536) -> Decoded:
    """Decode a run of raw records; see ``Decoded``."""
    bad: list[tuple[int, Reason]] = []
    good: list[int] = []
    rows: list[_Report] = []
    for i, (_, key, value) in enumerate(records):
        reason: Reason | None = None
        if value is None:
            reason = Reason.TOMBSTONE
        elif len(value) > record_max_bytes:
            reason = Reason.TOO_LARGE
        elif key is None:
            reason = Reason.NO_KEY
        elif key in CONTROL_KEYS:
            reason = Reason.CONTROL
        elif value[:1] == b"\0":
            reason = Reason.FRAMED
        else:
            try:
                row = _report.decode(value)
                reason = _check(row, key)
                if reason is None:
                    good.append(i)
                    rows.append(row)
            except msgspec.ValidationError:
                reason = Reason.BAD_VALUE
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                reason = Reason.BAD_JSON
        if reason is not None:
            bad.append((i, reason))
    return Decoded(_array(rows), np.array(good, dtype=np.intp), bad)


def _check(row: _Report, key: bytes) -> Reason | None:
    mmsi = row.mmsi
    if not (mmsi.isascii() and mmsi.isdigit() and len(mmsi) <= 9):
        return Reason.BAD_MMSI
    if key != mmsi.encode():
        return Reason.KEY_MISMATCH
    if row.tagblock_timestamp is None:
        return Reason.NO_TIME
    if not 0.0 < row.tagblock_timestamp < LATEST or (row.sog is not None and row.sog < 0.0):
        return Reason.BAD_VALUE
    return None


def _array(rows: list[_Report]) -> Reports:
    """Columns of checked rows; sentinels and values outside a field's range become missing."""
    out = np.empty(len(rows), REPORT_DTYPE)
    out["mmsi"] = [int(r.mmsi) for r in rows]
    out["t"] = [r.tagblock_timestamp for r in rows]
    # None -> NaN
    out["lat"], out["lon"] = known_positions(np.array([r.y for r in rows], float), np.array([r.x for r in rows], float))
    out["sog"] = known_speeds(np.array([r.sog for r in rows], float))
    out["cog"] = known_angles(np.array([r.cog for r in rows], float))
    out["heading"] = known_angles(np.array([r.true_heading for r in rows], float))
    for name, values, last in (
        ("nav_status", [r.nav_status for r in rows], NAV_STATUS_MAX),
        ("msg_type", [r.msg_type for r in rows], MSG_TYPE_MAX),
        ("ship_type", [r.ship_type for r in rows], SHIP_TYPE_MAX),
        ("second", [r.second for r in rows], SECOND_MAX),
    ):
        out[name] = known_codes(np.array(values, dtype=float), last)
    out["ship_name"] = [clean_name(r.ship_name) for r in rows]
    out["station"] = [clean_station(r.station) if isinstance(r.station, str) else b"" for r in rows]
    return out


def encode_report(row: Report) -> tuple[bytes, bytes]:
    """(key, value) of one report in the field order of ``REPORT_DTYPE``; what is missing is left out."""
    mmsi, t, lat, lon, sog, cog, heading, nav_status, msg_type, ship_type, name, *how = row
    second, station = how or (-1, b"")  # who makes reports of his own need not say how they came
    key = str(mmsi)
    fields: dict[str, object] = {"mmsi": key, "tagblock_timestamp": t}
    for field, number in (("x", lon), ("y", lat), ("sog", sog), ("cog", cog), ("true_heading", heading)):
        if number == number:  # not NaN
            fields[field] = number
    for field, number in (
        ("nav_status", nav_status), ("msg_type", msg_type), ("ship_type", ship_type), ("second", second),
    ):  # fmt: skip
        if number >= 0:
            fields[field] = number
    if name:
        fields["ship_name"] = name.decode("ascii", "replace")
    if station:
        fields["station"] = station.decode("ascii", "replace")
    return key.encode(), msgspec.json.encode(fields)


def encode_alert(alert: Alert) -> tuple[bytes, bytes]:
    return str(alert.mmsi).encode(), _dumps(alert.as_dict())


def encode_verdict(verdict: Verdict) -> tuple[bytes, bytes]:
    return str(verdict.mmsi).encode(), _dumps(verdict.as_dict())


def encode_station_event(event: StationClock | Outage) -> bytes:
    """Value of a dead letter on a station: what the map's banner reads."""
    return json.dumps(event._asdict(), allow_nan=False, separators=(",", ":")).encode()


def encode_samples(samples: Sequence[JudgedSamples]) -> list[tuple[bytes, bytes]]:
    """(key, value) of the samples of one run, in the order of the log. What is missing, and a detector that says nothing, is left out."""
    found: list[tuple[int, bytes, bytes]] = []
    for step in samples:
        names = step.detector_names
        columns = [step.samples[c].tolist() for c in ("n", "lat", "lon", "sog", "cog", "ship_type", "moored")]
        classes = vessel_class(step.samples["ship_type"]).tolist()
        for number, v, z, k, (n, lat, lon, sog, cog, ship_type, moored) in zip(
            step.numbers, step.verdicts, step.z.tolist(), classes, zip(*columns, strict=True), strict=True
        ):
            fields: dict[str, object] = {"mmsi": str(v.mmsi), "track_id": v.track_id, "t": v.t, "n": n}
            fields |= {"y": round(lat, 5), "x": round(lon, 5)}
            if sog == sog:  # not NaN
                fields["sog"] = round(sog, 2)
            if cog == cog:
                fields["cog"] = round(cog, 1) % 360.0
            if ship_type >= 0:
                fields["ship_type"] = ship_type
            if k >= 0:
                fields["class"] = CLASSES[k]
            if moored:
                fields["moored"] = True
            fields["verdict"] = v.verdict
            if v.reason is not None:
                fields["reason"] = v.reason
            if v.score is not None:
                fields["score"] = six_digits(v.score)
            fields["z"] = {name: round(x, 3) for name, x in zip(names, z, strict=True) if x == x}
            fields["model_version"] = v.model_version
            found.append((number, str(v.mmsi).encode(), msgspec.json.encode(fields)))
    found.sort(key=lambda f: f[0])
    return [(key, value) for _, key, value in found]


def _dumps(value: dict[str, Any]) -> bytes:
    # allow_nan=False: a number that JSON does not have must end the process here, not a reader somewhere else.
    return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()

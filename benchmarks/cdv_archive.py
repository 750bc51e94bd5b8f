"""A seeded ``.cdv`` archive of any size, quickly: straight legs in the Brittany box, encoded to AIVDM in arrays.

Not a simulation of traffic (``multitaskais.simulate`` is): only lines of the right shape, at about a million lines in some seconds,
for workloads in which the number of lines matters. Every position report decodes, none is an outlier.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pyais.encode import encode_dict

METRES_PER_DEG = 111_195.0
KNOT_MPS = 1852.0 / 3600.0
LAT_MIN, LAT_MAX, LON_MIN, LON_MAX = 47.6, 49.4, -6.9, -4.1  # inside METHOD 4's box
_ARMOUR = np.array(
    [v + 48 if v < 40 else v + 56 for v in range(64)], np.uint8
)  # ITU-R M.1371 / IEC 61162-1 six-bit armour
_HEX = np.frombuffer(b"0123456789ABCDEF", np.uint8)
# Field widths of message types 1-3 (ITU-R M.1371-5, table 48); the payload is 168 bits.
_FIELDS = (6, 2, 30, 4, 8, 10, 1, 28, 27, 12, 9, 6, 2, 3, 1, 19)


class Archive(NamedTuple):
    """What was written: the glob that reads it, lines of all kinds, and the position reports among them."""

    glob: str
    lines: int
    position_reports: int
    bytes: int


def encode_type1(mmsi: np.ndarray, lat: np.ndarray, lon: np.ndarray, sog: np.ndarray, cog: np.ndarray) -> np.ndarray:
    """Sentences of type 1, one a row: uint8 array (n, 46); degrees and knots in; heading and rate of turn not available."""
    n = len(mmsi)
    zero = np.zeros(n, np.int64)
    columns = (
        zero + 1,
        zero,
        mmsi.astype(np.int64),
        zero,
        zero + 128,
        np.rint(sog * 10).astype(np.int64),
        zero,
        np.rint(lon * 600_000).astype(np.int64),
        np.rint(lat * 600_000).astype(np.int64),
        np.rint(cog * 10).astype(np.int64) % 3600,
        zero + 511,
        zero + 60,
        zero,
        zero,
        zero,
        zero,
    )
    bits = np.empty((n, 168), np.uint8)
    at = 0
    for values, width in zip(columns, _FIELDS, strict=True):
        shifts = np.arange(width - 1, -1, -1)
        bits[:, at : at + width] = (values[:, None] >> shifts) & 1
        at += width
    six = bits.reshape(n, 28, 6) @ np.array([32, 16, 8, 4, 2, 1], np.uint8)
    head, tail = b"!AIVDM,1,1,,A,", b",0*"
    out = np.empty((n, len(head) + 28 + len(tail) + 2), np.uint8)
    out[:, : len(head)] = np.frombuffer(head, np.uint8)
    out[:, len(head) : len(head) + 28] = _ARMOUR[six]
    out[:, len(head) + 28 : -2] = np.frombuffer(tail, np.uint8)
    checksum = np.bitwise_xor.reduce(out[:, 1:-3], axis=1)
    out[:, -2], out[:, -1] = _HEX[checksum >> 4], _HEX[checksum & 15]
    return out


def _bounce(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Fold a straight line into [low, high]: the ship turns round at the edge of the box."""
    span = high - low
    phase = np.mod(x - low, 2 * span)
    return low + np.where(phase > span, 2 * span - phase, phase)


def _static_lines(mmsi: int, stamp: bytes) -> bytes:
    name = f"SHIP {mmsi % 100_000}"
    parts = encode_dict(
        {"type": 5, "mmsi": mmsi, "shipname": name, "ship_type": 70 + mmsi % 10},
        talker_id="AI",
        sentence_type="VDM",
        seq_id=1,
    )
    return b"".join(stamp + part.encode() + b"\n" for part in parts)


def write(
    folder: Path,
    *,
    lines: int,
    seed: int = 0,
    vessels: int = 60,
    interval_s: float = 30.0,
    start: datetime = datetime(2017, 1, 1, tzinfo=UTC),
    skewed_share: float = 0.0,
) -> Archive:
    """Write ``folder/YYYY/MM/DD.cdv`` with about ``lines`` lines.

    Each vessel reports every ``interval_s`` seconds (whole seconds, own phase) for as many days as it takes and says its name
    (type 5, two lines) each hour. With ``skewed_share`` the first vessel makes that share of all lines by reporting more often.
    """
    rng = np.random.default_rng(seed)
    mmsi = 227_000_000 + np.arange(vessels) * 1_013
    interval = np.full(vessels, interval_s)
    if skewed_share:
        interval[0] = interval_s * (1 - skewed_share) / (skewed_share * (vessels - 1))
    lat0, lon0 = rng.uniform(LAT_MIN, LAT_MAX, vessels), rng.uniform(LON_MIN, LON_MAX, vessels)
    speed, course = rng.uniform(5, 18, vessels), rng.uniform(0, 2 * np.pi, vessels)
    phase = rng.uniform(0, interval)
    origin = start.timestamp()
    done = positions = size = hour = 0
    lon_scale = METRES_PER_DEG * np.cos(np.radians(48.5))
    while done < lines:
        when = start + timedelta(hours=hour)
        path = folder / f"{when:%Y/%m/%d}.cdv"
        path.parent.mkdir(parents=True, exist_ok=True)
        t0 = hour * 3600.0
        first, last = np.ceil((t0 - phase) / interval), np.ceil((t0 + 3600 - phase) / interval)
        counts = (last - first).astype(int)
        who = np.repeat(np.arange(vessels), counts)
        nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
        t = np.floor(phase[who] + nth * interval[who])
        who, t = who[(order := np.argsort(t, kind="stable"))], t[order]
        made = speed[who] * KNOT_MPS * t
        lat = _bounce(lat0[who] + made * np.cos(course[who]) / METRES_PER_DEG, LAT_MIN, LAT_MAX)
        lon = _bounce(lon0[who] + made * np.sin(course[who]) / lon_scale, LON_MIN, LON_MAX)
        sentences = encode_type1(mmsi[who], lat, lon, speed[who], np.degrees(course[who]) % 360)
        stamps = np.array([f"{origin + s:.0f}" for s in np.unique(t)])
        text = np.array([datetime.fromtimestamp(float(s), UTC).strftime("%Y/%m/%d %H:%M:%S ") for s in stamps], "S20")
        rows = np.empty((len(t), 20 + sentences.shape[1] + 1), np.uint8)
        rows[:, :20] = text[np.searchsorted(np.unique(t), t)].view(np.uint8).reshape(-1, 20)
        rows[:, 20:-1] = sentences
        rows[:, -1] = ord("\n")
        stamp = when.strftime("%Y/%m/%d %H:%M:%S ").encode()
        statics = b"".join(_static_lines(int(m), stamp) for m in mmsi)
        block = statics + rows.tobytes()
        with path.open("wb" if when.hour == 0 else "ab") as f:
            f.write(block)
        positions += len(t)
        done += len(t) + statics.count(b"\n")
        size += len(block)
        hour += 1
    return Archive(str(folder / "*" / "*" / "*.cdv"), done, positions, size)

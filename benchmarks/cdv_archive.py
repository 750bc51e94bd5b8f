"""A seeded ``.cdv`` archive of any size, quickly: straight legs in the Brittany box, written by the core's encoder.

Not a simulation of traffic (``multitaskais.simulate`` is): only lines of the right shape, at about a million lines in some seconds,
for workloads in which the number of lines matters. Every position report decodes, none is an outlier.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

from multitaskais.ais.encode import cdv_lines, encode_static
from multitaskais.ais.positions import StaticData
from multitaskais.records import REPORT_DTYPE
from multitaskais.units import KNOT_MPS, M_PER_DEG_SEEDED

LAT_MIN, LAT_MAX, LON_MIN, LON_MAX = 47.6, 49.4, -6.9, -4.1  # inside the box of the published model


class Archive(NamedTuple):
    """What was written: the glob that reads it, lines of all kinds, and the position reports among them."""

    glob: str
    lines: int
    position_reports: int
    bytes: int


def _bounce(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Fold a straight line into [low, high]: the ship turns round at the edge of the box."""
    span = high - low
    phase = np.mod(x - low, 2 * span)
    return low + np.where(phase > span, 2 * span - phase, phase)


def _static_lines(mmsi: int, t: float) -> bytes:
    """Type 5, two lines."""
    said = StaticData(mmsi, t, 5, b"SHIP %d" % (mmsi % 100_000), 70 + mmsi % 10, None, -1, -1, -1, -1, -1)
    stamp = datetime.fromtimestamp(t, UTC).strftime("%Y/%m/%d %H:%M:%S ").encode()
    return b"".join(stamp + sentence + b"\n" for sentence in encode_static(said))


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
    lon_scale = M_PER_DEG_SEEDED * np.cos(np.radians(48.5))
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
        lat = _bounce(lat0[who] + made * np.cos(course[who]) / M_PER_DEG_SEEDED, LAT_MIN, LAT_MAX)
        lon = _bounce(lon0[who] + made * np.sin(course[who]) / lon_scale, LON_MIN, LON_MAX)
        reports = np.zeros(len(t), REPORT_DTYPE)
        reports["mmsi"], reports["t"], reports["lat"], reports["lon"] = mmsi[who], origin + t, lat, lon
        reports["sog"], reports["cog"] = np.round(speed[who], 1), np.round(np.degrees(course[who]) % 360, 1) % 360
        reports["heading"], reports["msg_type"] = np.nan, 1
        statics = b"".join(_static_lines(int(m), when.timestamp()) for m in mmsi)
        block = statics + cdv_lines(reports).tobytes()
        with path.open("wb" if when.hour == 0 else "ab") as f:
            f.write(block)
        positions += len(t)
        done += len(t) + statics.count(b"\n")
        size += len(block)
        hour += 1
    return Archive(str(folder / "*" / "*" / "*.cdv"), done, positions, size)

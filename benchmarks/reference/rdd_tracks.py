"""Archive -> Parquet tracks as one writes it first: an RDD of lines, pyais on each, groupByKey, a loop over each vessel.

Written from docs/method.md#input to #tracks for lines of the ``.cdv`` format; plain and slow. It knows no identity conflicts and no ship that is followed after
a jump: use it on archives without them. A whole vessel must fit into the memory of one task.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pyais
from pyspark.sql import SparkSession

KNOT_MPS = 1852.0 / 3600.0
EARTH_RADIUS_M = 6_371_008.8
GAP_S, CUT_S, SPEED_MAX, EXCESS_KNOTS, DUPLICATE_S = 7200.0, 86_400.0, 30.0, 30.0, 10.0
SCHEMA = (
    "track_id string, mmsi long, t double, lat double, lon double, sog double, cog double, nav_status int, year int"
)


def decode(line: str, box: tuple[float, float, float, float]) -> tuple[int, tuple[Any, ...]] | None:
    """(mmsi, (t, lat, lon, sog, cog, status)) of a line; None where it is left out."""
    try:
        when, sentence = line[:19], line[20:]
        t = datetime.strptime(when, "%Y/%m/%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
        body, _, checksum = sentence[1:].strip().partition("*")
        if _xor(body) != int(checksum, 16):
            return None
        m: Any = pyais.decode(sentence)
    except Exception:
        return None
    if m.msg_type not in (1, 2, 3, 18, 19):
        return None
    lat_min, lat_max, lon_min, lon_max = box
    if not (lat_min <= m.lat < lat_max and lon_min <= m.lon < lon_max) or m.speed > SPEED_MAX:
        return None
    cog = m.course if m.course < 360 else math.nan
    return m.mmsi, (t, m.lat, m.lon, m.speed, cog, int(getattr(m, "status", -1)))


def _xor(text: str) -> int:
    value = 0
    for c in text:
        value ^= ord(c)
    return value


def metres(a: tuple[Any, ...], b: tuple[Any, ...]) -> float:
    """Great circle."""
    p, q = math.radians(a[1]), math.radians(b[1])
    h = math.sin((q - p) / 2) ** 2 + math.cos(p) * math.cos(q) * math.sin(math.radians(b[2] - a[2]) / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(h))


def tracks(mmsi: int, reports: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Rows of ``SCHEMA`` of one vessel."""
    last: tuple[Any, ...] | None = None
    recent: list[tuple[Any, ...]] = []
    start, name, year = 0.0, "", 0
    for r in sorted(reports):
        recent = [q for q in recent if r[0] - q[0] <= DUPLICATE_S]
        if any(q[1:] == r[1:] for q in recent):
            continue
        recent.append(r)
        if last is None or r[0] - last[0] > GAP_S or r[0] - start >= CUT_S:
            new = True
        else:
            new = False
            dt = r[0] - last[0]
            if dt > 2.0 and metres(last, r) / dt / KNOT_MPS > r[3] + EXCESS_KNOTS:
                continue
        if new:
            start = r[0]
            at = datetime.fromtimestamp(start, UTC)
            name, year = f"{mmsi:09d}-{at:%Y%m%dT%H%M%SZ}", at.year
        last = r
        yield (name, mmsi, *r, year)


def run(spark: SparkSession, glob: str, box: tuple[float, float, float, float], output: str) -> None:
    """Read, group, write."""
    lines = spark.sparkContext.textFile(glob)
    vessels = lines.map(lambda line: decode(line, box)).filter(lambda found: found is not None).groupByKey()
    rows = vessels.flatMap(lambda vessel: tracks(*vessel))
    spark.createDataFrame(rows, SCHEMA).write.mode("overwrite").partitionBy("year").parquet(output)

"""Archive to Parquet in one polars process: read lines, decode them in blocks, sort, cut at gaps and at 24 h, write.

It is a floor, not an oracle: no duplicates, no outliers, no ships' names, no lines that two ships share, and all of the archive in memory.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from multitaskais.ais.vectorized.block import BlockDecoder

GAP_S, CUT_S, SPEED_MAX = 7200.0, 86_400.0, 30.0
BLOCK_BYTES = 1 << 23
COLUMNS = ("mmsi", "t", "lat", "lon", "sog", "cog", "nav_status")


def blocks(paths: list[str]) -> Iterator[bytes]:
    for path in paths:
        with open(path, "rb") as f:
            while block := f.read(BLOCK_BYTES):
                yield block + f.readline()


def run(pattern: str, box: tuple[float, float, float, float], output: Path) -> int:
    """Rows written."""
    decoder = BlockDecoder("cdv")
    lat_min, lat_max, lon_min, lon_max = box
    parts = []
    for block in blocks(sorted(glob.glob(pattern))):
        reports = decoder.decode(block).reports
        parts.append(pl.DataFrame({c: reports[c].copy() for c in COLUMNS}))
    inside = pl.col("lat").is_between(lat_min, lat_max, "left") & pl.col("lon").is_between(lon_min, lon_max, "left")
    rows = pl.concat(parts).filter(inside & (pl.col("sog") <= SPEED_MAX)).sort("mmsi", "t")
    gap = (pl.col("t").diff() > GAP_S).fill_null(True).over("mmsi")
    rows = rows.with_columns(gap.cum_sum().over("mmsi").alias("piece"))
    day = ((pl.col("t") - pl.col("t").first()) // CUT_S).over("mmsi", "piece")
    rows = rows.with_columns(day.alias("day"))
    start = pl.col("t").first().over("mmsi", "piece", "day")
    when = pl.from_epoch(start.cast(pl.Int64), "s").dt.strftime("%Y%m%dT%H%M%SZ")
    rows = rows.with_columns(pl.format("{}-{}", "mmsi", when).alias("track_id"))
    rows.write_parquet(output, compression="zstd")
    return len(rows)

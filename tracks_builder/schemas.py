"""The two tables of the job: the stream of decoded rows that is sorted, and the tracks that are written.

Both are contracts. ``TRACKS_SCHEMA`` is what readers rely on: columns are only ever added, at the end. Times are Unix seconds
as a double, not Spark timestamps: a timestamp is shown in the session's zone, a number is the same everywhere, keeps
the milliseconds of tag blocks, and is what the rest of the product works with (``timestamp_millis(cast(t * 1000 as bigint))``
turns it into one).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import (
    BinaryType,
    ByteType,
    DoubleType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    StructField,
    StructType,
)


def _field(name: str, kind: Any, comment: str, nullable: bool = True) -> StructField:
    return StructField(name, kind(), nullable, {"comment": comment})


# What a vessel sends on its way to the task that labels it. Its reports travel packed: those of one vessel and one hour that a block of
# lines gave are one row. So Spark moves and sorts some hundred rows of bytes in place of 65,536 rows of columns. ``key`` holds what the
# rows are dealt out and sorted by: MMSI (30 bits), kind (1 bit), Unix second (32 bits; of packed reports that of their hour).
# A vessel's static data (kind 0) so come before its reports (kind 1): no second pass and no join.
STREAM_SCHEMA = StructType(
    [
        _field("key", LongType, "mmsi << 33 | is_report << 32 | second", False),
        _field("t", DoubleType, "Unix s; 0 of packed reports", False),
        _field("what", ByteType, "STATIC, WRITTEN_TO or PACKED", False),
        _field("ship_type", ShortType, "static rows only; -1 when unknown", False),
        _field("ship_name", BinaryType, "static rows only"),
        _field("reports", BinaryType, "packed rows only: rows of PACKED_DTYPE"),
    ]
)
PACKED_DTYPE = np.dtype(
    [
        *((name, "<f8") for name in ("t", "lat", "lon", "sog", "cog", "heading")),
        ("nav_status", "i1"),
        ("msg_type", "i1"),
        ("second", "i1"),  # by which one transmission that came again later is known
    ]
)
HOUR_S = 3600
KEY_MMSI_SHIFT = 33
KEY_REPORT_BIT = 1 << 32
PACKED = 1  # reports
STATIC = 5  # ship_type and ship_name are what the vessel said at t
WRITTEN_TO = 0  # the year before has the vessel's reports up to t
# Packed reports of the same vessel and hour are sorted again where they are unpacked (``label``): their order does not matter here.
STREAM_ORDER = ("key", "t", "what", "ship_type", "ship_name")

TRACKS_SCHEMA = StructType(
    [
        _field("track_id", StringType, "mmsi and first report of the track: 227006760-20170101T000214Z", False),
        _field("mmsi", LongType, "Maritime Mobile Service Identity", False),
        _field(
            "line",
            IntegerType,
            "number from 0 of the line (one ship as we see it) in its vessel; cuts at 24 h keep it",
            False,
        ),
        _field("t", DoubleType, "Unix s, UTC", False),
        _field("lat", DoubleType, "deg north", False),
        _field("lon", DoubleType, "deg east", False),
        _field("sog", DoubleType, "knots", False),
        _field("cog", DoubleType, "deg true [0, 360), null when not available"),
        _field("heading", DoubleType, "deg true [0, 360), null when not available"),
        _field("nav_status", ByteType, "ITU-R M.1371 0..15, -1 when unknown", False),
        _field("msg_type", ByteType, "AIS message type, -1 when unknown (decoded archives)", False),
        _field("ship_type", ShortType, "ITU-R M.1371 ship type as last heard in the archive, -1 when not heard", False),
        _field("ship_name", StringType, "as last heard in the archive, empty when not heard", False),
        _field(
            "left_out", StringType, "null, or why the report is kept as evidence but is no part of the track: displaced"
        ),
        _field("year", IntegerType, "UTC year of the track's start; the partition column", False),
    ]
)

STREAM_ARROW: pa.Schema = to_arrow_schema(STREAM_SCHEMA)
TRACKS_ARROW: pa.Schema = to_arrow_schema(TRACKS_SCHEMA)


def stream_keys(mmsi: NDArray[np.int64], second: NDArray[np.int64], *, is_report: bool) -> NDArray[np.int64]:
    """The ``key`` column: mmsi in [0, 2**30), second in [0, 2**32)."""
    return (mmsi << KEY_MMSI_SHIFT) | (KEY_REPORT_BIT if is_report else 0) | np.clip(second, 0, KEY_REPORT_BIT - 1)

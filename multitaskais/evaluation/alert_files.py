"""The files of detection: alerts as JSON lines, GeoJSON and GeoParquet, verdicts as Parquet; written row by row.

``alerts.jsonl`` has every revision in the order (``decided_at``, ``alert_id``, ``revision``), which is the same however an archive was cut
into parts. ``alerts.parquet`` and ``alerts.geojson`` have the last revision of each alert with the way sailed. ``alerts.parquet`` is
GeoParquet 1.1 (https://geoparquet.org/releases/v1.1.0): geometry as WKB in longitude and latitude (OGC:CRS84, the default).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from ..engine.track_tally import TrackVerdict

_PLACE = pa.struct([("t", pa.float64()), ("lat", pa.float64()), ("lon", pa.float64())])
ALERT_FIELDS: list[tuple[str, pa.DataType]] = [
    ("alert_id", pa.string()),
    ("revision", pa.int64()),
    ("status", pa.string()),
    ("mmsi", pa.string()),
    ("ship_name", pa.string()),
    ("ship_type", pa.int64()),
    ("alert_type", pa.string()),
    ("cause", pa.string()),
    ("detectors", pa.list_(pa.struct([("name", pa.string()), ("z", pa.float64())]))),
    ("track_id", pa.string()),
    ("segment_start", _PLACE),
    ("segment_end", _PLACE),
    ("decided_at", pa.float64()),
    ("score", pa.float64()),
    ("log10_nfa", pa.float64()),
    ("share", pa.struct([(name, pa.float64()) for name in ("lat", "lon", "sog", "cog")])),
    ("message", pa.string()),
    ("model_version", pa.string()),
    ("challenger", pa.bool_()),
    ("partner", pa.struct([("mmsi", pa.string()), ("ship_name", pa.string()), ("ship_type", pa.int64())])),
    ("zone", pa.struct([("name", pa.string()), ("rule", pa.string())])),
]
ALERT_SCHEMA = pa.schema([*ALERT_FIELDS, ("geometry", pa.binary())])
VERDICT_SCHEMA = pa.schema(
    [
        ("track_id", pa.string()),
        ("mmsi", pa.int64()),
        ("t_start", pa.float64()),
        ("t_end", pa.float64()),
        ("samples", pa.int64()),
        ("judged_samples", pa.int64()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("alerts", pa.int64()),
    ]
)
ROWS = 8192  # of a row group that is written at once


def order_of(alert: Mapping[str, Any]) -> tuple[float, str, int]:
    """The order of revisions in every file (docs/contract.md#alerts)."""
    return alert["decided_at"], alert["alert_id"], alert["revision"]


def last_of_each(alerts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last revision of each alert, in ``order_of``."""
    last: dict[str, Mapping[str, Any]] = {}
    for a in alerts:
        held = last.get(a["alert_id"])
        if held is None or held["revision"] <= a["revision"]:
            last[a["alert_id"]] = a
    return sorted(last.values(), key=order_of)


def verdict_table(verdicts: Sequence[TrackVerdict]) -> pa.Table:
    """Rows of ``VERDICT_SCHEMA``."""
    return pa.table(
        [pa.array([v[i] for v in verdicts], f.type) for i, f in enumerate(VERDICT_SCHEMA)], schema=VERDICT_SCHEMA
    )


def geo_metadata(kinds: Iterable[str], box: tuple[float, float, float, float] | None) -> bytes:
    """The value of the key ``geo`` of a GeoParquet file: kinds of its geometries and their box (x, y, x, y)."""
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": sorted(kinds)}
    if box is not None:
        column["bbox"] = list(box)
    return json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}).encode()


def geo_table(features: Sequence[Mapping[str, Any]]) -> pa.Table:
    """GeoJSON features of alerts -> rows of ``ALERT_SCHEMA``, ``geometry`` as WKB."""
    rows = [f["properties"] for f in features]
    columns = [pa.array([row.get(name) for row in rows], kind) for name, kind in ALERT_FIELDS]
    shapes = [shapely.geometry.shape(f["geometry"]) for f in features]
    columns.append(pa.array(shapely.to_wkb(shapes).tolist() if shapes else [], pa.binary()))
    return pa.table(columns, schema=ALERT_SCHEMA)


class AlertFiles:
    """``alerts.parquet`` and ``alerts.geojson`` of a folder, from features that come one after the other."""

    def __init__(self, folder: Path) -> None:
        self._rows = folder / ".alerts.parquet"
        self._target = folder / "alerts.parquet"
        self._parquet = pq.ParquetWriter(self._rows, ALERT_SCHEMA, compression="zstd")
        self._json = (folder / "alerts.geojson").open("w")
        self._json.write('{"type": "FeatureCollection", "features": [')
        self._waiting: list[Mapping[str, Any]] = []
        self._kinds: set[str] = set()
        self._box = [math.inf, math.inf, -math.inf, -math.inf]
        self.alerts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self._flush()
            self._json.write("]}")
        self._json.close()
        self._parquet.close()
        if error is None:
            self._finish()
        self._rows.unlink()

    def _finish(self) -> None:
        """The rows once more, under a schema that says what they are: readers look for ``geo`` there, and only now is it known."""
        box = (self._box[0], self._box[1], self._box[2], self._box[3]) if self.alerts else None
        schema = ALERT_SCHEMA.with_metadata({b"geo": geo_metadata(self._kinds, box)})
        with pq.ParquetFile(self._rows) as rows, pq.ParquetWriter(self._target, schema, compression="zstd") as out:
            for batch in rows.iter_batches(ROWS):
                out.write_batch(batch.cast(schema) if batch.schema != schema else batch)

    def add(self, feature: Mapping[str, Any]) -> None:
        """The next alert, in ``order_of``."""
        self._json.write((", " if self.alerts else "") + json.dumps(feature))
        self.alerts += 1
        geometry = feature["geometry"]
        self._kinds.add(geometry["type"])
        points = geometry["coordinates"] if geometry["type"] == "LineString" else [geometry["coordinates"]]
        for x, y in points:
            self._box = [min(self._box[0], x), min(self._box[1], y), max(self._box[2], x), max(self._box[3], y)]
        self._waiting.append(feature)
        if len(self._waiting) >= ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._parquet.write_table(geo_table(self._waiting))
            self._waiting = []

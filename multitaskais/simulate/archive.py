"""Traffic as files: the labels, a Parquet table of reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .traffic import Traffic


def write_labels(traffic: Traffic, path: Path) -> Path:
    """JSON list of ``Label`` (mmsi, kind, t_start, t_end), by mmsi."""
    labels = [label.as_dict() for label in sorted(traffic.labels)]
    path.write_text(json.dumps(labels, indent=1) + "\n")
    return path


def write_parquet(reports: NDArray[np.void], path: Path) -> Path:
    """Columns named as in ``REPORT_DTYPE``; NaN as null, names as text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {}
    for name in reports.dtype.names or ():
        values = reports[name]
        if values.dtype.kind == "f":
            columns[name] = pa.array(values, from_pandas=True)
        elif values.dtype.kind == "S":
            columns[name] = pa.array(np.char.decode(values, "ascii").tolist(), pa.string())
        else:
            columns[name] = pa.array(values)
    pq.write_table(pa.table(columns), path, compression="zstd")
    return path

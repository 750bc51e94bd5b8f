"""SimulatedTraffic as files: an archive of ``.cdv`` lines, the labels, a Parquet table of reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ..ais.encode import write_cdv
from ..ais.positions import StaticData
from ..types import Reports
from .traffic import SimulatedTraffic

STATIC_EVERY_S = 1800.0  # ships send every 6 min; an archive need not hold each


def write_archive(traffic: SimulatedTraffic, folder: Path) -> list[Path]:
    """``folder/YYYY/MM/YYYYMMDD.cdv``: position reports, and names, types and sizes (messages 5 and 24). Returns the paths."""
    return write_cdv(folder, traffic.reports, statics_of(traffic))


def statics_of(traffic: SimulatedTraffic) -> list[StaticData]:
    """What each ship says about itself: at its first report, then every half hour while it is heard."""
    order = np.argsort(traffic.statics["mmsi"])
    row = order[np.searchsorted(traffic.statics["mmsi"][order], traffic.reports["mmsi"])]
    turn = (traffic.reports["t"] // STATIC_EVERY_S).astype(np.int64)
    _, first = np.unique(np.stack([row, turn], axis=1), axis=0, return_index=True)
    out = []
    for i in np.sort(first).tolist():
        ship = traffic.statics[row[i]]
        stern, port = int(ship["length_m"]) // 4, int(ship["beam_m"]) // 2
        out.append(
            StaticData(
                mmsi=int(ship["mmsi"]),
                t=float(traffic.reports["t"][i]),
                msg_type=24 if ship["class_b"] else 5,
                name=bytes(ship["ship_name"]),
                ship_type=int(ship["ship_type"]),
                callsign=bytes(ship["call_sign"]),
                imo=int(ship["imo"]) or -1,
                to_bow=int(ship["length_m"]) - stern,
                to_stern=stern,
                to_port=port,
                to_starboard=int(ship["beam_m"]) - port,
            )
        )
    return out


def write_labels(traffic: SimulatedTraffic, path: Path) -> Path:
    """JSON list of ``Label`` (mmsi, kind, t_start, t_end), by mmsi."""
    labels = [label.as_dict() for label in sorted(traffic.labels)]
    path.write_text(json.dumps(labels, indent=1) + "\n")
    return path


def write_together(traffic: SimulatedTraffic, folder: Path) -> tuple[Path, Path]:
    """``zones.geojson``, and ``lookalikes.json`` in the form of the labels. Returns the paths."""
    zones, lookalikes = folder / "zones.geojson", folder / "lookalikes.json"
    zones.write_text(json.dumps(traffic.zones or {"type": "FeatureCollection", "features": []}, indent=1) + "\n")
    lookalikes.write_text(json.dumps([x.as_dict() for x in sorted(traffic.lookalikes)], indent=1) + "\n")
    return zones, lookalikes


def write_parquet(reports: Reports, path: Path) -> Path:
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

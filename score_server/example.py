"""A request to try the server with: the reports of one simulated ship off Brittany that turns back and forth where others pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from multitaskais.config import REGIONS
from multitaskais.simulate import SimulationSettings, simulate

SEED = 5
KIND = "loiter"
MODEL = "brittany"


def request() -> dict[str, Any]:
    """The body of ``POST /v1/score``."""
    settings = SimulationSettings(vessels=1, abnormal=1, kinds=(KIND,))
    reports = simulate(REGIONS[MODEL], settings, np.random.default_rng(SEED)).reports
    names = ("t", "lat", "lon", "sog", "cog")
    rows = [
        {n: v for n, v in zip(names, values, strict=True) if v == v}  # not NaN: what was not sent is left out
        for values in zip(*(reports[n].tolist() for n in names), strict=True)
    ]
    kind = int(reports["ship_type"].max())
    track = {"mmsi": int(reports["mmsi"][0]), "ship_type": None if kind < 0 else kind, "reports": rows}
    return {"model": MODEL, "tracks": [track]}

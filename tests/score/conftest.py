"""A day of ships, a small model that judges them anywhere, and a server on a store."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from multitaskais.config import REGIONS
from multitaskais.model import folder
from multitaskais.model.objects import StoreSettings
from multitaskais.model.store import ModelStore
from multitaskais.simulate import SimulationSettings, simulate
from multitaskais.types import Reports
from tests.support.serving import Serving

HOW = {"t": 1.0, "by": "test", "token": "0123abcd"}


@pytest.fixture(scope="session")
def reports() -> Reports:
    """Eight hours of 12 ships off Brittany, half of them abnormal."""
    found = simulate(REGIONS["brittany"], SimulationSettings(vessels=12, abnormal=6), np.random.default_rng(5)).reports
    return found[found["t"] < found["t"].min() + 8 * 3600.0]


@pytest.fixture(scope="session")
def brittany() -> folder.Model:
    return folder.load("brittany")


def as_json(reports: Reports) -> list[dict[str, Any]]:
    def number(x: float) -> float | None:
        return None if np.isnan(x) else float(x)

    return [
        {"mmsi": int(r["mmsi"]), "t": float(r["t"])}
        | {k: number(r[k]) for k in ("lat", "lon", "sog", "cog", "heading")}
        | {k: int(r[k]) for k in ("nav_status", "ship_type") if r[k] >= 0}
        | ({"ship_name": r["ship_name"].decode()} if r["ship_name"] else {})
        for r in reports
    ]


@pytest.fixture(scope="session")
def versions(tmp_path_factory) -> list:
    """Folders of three versions of a model of Brittany."""
    base, out = folder.load("brittany"), []
    for k in range(3):
        out.append(tmp_path_factory.mktemp("models") / "mine")
        folder.save(dataclasses.replace(base, name="mine", made_from={"k": k}), out[-1])
    return out


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def store(place, versions) -> ModelStore:
    made = ModelStore(StoreSettings(str(place / "store")), place / "publisher")
    made.publish(versions[0], **HOW)
    return made


@pytest.fixture(scope="module")
def server(place, store):
    env = {
        "STORE_URL": str(place / "store"),
        "STORE_CACHE": str(place / "cache"),
        "JUDGES": "2",
        "SYNC_S": "0.2",
        "BODY_S": "2",
        "JUDGE_MEMORY_MB": "1024",
    }
    running = Serving("score_server", place / "server.log", env)
    yield running
    running.end()

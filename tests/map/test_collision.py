"""The collision off Bornholm on 2021-12-13, replayed through the map's picture: both ships, their way, how near they came."""

from __future__ import annotations

import numpy as np
import pytest

from multitaskais.ais.archives import read_reports
from multitaskais.tracks.geodesic import inverse
from stream_operator.kafka import codec as wire
from stream_operator.map.history import HEADER
from stream_operator.map.state import MapState

FILE = "data/multiday/collision_2021-12-13.parquet"
CONTACT = 1_639_362_420.0  # about 02:27 UTC
NEAREST_M = 190.0  # in the archive: the ships' antennas, not their hulls


@pytest.fixture(scope="module")
def reports(shared):
    if not (shared / FILE).is_file():
        pytest.skip(f"{shared / FILE} is absent")
    found = np.concatenate([batch.reports for batch in read_reports([shared / FILE])])
    return found[np.argsort(found["t"], kind="stable")]


def drawn(block: bytes) -> dict[int, np.ndarray]:
    """A block of the replay as a page reads it: by MMSI, (n, 3) time, latitude, longitude."""
    _, m, n, base = HEADER.unpack_from(block)
    at = HEADER.size
    parts = []
    for kind, size in (("<u4", m), ("<u4", m + 1), ("<f4", n), ("<f4", n), ("<u2", n)):
        parts.append(np.frombuffer(block, kind, size, at))
        at += parts[-1].nbytes
    mmsi, start, lat, lon, t = parts
    rows = np.stack([base + t, lat, lon], axis=1)
    return {int(v): rows[a:b] for v, a, b in zip(mmsi, start[:-1], start[1:], strict=True)}


def test_both_ships_are_drawn_on_their_way_and_as_near_as_they_came(reports):
    picture = MapState()
    ships = np.unique(reports["mmsi"]).tolist()
    assert len(ships) == 2
    names = ("mmsi", "t", "lat", "lon", "sog", "cog", "heading", "nav_status", "msg_type", "ship_type", "ship_name")
    for r in reports:
        record = wire.encode_report(tuple(r[name].item() for name in names))
        picture.positions(0, [wire.ConsumerRecord(0, *record)])
    way = drawn(picture.replay(reports["t"][0], reports["t"][-1] + 1))
    assert sorted(way) == ships
    # One of them is not heard again after the contact.
    until = min(reports["t"][reports["mmsi"] == s].max() for s in ships)
    assert abs(until - CONTACT) < 60
    grid = np.arange(until - 900, until + 1, 60.0)
    logged = {s: np.stack([reports[reports["mmsi"] == s][name] for name in ("t", "lat", "lon")], axis=1) for s in ships}
    drawn_apart, logged_apart = (apart([rows[s] for s in ships], grid) for rows in (way, logged))
    assert logged_apart[-1] == pytest.approx(NEAREST_M, abs=20)
    assert np.abs(drawn_apart - logged_apart).max() < 100, "as near as the log has them, thinned to a position a slot"
    assert drawn_apart.argmin() == len(grid) - 1
    assert drawn_apart[0] > 1500, "they came from apart"


def apart(ways: list[np.ndarray], grid: np.ndarray) -> np.ndarray:
    """Metres between two ships at the times of the grid, straight on between their positions."""
    a, b = ([np.interp(grid, way[:, 0], way[:, k]) for k in (1, 2)] for way in ways)
    return inverse(a[0], a[1], b[0], b[1])[1]

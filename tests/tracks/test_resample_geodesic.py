"""Positions of samples against GeographicLib, for legs on both sides of the length from which it is asked itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod

from multitaskais.tracks.resample import SHORT_DEG, SHORT_LAT_MAX, _on_geodesic

GEOD = Geod(ellps="WGS84")
SAME_DEG = 1e-9


@pytest.mark.parametrize("reach_deg", [1e-7, 1e-4, 0.2 * SHORT_DEG, SHORT_DEG, 2 * SHORT_DEG, 1.0])
@given(seed=st.integers(0, 10**6))
def test_a_sample_lies_where_the_geodesic_leads(reach_deg, seed):
    rng = np.random.default_rng(seed)
    n = 500
    lat, lon = rng.uniform(-1, 1, n) * (SHORT_LAT_MAX + 5), rng.uniform(-179, 179, n)
    to_lat, to_lon = lat + rng.uniform(-1, 1, n) * reach_deg, lon + rng.uniform(-1, 1, n) * reach_deg
    w = rng.uniform(0, 1, n)
    azimuth, _, distance = GEOD.inv(lon, lat, to_lon, to_lat)
    want_lon, want_lat, _ = GEOD.fwd(lon, lat, azimuth, distance * w)
    got_lat, got_lon = _on_geodesic(lat, lon, to_lat, to_lon, w)
    assert np.abs(got_lat - want_lat).max() < SAME_DEG
    assert np.abs(got_lon - want_lon).max() < SAME_DEG


def test_a_sample_at_a_report_or_of_a_ship_that_stays_is_the_report_to_the_last_bit():
    lat, lon = np.array([48.1234567, -33.3, 80.0]), np.array([-5.7654321, 151.2, 3.3])
    for to, w in ((0.003, 0.0), (0.5, 0.0), (0.0, 0.37)):
        got = _on_geodesic(lat, lon, lat + to, lon + to, np.full(3, w))
        assert (got[0].tolist(), got[1].tolist()) == (lat.tolist(), lon.tolist())

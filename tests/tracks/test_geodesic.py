"""The own geodesic against GeographicLib, and with the same bits for one leg and for many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod

from multitaskais.tracks import geodesic

GEOD = Geod(ellps="WGS84")


def legs(seed, n, reach_deg):
    rng = np.random.default_rng(seed)
    lat, lon = rng.uniform(-85, 85, n), rng.uniform(-180, 180, n)
    to_lat = np.clip(lat + rng.uniform(-1, 1, n) * reach_deg, -90, 90)
    to_lon = (lon + rng.uniform(-1, 1, n) * reach_deg + 180) % 360 - 180
    return lat, lon, to_lat, to_lon, rng.uniform(0, 1, n)


@pytest.mark.parametrize(
    ("reach_deg", "metres", "degrees"), [(1e-3, 1e-6, 1e-9), (0.1, 1e-6, 1e-9), (5.0, 1e-4, 1e-9), (40.0, 1e-3, 1e-8)]
)
@given(seed=st.integers(0, 2**32 - 1))
def test_distances_and_places_are_those_of_geographiclib(reach_deg, metres, degrees, seed):
    lat, lon, to_lat, to_lon, share = legs(seed, 200, reach_deg)
    azimuth, _, distance = GEOD.inv(lon, lat, to_lon, to_lat)
    got_azimuth, got = geodesic.inverse(lat, lon, to_lat, to_lon)
    assert np.abs(got - distance).max() < metres
    long = distance > 50
    assert np.abs((got_azimuth - azimuth + 180) % 360 - 180)[long].max() < 1e-6
    want_lon, want_lat, _ = GEOD.fwd(lon, lat, azimuth, distance * share)
    got_lat, got_lon = geodesic.direct(lat, lon, got_azimuth, got * share)
    assert np.abs(got_lat - want_lat).max() < degrees
    east = np.abs((got_lon - want_lon + 180) % 360 - 180) * np.cos(np.radians(want_lat))
    assert east.max() < degrees


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 3 * geodesic.FEW),
    reach_deg=st.sampled_from([0.0, 0.01, 3.0, 170.0]),
)
def test_a_leg_has_the_same_bits_alone_and_among_many(seed, n, reach_deg):
    lat, lon, to_lat, to_lon, share = legs(seed, n, reach_deg)
    azimuth, distance = geodesic.inverse(lat, lon, to_lat, to_lon)
    there = geodesic.direct(lat, lon, azimuth, distance * share)
    for i in range(0, n, 5):
        one = slice(i, i + 1)
        a, d = geodesic.inverse(lat[one], lon[one], to_lat[one], to_lon[one])
        assert (a.tobytes(), d.tobytes()) == (azimuth[one].tobytes(), distance[one].tobytes())
        place = geodesic.direct(lat[one], lon[one], a, d * share[one])
        assert [x.tobytes() for x in place] == [x[one].tobytes() for x in there]


def test_far_legs_are_proj_s_on_a_grid():
    azimuth, distance = geodesic.inverse(*(np.array([x]) for x in (10.0, 0.0, -9.0, 179.0)))
    want, _, want_m = GEOD.inv(0.0, 10.0, 179.0, -9.0)
    assert (azimuth[0], distance[0]) == pytest.approx((want, want_m), abs=1e-2)
    assert azimuth[0] == round(azimuth[0] / 1e-7) * 1e-7
    assert geodesic.inverse(*(np.zeros(0),) * 4)[0].shape == (0,)

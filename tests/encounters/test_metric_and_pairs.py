"""Distances and pairs, against the sphere and against looking at all pairs."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from multitaskais.encounters import metric, pairs
from multitaskais.tracks.geometry import great_circle_m


@given(st.floats(-89.9, 89.9))
def test_the_cosine_is_that_of_the_mathematics(lat):
    assert abs(metric.cos_latitude(lat) - max(math.cos(math.radians(lat)), 1e-3)) < 1e-11


@given(st.floats(-70, 70), st.floats(-180, 180), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_a_distance_is_that_of_the_sphere_also_over_the_antimeridian(lat, lon, dlat, dlon):
    other = (lon + dlon + 180.0) % 360.0 - 180.0
    truth = great_circle_m(lat, lon, lat + dlat, other)
    assert abs(metric.distance_m(lat, lon, lat + dlat, other) - truth) <= 2e-3 * truth + 0.01


@given(st.floats(-80, 80), st.floats(-180, 180), st.floats(-80, 80), st.floats(-180, 180))
def test_one_distance_and_many_have_the_same_bits(lat1, lon1, lat2, lon2):
    many = metric.distance_m(*(np.array([x]) for x in (lat1, lon1, lat2, lon2)))
    assert many[0] == metric.distance_m(lat1, lon1, lat2, lon2)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 120), st.sampled_from([0.01, 0.05, 0.5]), st.booleans())
def test_the_pairs_are_those_of_looking_at_all(seed, n, spread, at_antimeridian):
    rng = np.random.default_rng(seed)
    lat = 48.0 + rng.uniform(-spread, spread, n)
    lon = (180.0 if at_antimeridian else -5.0) + rng.uniform(-spread, spread, n)
    lon = (lon + 180.0) % 360.0 - 180.0
    mmsi = rng.permutation(np.arange(227_000_000, 227_000_000 + n))
    found = pairs.near(mmsi, lat, lon, 500.0)
    got = {(int(mmsi[a]), int(mmsi[b])): m for a, b, m in zip(*found, strict=True)}
    wanted = {}
    for i in range(n):
        for j in range(i + 1, n):
            m = metric.distance_m(float(lat[i]), float(lon[i]), float(lat[j]), float(lon[j]))
            if m <= 500.0:
                wanted[tuple(sorted((int(mmsi[i]), int(mmsi[j]))))] = m
    assert got.keys() == wanted.keys()
    assert all(abs(got[k] - wanted[k]) < 1e-6 for k in got)
    assert list(got) == sorted(got)

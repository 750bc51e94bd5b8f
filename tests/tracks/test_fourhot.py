"""Laws of the four-hot vector."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.config import REGIONS, Region
from multitaskais.records import SAMPLE_DTYPE
from multitaskais.tracks.fourhot import bins, dense, offsets, sizes
from tests.support.builders import NAN

BRITTANY = REGIONS["brittany"]


def sample(lat=48.0, lon=-5.0, sog=10.0, cog=0.0):
    row = np.zeros(1, SAMPLE_DTYPE)
    row["lat"], row["lon"], row["sog"], row["cog"] = lat, lon, sog, cog
    return row


def test_brittany_has_602_bins():
    assert sizes(BRITTANY) == (200, 300, 30, 72)
    assert offsets(BRITTANY).tolist() == [0, 200, 500, 530]
    assert BRITTANY.dim == 602


@given(st.floats(47.5, 49.5), st.floats(-7, -4), st.floats(0, 30), st.floats(0, 360, exclude_max=True))
def test_a_value_lies_in_its_bin(lat, lon, sog, cog):
    i, j, k, m = bins(sample(lat, lon, sog, cog), BRITTANY)[0].tolist()
    assert 0 <= i < 200
    assert 0 <= j < 300
    assert 0 <= k < 30
    assert 0 <= m < 72
    eps = 1e-9
    assert 47.5 + i * 0.01 - eps <= lat <= 47.5 + (i + 1) * 0.01 + eps
    assert -7 + j * 0.01 - eps <= lon <= -7 + (j + 1) * 0.01 + eps
    assert k <= sog <= k + 1
    assert m * 5 <= cog <= (m + 1) * 5


@pytest.mark.parametrize("x", [49.5, np.nextafter(49.5, 0), 50.0, 1e300])
def test_the_upper_edge_and_beyond_never_overflow(x):
    assert bins(sample(lat=x, lon=-4.0, sog=30.0, cog=np.nextafter(360, 0)), BRITTANY).tolist() == [[199, 299, 29, 71]]


def test_below_the_box_is_the_first_bin():
    assert bins(sample(lat=-80, lon=-170, sog=-1), BRITTANY).tolist() == [[0, 0, 0, 0]]


def test_a_missing_value_is_a_missing_block_and_all_zero_in_the_vector():
    got = bins(sample(sog=NAN, cog=NAN), BRITTANY)
    assert got.dtype == np.int16
    assert got[0, 2:].tolist() == [-1, -1]
    vector = dense(got, BRITTANY)
    assert vector.sum() == 2
    assert not vector[0, 500:].any()


@given(
    st.lists(
        st.tuples(st.floats(47, 50), st.floats(-8, -3), st.floats(0, 35), st.one_of(st.just(NAN), st.floats(0, 359))),
        max_size=20,
    )
)
def test_the_vector_has_one_bit_a_block(rows):
    samples = np.zeros(len(rows), SAMPLE_DTYPE)
    for name, values in zip(("lat", "lon", "sog", "cog"), zip(*rows, strict=True), strict=False):
        samples[name] = values
    indices = bins(samples, BRITTANY)
    vector = dense(indices, BRITTANY)
    assert vector.shape == (len(rows), 602)
    for row, index in zip(vector, indices, strict=True):
        for block, values in enumerate(np.split(row, offsets(BRITTANY)[1:])):
            assert np.flatnonzero(values).tolist() == ([] if index[block] < 0 else [index[block]])


def test_the_greatest_of_regions_fits():
    world = Region("w", -90, 90, -180, 180, lat_bin_deg=0.02, lon_bin_deg=0.02)
    assert bins(sample(lat=89.99, lon=179.99), world)[0, 1] == 17_999

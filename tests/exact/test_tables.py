"""Tabulated functions: how near to the true ones, and what lies beyond their ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from multitaskais.exact import functions as f
from multitaskais.exact.tables import AT_ONCE, Table, compiled_look_up, expect_much

TANH = Table([f.tanh], -10.0, 10.0, bits=9)
PAIR = Table([f.softplus, f.tanh], -24.0, 24.0, bits=7, units=30)


def look_up(table, x, columns=1):
    out = [np.empty_like(x) for _ in range(columns)]
    table(x, *out)
    return out if columns > 1 else out[0]


def test_a_table_is_as_near_as_it_says():
    x = np.random.default_rng(0).uniform(-9.9, 9.9, 100_000)
    sag = 0.77 * 2.0**-18 / 16  # greatest second derivative of tanh
    assert np.abs(look_up(TANH, x) - f.tanh(x)).max() < sag * 1.01 + 2.0**-33
    softplus, tanh = look_up(PAIR, x, 2)
    assert np.abs(softplus - f.softplus(x)).max() < 0.25 * 2.0**-14 / 16 * 1.01 + 2.0**-31
    assert np.abs(tanh - f.tanh(x)).max() < 0.77 * 2.0**-14 / 16 * 1.01 + 2.0**-31


def test_a_table_goes_on_level_beyond_its_ends():
    assert look_up(TANH, np.array([-11.0, -1e6, 11.0, 1e6])) == pytest.approx([-1, -1, 1, 1], abs=1e-8)
    assert np.isnan(look_up(TANH, np.array([np.nan]))).all()


def test_results_are_whole_multiples_of_the_unit():
    x = np.random.default_rng(1).normal(0, 4, 10_000)
    for values in look_up(PAIR, x, 2):
        np.testing.assert_array_equal(np.rint(values * 2.0**30), values * 2.0**30)


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=20), st.integers(0, AT_ONCE + 3))
def test_a_value_does_not_depend_on_those_beside_it_nor_on_where_it_is_written(values, before):
    x = np.concatenate([np.zeros(before), values])
    out = look_up(TANH, x)[before:]
    for i, v in enumerate(values):
        assert look_up(TANH, np.array([v]))[0] == out[i]
    TANH(x, x)
    np.testing.assert_array_equal(x[before:], out)


@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e9, 1e9) | st.just(np.nan)), st.booleans())
def test_the_compiled_look_up_gives_the_bits_of_numpy(x, near):
    pytest.importorskip("numba", reason="numba is not installed (pip install .[fast])")
    expect_much()
    assert compiled_look_up() is not None
    x = x * 2.0**-25 if near else x
    compiled, plain = look_up(PAIR, x, 2), [np.empty_like(x), np.empty_like(x)]
    PAIR._in_numpy(x, plain)
    for a, b in zip(compiled, plain, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.signbit(a), np.signbit(b))
    # also where one of the results takes the argument's place
    again, other = x.copy(), np.empty_like(x)
    PAIR(again, again, other)
    np.testing.assert_array_equal(again, compiled[0])
    np.testing.assert_array_equal(other, compiled[1])

"""The package's own functions against extended precision, and what they promise at the ends of their ranges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from multitaskais.exact import functions as f
from multitaskais.exact import scalars

PI = np.longdouble("3.14159265358979323846264338327950288")
RNG = np.random.default_rng(0)
ANGLES = np.concatenate([RNG.uniform(-720, 720, 50_000), np.arange(-720, 721) * 1.0, RNG.uniform(-1e-5, 1e-5, 1000)])
POSITIVE = np.concatenate(
    [np.exp(RNG.uniform(-700, 700, 50_000)), RNG.uniform(0.5, 2, 50_000), 1 + RNG.uniform(-1e-9, 1e-9, 1000)]
)

needs_extended = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="the oracle needs NumPy's 80-bit long double (x86)"
)


def places(got, want):
    """Greatest error in units in the last place of the true value."""
    unit = np.spacing(np.abs(want.astype(np.float64))).astype(np.longdouble)
    return float(np.max(np.abs(got.astype(np.longdouble) - want) / unit))


def long(x):
    return x.astype(np.longdouble)


@needs_extended
@pytest.mark.parametrize(
    ("name", "x", "oracle", "most"),
    [
        ("exp", RNG.uniform(-708, 709, 100_000), np.exp, 1.0),
        ("log", POSITIVE, np.log, 1.0),
        ("log1p", np.concatenate([POSITIVE, RNG.uniform(-0.999999, 1, 50_000)]), np.log1p, 1.0),
        ("log10", POSITIVE, np.log10, 2.5),
        ("asinh", np.concatenate([RNG.normal(0, 3, 50_000), RNG.normal(0, 1e6, 1000)]), np.arcsinh, 2.0),
        ("softplus", RNG.uniform(-700, 90, 50_000), lambda x: np.log1p(np.exp(x)), 2.0),
    ],
)
def test_functions_are_true_to_their_last_places(name, x, oracle, most):
    with np.errstate(all="ignore"):
        assert places(getattr(f, name)(x), oracle(long(x))) <= most


@needs_extended
def test_sines_and_cosines_of_degrees_are_true_to_the_last_place_of_one():
    radians = long(ANGLES) / 180 * PI
    sin, cos = f.sin_cos(ANGLES)
    assert np.abs(long(sin) - np.sin(radians)).max() < 2.3e-16
    assert np.abs(long(cos) - np.cos(radians)).max() < 2.3e-16
    near = np.abs(ANGLES) <= 45
    assert places(sin[near], np.sin(radians[near])) < 2


@needs_extended
def test_directions_and_hyperbolic_tangents_are_true():
    y, x = RNG.normal(size=(2, 100_000)) * np.exp(RNG.uniform(-20, 20, (2, 100_000)))
    assert places(f.atan2(y, x), np.arctan2(long(y), long(x)) / PI * 180) < 8
    v = RNG.uniform(-30, 30, 50_000)
    assert np.abs(long(f.tanh(v)) - np.tanh(long(v))).max() < 3e-16
    assert (np.abs(long(f.sinh(v)) - np.sinh(long(v))) / np.maximum(1, np.sinh(np.abs(long(v))))).max() < 6e-16


def test_quarter_turns_are_exact():
    np.testing.assert_array_equal(f.sin([0, 90, 180, 270, 360, -90]), [0, 1, 0, -1, 0, -1])
    np.testing.assert_array_equal(f.cos([0, 90, 180, 270, 360, -90]), [1, 0, -1, 0, 1, 0])
    np.testing.assert_array_equal(f.atan2([0, 1, 0, -1, 0], [1, 0, -1, 0, 0]), [0, 90, 180, -90, 0])
    np.testing.assert_allclose(f.atan2([1, 3, -2], [1, -3, 2]), [45, 135, -45], rtol=1e-15)


def test_the_ends_of_the_ranges():
    np.testing.assert_array_equal(f.exp([0, -1000, 1000, -np.inf, np.inf]), [1, 0, np.inf, 0, np.inf])
    np.testing.assert_array_equal(f.log([1, 0, np.inf]), [0, -np.inf, np.inf])
    assert np.isnan(f.log([-1, np.nan])).all()
    np.testing.assert_array_equal(f.log1p([0, np.inf]), [0, np.inf])
    assert np.isnan(f.log1p([-2, np.nan])).all()
    assert np.isnan(f.sin([np.inf, -np.inf, np.nan])).all()
    assert np.isnan(f.atan2([np.nan, 1], [1, np.nan])).all()
    for function in (f.exp, f.tanh, f.softplus, f.asinh, f.cos):
        assert np.isnan(function([np.nan])).all()
        assert function(np.zeros(0)).shape == (0,)
        assert function(0.5).shape == ()


def test_the_quantiles_of_the_normal_distribution_agree_with_scipys():
    from scipy.special import ndtri

    p = np.concatenate([RNG.uniform(0, 1, 50_000), 10 ** RNG.uniform(-16, -1, 1000), [2.0**-54, 0.5, 1 - 2.0**-53]])
    np.testing.assert_allclose(f.normal_quantile(p), ndtri(p), rtol=0, atol=1e-12)


numbers = st.floats(-1e12, 1e12)


@given(st.lists(numbers, max_size=70))
def test_a_total_is_the_sum_and_does_not_depend_on_the_arrays_beside_it(values):
    a = np.array(values)
    assert f.total(a) == pytest.approx(math.fsum(values), rel=1e-12, abs=1e-3)
    table = np.stack([a, a[::-1], a * 3.0])
    for layout in (table, np.asfortranarray(table), table[:, :]):
        assert f.total(layout, axis=1)[0] == f.total(a)
    assert f.total(table.T, axis=0)[0] == f.total(a)


@given(st.lists(st.floats(-700, 700), min_size=1, max_size=30))
@example([0.0])
def test_an_elements_value_does_not_depend_on_its_neighbours(values):
    x = np.array(values)
    for function in (f.exp, f.softplus, f.tanh, f.sin, f.asinh):
        together = function(x)
        for i, v in enumerate(values):
            assert function(v).tobytes() == together[i].tobytes()
        np.testing.assert_array_equal(function(np.repeat(x, 3)[::3]), together)


@given(st.floats(-1.5, 1.5), st.integers(0, 40))
def test_whole_powers_are_products(x, n):
    assert scalars.power(x, n) == pytest.approx(x**n, rel=1e-14, abs=1e-300)


anything = st.floats(allow_nan=True, allow_infinity=True)


@given(anything, anything)
@example(0.0, -0.0)
@example(-0.0, -0.0)
def test_scalars_have_the_bits_of_the_arrays(x, y):
    def bits(value):
        return np.array([value], np.float64).tobytes() if value == value else b"nan"

    for name in ("exp", "log", "log10", "sin", "cos"):
        assert bits(getattr(scalars, name)(x)) == bits(float(getattr(f, name)(x))), name
    with np.errstate(all="ignore"):
        assert bits(scalars.atan2(y, x)) == bits(float(f.atan2(y, x)))
        assert bits(scalars.hypot(y, x)) == bits(float(f.hypot(y, x)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_the_compiled_functions_give_the_bits_of_numpy(ends, seed):
    compiled = pytest.importorskip("multitaskais.exact.compiled", reason="numba is not installed (pip install .[fast])")
    rng = np.random.default_rng(seed)
    x = np.concatenate(
        [ends, rng.normal(0, 1, 20), rng.normal(0, 500, 20), np.arange(-8, 9) * 45.0, ANGLES[:50], POSITIVE[:50]]
    )
    y = rng.permutation(x)
    with np.errstate(all="ignore"):
        for name, args in (("log", (x,)), ("log1p", (x,)), ("asinh", (x,)), ("atan2", (y, x))):
            out = np.empty(len(x))
            getattr(compiled, f"{name}_each")(*args, out)
            same_bits(out, getattr(f, name).in_numpy(*args))
            assert getattr(f, name)(*args).tobytes() == out.tobytes()
        sin, cos = np.empty(len(x)), np.empty(len(x))
        compiled.sin_cos_each(x, sin, cos)
        for got, want in zip((sin, cos), f._sin_cos_in_numpy(x), strict=True):
            same_bits(got, want)


def same_bits(got, want):
    """But for the bits of what is no number."""
    number = ~np.isnan(want)
    assert (np.isnan(got) == ~number).all()
    assert got[number].tobytes() == want[number].tobytes()

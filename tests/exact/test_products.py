"""Products on grids are exact: the same number in any order, in any batch, and the true one."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.exact.products import Grid, on_grid

GRIDS = (Grid(18, 64.0), Grid(20, 1.0))


def exact(a, w):
    """a @ w by fractions."""
    columns = [[Fraction(x) for x in column] for column in w.T.tolist()]
    return [[float(sum(Fraction(x) * y for x, y in zip(row, c, strict=True))) for c in columns] for row in a.tolist()]


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 40), grid=st.sampled_from(GRIDS), size=st.floats(-6, 12))
def test_a_product_is_the_true_one(seed, k, grid, size):
    rng = np.random.default_rng(seed)
    w = on_grid(rng.standard_normal((k, 5)) * 2.0**size, grid)
    a = np.empty((4, k))
    grid.symmetric(rng.standard_normal((4, k)) * grid.limit, a)
    assert (a @ w).tolist() == exact(a, w)


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 70))
def test_neither_the_order_of_the_terms_nor_the_rows_beside_change_a_bit(seed, rows):
    rng = np.random.default_rng(seed)
    w = on_grid(rng.standard_normal((300, 40)), GRIDS[0])
    a = np.empty((rows, 300))
    GRIDS[0].symmetric(rng.standard_normal((rows, 300)) * 100.0, a)
    product = a @ w
    order = rng.permutation(300)
    assert np.ascontiguousarray(a[:, order] @ w[order]).tobytes() == product.tobytes()
    for i in range(0, rows, 7):
        assert (a[i : i + 1] @ w).tobytes() == product[i : i + 1].tobytes()
    assert np.ascontiguousarray((w.T @ a.T).T).tobytes() == product.tobytes()


def test_activations_of_two_grids_in_one_product_are_exact():
    rng = np.random.default_rng(1)
    w = on_grid(rng.standard_normal((30, 6)), [(10, GRIDS[0]), (20, GRIDS[1])])
    a = np.empty((5, 30))
    GRIDS[0].symmetric(rng.standard_normal((5, 10)) * 90, a[:, :10])
    GRIDS[1].symmetric(rng.standard_normal((5, 20)), a[:, 10:])
    assert (a @ w).tolist() == exact(a, w)


def test_the_greatest_activations_that_there_can_be_are_exact():
    """All at the limit, all weights of one sign: the sum that the grid must leave room for."""
    for grid in GRIDS:
        w = on_grid(np.random.default_rng(2).uniform(0.5, 1.0, (300, 7)), grid)
        a = np.full((2, 300), grid.limit - 2.0**-grid.bits)
        assert (a @ w).tolist() == exact(a, w)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_grid_takes_the_nearest_of_its_numbers_and_never_one_beyond_its_limit(grid):
    unit = 2.0**-grid.bits
    x = np.concatenate([np.random.default_rng(3).normal(0, grid.limit, 1000), [np.inf, -np.inf, 1e300, -1e300, 0.0]])
    out = np.empty_like(x)
    grid.symmetric(x, out)
    np.testing.assert_array_equal(out, np.rint(np.clip(x, -grid.limit, grid.limit) / unit) * unit)
    grid.relu(x, out)
    np.testing.assert_array_equal(out, np.rint(np.clip(x, 0.0, grid.limit) / unit) * unit)


def test_weights_keep_six_digits():
    w = np.random.default_rng(4).uniform(-0.2, 0.2, (300, 400)).astype(np.float32)
    error = np.abs(on_grid(w, [(200, GRIDS[0]), (100, GRIDS[1])]) - w)
    assert error.max() < 2.0**-21

"""The compiled passes of a network's step give the bits of NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitaskais.exact.tables import expect_much
from multitaskais.networks import passes

D, H, Z = 11, 6, 5
OFFSETS = np.array([0, 3, 4, 9, D])


@pytest.fixture(scope="module")
def compiled():
    pytest.importorskip("numba", reason="numba is not installed (pip install .[fast])")
    from multitaskais.networks import compiled_passes

    return compiled_passes


@st.composite
def cases(draw):
    """Random numbers of some size, with a few that lie on or beyond the ends of grids and tables."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([1e-6, 1.0, 30.0, 500.0]))
    ends = np.array([0.0, -0.0, 64.0, -64.0, 10.0, -10.0, 80.0, -24.0, 2.0**-19, 1e9, -1e9])

    def numbers(*shape):
        x = rng.normal(0, scale, shape)
        return np.where(rng.random(shape) < 0.1, rng.choice(ends, shape), x)

    return numbers, rng, draw(st.integers(1, 4)), draw(st.sampled_from([1, 3]))


def both(compiled, name, args, outs):
    """What both leave in the arrays that they write, as bytes."""
    found = []
    for module in (passes, compiled):
        copies = [None if a is None else a.copy() for a in args]
        getattr(module, name)(*copies)
        found.append([copies[i].tobytes() for i in outs])
    return found


@settings(max_examples=40, deadline=None)
@given(cases(), st.booleans())
def test_every_compiled_pass_gives_the_bits_of_numpy(compiled, case, drawn):
    numbers, rng, lines, samples = case
    rows = lines * samples
    asked = rows if drawn else 0  # of a batch of moored ships nothing is asked
    index = np.where(rng.random((rows, 4)) < 0.2, D, OFFSETS[:4] + np.array([1, 0, 2, 1]))
    c = np.float32(numbers(rows, H)).astype(float)
    for name, args, outs in (
        ("four_rows", (numbers(D + 1, H), index, numbers(H), np.empty((rows, H))), [3]),
        (
            "first_layers",
            (numbers(rows, 3 * H), numbers(3 * H), numbers(lines, H), np.empty((2, rows, H)), np.empty((rows, H))),
            [3, 4],
        ),
        (
            "latent",
            (*(numbers(rows, 2 * Z) for _ in range(2)), numbers(2 * Z), numbers(2 * Z), numbers(rows, Z) if drawn else None,
             *(np.empty((rows, Z)) for _ in range(3))),
            [5, 6, 7],
        ),
        ("lstm", (numbers(rows, 4 * H), numbers(lines, 4 * H), numbers(4 * H), c, np.empty((rows, H))), [3, 4]),
        ("mixtures", (numbers(asked, 36), numbers(asked, 4), np.empty(asked)), [2]),
        ("emission", (numbers(rows, D), numbers(D), index, OFFSETS, np.empty((rows, 4))), [4]),
    ):  # fmt: skip
        plain, fast = both(compiled, name, args, outs)
        assert plain == fast, name


def test_where_numba_is_installed_the_compiled_passes_are_used(compiled):
    expect_much()
    assert passes.fastest() is compiled

"""A chain of reports a certain time apart, compiled or not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.exact.tables import expect_much
from multitaskais.tracks import chain

TIMES = st.lists(st.sampled_from([0.0, 1.0, 49.0, 50.0, 50.0000001, 51.0, 600.0]), max_size=30).map(np.cumsum)


def by_hand(lines, least_s):
    out = []
    for times in lines:
        last = None
        for t in times.tolist():
            chosen = last is None or t - last > least_s
            last = t if chosen else last
            out.append(chosen)
    return out


@given(st.lists(TIMES, max_size=5), st.floats(0.0, 2e9))
def test_each_report_of_a_chain_is_later_than_the_one_before_by_more_than_the_least(lines, start):
    lines = [start + times for times in lines]
    t = np.concatenate([np.zeros(0), *lines])
    begin = np.cumsum([0, *map(len, lines)])
    marks = bytearray(len(t))
    chain.mark(t.tolist(), begin.tolist(), 50.0, marks)
    assert list(map(bool, marks)) == by_hand(lines, 50.0)
    assert chain.apart(t, begin, 50.0).tolist() == by_hand(lines, 50.0)
    expect_much()
    assert chain.apart(t, begin, 50.0).tolist() == by_hand(lines, 50.0)


def test_where_numba_is_installed_the_chain_is_compiled():
    pytest.importorskip("numba", reason="numba is not installed (pip install .[fast])")
    assert chain.compiled_mark() is not None

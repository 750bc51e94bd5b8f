"""A subset of lines is bounded, loses no vessel, and takes from the greatest first."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.model.subset import fair_lines

LINES = st.lists(st.tuples(st.integers(1, 8), st.integers(1, 50)), max_size=60)


@given(LINES, st.integers(1, 400), st.integers(0, 3))
def test_no_vessel_is_lost_and_none_gives_up_lines_while_another_has_more(lines, most, seed):
    mmsi = np.array([m for m, _ in lines], np.int64)
    samples = np.array([n for _, n in lines], np.int64)
    keep = fair_lines(mmsi, samples, most, seed)
    if samples.sum() <= most:
        assert keep.all()
        return
    assert set(mmsi[keep]) == set(mmsi)
    kept = {m: int(samples[keep & (mmsi == m)].sum()) for m in set(mmsi.tolist())}
    whole = {m: int(samples[mmsi == m].sum()) for m in kept}
    lone = {m for m in kept if (keep & (mmsi == m)).sum() == 1}
    assert sum(kept.values()) <= most or lone == set(kept)
    # Who gave something up has at least the share of everyone, but for one line.
    short = [m for m in kept if kept[m] < whole[m]]
    assert all(kept[m] + 50 > kept[other] - 50 for m in short for other in set(kept) - lone)
    assert keep.tolist() == fair_lines(mmsi, samples, most, seed).tolist()


def test_a_vessel_of_a_hundred_lines_gives_as_many_samples_as_one_of_ten():
    mmsi = np.repeat([1, 2], [100, 10])
    keep = fair_lines(mmsi, np.full(110, 10), 100)
    assert keep[mmsi == 1].sum() == keep[mmsi == 2].sum() == 5

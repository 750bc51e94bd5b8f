"""What is held of each ship does not depend on how its reports came."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from multitaskais.encounters.fleet import FleetTable

from ..support.builders import T0, fleet, merged, moved, sail


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_the_order_within_a_span_does_not_matter(seed, shuffle):
    reports = fleet(seed, vessels=5, hours=1.0)
    reports = np.concatenate([reports, reports[:50]])  # and what comes twice counts once
    one, other = FleetTable(), FleetTable()
    for start in np.arange(T0, T0 + 3700, 300.0):
        span = reports[(reports["t"] >= start) & (reports["t"] < start + 300.0)]
        a = one.absorb(span)
        b = other.absorb(np.random.default_rng(shuffle).permutation(span))
        assert a.tobytes() == b.tobytes()
    assert one.rows.tobytes() == other.rows.tobytes()


def test_one_displaced_report_is_left_out_and_two_that_agree_are_believed():
    ship = sail(30)
    odd = moved(ship[10:11], north_m=50_000, t=ship["t"][10] + 30)
    table = FleetTable()
    assert len(table.absorb(merged(ship[:20], odd))) == 20
    there = moved(ship[20:], north_m=50_000)
    assert len(table.absorb(there)) == len(there) - 1
    assert abs(table.rows["lat"][0] - there["lat"][-1]) < 1e-9


def test_a_ship_under_way_is_carried_on_and_a_slow_one_stays():
    table = FleetTable()
    for part in (slice(0, 5), slice(5, 10)):
        table.absorb(merged(sail(10, sog=12.0)[part], sail(10, sog=0.5, mmsi=227000002)[part]))
    t = T0 + 9 * 60 + 60
    at = table.at(t)
    assert abs((at["lat"][0] - sail(11, sog=12.0)["lat"][10]) * 111_195) < 1.0
    assert at["lat"][1] == table.rows["lat"][1]
    assert not len(table.at(t + 3600))

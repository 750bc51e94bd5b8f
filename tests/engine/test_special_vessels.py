"""Vessels that the arrays leave to the engine are judged together: what is said of a station's clock depends on all of them."""

from __future__ import annotations

import numpy as np
import pytest

from multitaskais.engine import batch
from multitaskais.engine.batch import VesselFold
from multitaskais.engine.line_arrays import Observed, _spans
from multitaskais.evaluation.alert_files import order_of
from tests.support import small_model
from tests.support.builders import T0, merged, sail


def traffic(ordinary: int, displaced: int) -> np.ndarray:
    """Ships of two hours; some of them are 20 km away for ten minutes, all in the same minutes."""
    ships = [sail(60, 120.0, mmsi=227_000_001 + i, t=T0 + 7.0 * i, lon=-7.0) for i in range(ordinary + displaced)]
    for ship in ships[ordinary:]:
        ship["lat"][30:35] += 0.2
    # Some are silent before: they are under observation no more.
    ships += [sail(5, 60.0, mmsi=228_000_001 + i, t=T0 - 9000.0, lon=-7.0) for i in range(10 * ordinary)]
    return merged(*ships)


@pytest.mark.parametrize(("ordinary", "displaced", "is_fault"), [(30, 6, True), (30, 4, False), (200, 6, False)])
def test_a_stations_fault_is_found_among_all_ships_of_the_archive(ordinary, displaced, is_fault):
    model, reports = small_model.model(), traffic(ordinary, displaced)
    want = batch.run(model, reports, trace=True)
    assert bool(want.station_clocks) == is_fault
    fold = VesselFold(model)
    fold.add(reports[np.lexsort((reports["t"], reports["mmsi"]))])
    verdicts = fold.close()
    assert fold.station_clocks == want.station_clocks
    found = [sorted((a.as_dict() for a in alerts), key=order_of) for alerts in (fold.alerts, want.alerts)]
    assert found[0] == found[1]
    assert bool(found[0]) != is_fault
    assert (verdicts, fold.counts) == (batch.track_verdicts(want), want.counts)


def test_ships_under_observation_are_counted_at_any_report():
    rng = np.random.default_rng(1)
    t = np.sort(rng.integers(0, 60, 300) * 600.0 + T0)
    mmsi = rng.integers(1, 9, 300)
    reports = np.concatenate([sail(2, 1.0)[:1]] * 300)
    reports["t"], reports["mmsi"] = t, mmsi
    offered = reports[np.lexsort((t, mmsi))]
    observed = Observed()
    observed.spans = [_spans(offered[offered["mmsi"] <= 4], 1200.0), _spans(offered[offered["mmsi"] > 4], 1200.0)]
    in_time = offered[np.lexsort((offered["mmsi"], offered["t"]))]
    for r in in_time[::7]:
        came = in_time[(in_time["t"] < r["t"]) | ((in_time["t"] == r["t"]) & (in_time["mmsi"] < r["mmsi"]))]
        newest = [came["t"][came["mmsi"] == m].max() for m in np.unique(came["mmsi"])]
        assert observed.count(float(r["t"]), int(r["mmsi"])) == sum(n + 1200.0 >= r["t"] for n in newest)

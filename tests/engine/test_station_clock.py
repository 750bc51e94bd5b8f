"""Many ships displaced in the same minutes are one event of a station, and no ship's alert."""

from __future__ import annotations

import numpy as np
import pytest

from multitaskais.engine import batch
from multitaskais.engine.engine import PartitionEngine
from multitaskais.model import folder as modelfolder
from multitaskais.records import AlertType, Reason
from multitaskais.tracks.station_clock import SHIPS_MIN
from tests.support.builders import merged, moved, sail

SHIPS = 12


@pytest.fixture(scope="module")
def model():
    return modelfolder.load("anywhere")


def ships(n: int = SHIPS, hours: float = 5.0) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [
        sail(int(hours * 60), 60.0, mmsi=227_000_001 + i, t=1_500_000_000.0 + 5 * i, lat=40.0 + i, sog=10.0 + i % 5, cog=rng.uniform(0, 360))
        for i in range(n)
    ]  # fmt: skip


def displaced_together(n: int, minutes: int = 2) -> np.ndarray:
    """Of twelve ships ``n`` are some 15 km aside during the same minutes."""
    parts = []
    for i, ship in enumerate(ships()):
        there = slice(150, 150 + minutes)
        if i < n:
            ship[there] = moved(ship[there], north_m=12_000, east_m=9_000)
        parts.append(ship)
    return merged(*parts)


def one_station_ahead(offset_s: float, named: bool) -> np.ndarray:
    """Each third report comes by a station whose clock is ahead."""
    parts = []
    for ship in ships():
        ship["station"] = b"A" if named else b""
        ship["station"][100::3] = b"B" if named else b""
        ship["t"][100::3] += offset_s
        parts.append(ship)
    return merged(*parts)


def kinds(result) -> set[str]:
    return {str(a.alert_type) for a in result.alerts}


@pytest.mark.parametrize("n", [SHIPS_MIN, SHIPS])
def test_ships_displaced_in_the_same_minutes_raise_one_event_and_no_alert(model, n):
    result = batch.run(model, displaced_together(n))
    assert result.alerts == []
    (event,) = result.station_clocks
    assert event.ships >= SHIPS_MIN
    assert event.station == ""
    assert result.counts.rejected[Reason.STATION_CLOCK] >= n
    assert Reason.DISPLACED not in result.counts.rejected


def test_few_ships_are_displaced_for_themselves(model):
    result = batch.run(model, displaced_together(SHIPS_MIN - 1))
    assert result.station_clocks == []
    assert len({a.mmsi for a in result.alerts if a.alert_type is AlertType.JUMP}) == SHIPS_MIN - 1


def test_many_ships_displaced_at_different_times_are_no_event(model):
    parts = []
    for i, ship in enumerate(ships()):
        at = 60 + 15 * i
        ship[at : at + 2] = moved(ship[at : at + 2], north_m=12_000)
        parts.append(ship)
    result = batch.run(model, merged(*parts))
    assert result.station_clocks == []
    assert len({a.mmsi for a in result.alerts}) == SHIPS


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("offset_s", [2220.0, 5000.0])
def test_a_clock_that_is_off_blames_its_station_and_no_ship(model, offset_s, named):
    result = batch.run(model, one_station_ahead(offset_s, named))
    assert kinds(result) == set()
    (event,) = result.station_clocks
    assert event.station in (("A", "B", "") if named else ("",))  # of two alone it cannot be told which is wrong
    assert abs(event.offset_s - offset_s) < 120


def test_the_fold_gives_the_same_in_any_runs_and_after_any_restart(model):
    reports = displaced_together(SHIPS)
    whole = batch.run(model, reports)
    rng = np.random.default_rng(2)
    engine, alerts, events = PartitionEngine(model, ordered=True), [], []
    cuts = [0, *sorted(rng.integers(0, len(reports), 12).tolist()), 1830, 1840, len(reports)]
    stored: dict[int, bytes | None] = {}
    for a, b in zip(sorted(cuts), sorted(cuts)[1:], strict=False):
        got = engine.process(reports[a:b])
        alerts += got.alerts
        events += got.station_clocks
        stored |= engine.snapshot()
        partition = engine.partition_state()
        engine = PartitionEngine(model, ordered=True)
        engine.restore([(m, s) for m, s in stored.items() if s is not None], partition)
    got = engine.advance_watermark(np.inf)
    assert alerts + got.alerts == whole.alerts
    assert events == whole.station_clocks


def test_a_fault_of_one_station_hides_no_jump_of_another_ship(model):
    reports = displaced_together(SHIPS)
    alone = sail(300, 60.0, mmsi=227_999_999, lat=30.0)
    alone[250:252] = moved(alone[250:252], north_m=12_000)  # long after
    result = batch.run(model, merged(reports, alone))
    assert {a.mmsi for a in result.alerts} == {227_999_999}
    assert len(result.station_clocks) == 1

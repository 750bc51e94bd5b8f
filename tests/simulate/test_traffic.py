"""Laws of the simulated traffic: seeded, at sea, plausible, with labels that say what was done."""

from __future__ import annotations

import numpy as np
import pytest

from multitaskais.config import REGIONS
from multitaskais.data import on_land
from multitaskais.errors import ConfigError
from multitaskais.records import REPORT_DTYPE
from multitaskais.simulate import KINDS, SimulatedTraffic, SimulationSettings, simulate
from multitaskais.units import KNOT_MPS

BRITTANY = REGIONS["brittany"]


def make(seed: int, **settings: object) -> SimulatedTraffic:
    return simulate(BRITTANY, SimulationSettings(**settings), np.random.default_rng(seed))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def day() -> SimulatedTraffic:
    return make(5, abnormal=16)


def track(traffic: SimulatedTraffic, mmsi: int) -> np.ndarray:
    """One ship's reports with each time once."""
    r = traffic.reports[traffic.reports["mmsi"] == mmsi]
    return r[np.r_[True, np.diff(r["t"]) > 4]]


def metres(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Great-circle distance, haversine."""
    la, lb = np.radians(a["lat"]), np.radians(b["lat"])
    h = np.sin((lb - la) / 2) ** 2 + np.cos(la) * np.cos(lb) * np.sin(np.radians(b["lon"] - a["lon"]) / 2) ** 2
    return 2 * 6371008.8 * np.arcsin(np.sqrt(h))


def labelled(traffic: SimulatedTraffic, kind: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each ship of a kind: its reports, and which of them the label covers."""
    out = []
    for label in traffic.labels:
        if label.kind == kind:
            r = track(traffic, label.mmsi)
            out.append((r, (r["t"] >= label.t_start) & (r["t"] <= label.t_end)))
    assert out
    return out


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_traffic() -> None:
    a, b, c = make(1, vessels=20, abnormal=4), make(1, vessels=20, abnormal=4), make(2, vessels=20, abnormal=4)
    assert a.reports.tobytes() == b.reports.tobytes()
    assert a.labels == b.labels
    assert a.reports.tobytes() != c.reports.tobytes()


def test_reports_are_sorted_within_the_days_and_as_coarse_as_ais(day: SimulatedTraffic) -> None:
    r, settings = day.reports, SimulationSettings()
    assert r.dtype == REPORT_DTYPE
    assert np.all(np.diff(r["t"]) >= 0)
    assert r["t"][0] >= settings.start
    assert r["t"][-1] < settings.end
    np.testing.assert_array_equal(r["t"], np.round(r["t"]))
    np.testing.assert_allclose(r["lat"] * 600_000, np.round(r["lat"] * 600_000), atol=1e-4)
    sog = r["sog"][np.isfinite(r["sog"])]
    np.testing.assert_allclose(sog * 10, np.round(sog * 10), atol=1e-9)
    assert np.nanmin(r["cog"]) >= 0
    assert np.nanmax(r["cog"]) < 360
    assert np.nanmax(r["heading"]) < 360


def test_a_day_has_the_load_that_was_asked_for(day: SimulatedTraffic) -> None:
    assert len(np.unique(day.reports["mmsi"])) == 300
    assert 150_000 < len(day.reports) < 400_000
    assert 0.005 < np.isnan(day.reports["cog"]).mean() < 0.1
    assert {18, 1, 3} == set(np.unique(day.reports["msg_type"]))


def test_clean_ships_stay_at_sea(day: SimulatedTraffic) -> None:
    clean = ~np.isin(day.reports["mmsi"], [label.mmsi for label in day.labels])
    inside = day.reports[clean][::5]
    # a berth in the harbour lies within GPS noise of the outline of the land
    assert on_land(inside["lat"], inside["lon"], BRITTANY).mean() < 1e-3


def test_clean_ships_move_as_they_say(day: SimulatedTraffic) -> None:
    bad = {label.mmsi for label in day.labels}
    made, said = [], []
    for mmsi in np.unique(day.reports["mmsi"]):
        if mmsi in bad:
            continue
        r = track(day, mmsi)
        dt = np.diff(r["t"])
        near = (dt > 20) & (dt < 120)
        made.append((metres(r[:-1], r[1:]) / dt / KNOT_MPS)[near])
        said.append((0.5 * (r["sog"][:-1] + r["sog"][1:]))[near])
    off = np.abs(np.concatenate(made) - np.concatenate(said))
    off = off[np.isfinite(off)]
    assert np.quantile(off, 0.99) < 0.8
    assert off.max() < 15  # nothing that a jump rule could take for a jump (30 kn)


def test_each_kind_is_there_in_equal_number_and_no_label_is_long_before_the_ship(day: SimulatedTraffic) -> None:
    counts = [sum(label.kind == kind for label in day.labels) for kind in KINDS]
    assert counts == [2] * len(KINDS)
    for label in day.labels:
        t = track(day, label.mmsi)["t"]
        assert t[0] <= label.t_start <= label.t_end <= t[-1]
        if label.kind != "reversed":
            assert label.t_start - t[0] > 2 * 3600  # time to be judged before it happens


def test_a_drifting_ship_is_slow_but_moves(day: SimulatedTraffic) -> None:
    for r, inside in labelled(day, "drift"):
        t = r["t"][inside]
        core = inside & (r["t"] > t[0] + 900) & (r["t"] < t[-1] - 900)
        assert np.nanmedian(r["sog"][core]) < 2.5
        assert np.nanmedian(r["sog"][core]) > 0.5
        assert np.nanmedian(r["sog"][~inside]) > 7


def test_a_fast_ship_goes_much_faster_than_before(day: SimulatedTraffic) -> None:
    for r, inside in labelled(day, "fast"):
        assert np.nanmedian(r["sog"][inside]) > 1.5 * np.nanmedian(r["sog"][~inside])
        assert np.nanmax(r["sog"]) < 30


def test_a_spoofed_speed_contradicts_the_positions_and_a_jump_is_impossible(day: SimulatedTraffic) -> None:
    for r, inside in labelled(day, "spoof"):
        w = r[inside]
        dt = np.diff(w["t"])
        made = metres(w[:-1], w[1:]) / dt / KNOT_MPS
        assert np.nanmedian(np.abs(w["sog"][1:] - made)[dt > 20]) > 4
    for r, inside in labelled(day, "jump"):
        i = int(np.flatnonzero(inside)[0])
        pair = r[i - 1 : i + 1]
        assert metres(pair[:1], pair[1:])[0] / np.diff(pair["t"])[0] / KNOT_MPS > 60


def test_a_loitering_ship_turns_round_and_a_detour_comes_back(day: SimulatedTraffic) -> None:
    for r, inside in labelled(day, "loiter"):
        w = r[inside]
        length = metres(w[:-1], w[1:]).sum()
        assert length > 1.5 * metres(w[:1], w[-1:])[0]
    for r, inside in labelled(day, "detour"):
        w = r[inside]
        a, b = w[0], w[-1]
        x = (w["lon"] - a["lon"]) * np.cos(np.radians(a["lat"]))
        y = w["lat"] - a["lat"]
        bx, by = (b["lon"] - a["lon"]) * np.cos(np.radians(a["lat"])), b["lat"] - a["lat"]
        away = np.abs(x * by - y * bx) / np.hypot(bx, by) * 111_195
        assert away.max() > 5_000


def test_shifted_lanes_are_elsewhere_and_passages_are_not() -> None:
    from multitaskais.simulate import brittany as sea
    from multitaskais.simulate.voyages import Lanes

    still, moved = Lanes(0.0, np.random.default_rng(0)), Lanes(800.0, np.random.default_rng(0))
    for route in sea.ROUTES:
        step = np.abs(moved._lines[route.name] - still._lines[route.name])
        assert step.max() <= 800.0 + 1e-6
        assert np.all(step[route.sigma <= 150] == 0)
        if route.sigma.min() >= 700:
            assert step.min() > 500


def test_days_follow_one_another_without_a_break() -> None:
    traffic = make(3, days=2, vessels=40, abnormal=0)
    hours = np.unique((traffic.reports["t"] - SimulationSettings().start) // 3600)
    assert len(hours) == 48
    assert traffic.labels == ()


def test_a_region_without_lanes_and_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="no lanes"):
        simulate(REGIONS["gulf"], SimulationSettings(), np.random.default_rng(0))
    with pytest.raises(ConfigError, match="abnormal"):
        SimulationSettings(vessels=3, abnormal=4)
    with pytest.raises(ConfigError, match="unknown kind"):
        SimulationSettings(kinds=("ghost",))

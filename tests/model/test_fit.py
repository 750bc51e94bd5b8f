"""What thresholds rest on: tracks of other vessels and other days, and the fixed rules among them."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.config import DetectionRules
from multitaskais.detection.calibration import Calibration
from multitaskais.detection.grid import CellGrid
from multitaskais.detection.offline import run_panel
from multitaskais.detection.panel import Panel
from multitaskais.detection.received import Reception, ReceptionRules, lost_on, vessels_around
from multitaskais.detection.threshold import TYPE_INDEX, Budget
from multitaskais.detectors.place import PlaceDetector
from multitaskais.engine.batch import run as run_archive
from multitaskais.model.fit import day_blocks, fit_model, scores_of_other_days
from multitaskais.model.thresholds import DAY_S, choose_thresholds, tracks_of
from multitaskais.records import REPORT_DTYPE, AlertType, NotJudged
from multitaskais.tracks.segmentation import RULE_EVENT_DTYPE, rule_events
from tests.support.lane_traffic import REGION, sail
from tests.support.small_model import fleet, model

DETECTORS = ("place", "contradiction")


def of_days(ships: int, seed: int, days: int, first: int = 0) -> np.ndarray:
    """The lane's ships, spread over days."""
    samples = fleet(ships, seed, first)
    samples["t"] += DAY_S * (samples["mmsi"] % days)
    return samples


def events(mmsi: np.ndarray, t: np.ndarray, alert_type: AlertType, knots: np.ndarray) -> np.ndarray:
    out = np.zeros(len(mmsi), RULE_EVENT_DTYPE)
    out["mmsi"], out["t"], out["alert_type"], out["knots"] = mmsi, t, str(alert_type), knots
    return out


def first_of(samples: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    mmsi, at = np.unique(samples["mmsi"], return_index=True)
    return mmsi[:n], samples["t"][at[:n]] + 3600.0


@lru_cache(maxsize=1)
def promised():
    return fit_model(
        of_days(80, 1, 6), of_days(60, 2, 6, 100), REGION, name="lane", detectors=DETECTORS, budget=Budget(0.05)
    )


def test_unseen_vessels_of_simulated_traffic_are_flagged_as_promised():
    limits = promised().panel.thresholds
    shares = []
    for seed in range(6):
        strangers = of_days(60, 50 + seed, 6, 1000)
        score = run_panel(promised().panel, strangers).score
        flagged = np.zeros(60, bool)
        np.logical_or.at(flagged, strangers["mmsi"] - strangers["mmsi"].min(), score >= 1.0)
        shares.append(flagged.mean())
    assert np.mean(shares) <= limits.promise.flagged_at_most
    assert 0.01 < np.mean(shares) < 0.1, shares
    assert (limits.promise.tracks, limits.promise.vessels, limits.promise.days) == (140, 140, 6)
    assert limits.promise.other_days


def test_a_day_is_judged_by_what_was_learnt_on_other_days():
    """One day's traffic sails a lane of its own: among ships of the same day it is usual, on other days nobody goes there."""
    samples = of_days(60, 1, 6)
    moved = samples["mmsi"] % 6 == 5
    samples["lat"][moved] += 0.5
    detector = PlaceDetector.fit(samples, REGION, DetectionRules())
    with_its_day = scores_of_other_days(detector, samples, samples, None)
    without = scores_of_other_days(
        detector, samples, samples, lambda part: PlaceDetector.fit(part, REGION, DetectionRules())
    )
    assert np.nanmean(without[moved]) > np.nanmean(with_its_day[moved]) + 1
    assert abs(np.nanmean(without[~moved]) - np.nanmean(with_its_day[~moved])) < 0.5
    assert not detector.own_excluded


def test_a_line_stands_in_one_block_of_days_and_a_day_in_one_block():
    samples = of_days(40, 3, 9)
    block = day_blocks(samples)
    assert set(block.tolist()) == set(range(5))
    assert len(np.unique(np.stack([samples["mmsi"], block]), axis=1)[0]) == 40
    assert not day_blocks(fleet(10, 1)).any()


def test_a_long_line_is_as_many_tracks_as_it_has_days():
    start, track = tracks_of(np.concatenate([sail(1, 300), sail(2, 100)]))
    assert start.tolist() == [0, 144, 288, 300]
    assert track[-1] == 3


def test_jumps_of_normal_tracks_use_up_the_budget():
    train, dev = fleet(80, 1), fleet(60, 2, 100)
    both = np.concatenate([train, dev])
    few = events(*first_of(both, 3), AlertType.JUMP, np.array([40.0, 50.0, 60.0]))
    quiet = fit_model(train, dev, REGION, name="x", detectors=DETECTORS, budget=Budget(0.05)).panel.thresholds
    ruled = fit_model(
        train, dev, REGION, name="x", detectors=DETECTORS, budget=Budget(0.05), rule_events=few
    ).panel.thresholds
    abnormal = TYPE_INDEX[AlertType.ABNORMAL]
    assert ruled.by_type[abnormal] > quiet.by_type[abnormal]
    assert ruled.promise.by_rules == pytest.approx(3 / 140)
    assert ruled.flagged <= 0.05
    assert not ruled.rule_limits, "three of 140 are within half of the budget"


@pytest.mark.parametrize("alert_type", [AlertType.JUMP, AlertType.IDENTITY_CONFLICT])
def test_a_rule_that_fires_on_ordinary_traffic_gives_way(alert_type):
    train, dev = fleet(80, 1), fleet(60, 2, 100)
    mmsi, t = first_of(np.concatenate([train, dev]), 40)
    knots = np.linspace(31, 500, 40) if alert_type is AlertType.JUMP else np.full(40, np.inf)
    said: list[str] = []
    made = fit_model(
        train, dev, REGION, name="x", detectors=DETECTORS, budget=Budget(0.05),
        rule_events=events(mmsi, t, alert_type, knots), say=said.append,
    )  # fmt: skip
    limits = made.panel.thresholds
    assert limits.promise.by_rules <= 0.025
    assert any(f"rule {alert_type}: fires on too many normal tracks" in x for x in said)
    if alert_type is AlertType.JUMP:
        assert 450 < limits.rule_limits["jump"] < 500
    else:
        assert limits.rule_limits == {"identity_conflict": np.inf}


def jumping(mmsi: int, km: float) -> np.ndarray:
    """Four hours of reports on the lane, of which six in the middle lie to the north of it."""
    r = np.zeros(240, REPORT_DTYPE)
    r["mmsi"], r["t"] = mmsi, 1e9 + 60.0 * np.arange(240)
    r["lat"], r["lon"] = 48.0, -7.4 + 0.0042 * np.arange(240)
    r["lat"][120:126] += km / 111.195
    r["sog"], r["cog"], r["heading"], r["nav_status"], r["ship_type"] = 10.0, 90.0, np.nan, -1, -1
    return r


def test_the_rules_of_whole_archives_are_those_of_the_fold():
    reports = np.concatenate([jumping(228_000_001, 30.0), jumping(228_000_002, 0.0)])
    found = rule_events(reports, promised().track_rules, REGION)
    assert set(found["mmsi"].tolist()) == {228_000_001}
    alerts = [a for a in run_archive(promised(), reports).alerts if a.alert_type is AlertType.JUMP]
    assert {a.mmsi for a in alerts} == {228_000_001}
    assert found["t"][0] == alerts[0].segment_end.t
    assert not len(rule_events(reports[:0], promised().track_rules, REGION))


def test_a_raised_limit_of_jumps_holds_in_the_fold():
    def jumps(limit: float) -> int:
        model = promised()
        limits = replace(model.panel.thresholds, rule_limits={"jump": limit})
        panel = Panel(model.panel.detectors, model.panel.calibrations, limits, model.panel.rules)
        alerts = run_archive(replace(model, panel=panel), jumping(228_000_001, 30.0)).alerts
        return sum(a.alert_type is AlertType.JUMP for a in alerts)

    needed = float(rule_events(jumping(228_000_001, 30.0), promised().track_rules, REGION)["knots"].max())
    assert jumps(needed * 0.99)
    assert not jumps(needed * 1.01)
    assert not jumps(np.inf)


def north(ships: int, seed: int, first: int) -> np.ndarray:
    """The same traffic 70 km to the north, in the same large cell of one degree, where nothing was ever received."""
    samples = of_days(ships, seed, 6, first)
    samples["lat"] += 0.63
    return samples


def test_where_nothing_was_ever_received_nobody_is_out_of_place():
    panel = promised().panel
    elsewhere = run_panel(panel, north(20, 9, 2000))
    assert np.isnan(elsewhere.z[:, 0]).all(), "place says nothing"
    assert not (elsewhere.score >= 1).any()
    only = Panel([panel.detectors[0]], [panel.calibrations[0]], None, panel.rules)
    alone = run_panel(only, north(20, 9, 2000))
    assert not alone.judged.any()
    assert (alone.reason[alone.reason != NotJudged.TOO_SHORT] == NotJudged.NO_COVERAGE).all()


def test_where_ships_were_and_none_goes_this_way_is_judged():
    off = np.concatenate([sail(5000 + k, 40, lat=48.09, lon=-7.4, sog=11.0, cog=90.0) for k in range(3)])
    said = run_panel(promised().panel, off)
    assert (np.fmax.reduceat(said.score, [0, 40, 80]) >= 1).all()
    assert not (said.reason == NotJudged.NO_COVERAGE).any()


def test_coverage_is_kept_in_the_folder_and_older_models_judge_everywhere(tmp_path):
    calibration = promised().panel.calibrations[0]
    calibration.save(tmp_path / "c.npz")
    np.testing.assert_array_equal(Calibration.load(tmp_path / "c.npz").covered, calibration.covered)
    assert Calibration.load(tmp_path / "c.npz").parts == calibration.parts > 1
    assert 0 < calibration.covered.mean() < 0.5
    older = replace(calibration, covered=None)
    older.save(tmp_path / "o.npz")
    assert Calibration.load(tmp_path / "o.npz").covered is None
    panel = Panel([promised().panel.detectors[0]], [older], None, promised().panel.rules)
    assert not (run_panel(panel, north(5, 9, 2000)).reason == NotJudged.NO_COVERAGE).any()


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 5)), min_size=1, max_size=40))
def test_a_vessel_is_around_a_cell_exactly_when_it_was_received_within_the_reach(seen):
    grid = CellGrid(50.0, 0.0, 0.1, 10, 10)
    cell, number = np.array(seen).T
    around = vessels_around(grid, cell, number, 12.0)
    for c in range(100):
        near = {v for k, v in seen if math.hypot(*(np.subtract(divmod(k, 10), divmod(c, 10)) * (11.1195, 7.1))) <= 12.0}
        assert around.numbers[c] == len(near)
        assert {int(k // 100) for k in around.keys if k % 100 == c} == near


def crossing(first: int, *, until_lat: float) -> np.ndarray:
    """Forty ships of six days that are first heard at 47.55 N and sail north side by side, and are heard no more at ``until_lat``."""
    ships = [sail(first + k, 40, lat=47.55, lon=-6.88 + 0.02 * k, sog=10.0, cog=0.0) for k in range(40)]
    for k, ship in enumerate(ships):
        ship["t"] += DAY_S * (k % 6)
    return np.concatenate([s[s["lat"] < until_lat] for s in ships])


def test_beyond_where_ships_are_heard_no_more_nothing_is_known_and_beside_where_they_pass_nobody_goes():
    samples = crossing(3000, until_lat=48.0)
    reception = Reception(samples, CellGrid.of(REGION))
    covered = reception.covered()

    def at(lat: float, lon: float) -> bool:
        return bool(covered[reception.grid.index(np.array([lat]), np.array([lon]))[0]])

    assert at(47.85, -6.55), "here they were"
    assert not at(48.07, -6.55), "they went on to here, and were not heard"
    assert not at(47.47, -6.55), "they came from here, and were not heard"
    assert not at(48.25, -6.55), "nobody was near"
    assert at(47.78, -6.98), "they passed alongside, and nobody was lost to the west"
    assert not at(47.78, -7.2), "that is too far to say"


def test_ships_that_stop_or_that_the_archive_ends_with_are_not_lost():
    samples = crossing(3000, until_lat=48.0)
    grid, rules = CellGrid.of(REGION), ReceptionRules()
    cells, mmsi = lost_on(samples, grid, rules)
    assert len(np.unique(mmsi)) == 40
    assert set((cells // grid.n_lon).tolist()) == {4, 10}, "they came from 47.4 to 47.5 N and went on to 48.0 to 48.1 N"
    stopped = samples.copy()
    stopped["sog"] = 2.0
    assert not len(lost_on(stopped, grid, rules)[0])
    one_day = samples[samples["t"] < samples["t"].min() + DAY_S / 2]
    assert not len(lost_on(one_day, grid, rules)[0]), "all come and go with the archive"


def test_coverage_of_large_and_of_small_cells_are_judged_side_by_side():
    old, new = promised().panel.calibrations[0], replace(promised().panel.calibrations[0], covered=None, parts=1)
    assert new.covered_in(4).all()
    whole = replace(old, covered=np.arange(old.grid.n_cells) % 3 == 0, parts=1)
    shape = whole.covered_in(2).reshape(2 * old.grid.n_lat, 2 * old.grid.n_lon)
    np.testing.assert_array_equal(shape[1::2, ::2].ravel(), whole.covered)


def test_what_a_vessel_alone_has_shown_does_not_count_for_itself():
    samples = crossing(3000, until_lat=48.0)
    one = samples[samples["mmsi"] == samples["mmsi"][0]]
    grid = CellGrid.of(REGION)
    assert Reception(samples, grid).covered_by_others(one).all()
    assert not Reception(one, grid).covered_by_others(one).any()
    others = samples[samples["mmsi"] != one["mmsi"][0]]
    for_itself = Reception(samples, grid).covered_by_others(one)
    without = Reception(others, grid)
    cell = without.grid.index(one["lat"], one["lon"])
    np.testing.assert_array_equal(for_itself, without.covered()[cell])
    # A ship lost alone into a cell: without it nobody was.
    west = sail(9000, 20, lat=47.85, lon=-6.95, sog=10.0, cog=270.0)
    west["t"] += DAY_S
    with_it, without = Reception(np.concatenate([samples, west]), grid), Reception(samples, grid)
    cell = without.grid.index(west["lat"], west["lon"])
    np.testing.assert_array_equal(with_it.covered_by_others(west), without.covered()[cell])


def test_a_few_dozen_vessels_keep_the_budget_on_average_though_each_detector_has_a_scale_of_its_own():
    """Scores of one sample a vessel with tails of several weights: what is greatest among 50 ships is not taken for the greatest there is."""
    panel = model().panel
    rule = panel.names.index("contradiction")
    scale = np.linspace(0.5, 3.0, len(panel.names))

    def scores(rng: np.random.Generator, n: int) -> np.ndarray:
        said = scale * rng.exponential(1.0, (n, len(panel.names))) ** 1.3
        said[:, rule] = -9.0
        return said

    shares, expected = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        ships = np.concatenate([sail(203_000_000 + k, 1) for k in range(50)])
        limits = choose_thresholds(panel, ships, scores(rng, 50), Budget(0.05), [0] * len(panel.names))
        later = Panel(panel.detectors, panel.calibrations, limits, panel.rules).score_of(scores(rng, 2000))
        shares.append(float((later >= 1.0).mean()))
        expected.append(limits.promise.flagged)
    assert 0.6 < np.mean(shares) / 0.05 < 1.33, np.mean(shares)
    assert np.mean(shares) < 1.5 * np.mean(expected)

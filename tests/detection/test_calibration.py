"""Scores to z, cell by cell, against plain NumPy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from multitaskais.config import Region
from multitaskais.detection import calibration
from multitaskais.detection.calibration import SHRINK, Calibration, kde_quantile
from multitaskais.detection.grid import CellGrid, distinct_vessels
from multitaskais.detection.ship_classes import CLASSES
from multitaskais.errors import ConfigError
from multitaskais.records import SAMPLE_DTYPE

REGION = Region("box", 47.0, 49.0, -8.0, -4.0)
GRID = CellGrid.of(REGION)


def scattered(n: int, seed: int = 0, vessels: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    samples = np.zeros(n, SAMPLE_DTYPE)
    samples["lat"], samples["lon"] = rng.uniform(47, 49, n), rng.uniform(-8, -4, n)
    samples["mmsi"], samples["ship_type"] = rng.integers(0, vessels, n), -1
    return samples, samples["lat"] * 3 + rng.normal(0, 1 + samples["lon"] ** 2 / 50, n)


@pytest.mark.parametrize("n", [2, 3, 10, 200, 1999])
@pytest.mark.parametrize("quantile", [0.1, 0.5])
def test_the_low_quantile_is_that_of_scipys_kde(n, quantile):
    values = np.random.default_rng(n).gamma(2.0, 3.0, n)
    q = kde_quantile(values, quantile)
    assert gaussian_kde(values).integrate_box_1d(-np.inf, q) == pytest.approx(quantile, abs=1e-9)


def test_a_step_is_low_exactly_when_the_kdes_cdf_is_below_the_quantile():
    values = np.random.default_rng(1).normal(-40, 8, 60)
    kde, q = gaussian_kde(values), kde_quantile(values, 0.1)
    for x in np.random.default_rng(2).normal(-50, 10, 200):
        assert (kde.integrate_box_1d(-np.inf, x) < 0.1) == (x < q)


def test_many_values_move_the_quantile_by_less_than_a_hundredth_of_their_spread():
    values = np.random.default_rng(3).normal(0, 1, 20_000)
    q = kde_quantile(values, 0.1)
    assert gaussian_kde(values).integrate_box_1d(-np.inf, q) == pytest.approx(0.1, abs=0.003)


def test_fewer_than_two_different_values_have_no_quantile():
    assert np.isnan(kde_quantile(np.array([1.0]), 0.1))
    assert np.isnan(kde_quantile(np.array([1.0, 1.0]), 0.1))


def test_a_cell_with_much_data_has_its_own_figures_and_an_empty_one_its_surroundings():
    samples, score = scattered(50)
    samples["lat"], samples["lon"] = 47.05, -7.95
    extra, extra_score = scattered(50, 1)
    extra["lat"], extra["lon"] = 48.95, -4.05
    both = np.concatenate([np.tile(samples, 400), np.tile(extra, 400)])
    cal, _ = calibration.fit(np.concatenate([np.tile(score, 400), np.tile(extra_score + 50, 400)]), both, GRID)
    west, east = GRID.index(np.array([47.05, 48.95]), np.array([-7.95, -4.05]))
    assert cal.mean[0, west] == pytest.approx(score.mean(), abs=0.2)
    assert cal.mean[0, east] == pytest.approx(extra_score.mean() + 50, abs=0.2)
    beside = GRID.index(np.array([47.15]), np.array([-7.95]))[0]  # empty; same 0.3 degree group
    assert cal.mean[0, beside] == pytest.approx(score.mean(), abs=0.5)
    middle = GRID.index(np.array([48.05]), np.array([-6.05]))[0]  # nothing within 1 degree
    assert cal.mean[0, middle] == pytest.approx(np.r_[score, extra_score + 50].mean(), abs=0.5)


def test_the_pull_is_that_of_so_many_samples_of_the_larger_cell():
    samples, score = scattered(3000)
    cal, _ = calibration.fit(score, samples, GRID)
    cell = GRID.index(samples["lat"], samples["lon"])
    mean, sd = score.mean(), score.std()
    at = int(cell[0])
    for group in GRID.groups[::-1]:
        x = score[group[cell] == group[at]]
        values = np.concatenate([x, []])
        m = (values.sum() + SHRINK * mean) / (len(x) + SHRINK)
        v = ((values**2).sum() + SHRINK * (sd**2 + mean**2)) / (len(x) + SHRINK) - m**2
        mean, sd = m, np.sqrt(v)
    assert cal.mean[0, at] == pytest.approx(mean)
    assert cal.sd[0, at] == pytest.approx(sd)


def test_a_vessels_own_samples_are_left_out_of_its_cells():
    samples, score = scattered(4000, vessels=20)
    _, z = calibration.fit(score, samples, GRID)
    for vessel in (0, 7):
        others = samples["mmsi"] != vessel
        alone, _ = calibration.fit(score[others], samples[others], GRID)
        mine = ~others
        cell = GRID.index(samples["lat"][mine], samples["lon"][mine])
        np.testing.assert_allclose(z[mine], alone.z(score[mine], cell, np.zeros(mine.sum(), int)), atol=1e-6)


def test_vessels_around_are_counted_once_each():
    samples, _ = scattered(500, vessels=12)
    cell = GRID.index(samples["lat"], samples["lon"])
    counted = distinct_vessels(GRID, 2, cell, samples["mmsi"])
    group = GRID.groups[2]
    for c in range(0, GRID.n_cells, 97):
        assert counted[c] == len(set(samples["mmsi"][group[cell] == group[c]]))


def test_positions_outside_the_box_or_missing_have_no_cell():
    lat, lon = np.array([46.99, 49.0, 48.0, 48.0, np.nan, 48.0]), np.array([-6.0, -6.0, -8.01, -4.0, -6.0, np.nan])
    assert (GRID.index(lat, lon) == -1).all()
    assert (GRID.index(np.array([47.0, 48.999]), np.array([-8.0, -4.001])) == [0, GRID.n_cells - 1]).all()


def test_scores_that_mean_the_same_everywhere_come_back_from_z():
    samples, score = scattered(300)
    cal, _ = calibration.fit(score, samples, GRID, cell_calibrated=False)
    far = np.array([500.0, 1.0])
    np.testing.assert_allclose(cal.score_of_region(cal.z(far, np.zeros(2, int), np.zeros(2, int))), far)


def test_a_stored_calibration_is_the_same(tmp_path):
    samples, score = scattered(2000)
    cal, _ = calibration.fit(score, samples, GRID, low_quantile=0.1)
    cal.save(tmp_path / "c.npz")
    again = Calibration.load(tmp_path / "c.npz")
    assert again.grid == cal.grid
    np.testing.assert_allclose(again.mean, cal.mean, rtol=1e-6)
    np.testing.assert_array_equal(again.low, cal.low)
    np.testing.assert_array_equal(again.vessels, cal.vessels)


def test_nothing_to_calibrate_on_says_so():
    samples, _ = scattered(5)
    with pytest.raises(ConfigError, match="more vessels"):
        calibration.fit(np.full(5, np.nan), samples, GRID)


def test_a_class_with_enough_vessels_has_its_own_figures_and_one_with_few_the_common_ones():
    samples, score = scattered(6000, vessels=60)
    tug, tow = samples["mmsi"] < 25, samples["mmsi"] == 30
    samples["ship_type"][tug], samples["ship_type"][tow] = 52, 31
    score[tug] += 20
    cal, _ = calibration.fit(score, samples, GRID)
    common, tugs, tows = cal.mean[0], cal.mean[1 + CLASSES.index("tug")], cal.mean[1 + CLASSES.index("tow")]
    assert (tugs - common).mean() > 0.5
    np.testing.assert_array_equal(tows, common)

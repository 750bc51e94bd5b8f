from __future__ import annotations

import numpy as np
import pytest

from multitaskais.config import DetectionRules
from multitaskais.detectors.reference import velocity
from multitaskais.detectors.speed import FEW, LIMIT, NEIGHBOURS, SD_FLOOR, WITHIN, SpeedDetector, _features
from tests.support.lane_traffic import REGION, lane, run, sail

RULES = DetectionRules()


@pytest.fixture(scope="module")
def fitted() -> SpeedDetector:
    return SpeedDetector.fit(lane(15), REGION, RULES)


def changes(to: float, start: float = 10.0, at: int = 14, n: int = 28):
    return sail(1, n=n, sog=np.where(np.arange(n) < at, start, to))


def test_a_ship_that_keeps_its_lane_s_speed_is_not_strange(fitted):
    assert np.nanmax(run(fitted, sail(1, n=28))) < 0.2


@pytest.mark.parametrize("to", [5.0, 16.0])
def test_half_and_1_6_times_the_speed_are_strange(fitted, to):
    assert np.nanmax(run(fitted, changes(to))) > 0.7 * LIMIT * 11 / 12


def test_a_ship_that_has_always_been_slow_is_less_strange_than_one_that_becomes_slow(fitted):
    always = run(fitted, sail(1, n=28, sog=5.0))
    assert np.nanmax(always) < 0.3
    assert np.nanmax(run(fitted, changes(5.0))) > 1.0


def test_where_nobody_sails_it_abstains(fitted):
    _, scores = fitted.step(fitted.initial(1), sail(1, n=1, lat=47.2))
    assert np.isnan(scores.score).all()
    assert np.isnan(run(fitted, sail(1, n=28, lat=47.2))).all()


def test_a_loaded_detector_says_the_same(fitted, tmp_path):
    fitted.save(tmp_path)
    again = SpeedDetector.load(tmp_path, REGION, RULES)
    assert np.array_equal(run(fitted, changes(5.0)), run(again, changes(5.0)), equal_nan=True)


def test_a_line_has_the_same_bits_in_any_company(fitted):
    many = lane(40, np.random.default_rng(1))
    state = fitted.initial(40)
    for n in range(16):
        at = many[many["n"] == n]
        before, (state, scores) = state, fitted.step(state, at)
    order = np.random.default_rng(2).permutation(40)
    assert np.array_equal(fitted.step(before[order], at[order])[1].score, scores.score[order], equal_nan=True)
    alone = [fitted.step(before[k : k + 1], at[k : k + 1])[1].score[0] for k in range(40)]
    assert np.array_equal(np.array(alone), scores.score, equal_nan=True)


def test_a_sample_takes_what_is_kept_of_the_nearest_point_and_that_is_what_its_neighbours_do(fitted):
    points = np.asarray(fitted._tree.data)
    for k in range(0, len(points), 50):
        distance = np.sqrt(((points - points[k]) ** 2).sum(axis=1))
        nearest = np.argsort(distance, kind="stable")[:NEIGHBOURS]
        log = fitted._log[nearest[distance[nearest] < WITHIN]]
        assert fitted._around.n[k] == len(log)
        assert np.isclose(fitted._around.mean[k], log.mean(), atol=0.01)  # of equally far ones either may count
        assert np.isclose(fitted._around.sd[k], log.std(), atol=0.01)
    line = sail(1, n=20, sog=11.0)
    uv = velocity(line["sog"], line["cog"])
    at = _features(fitted.traffic.plane.xy(line["lat"], line["lon"]), uv, line["sog"])
    k = np.array([np.argmin(((points - a) ** 2).sum(axis=1)) for a in at])
    mean, sd, n = (column[k] for column in fitted._around)
    log = np.log(line["sog"] + 1.0)
    want = (log - mean) / np.hypot(sd, SD_FLOOR) * n / (n + FEW)
    assert np.allclose(fitted._against_neighbours(line, log), want)

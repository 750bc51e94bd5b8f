"""Ships that keep to one side, and one that does not."""

from __future__ import annotations

import numpy as np
import pytest

from multitaskais.config import DetectionRules
from multitaskais.detectors.lanes import FAR_KM, Lanes
from multitaskais.detectors.place import PlaceDetector
from multitaskais.detectors.reference import NOBODY
from multitaskais.detectors.wrongway import WrongwayDetector
from tests.support.lane_traffic import REGION, run, sail

RULES = DetectionRules()


def river(ships: int = 20, apart_deg: float = 0.004) -> np.ndarray:
    """Half go east on the southern side, half west on the northern side, 450 m apart."""
    rng = np.random.default_rng(8)
    return np.concatenate(
        [
            sail(
                200_000_000 + k,
                lat=48.0 + apart_deg * (k % 2) + rng.normal(0, 0.0005),
                lon=-5.6 if k % 2 else -7.0,
                sog=10 + rng.normal(0, 0.5),
                cog=270.0 if k % 2 else 90.0,
            )
            for k in range(ships)
        ]
    )


@pytest.fixture(scope="module")
def fitted() -> WrongwayDetector:
    return WrongwayDetector.fit(river(), REGION, RULES)


def test_a_ship_on_the_wrong_side_is_stranger_than_one_on_its_own(fitted):
    right = run(fitted, sail(1, lat=48.0))
    wrong = run(fitted, sail(1, lat=48.004))
    assert np.mean(wrong[6:24]) > np.mean(right[6:24]) + 1.5
    back = run(fitted, sail(1, lat=48.004, lon=-5.6, cog=270.0))
    assert np.mean(back[6:24]) < np.mean(wrong[6:24]) - 1.5


def test_a_ship_that_is_merely_elsewhere_is_not_on_the_wrong_side(fitted):
    assert np.abs(run(fitted, sail(1, lat=48.3))[6:24]).max() < 0.2


def test_a_ship_too_slow_to_have_a_course_is_not_judged(fitted):
    assert np.isnan(run(fitted, sail(1, sog=1.0))).all()


def test_on_a_one_way_lane_the_way_back_is_strange():
    one_way = WrongwayDetector.fit(river()[river()["cog"] == 90.0], REGION, RULES)
    against = run(one_way, sail(1, lon=-6.0, cog=270.0))
    assert np.nanmin(against[:6]) == 2.0  # as much as can be


def test_a_loaded_detector_says_the_same(fitted, tmp_path):
    fitted.save(tmp_path)
    again = WrongwayDetector.load(tmp_path, REGION, RULES)
    track = sail(3, lat=48.001)
    assert np.array_equal(run(fitted, track), run(again, track), equal_nan=True)


def test_the_way_of_other_ships_tells_a_lane_from_the_water_beside_it():
    place = PlaceDetector.fit(river(), REGION, RULES)
    beside = run(place, sail(1, lat=47.98))
    assert np.nanmean(beside[:6]) > np.nanmean(run(place, sail(1))[:6]) + 1.0


def by_hand(xy, course, own, points, courses, vessel, k):
    """Distances to the k nearest different vessels within the sector's courses, by plain search."""
    centre = round(course / 22.5) % 16 * 22.5
    off = np.abs((courses - centre + 180) % 360 - 180)
    distance = np.hypot(*(points - xy).T)
    best = {}
    for d, v, o in zip(distance, vessel, off, strict=True):
        if o <= 40.0 and v != own:
            best[v] = min(d, best.get(v, np.inf))
    return sorted(best.values())[:k]


def test_the_nearest_vessels_on_a_course_are_those_of_a_plain_search():
    rng = np.random.default_rng(4)
    points, courses = rng.uniform(0, 20, (400, 2)), rng.uniform(0, 360, 400)
    uv = 8.0 * np.stack([np.sin(np.radians(courses)), np.cos(np.radians(courses))], 1)
    vessel = rng.integers(0, 200, 400).astype(np.int32)
    lanes = Lanes(points, uv, vessel)
    xy, course = rng.uniform(0, 20, (50, 2)), rng.uniform(0, 360, 50)
    own = np.where(rng.random(50) < 0.5, rng.integers(0, 200, 50), NOBODY).astype(np.int32)
    three, nearest = lanes.nearest_vessels(xy, course, own, 3), lanes.nearest(xy, course, own)
    for k in range(50):
        expected = by_hand(xy[k], course[k], own[k], points, courses, vessel, 3)
        assert three[k] == pytest.approx(expected)
        assert nearest[k] == pytest.approx(expected[0])


def test_nobody_on_a_course_is_far_and_no_course_is_no_distance():
    lanes = Lanes(np.zeros((1, 2)), np.array([[5.0, 0.0]]), np.zeros(1, np.int32))
    got = lanes.nearest(np.zeros((3, 2)), np.array([90.0, 270.0, np.nan]), np.full(3, NOBODY, np.int32))
    assert got[:2].tolist() == [0.0, FAR_KM]
    assert np.isnan(got[2])

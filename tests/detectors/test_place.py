from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from multitaskais.config import DetectionRules, Region
from multitaskais.detectors.place import PlaceDetector
from multitaskais.detectors.reference import NOBODY, ReferenceSet, Tree, nearest_other, nearest_others
from multitaskais.errors import InputError, ModelCorrupt, WrongRegion
from tests.support.lane_traffic import REGION, lane, run, sail

RULES = DetectionRules()


@pytest.fixture(scope="module")
def fitted() -> PlaceDetector:
    return PlaceDetector.fit(lane(), REGION, RULES)


def test_a_ship_beside_the_lane_is_stranger_than_one_on_it(fitted):
    on = run(fitted, sail(1, sog=10.0))
    beside = run(fitted, sail(1, lat=48.05))
    assert np.nanmean(beside[:6]) > np.nanmean(on[:6]) + 1.0


def test_a_ship_against_the_lane_is_stranger_than_one_with_it(fitted):
    against = sail(1, lon=-5.5, cog=270.0)
    assert np.nanmean(run(fitted, against)[:6]) > np.nanmean(run(fitted, sail(1))[:6]) + 1.0


def test_a_ship_that_has_always_been_beside_the_lane_becomes_less_strange(fitted):
    scores = run(fitted, sail(1, lat=48.05, sog=5.0, n=40))
    assert scores[30] < scores[3] - 0.5


def test_its_own_past_does_not_make_a_vessel_normal():
    alone = sail(7, lat=48.4)
    fitted = PlaceDetector.fit(np.concatenate([lane(), alone]), REGION, RULES)
    known = fitted.raw(alone)
    with fitted.excluding_own():
        unknown = fitted.raw(alone)
    assert np.all(unknown > known + 2.0)


def test_a_loaded_detector_says_the_same_and_knows_no_vessel(fitted, tmp_path):
    fitted.save(tmp_path)
    again = PlaceDetector.load(tmp_path, REGION, RULES)
    track = sail(200_000_003, lat=48.01)
    assert np.array_equal(run(fitted, track), run(again, track), equal_nan=True)
    assert np.all(again.traffic.numbers_of(track["mmsi"]) == NOBODY)
    with np.load(tmp_path / "place.npz") as f:
        assert max(float(np.abs(f[k]).max()) for k in f.files) < 200_000_000


def test_moored_samples_and_missing_velocity_abstain(fitted):
    track = sail(1, n=4)
    track["moored"][1] = True
    track["cog"][2] = np.nan
    _, scores = fitted.step(fitted.initial(4), track)
    assert np.isnan(scores.score[1:3]).all()
    assert np.isfinite(scores.score[[0, 3]]).all()
    assert scores.reason.tolist() == [0, 2, 5, 0]


def test_a_line_has_the_same_bits_in_any_company(fitted):
    many = lane(40, np.random.default_rng(1))
    at = many[many["n"] == 11]
    state = fitted.initial(len(at))
    whole = fitted.step(state, at)[1].score
    order = np.random.default_rng(2).permutation(len(at))
    assert np.array_equal(fitted.step(state, at[order])[1].score, whole[order])
    alone = np.array([fitted.step(state[:1], at[k : k + 1])[1].score[0] for k in range(len(at))])
    assert np.array_equal(alone, whole)


def test_the_nearest_other_is_the_brute_force_one():
    rng = np.random.default_rng(3)
    traffic = ReferenceSet.of(lane(6), REGION, rng)
    points = np.concatenate([traffic.xy, traffic.uv], axis=1)
    own = np.where(rng.random(200) < 0.5, rng.integers(0, 6, 200), NOBODY).astype(np.int32)
    ask = points[rng.integers(0, len(points), 200)] + rng.normal(0, 1, (200, 4))
    distance = cdist(ask, points)
    distance[traffic.vessel[None] == own[:, None]] = np.inf
    assert nearest_other(Tree(points), traffic.vessel, ask, own) == pytest.approx(distance.min(axis=1))


@pytest.mark.parametrize("within", [np.inf, 3.0])
def test_the_nearest_others_are_the_brute_force_ones(within):
    rng = np.random.default_rng(3)
    traffic = ReferenceSet.of(lane(6), REGION, rng)
    points = np.concatenate([traffic.xy, traffic.uv], axis=1)
    own = np.where(rng.random(100) < 0.7, rng.integers(0, 6, 100), NOBODY).astype(np.int32)
    ask = points[rng.integers(0, len(points), 100)] + rng.normal(0, 1, (100, 4))
    distance = cdist(ask, points)
    distance[traffic.vessel[None] == own[:, None]] = np.inf
    distance[distance >= within] = np.inf
    at, there = nearest_others(Tree(points), traffic.vessel, ask, own, 7, within)
    best = np.sort(distance, axis=1)[:, :7]
    assert np.array_equal(there, np.isfinite(best))
    found = np.take_along_axis(cdist(ask, points), at, 1)
    assert found[there] == pytest.approx(best[there])


def test_memory_keeps_positions_within_its_resolution():
    samples = lane(3)
    traffic = ReferenceSet.of(samples, REGION, np.random.default_rng(0), fill=1)
    xy = traffic.plane.xy(samples["lat"], samples["lon"])
    assert cdist(xy, traffic.xy).min(axis=1).max() < 0.15  # km: the thinning


def test_nothing_to_learn_from_says_so():
    with pytest.raises(InputError, match="no sample under way"):
        PlaceDetector.fit(sail(1, sog=0.0), REGION, RULES)


def test_another_region_or_a_broken_file_is_refused(fitted, tmp_path):
    fitted.save(tmp_path)
    with pytest.raises(WrongRegion):
        PlaceDetector.load(tmp_path, Region("other", 10.0, 12.0, 10.0, 12.0), RULES)
    (tmp_path / "place.npz").write_bytes(b"PK")
    with pytest.raises(ModelCorrupt, match="copy the whole model folder again"):
        PlaceDetector.load(tmp_path, REGION, RULES)


@pytest.mark.parametrize("dimensions", [2, 3, 4])
def test_points_that_are_asked_for_in_another_order_have_the_same_neighbours(dimensions):
    rng = np.random.default_rng(dimensions)
    memory = rng.normal(0, 10, (3000, dimensions))
    tree, plain = Tree(memory), cKDTree(memory)
    points = rng.normal(0, 30, (500, dimensions))  # also beyond all that is remembered
    for how in ({}, {"k": 8, "distance_upper_bound": 4.0}):
        for found, want in zip(tree.query(points, **how), plain.query(points, **how), strict=True):
            assert found.tobytes() == want.tobytes()

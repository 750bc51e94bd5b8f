"""The VRNN behind the detector protocol."""

from __future__ import annotations

import numpy as np
import pytest

from multitaskais.config import DetectionRules, Region
from multitaskais.detection.protocol import Detector
from multitaskais.detectors.vrnn import VrnnDetector, lines_of
from multitaskais.errors import ConfigError, InputError, ModelCorrupt, StateError, WrongRegion
from multitaskais.networks.settings import TrainSettings
from multitaskais.networks.weights import Sizes, VrnnWeights
from multitaskais.records import SAMPLE_DTYPE, AlertType, NotJudged

REGION = Region("toy", 0.0, 1.0, 0.0, 1.0, 0.1, 0.1, 5.0, 45.0)
RULES = DetectionRules()
LATENT, HIDDEN = 4, 8


def make(samples: int = 1, seed: int = 0, **kwargs) -> VrnnDetector:
    sizes = Sizes.of(REGION, LATENT, HIDDEN)
    weights = VrnnWeights.random(sizes, np.full(sizes.dim, 4 / sizes.dim), seed=7)
    return VrnnDetector(weights, REGION, RULES, LATENT, HIDDEN, samples, seed, **kwargs)


def ships(vessels: int, length: int, seed: int = 0) -> np.ndarray:
    """(vessels * length,) samples of ships that sail north, sorted by line."""
    rng = np.random.default_rng(seed)
    out = np.zeros((vessels, length), SAMPLE_DTYPE)
    out["mmsi"] = 201_000_000 + np.arange(vessels)[:, None]
    out["n"] = np.arange(length)
    out["t"] = 600.0 * np.arange(length)
    out["lat"] = (rng.random((vessels, 1)) + 0.01 * np.arange(length)) % 1.0
    out["lon"] = rng.random((vessels, 1)) + np.zeros(length)
    out["sog"], out["cog"] = 12.0, 3.0
    return out.reshape(-1)


def walk(detector: VrnnDetector, samples: np.ndarray):
    """samples (vessels, T) -> the scores of each step."""
    state = detector.initial(len(samples))
    found = []
    for t in range(samples.shape[1]):
        state, scores = detector.step(state, samples[:, t])
        found.append(scores)
    return found, state


def test_it_is_a_detector():
    detector = make()
    assert isinstance(detector, Detector)
    assert (detector.name, detector.traits.alert_type, detector.traits.warmup_samples) == (
        "vrnn",
        AlertType.ABNORMAL,
        12,
    )


@pytest.mark.parametrize("samples", [0, 1, 16])
def test_the_first_twelve_samples_are_not_judged_and_the_others_are(samples):
    found, _ = walk(make(samples), ships(3, 15).reshape(3, 15))
    for t, scores in enumerate(found):
        warm = t >= 12
        assert (np.isfinite(scores.score) == warm).all()
        assert (scores.reason == (NotJudged.JUDGED if warm else NotJudged.TOO_SHORT)).all()
        assert (np.isfinite(scores.parts) == warm).all()


def test_moored_samples_abstain_and_still_move_the_state():
    detector = make()
    samples = ships(2, 20).reshape(2, 20)
    moored = samples.copy()
    moored["moored"][:, 14:16] = True
    plain, state = walk(detector, samples)
    found, state_moored = walk(detector, moored)
    assert np.isnan(found[14].score).all()
    assert (found[14].reason == NotJudged.MOORED).all()
    np.testing.assert_array_equal(found[16].score, plain[16].score)
    assert state.tobytes() == state_moored.tobytes()


def test_the_score_is_the_negative_log_weight_and_the_parts_add_up_to_its_data_term():
    detector = make(samples=0, score="all")
    state = detector.initial(4)
    state["k"] = 12
    samples = ships(4, 1)
    _, raw = detector._scorer.step(state, np.zeros((4, 4), np.int16) + [[0, 0, 2, 0]] * 4)
    _, scores = detector.step(state, samples)
    assert (scores.score >= scores.parts.sum(axis=1)).all()  # - l_t = sum of parts + KL
    assert (raw.parts.sum(axis=1) <= -raw.log_weight + 1e-5).all()


def test_the_score_is_that_of_the_position_and_one_missed_bin_says_no_more_than_8_nats():
    plain = make()
    far = make()
    state = plain.initial(4)
    state["k"] = 12
    _, scores = plain.step(state, ships(4, 1))
    np.testing.assert_allclose(scores.score, scores.parts[:, 0] + scores.parts[:, 1], rtol=1e-6)
    far.weights.emit_b2[:10] -= 50.0  # no latitude was ever seen
    far = VrnnDetector(far.weights, REGION, RULES, LATENT, HIDDEN)
    _, scores = far.step(state, ships(4, 1))
    assert (scores.parts[:, 0] > 40).all()
    np.testing.assert_allclose(scores.score, 8.0 + scores.parts[:, 1], rtol=1e-6)


def test_what_the_score_is_made_of_is_kept_in_the_folder(tmp_path):
    make(score="all").save(tmp_path)
    assert VrnnDetector.load(tmp_path, REGION, RULES).score == "all"
    with pytest.raises(ConfigError, match="score must be one of"):
        make(score="speed")


def test_a_missing_course_has_no_part_and_leaves_the_score_finite():
    detector = make()
    state = detector.initial(2)
    state["k"] = 12
    samples = ships(2, 1)
    samples["cog"][0] = np.nan
    _, scores = detector.step(state, samples)
    assert np.isfinite(scores.score).all()
    assert np.isnan(scores.parts[0]).tolist() == [False, False, False, True]
    assert np.isfinite(scores.parts[1]).all()


def test_a_ship_that_turns_back_is_stranger_after_training_than_the_lane():
    detector = fitted()
    samples = ships(4, 20).reshape(4, 20)
    samples["lat"] = (0.02 + 0.04 * np.arange(20)) % 1.0
    samples["lon"] = 0.5
    odd = samples.copy()
    odd["cog"][:, 15] = 180.0
    plain, strange = walk(detector, samples)[0][15], walk(detector, odd)[0][15]
    assert (strange.parts[:, 3] > plain.parts[:, 3] + 1.0).all()
    assert (strange.parts.argmax(axis=1) == 3).all()


_FITTED: list[VrnnDetector] = []


def fitted() -> VrnnDetector:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed (pip install '.[train]')")
    if not _FITTED:
        settings = TrainSettings(
            steps=60, batch=8, latent=LATENT, hidden=HIDDEN, max_steps=20, val_every=20, learning_rate=1e-2
        )
        _FITTED.append(VrnnDetector.fit(ships(12, 20), REGION, RULES, settings))
    return _FITTED[0]


@pytest.mark.parametrize("samples", [0, 1, 16])
def test_it_comes_back_from_its_files_with_the_same_scores(tmp_path, samples):
    detector = make(samples, seed=3)
    detector.save(tmp_path)
    again = VrnnDetector.load(tmp_path, REGION, RULES)
    track = ships(3, 16).reshape(3, 16)
    for a, b in zip(walk(detector, track)[0], walk(again, track)[0], strict=True):
        assert a.score.tobytes() == b.score.tobytes()


def test_the_tensorflow_scorer_gives_the_same_scores(tmp_path):
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed (pip install '.[train]')")
    make(samples=2).save(tmp_path)
    track = ships(3, 16).reshape(3, 16)
    ours, _ = walk(VrnnDetector.load(tmp_path, REGION, RULES), track)
    theirs, _ = walk(VrnnDetector.load(tmp_path, REGION, RULES, scorer="tensorflow"), track)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.score, b.score, atol=1e-4)
        np.testing.assert_allclose(a.parts, b.parts, atol=1e-4)


def test_another_region_or_a_broken_folder_is_refused(tmp_path):
    make().save(tmp_path)
    other = Region("toy", 0.0, 1.0, 0.0, 1.0, 0.05, 0.1, 5.0, 45.0)
    with pytest.raises(WrongRegion):
        VrnnDetector.load(tmp_path, other, RULES)
    with pytest.raises(ModelCorrupt):
        VrnnDetector.load(tmp_path / "nothing", REGION, RULES)
    (tmp_path / "vrnn.json").write_text("{")
    with pytest.raises(ModelCorrupt):
        VrnnDetector.load(tmp_path, REGION, RULES)


def test_a_state_of_another_scorer_is_refused():
    with pytest.raises(StateError):
        make(samples=16).step(make(samples=1).initial(2), ships(2, 1))


def test_a_scorer_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="numpy, tensorflow"):
        make(scorer="torch")


def test_one_vessel_is_too_few_to_learn_from():
    with pytest.raises(InputError, match="at least 2 vessels"):
        VrnnDetector.fit(ships(1, 20), REGION, RULES)


def test_lines_begin_where_the_vessel_or_the_count_does():
    samples = ships(2, 4)
    two_lines = np.concatenate([samples, ships(1, 3)])
    assert [len(x) for x in lines_of(two_lines)] == [4, 4, 3]
    assert lines_of(samples[:0]) == []

"""What a detector declares of itself: checked where it is declared, and read from detectors of earlier versions too."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from multitaskais.config import DetectionRules
from multitaskais.detection import checks
from multitaskais.detection.protocol import Scores, Traits, excluding_own, leave_out, traits_of
from multitaskais.detectors.place import PlaceDetector
from multitaskais.errors import ConfigError
from multitaskais.records import AlertType, Cause, NotJudged
from tests.support.lane_traffic import REGION, lane

RULES = DetectionRules()


class Earlier:
    """A detector as other packages wrote it for the first protocol."""

    name = "earlier"
    alert_type = AlertType.DRIFT
    warmup_samples = 2
    window_steps = 3
    span_samples = 5
    cell_calibrated = False
    rests_on_place = True
    alert_at = 4.0
    weight = 0.5
    cause = Cause.COURSE
    leave_own_out = False
    state_dtype = np.dtype([("seen", "i4")])

    def initial(self, n):
        return np.zeros(n, self.state_dtype)

    def step(self, state, samples):
        new = state.copy()
        new["seen"] += 1
        reason = np.where(samples["moored"], NotJudged.MOORED, np.where(state["seen"] < 2, NotJudged.TOO_SHORT, 0))
        return new, Scores(np.where(reason == 0, 1.0, np.nan), reason.astype(np.uint8))

    @classmethod
    def fit(cls, samples, region, rules):
        return cls()

    def save(self, folder: Path):
        pass

    @classmethod
    def load(cls, folder, region, rules):
        return cls()


def test_a_misspelt_trait_is_an_error_where_it_is_written():
    with pytest.raises(TypeError, match="smothing_samples"):
        Traits(alert_type=AlertType.DRIFT, smothing_samples=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "wrong",
    [
        {"smoothing_samples": 0},
        {"smoothing_samples": 13},
        {"warmup_samples": -1},
        {"weight": 0.0},
        {"weight": 1.5},
        {"calibration": "local"},
        {"training": "yes"},
        {"fixed_threshold": 2.0},
    ],
)
def test_a_trait_out_of_its_range_is_a_line_that_names_it(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Traits(alert_type=AlertType.DRIFT, **wrong)


def test_a_detector_of_an_earlier_version_is_read_with_a_warning_and_passes_the_checks():
    with pytest.warns(DeprecationWarning, match="declare traits"):
        traits = traits_of(Earlier())
    assert traits == Traits(
        alert_type=AlertType.DRIFT, warmup_samples=2, smoothing_samples=3, support_samples=5, calibration="global",
        location_based=True, fixed_threshold=4.0, weight=0.5, cause=Cause.COURSE,
    )  # fmt: skip
    with pytest.warns(DeprecationWarning, match="declare traits"):
        checks.check(Earlier(), lane(3), REGION, RULES)


def test_an_earlier_switch_is_off_again_after_an_exception():
    detector = Earlier()
    assert leave_out(detector)
    assert leave_out(Earlier)

    def fails_inside():
        with excluding_own(detector):
            assert detector.leave_own_out
            raise KeyError

    with pytest.warns(DeprecationWarning, match="excluding_own"), suppress(KeyError):
        fails_inside()
    assert not detector.leave_own_out


def test_a_vessel_s_own_data_count_again_after_an_exception():
    samples = lane(3)
    detector = PlaceDetector.fit(samples, REGION, RULES)
    known = detector.raw(samples)

    def fails_inside():
        with detector.excluding_own():
            assert np.nansum(detector.raw(samples)) > np.nansum(known)
            raise KeyError

    with pytest.raises(KeyError):
        fails_inside()
    assert np.array_equal(detector.raw(samples), known, equal_nan=True)


def test_the_shipped_detectors_declare_their_traits_themselves():
    from multitaskais.model.fit import installed
    from multitaskais.model.folder import detector_class

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(isinstance(traits_of(detector_class(name)), Traits) for name in installed())


@pytest.mark.parametrize("traits", [None, {"alert_type": "drift"}])
def test_a_detector_without_traits_is_told_what_to_declare(traits):
    nothing = type("Nothing", (), {"name": "nothing", "traits": traits})
    with pytest.raises(ConfigError, match="nothing"):
        traits_of(nothing())


def test_of_several_reasons_the_last_one_counts_and_a_score_with_a_reason_is_none():
    score = np.array([1.0, 2.0, 3.0])
    found = Scores.where(
        score, {NotJudged.NO_DATA: np.array([True, True, False]), NotJudged.MOORED: np.array([False, True, False])}
    )
    assert found.reason.tolist() == [NotJudged.NO_DATA, NotJudged.MOORED, 0]
    assert np.array_equal(found.score, [np.nan, np.nan, 3.0], equal_nan=True)

"""Every installed detector keeps the contract."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from multitaskais.config import DetectionRules
from multitaskais.detection import checks as contract
from multitaskais.detection.protocol import Scores, Traits
from multitaskais.detectors.vrnn import VrnnDetector
from multitaskais.model.folder import ENTRY_POINTS, detector_class
from multitaskais.networks.weights import Sizes, VrnnWeights
from multitaskais.records import AlertType, NotJudged
from tests.support.lane_traffic import REGION, lane, sail

RULES = DetectionRules()


def samples() -> np.ndarray:
    rng = np.random.default_rng(3)
    odd = sail(203_000_001, 28, lat=48.05, sog=rng.uniform(3, 12, 28), cog=rng.uniform(0, 360, 28))
    short = sail(203_000_002, 7, lat=48.02)
    return np.concatenate([lane(6), odd, short])


def make(name: str):
    if name == "vrnn":
        sizes = Sizes.of(REGION, 4, 8)
        weights = VrnnWeights.random(sizes, np.full(sizes.dim, 4 / sizes.dim), seed=7)
        return VrnnDetector(weights, REGION, RULES, 4, 8, 1, 0)
    return detector_class(name).fit(lane(20), REGION, RULES)


@pytest.mark.parametrize("name", sorted({e.name for e in entry_points(group=ENTRY_POINTS)}))
def test_an_installed_detector_keeps_the_contract(name):
    contract.check(make(name), samples(), REGION, RULES)


class _State(NamedTuple):
    """A detector of 20 lines: knots above the fastest so far."""

    name: str = "faster"
    traits: Traits = Traits(alert_type=AlertType.ABNORMAL)
    state_dtype: np.dtype = np.dtype([("top", "f8")])

    def initial(self, n):
        return np.zeros(n, self.state_dtype)

    def step(self, state, samples):
        new = state.copy()
        new["top"] = np.fmax(state["top"], samples["sog"])
        score = np.where(samples["moored"], np.nan, samples["sog"] - state["top"])
        reason = np.where(samples["moored"], NotJudged.MOORED, np.where(np.isnan(score), NotJudged.NO_DATA, 0))
        return new, Scores(score, reason.astype(np.uint8))

    @classmethod
    def fit(cls, samples, region, rules):
        return cls()

    def save(self, folder: Path):
        (folder / "nothing.txt").write_text("nothing")

    @classmethod
    def load(cls, folder, region, rules):
        return cls()


def test_a_detector_of_a_few_lines_keeps_the_contract():
    contract.check(_State(), samples(), REGION, RULES)


class _LooksAtNeighbours(_State):
    def step(self, state, samples):
        new, scores = super().step(state, samples)
        return new, scores._replace(score=scores.score - np.nanmean(samples["sog"]))


class _ChangesItsState(_State):
    def step(self, state, samples):
        state["top"] += 1
        return super().step(state, samples)


class _GivesNoReason(_State):
    def step(self, state, samples):
        new, scores = super().step(state, samples)
        return new, scores._replace(reason=np.zeros_like(scores.reason))


class _NamesVessels(_State):
    def save(self, folder):
        (folder / "seen.txt").write_text("203000001")


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (_LooksAtNeighbours, "among others"),
        (_ChangesItsState, "changed the state|two states|restart"),
        (_GivesNoReason, "with reason"),
        (_NamesVessels, "names a vessel"),
    ],
)
def test_a_broken_detector_is_found(broken, what):
    with pytest.raises(AssertionError, match=what):
        contract.check(broken(), samples(), REGION, RULES)

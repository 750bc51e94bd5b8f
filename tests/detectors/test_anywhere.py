"""The model for waters that have none of their own: detectors that know no place, thresholds of all US waters."""

from __future__ import annotations

import numpy as np
import pytest

from multitaskais.detection.threshold import TYPE_INDEX
from multitaskais.engine import batch
from multitaskais.model import folder as modelfolder
from multitaskais.model.samples import load_reports
from multitaskais.records import AlertType


@pytest.fixture(scope="module")
def model() -> modelfolder.Model:
    return modelfolder.load("anywhere")


def test_no_detector_of_it_knows_a_place(model):
    assert set(model.panel.names) == {"residual", "contradiction", "drift", "loitering"}
    assert not any(t.location_based for t in model.panel.traits)


def test_a_real_drift_in_the_baltic_is_drift_and_nothing_else(model, shared):
    reports, _ = load_reports([shared / "data/nmea/dma-aisabnormal/212123000_drift_1.ais"], None)
    seen = batch.run(model, reports, trace=True).trace
    drifting = seen[(seen["t"] > seen["t"][0] + 2 * 3600) & (seen["t"] < seen["t"][0] + 11 * 3600)]
    assert drifting["judged"].all()
    top = np.nan_to_num(drifting["type_score"]).max(axis=0)
    drift = TYPE_INDEX[AlertType.DRIFT]
    assert top[drift] > 0.8
    assert np.delete(top, drift).max() < 0.5

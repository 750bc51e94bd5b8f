"""Model folders: whole or refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from multitaskais.config import REGIONS
from multitaskais.detection import checks as contract
from multitaskais.detection import offline as replay
from multitaskais.detection.threshold import Budget
from multitaskais.errors import ConfigError, ModelCorrupt, ModelError, ModelNotFound, WrongRegion
from multitaskais.model import folder as modelfolder
from multitaskais.model.fit import fit_model, with_budget
from tests.support.lane_traffic import REGION
from tests.support.small_model import DETECTORS, fleet, model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "lane"
    return folder, modelfolder.save(model(), folder)


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved[0], tmp_path / "lane")


def test_a_loaded_model_says_the_same_of_the_same_samples(saved):
    folder, made = saved
    loaded = modelfolder.load(folder)
    samples = fleet(5, 20, 2000)
    for name, a, b in zip(
        loaded.panel.step(loaded.panel.initial(0), samples[:0])[1]._fields,
        replay.run_panel(model().panel, samples),
        replay.run_panel(loaded.panel, samples),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4, err_msg=name)
    assert loaded.version == made.version
    assert loaded.version.startswith("lane-")
    assert loaded.credits == ("nobody",)
    assert loaded.budget == made.budget


def test_the_same_model_has_the_same_version_and_another_budget_another(saved, tmp_path):
    assert modelfolder.save(model(), tmp_path / "again").version == saved[1].version
    other = with_budget(model(), fleet(30, 2, 100), Budget(0.2))
    assert modelfolder.save(other, tmp_path / "other").version != saved[1].version


def test_nothing_in_a_model_folder_names_a_vessel(saved):
    contract.check_names_no_vessel(saved[0], np.concatenate([fleet(40, 1)["mmsi"], fleet(30, 2, 100)["mmsi"]]))


def test_another_region_is_refused(saved):
    with pytest.raises(WrongRegion, match="made for region 'box'"):
        modelfolder.load(saved[0], REGIONS["gulf"])
    assert modelfolder.load(saved[0], REGION).region == REGION


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_any_missing_or_changed_file_is_refused(copy):
    for name in files(copy):
        file = copy / name
        content = file.read_bytes()
        file.unlink()
        with pytest.raises((ModelCorrupt, ModelNotFound), match=r"missing|cannot be read|manifest\.json"):
            modelfolder.load(copy)
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ModelCorrupt):
            modelfolder.load(copy)
        file.write_bytes(content)
    modelfolder.load(copy)


def test_a_manifest_that_was_edited_is_refused(copy):
    values = json.loads((copy / "manifest.json").read_text())
    values["detection_rules"]["warmup_samples"] = 3
    (copy / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(ModelCorrupt, match="was changed"):
        modelfolder.load(copy)


def test_what_is_no_model_is_said_to_be_none(tmp_path):
    with pytest.raises(ModelNotFound, match=r"no manifest\.json"):
        modelfolder.load(tmp_path)
    with pytest.raises(ModelNotFound, match="no model 'atlantis'"):
        modelfolder.load("atlantis")
    with pytest.raises(ModelError, match="no detector 'crystal_ball'"):
        modelfolder.detector_class("crystal_ball")


def test_saving_keeps_the_training_log_and_deletes_nothing_else(tmp_path):
    (tmp_path / "m" / "training").mkdir(parents=True)
    (tmp_path / "m" / "training" / "log.csv").write_text("1")
    modelfolder.save(model(), tmp_path / "m")
    assert (tmp_path / "m" / "training" / "log.csv").read_text() == "1"
    modelfolder.load(tmp_path / "m")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"thesis\.tex"):
        modelfolder.save(model(), tmp_path / "home")
    assert (tmp_path / "home" / "thesis.tex").exists()


def test_a_vessel_in_train_and_dev_is_refused_and_so_are_too_few():
    with pytest.raises(ConfigError, match="both in train and in dev"):
        fit_model(fleet(10, 1), fleet(10, 1, 5), REGION, name="x", detectors=DETECTORS)
    with pytest.raises(ConfigError, match="more vessels"):
        fit_model(fleet(10, 1), fleet(2, 2, 100), REGION, name="x", detectors=DETECTORS)

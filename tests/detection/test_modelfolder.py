"""Model folders: whole or refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitaskais.config import REGIONS
from multitaskais.detection import checks as contract
from multitaskais.detection import offline
from multitaskais.detection.threshold import Budget
from multitaskais.errors import ConfigError, ModelCorrupt, ModelError, ModelNotFound, WrongRegion
from multitaskais.model import folder as modelfolder
from multitaskais.model.fit import fit_model, with_budget
from multitaskais.model.untrusted import unpacked_bytes
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
        offline.run_panel(model().panel, samples),
        offline.run_panel(loaded.panel, samples),
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


def signed(folder, **changes):
    """The manifest with other values, and all checksums as they must be: as somebody makes it who means harm."""
    manifest = json.loads((folder / "manifest.json").read_text()) | changes
    manifest["files"] = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() if (folder / name).is_file() else "0" * 64
        for name in manifest["files"]
    }
    manifest["version"] = modelfolder._version(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def refused(folder, match: str) -> None:
    with pytest.raises(ModelCorrupt, match=match) as e:
        modelfolder.load(folder)
    assert "\n" not in str(e.value)


def test_a_folder_that_is_signed_again_is_loaded(copy):
    signed(copy)
    modelfolder.load(copy)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "detectors/../../secret", "link", "", "a/../../secret", "x\0y"]
)
def test_a_manifest_may_name_files_inside_its_folder_only(copy, name):
    (copy.parent / "secret").write_text("s")
    (copy / "link").symlink_to(copy.parent / "secret")
    files = json.loads((copy / "manifest.json").read_text())["files"]
    signed(copy, files=files | {name: ""})
    refused(copy, "not inside the folder")


def test_an_archive_that_declares_gigabytes_is_refused_before_it_is_read(copy):
    at = copy / "usual.npz"
    with zipfile.ZipFile(at, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        header = {"descr": "|u1", "fortran_order": False, "shape": (1_200_000_000,)}
        np.lib.format.write_array_header_1_0(member, header)
        for _ in range(1200):
            member.write(bytes(1_000_000))
    assert at.stat().st_size < 3_000_000
    signed(copy)
    refused(copy, "when it is unpacked")


@given(st.integers(0, 10**15), st.sampled_from(["<f8", "|u1", "|O"]), st.integers(0, 64))
@settings(max_examples=50)
def test_an_array_whose_header_promises_more_than_is_there_is_refused(count, kind, there):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.npz"
        with zipfile.ZipFile(file, "w") as archive, archive.open("x.npy", "w") as member:
            np.lib.format.write_array_header_1_0(member, {"descr": kind, "fortran_order": False, "shape": (count,)})
            member.write(bytes(there))
        if kind == "|O" or count * np.dtype(kind).itemsize > file.stat().st_size:
            with pytest.raises(ModelCorrupt):
                unpacked_bytes(file)
        elif count * np.dtype(kind).itemsize <= there:
            assert there <= unpacked_bytes(file) <= there + 200


@given(st.binary(max_size=300))
@settings(max_examples=50)
def test_whatever_bytes_a_file_of_a_folder_holds_it_is_refused_in_one_line(content):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.npz"
        file.write_bytes(content)
        with pytest.raises(ModelCorrupt):
            unpacked_bytes(file)


@pytest.mark.parametrize("broken", [b"", b"PK\x03\x04", b"[" * 100_000, b"\xff\xfe", b"{}", b"null", b'{"files": 5}'])
@pytest.mark.parametrize("file", ["thresholds.json", "usual.npz", "manifest.json"])
def test_a_broken_file_with_the_right_checksum_is_one_line_too(copy, file, broken):
    (copy / file).write_bytes(broken)
    if file != "manifest.json":
        signed(copy)
    with pytest.raises(ModelError) as e:
        modelfolder.load(copy)
    assert "\n" not in str(e.value)


def test_a_file_that_is_read_and_not_listed_is_refused(copy):
    (copy / "detectors" / "more.npz").write_bytes(b"x")
    refused(copy, r"does not list 'detectors/more\.npz'")

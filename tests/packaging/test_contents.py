"""What the wheel holds, and what it does not."""

from __future__ import annotations

import email
import subprocess
import zipfile
from pathlib import Path, PurePosixPath

import pytest

import multitaskais

PACKAGES = {"multitaskais", "stream_operator", "tracks_builder", "score_server", "model_trainer", "web_common"}


@pytest.fixture(scope="module")
def files(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_installs_the_products_packages_and_no_other(files):
    own = {f.partition("/")[0] for f in files} - {f"multitaskais-{multitaskais.__version__}.dist-info"}
    assert own == PACKAGES


def test_models_and_data_are_in_the_wheel_and_what_only_a_checkout_needs_is_not(files):
    for name in ("brittany", "gulf", "anywhere"):
        assert f"multitaskais/models/{name}/manifest.json" in files
    assert {
        "multitaskais/data/coastline.npz",
        *(f"{package}/py.typed" for package in PACKAGES),
        "stream_operator/map/static/index.html",
    } <= files
    names = {PurePosixPath(f).name for f in files}
    assert not names & {"demo.py", "build_coastline.py", "curves.png"}
    assert not [f for f in files if "test" in PurePosixPath(f).name]


def test_metadata_name_the_version_once_and_bound_every_dependency(wheel):
    archive = zipfile.ZipFile(wheel)
    (path,) = (f for f in archive.namelist() if f.endswith("/METADATA"))
    about = email.message_from_bytes(archive.read(path))
    assert about["Version"] == multitaskais.__version__
    needed = [r for r in about.get_all("Requires-Dist") or [] if "extra ==" not in r]
    assert len(needed) >= 10
    assert [r for r in needed if "<" not in r or ">=" not in r] == []
    python = {c.rpartition(" ")[2] for c in about.get_all("Classifier") or [] if "Python ::" in c}
    assert python == {"3.11", "3.12"}


@pytest.mark.parametrize("program", ["multitaskais", "multitaskais-operator"])
def test_both_console_scripts_print_their_commands(fresh, program):
    done = subprocess.run([fresh / program, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"multitaskais": "detect", "multitaskais-operator": "worker"}[program] in done.stdout

"""Model stores in a folder and on a real S3 server."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from multitaskais.model import folder
from multitaskais.model.objects import StoreSettings
from multitaskais.model.store import ModelStore
from tests.support import s3proxy

_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    if (reason := s3proxy.missing()) is not None:
        pytest.skip(reason)
    with s3proxy.S3Proxy(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(params=["folder", "s3"])
def settings(request, tmp_path) -> StoreSettings:
    """Of an empty store."""
    if request.param == "folder":
        return StoreSettings(str(tmp_path / "store"))
    return request.getfixturevalue("s3").settings(f"test-{next(_numbers)}")


@pytest.fixture
def store(settings, tmp_path) -> ModelStore:
    return ModelStore(settings, tmp_path / "cache")


@pytest.fixture(scope="session")
def make_model(tmp_path_factory) -> Callable[[int], Path]:
    """``make_model(k)``: the folder of the k-th version of a small model; the same for the same k."""
    base = folder.load("anywhere")
    made: dict[int, Path] = {}

    def make(k: int) -> Path:
        if k not in made:
            made[k] = tmp_path_factory.mktemp("model") / "small"
            folder.save(dataclasses.replace(base, name="small", made_from={"k": k}), made[k])
        return made[k]

    return make

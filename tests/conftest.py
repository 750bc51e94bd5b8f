"""Fixtures of all tests. Real data stand beside the checkout in ``../shared`` (or ``MULTITASKAIS_SHARED``); never committed."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest
from hypothesis import settings

# Shared CI machines pause for seconds; a slow example is no failing law.
settings.register_profile("default", deadline=None, max_examples=60)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

ROOT = Path(__file__).resolve().parent.parent


def shared_path() -> Path | None:
    """The folder of real data, or None."""
    path = Path(os.environ.get("MULTITASKAIS_SHARED", ROOT.parent / "shared"))
    return path if (path / "data").is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data; the test is skipped, with the reason printed, where it is absent."""
    if (path := shared_path()) is None:
        pytest.skip("real data are absent: no ../shared beside the checkout and MULTITASKAIS_SHARED is not set")
    return path


# What takes longest goes first, so that no process is left with a long one at the end: groups of ``_group``.
LONGEST = (
    "broker",
    "spark",
    "map",
    "tests/networks/test_train.py",
    "tests/docs/test_notebooks.py",
    "tests/docs/test_pages.py",
    "tests/cli/test_detect_jobs.py",
    "tests/trainer/test_pipeline_command.py",
    "tests/cli/test_region.py",
    "tests/portable/test_portable.py",
    "tests/trainer/test_training.py",
    "tests/docs/test_commands.py",
)


@functools.cache
def _file_group(file: str) -> str:
    room = file.removeprefix("tests/").partition("/")[0]
    if room in ("map", "spark"):
        return room
    if room == "docs":  # what of it needs a server starts its own
        return file
    text = (ROOT / file).read_text()
    return next((server for server in ("broker", "spark") if f"mark.{server}" in text), file)


def _group(nodeid: str) -> str:
    """What one process runs under ``--dist loadgroup``: a file, or all files that share a server."""
    return _file_group(nodeid.partition("::")[0])


def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):
        rank = {group: i for i, group in enumerate(LONGEST)}
        items.sort(key=lambda item: rank.get(_group(item.nodeid), len(rank)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """So each broker, browser and Spark session is started once, and two of a kind never stand side by side.

    The marks of xdist itself (``xdist_group``) do not reach its scheduler with pytest 9.2: they stand in node ids that are made again.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False  # the order is ours

    class Grouped(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return Grouped(config, log)

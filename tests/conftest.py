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

# Brokers and Spark sessions of tests live for seconds to minutes: the second compiler of Java would cost more than it gains.
SHORT_LIVED_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
os.environ.setdefault("KAFKA_JVM_PERFORMANCE_OPTS", SHORT_LIVED_JAVA)
os.environ.setdefault("SPARK_SUBMIT_OPTS", SHORT_LIVED_JAVA)

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


# What takes longest goes first, so that no process is left with a long one at the end: groups of ``group_of_file``.
LONGEST = (
    "broker 0",
    "broker 1",
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


OWN_SERVERS = ("map", "spark", "docs")  # rooms that share one browser or session, or start what they need
BROKERS = 2  # that stand side by side: tests of the broker mostly wait


@functools.cache
def _broker_files() -> list[str]:
    """The test files that need the broker, outside the rooms that start their own."""
    files = (path.relative_to(ROOT) for path in sorted((ROOT / "tests").rglob("test_*.py")))
    return [str(f) for f in files if f.parts[1] not in OWN_SERVERS and "mark.broker" in (ROOT / f).read_text()]


@functools.cache
def group_of_file(file: str) -> str:
    """What one process runs under ``--dist loadgroup``: a file, or all files that share a server."""
    room = file.removeprefix("tests/").partition("/")[0]
    if room in ("map", "spark"):
        return room
    if file in _broker_files():
        return f"broker {_broker_files().index(file) % BROKERS}"
    return file


def _group(nodeid: str) -> str:
    return group_of_file(nodeid.partition("::")[0])


def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):
        rank = {group: i for i, group in enumerate(LONGEST)}
        items.sort(key=lambda item: rank.get(_group(item.nodeid), len(rank)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """So a browser and a Spark session are started once, and a broker once for each half of the files that need it.

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

"""Fixtures of all tests. Real data stand beside the checkout in ``../shared`` (or ``MULTITASKAIS_SHARED``); never committed."""

from __future__ import annotations

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

"""Where the code of detectors is: they are found by entry point, so no import names them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points


@cache
def _detectors() -> tuple[tuple[str, str], ...]:
    """(name, module)"""
    return tuple(sorted({(e.name, e.module) for e in entry_points(group="multitaskais.detectors")}))


def detector_modules(names: Iterable[str] = ()) -> tuple[str, ...]:
    """Modules of these detectors, or of all that are installed."""
    wanted = set(names)
    return tuple(sorted({module for name, module in _detectors() if not wanted or name in wanted}))


def installed_detectors() -> tuple[str, ...]:
    return tuple(name for name, _ in _detectors())

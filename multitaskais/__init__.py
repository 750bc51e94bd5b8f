"""MultitaskAIS: learn what ship traffic is normal in a region, and find the tracks that are not.

sentence -> message -> report -> track -> sample -> log-likelihood -> verdict -> alert

    import multitaskais as mt

    model = mt.load_model("brittany")
    result = mt.detect(model, mt.load_reports("archive/*/*/*.cdv"))
    for alert in result.alerts:
        print(alert.message)

These names are the public face; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import detect, load_model, load_reports
    from .config import Region
    from .records import Alert

__version__ = "0.1.0"

__all__ = ["Alert", "Region", "__version__", "detect", "load_model", "load_reports"]

_HOMES = {"Alert": "records", "Region": "config", "detect": "api", "load_model": "api", "load_reports": "api"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

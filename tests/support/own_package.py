"""A package of a user beside ours, as installing it would leave it: importable, with entry points; gone again afterwards."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_trainer.pipeline import conf, keys


@contextmanager
def installed(where: Path, name: str, modules: Mapping[str, str], entry_points: str) -> Iterator[Path]:
    """The folder of package ``name`` with these modules (name -> source) and this ``entry_points.txt``."""
    package, metadata = where / name, where / f"{name}-1.0.dist-info"
    package.mkdir()
    metadata.mkdir()
    for module, source in {"__init__": "", **modules}.items():
        (package / f"{module}.py").write_text(source)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(where))
        _forget(name)
        try:
            yield package
        finally:
            _forget(name)


def _forget(name: str) -> None:
    """Nothing of an earlier package of the name is left: what is loaded would be found before what lies on the path."""
    for module in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
        del sys.modules[module]
    importlib.invalidate_caches()
    conf.own_steps.cache_clear()
    keys.package_folder.cache_clear()
    keys.source_of.cache_clear()

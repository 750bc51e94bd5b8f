"""The wheel, built once from a copy of the tracked tree, and a fresh environment that holds it and what it declares, nothing else."""

from __future__ import annotations

import importlib.metadata as metadata
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "multitaskais",
    "stream_operator",
    "tracks_builder",
    "score_server",
    "model_trainer",
    "web_common",
)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel. The build backend is that of this environment, so no network is needed."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / "tree" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (folder / "tree").mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / "tree" / name)
    build = [sys.executable, "-c", "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))", folder]
    done = subprocess.run(build, cwd=folder / "tree", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (built,) = folder.glob("*.whl")
    return built


def declared(requirements: list[str]) -> set[str]:
    """Distributions that ``requirements`` ask for, and what those ask for in turn."""
    found: set[str] = set()
    todo = [(r, "") for r in requirements]
    while todo:
        text, extra = todo.pop()
        need = Requirement(text)
        if need.marker and not need.marker.evaluate({"extra": extra}):
            continue
        known = f"{need.name}[{','.join(sorted(need.extras))}]"
        if known not in found:
            found.add(known)
            for own in metadata.distribution(need.name).requires or []:
                todo += [(own, e) for e in ("", *need.extras)]
    return {f.partition("[")[0] for f in found}


@pytest.fixture(scope="session")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bin`` of a new virtual environment with the wheel. Its declared dependencies are links to those of this environment:
    an import of anything that is not declared fails there, and nothing is downloaded."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    install = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "-q", "--no-deps"]
    done = subprocess.run([*install, "--no-index", wheel], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (own,) = site.glob("multitaskais-*.dist-info")
    for name in declared(metadata.PathDistribution(own).requires or []):
        distribution = metadata.distribution(name)
        for entry in {file.parts[0] for file in distribution.files or [] if ".." not in file.parts}:
            if entry != "__pycache__" and not (site / entry).exists():
                (site / entry).symlink_to(distribution.locate_file(entry))
    return folder / "bin"

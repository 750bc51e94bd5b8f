"""The code of each page runs from top to bottom."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import PAGES, ROOT, blocks, name

BIN = Path(sys.executable).parent


def shell(page: Path, folder: Path) -> None:
    """The page's ``bash run`` blocks, as one script in an empty folder beside the Spark job."""
    (folder / "tracks_builder").symlink_to(ROOT / "tracks_builder")
    env = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "PYSPARK_PYTHON": sys.executable,
    }
    script = "set -euo pipefail\n" + "\n".join(blocks(page, "bash run"))
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{name(page)}: {done.stderr[-2000:]}"


def _marked(page: Path):
    uses_spark = any("spark-submit" in block for block in blocks(page, "bash run"))
    return pytest.param(page, id=name(page), marks=[pytest.mark.spark] if uses_spark else [])


@pytest.mark.parametrize("page", [_marked(p) for p in PAGES if blocks(p, "python") or blocks(p, "bash run")])
def test_the_code_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    if blocks(page, "bash run"):
        shell(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks(page, "python"):
        exec(compile(block, name(page), "exec"), names)

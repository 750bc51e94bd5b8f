"""The region of a step as a file, for the commands that it runs."""

from __future__ import annotations

import json
from pathlib import Path

from ..step import Work


def write_region(work: Work, file: Path | None = None) -> Path:
    """``region.json`` of the parameter ``region``, in the step's folder unless ``file`` says otherwise."""
    file = file or work.folder / "region.json"
    file.write_text(json.dumps(work.parameters["region"], indent=1) + "\n")
    return file

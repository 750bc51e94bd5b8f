#!/usr/bin/env python3
"""``python .ci/lowest.py``: the lowest version of each dependency that pyproject.toml promises, as pip constraints."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())["project"]
for requirement in project["dependencies"]:
    name, lowest = re.match(r"([\w-]+)>=([\d.]+)", requirement).groups()
    print(f"{name}=={lowest}{'' if lowest.count('.') == 2 else '.*'}")

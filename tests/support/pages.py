"""The pages and notebooks of the documentation, and what stands in their fenced blocks."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.S | re.M)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(page: Path, info: str) -> list[str]:
    """What stands in the page's blocks of that kind, such as ``python`` or ``bash run``."""
    return [body for said, body in _FENCE.findall(page.read_text()) if said.strip() == info]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())

#!/usr/bin/env python3
"""One meaning per word: refuses words that are not the field's. ``python .ci/words.py [FILE ...]``, without files all of the product.

Prints each find as FILE:LINE: WORD, and what to write for it; exit code 0 none, 1 some. Names of options (``--mend``) and
attributes (``args.mend``) are no prose and pass. The terms themselves: docs/glossary.md.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INSTEAD = {
    "anew": "again",
    "heir": "candidate",
    "heirs": "candidates",
    "reign": "activation",
    "reigns": "activations",
    "speaks": "is active",
    "tells": "emits, shows, reports",
    "tellers": "emitters",
    "mend": "repair",
    "mends": "repairs",
    "mended": "repaired",
    "mending": "repairing",
    "reckon": "compute",
    "reckons": "computes",
    "reckoned": "computed",
    "spool": "buffer",
    "house": "package",
    "seam": "interface",
    "forgettable": "evictable",
    "whence": "from where",
}
WORD = re.compile(r"(?<![-.\w])(" + "|".join(INSTEAD) + r")(?![-\w(])", re.IGNORECASE)
NO_PROSE = {"docs/glossary.md"}


def product() -> Iterator[Path]:
    """Sources and documents of the product, but not its tests."""
    for package in ("multitaskais", "stream_operator", "tracks_builder", "score_server", "model_trainer", "web_common"):
        for suffix in ("py", "js"):
            yield from (ROOT / package).rglob(f"*.{suffix}")
    yield from (ROOT / "docs").rglob("*.md")
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))


def finds(file: Path) -> Iterator[str]:
    for number, line in enumerate(file.read_text().splitlines(), 1):
        for word in WORD.findall(line):
            yield f"{file}:{number}: {word!r}: write {INSTEAD[word.lower()]!r}"


def main() -> int:
    files = [Path(name) for name in sys.argv[1:]] or sorted(product())
    skip = {ROOT / name for name in NO_PROSE}
    found = [
        line for file in files if file.resolve() not in skip and "vendor" not in file.parts for line in finds(file)
    ]
    print(*found, sep="\n", end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main())

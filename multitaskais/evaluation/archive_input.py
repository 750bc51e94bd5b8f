"""An archive of any size -> a shuffle and a plan of parts, with all that must be known of the input to go on later.

DIR/multitaskais-shuffle/...    the reports (``tracks.shuffle``), and the parts' files
DIR/input.json                what was read, the counts of its rows, and the parts; written last
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ais.archives import read_reports
from ..config import TrackRules
from ..engine.fleet import fleet_rules
from ..errors import InputError, MultitaskAISError
from ..model.folder import Model
from ..records import Counts, Reason
from ..stamps import Stamps, require_plausible_span
from ..tracks.copies import late_copies
from ..tracks.quality import CODE, REASONS, TIME_RANGE_S, screen
from ..tracks.shuffle import Shuffle
from ..types import Reports
from .archive_run import parts_of

SHUFFLE = "multitaskais-shuffle"
_INPUT = "input.json"
TIMES_KEPT = 1_000_000  # of the archive's first reports: whether their stamps can be times


@dataclass(frozen=True, slots=True)
class Archive:
    """What was read.

    Attributes:
        reports: that the archive had.
        first, last: Unix s of the earliest and the latest.
        counts: of all rows; ``rejected`` has those that never reach the judges.
        parts: name -> bins of the shuffle.
        parts_rows: name -> reports.
    """

    reports: int
    first: float
    last: float
    counts: Counts
    parts: dict[str, list[int]]
    parts_rows: dict[str, int]
    fast_vessels: int = 0  # that report a speed above the limit of tracks


def fingerprint(
    paths: Sequence[str],
    archive_format: str | None,
    columns: Mapping[str, str] | None,
    model: str,
    scorer: str,
    zones: str | None,
    program: str = "",
) -> str:
    """Differs where the files, how they are read, or who judges them differ; ``program``: its version."""
    files = []
    for path in paths:
        if os.path.exists(path):
            stat = os.stat(path)
            files.append((os.path.abspath(path), stat.st_size, stat.st_mtime_ns))
        else:  # standard input: never the same again
            files.append((path, -1, os.getpid()))
    area = hashlib.sha256(Path(zones).read_bytes()).hexdigest() if zones else ""
    what = [program, files, archive_format, sorted((columns or {}).items()), model, scorer, area]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def finished(work: Path, about: str) -> Archive | None:
    """What was read before of the same input for the same model; None where it was not, or not to its end."""
    try:
        held = json.loads((work / _INPUT).read_text())
        if held["about"] != about or Shuffle.open(work / SHUFFLE) is None:
            return None
        counts = Counts(held["received"], 0, {Reason(r): n for r, n in held["rejected"].items()}, held["blanked"])
        counts.stamps = _stamps(held["stamps"])
        return Archive(
            held["reports"], held["first"], held["last"], counts, held["parts"], held["parts_rows"], held["fast"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read(
    paths: Sequence[str],
    archive_format: str | None,
    columns: Mapping[str, str] | None,
    model: Model,
    work: Path,
    about: str,
    bins: int,
    jobs: int,
    progress: Callable[[int], Any],
) -> Archive:
    """Read the archive into a shuffle in ``work``; what stood there is removed.

    Raises ``InputError`` where it cannot be read or written, or its stamps cannot be times.
    """
    if work.exists() and (
        strange := sorted(p.name for p in work.iterdir() if p.name.lstrip(".") not in (SHUFFLE, _INPUT))
    ):
        raise InputError(f"--temp {work}: holds {strange[0]!r}, which is none of its files; give an empty folder")
    (work / _INPUT).unlink(missing_ok=True)
    try:
        archive = _read(paths, archive_format, columns, model, Shuffle.create(work / SHUFFLE, bins), jobs, progress)
        _write(work, about, archive)
    except MultitaskAISError:
        clear(work)
        raise
    return archive


def _read(
    paths: Sequence[str],
    archive_format: str | None,
    columns: Mapping[str, str] | None,
    model: Model,
    shuffle: Shuffle,
    jobs: int,
    progress: Callable[[int], Any],
) -> Archive:
    counts, reports = Counts(), 0
    fast: set[int] = set()
    may_repeat = False  # only reports with their own second can be late copies
    first, last = math.inf, -math.inf
    times: list[NDArray[np.float64]] = []
    rules = fleet_rules(model.track_rules)
    for batch, of in read_reports(paths, archive_format, columns=columns):
        counts.add(of)
        progress(of.received)
        if not len(batch):
            continue
        if reports < TIMES_KEPT:
            times.append(batch["t"].copy())
        reports += len(batch)
        fine = batch["t"][(batch["t"] >= TIME_RANGE_S[0]) & (batch["t"] < TIME_RANGE_S[1])]
        if len(fine):
            first, last = min(first, float(fine.min())), max(last, float(fine.max()))
        fast.update(np.unique(batch["mmsi"][batch["sog"] > model.track_rules.speed_max_knots]).tolist())
        may_repeat |= bool((batch["second"] >= 0).any())
        shuffle.add(_of_ships(batch, model, rules, counts))
    if times:
        require_plausible_span(np.concatenate(times), ", ".join(paths))
    shuffle.finish()
    if may_repeat:
        n = shuffle.drop(lambda mine: late_copies(mine, TrackRules()))
        counts.accepted -= n
        counts.reject(Reason.DUPLICATE, n)
    parts = parts_of(shuffle, jobs)
    rows = {name: shuffle.in_bins(numbers) for name, numbers in parts.items()}
    return Archive(reports, first, last, counts, parts, rows, len(fast))


def _of_ships(reports: Reports, model: Model, rules: TrackRules, counts: Counts) -> Reports:
    """Those that anyone judges; the others are counted under the reason that the judges of vessels would give."""
    codes = screen(reports, None, rules)
    out = (codes > 0) & (codes != CODE[Reason.SOG_NOT_AVAILABLE])
    if not out.any():
        return reports
    why = screen(reports[out], model.region, model.track_rules)
    for code, n in zip(*np.unique(why, return_counts=True), strict=True):
        counts.reject(REASONS[int(code)], int(n))
    of_ships: Reports = reports[~out]
    return of_ships


def _write(work: Path, about: str, archive: Archive) -> None:
    held = {
        "about": about,
        "reports": archive.reports,
        "first": archive.first,
        "last": archive.last,
        "received": archive.counts.received,
        "rejected": {str(r): n for r, n in archive.counts.rejected.items()},
        "blanked": archive.counts.blanked,
        "stamps": _told(archive.counts.stamps),
        "parts": archive.parts,
        "parts_rows": archive.parts_rows,
        "fast": archive.fast_vessels,
    }
    unfinished = work / f".{_INPUT}"
    unfinished.write_text(json.dumps(held))
    unfinished.replace(work / _INPUT)


_NUMBERS = ("first", "last", "reports", "with_second", "agreeing", "redated", "years_back")


def _told(stamps: Stamps) -> dict[str, Any]:
    stations = {name.decode("latin-1"): found.tolist() for name, found in stamps.stations.items()}
    return {name: getattr(stamps, name) for name in _NUMBERS} | {"stations": stations}


def _stamps(told: dict[str, Any]) -> Stamps:
    stations = {name.encode("latin-1"): np.array(found, np.int64) for name, found in told["stations"].items()}
    return Stamps(**{name: told[name] for name in _NUMBERS}, stations=stations)


def clear(work: Path) -> None:
    """The temporary files go."""
    shutil.rmtree(work, ignore_errors=True)

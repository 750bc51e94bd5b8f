"""The tracks of an archive on disk as the VRNN's training draws them: as bins, on 10-minute grids of different phase, from disk."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import STEP_S, DetectionRules, Region, TrackRules
from ..networks.dataset import BINS_DTYPE, Dataset, StoredTracks
from ..tracks import fourhot
from ..tracks.line_file import LineFile
from ..tracks.selection import Selection
from .dealt import Dealt
from .samples import DAY_S, Extent, Split, Tracks, split_of, tracks_of
from .subset import fair_lines

# Of the development vessels, that decide when to stop: each look goes through all of them. Of more a fair subset, 40 real days' worth of the
# Gulf of Mexico.
MOST_VALIDATION = 500_000


class TrainingTracks(NamedTuple):
    """What there is to learn from."""

    dataset: Dataset
    extent: Extent  # of the first grid
    by_choice: dict[str, int]  # tracks by ``Selection``


def training_tracks(
    archive: Dealt,
    region: Region,
    file: Path,
    track_rules: TrackRules,
    rules: DetectionRules,
    phases: int,
    split_seed: int,
    most_validation: int = MOST_VALIDATION,
) -> TrainingTracks:
    """Chosen tracks as bins, each on ``phases`` grids, written to ``file``, which must stay while the dataset is used.

    Vessels are split by ``split_of``. Raises ``InputError`` where no track is left on a side.
    """
    stored = LineFile(file, BINS_DTYPE)
    by_choice: Counter[str] = Counter()
    days: set[float] = set()
    for reports in archive.whole_vessels():
        found = tracks_of(reports, region, track_rules)
        by_choice.update(found.by_choice())
        days |= _add(found, region, rules, phases, stored)
    stored.finish()
    mmsi, size = stored.mmsi[::phases], stored.size[::phases]
    of = split_of(mmsi, split_seed)
    held_out = np.flatnonzero(of == Split.DEV)
    held_out = held_out[fair_lines(mmsi[held_out], size[held_out], most_validation, split_seed)]
    train, validation = (StoredTracks(stored, phases, w) for w in (np.flatnonzero(of == Split.TRAIN), held_out))
    return TrainingTracks(
        Dataset(train, validation).checked(),
        Extent(len(days), len(np.unique(mmsi)), int(size.sum())),
        {c.text: by_choice[c.text] for c in Selection},
    )


def _add(found: Tracks, region: Region, rules: DetectionRules, phases: int, stored: LineFile) -> set[float]:
    """The lines of whole vessels, on all grids, one after the other; returns the days of the first grid's samples."""
    grids: list[dict[tuple[int, int], NDArray[np.int16]]] = []
    days: set[float] = set()
    for phase in range(phases):
        samples, line = found.samples(rules, phase * STEP_S / phases)
        if not phase:
            days.update(np.unique(np.floor(samples["t"] / DAY_S)).tolist())
        grids.append(_by_line(samples["mmsi"], line, fourhot.bins(samples, region)))
    none = np.zeros((0, 4), np.int16)
    lines = [grid.get(key, none) for key in grids[0] for grid in grids]
    if lines:
        rows = np.zeros(sum(map(len, lines)), BINS_DTYPE)
        rows["bins"] = np.concatenate(lines)
        vessel = np.repeat(np.array([mmsi for mmsi, _ in grids[0]], np.int64), phases)
        stored.add(vessel, np.array([len(x) for x in lines]), rows)
    return days


def _by_line(
    mmsi: NDArray[np.int64], line: NDArray[np.int64], bins: NDArray[np.int16]
) -> dict[tuple[int, int], NDArray[np.int16]]:
    """(vessel, number of its line) -> bins. The k-th line of a vessel is the same on every grid: phases drop reports, never whole lines of 4 h."""
    out: dict[tuple[int, int], NDArray[np.int16]] = {}
    seen: Counter[int] = Counter()
    first = np.flatnonzero(np.concatenate([[True], np.diff(line) != 0])[: len(line)])
    for a, b in zip(first.tolist(), [*first[1:].tolist(), len(line)][: len(first)], strict=True):
        vessel = int(mmsi[a])
        out[vessel, seen[vessel]] = bins[a:b]
        seen[vessel] += 1
    return out

"""From an archive to the samples that detectors learn from, and which vessel is for what.

All that is learnt or measured splits by vessel, never by time or track, and by this one function: ``split_of``. Training
never sees a vessel of the test split; development vessels decide when to stop, calibrate and set thresholds.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..ais.archives import is_parquet, list_files, read_reports
from ..ais.zero import nothing_read
from ..config import DetectionRules, Region, TrackRules
from ..errors import InputError
from ..records import REPORT_DTYPE, SAMPLE_DTYPE, Counts, Reason
from ..stamps import require_plausible_span
from ..tracks.copies import late_copies
from ..tracks.line_file import LineFile
from ..tracks.resample import resample_track
from ..tracks.segmentation import segment
from ..tracks.selection import Selection, choose
from ..types import Reports, Samples
from .dealt import Dealt, deal
from .samples_table import SAMPLES_ARROW, is_samples, samples_of_table
from .subset import fair_lines

SHARES = (0.6, 0.2, 0.2)  # of the vessels: train, dev, test


DAY_S = 86_400.0


class Split(IntEnum):
    TRAIN = 0
    DEV = 1
    TEST = 2


def split_of(
    mmsi: NDArray[np.integer] | int, seed: int = 0, shares: tuple[float, float, float] = SHARES
) -> NDArray[np.uint8]:
    """``Split`` of each vessel, (n,) uint8: a hash of MMSI and seed, so that it stays when other vessels come or go."""
    # splitmix64 (Steele et al. 2014): neighbouring MMSIs land far apart.
    x = np.atleast_1d(np.asarray(mmsi)).astype(np.uint64)
    with np.errstate(over="ignore"):
        x = x + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    uniform = (x >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.searchsorted(np.cumsum(shares)[:2], uniform, side="right").astype(np.uint8)


# That are learnt from; of more a fair subset (``subset.fair_lines``). Calibration holds some 1.4 kB each: 1 GB.
MOST_SAMPLES = 700_000


class Extent(NamedTuple):
    """How much was there."""

    days: int  # UTC days with a sample
    vessels: int
    samples: int

    @classmethod
    def of(cls, samples: Samples) -> Extent:
        days = np.unique(np.floor(samples["t"] / DAY_S))
        return cls(len(days), len(np.unique(samples["mmsi"])), len(samples))


class TrainingSamples(NamedTuple):
    """Samples of chosen tracks."""

    samples: Samples  # (m,) of SAMPLE_DTYPE, sorted by vessel, line, n; n counts from 0 in each line
    line: NDArray[np.int64]  # (m,) number of the line; a line is one vessel's chosen tracks without a break between
    tracks: dict[str, int]  # tracks by tracks.choose.Selection: chosen, too_few, too_short, moored, slow
    counts: Counts  # of the archive's lines or rows
    whole: Extent | None = None  # of the archive before a subset was taken; None: this is all

    def extent(self) -> Extent:
        """Of what was there to learn from."""
        return self.whole or Extent.of(self.samples)

    def of(self, split: Split, seed: int = 0) -> TrainingSamples:
        """Those of one split."""
        keep = split_of(self.samples["mmsi"], seed) == split
        return self._replace(samples=self.samples[keep], line=self.line[keep])

    def lines(self) -> list[Samples]:
        """One array of samples a line."""
        if not len(self.samples):
            return []
        return np.split(self.samples, np.flatnonzero(np.diff(self.line)) + 1)


def load_reports(
    paths: str | Path | Iterable[str | Path],
    region: Region | None,
    archive_format: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> tuple[Reports, Counts]:
    """Reports (n,) of any archive that ``multitaskais.ais`` reads, inside the region's box, and the counts of all rows.
    One transmission that the archive holds again later counts once (``tracks.copies``).

    Raises ``InputError`` where the times of the archive cannot be times.
    """
    counts = Counts()
    kept = []
    for reports, batch_counts in read_reports(paths, archive_format, columns=columns):
        counts.add(batch_counts)
        if region is not None:
            reports = reports[region.contains(reports["lat"], reports["lon"])]
        if len(reports):
            kept.append(reports)
    reports = np.concatenate(kept) if kept else np.zeros(0, REPORT_DTYPE)
    if (late := late_copies(reports, TrackRules())).any():
        reports = reports[~late]
        counts.accepted -= int(late.sum())
        counts.reject(Reason.DUPLICATE, int(late.sum()))
    require_plausible_span(reports["t"], str(paths) if isinstance(paths, str | Path) else ", ".join(map(str, paths)))
    return reports, counts


def samples_of(
    reports: Reports,
    region: Region | None,
    track_rules: TrackRules | None = None,
    rules: DetectionRules | None = None,
    phase_s: float = 0.0,
    all_tracks: bool = False,
) -> tuple[Samples, NDArray[np.int64], dict[str, int]]:
    """Samples, their line numbers, and the tracks by choice, of reports in any order.

    ``phase_s``: reports of the first so many seconds of a track are left out, which shifts its 10-minute grid.
    ``all_tracks``: also those that the whole-track rules leave out.
    """
    track_rules, rules = track_rules or TrackRules(), rules or DetectionRules()
    found = tracks_of(reports, region, track_rules)
    return *found.samples(rules, phase_s, all_tracks), found.by_choice()


class Tracks(NamedTuple):
    """Reports, and the tracks in which they stand."""

    reports: Reports
    tracks: NDArray[np.void]  # (k,) of ``tracks.selection.TRACK_DTYPE``
    of: NDArray[np.int64]  # (n,) track of each report, -1 for none

    def by_choice(self) -> dict[str, int]:
        """Tracks by ``Selection``."""
        numbers = np.bincount(self.tracks["choice"], minlength=len(Selection))
        return {c.text: int(numbers[c]) for c in Selection}

    def samples(
        self, rules: DetectionRules, phase_s: float = 0.0, all_tracks: bool = False
    ) -> tuple[Samples, NDArray[np.int64]]:
        """Samples and the numbers of their lines, as ``samples_of`` gives them."""
        return _resampled(self, rules, phase_s, all_tracks)


def tracks_of(reports: Reports, region: Region | None, track_rules: TrackRules) -> Tracks:
    """The tracks of (n,) reports in any order."""
    return Tracks(reports, *choose(reports, segment(reports, track_rules, region), track_rules))


def _resampled(
    found: Tracks, rules: DetectionRules, phase_s: float, all_tracks: bool
) -> tuple[Samples, NDArray[np.int64]]:
    reports, tracks, of = found
    chosen = np.ones(len(tracks), bool) if all_tracks else tracks["choice"] == Selection.CHOSEN
    use = np.flatnonzero(of >= 0)
    use = use[chosen[of[use]]]
    use = use[reports["t"][use] >= tracks["start"][of[use]] + phase_s]
    # By vessel, line and time: a line's tracks follow each other.
    use = use[np.lexsort((reports["t"][use], tracks["line"][of[use]], reports["mmsi"][use]))]
    if not len(use):
        return np.zeros(0, SAMPLE_DTYPE), np.zeros(0, np.int64)
    track = of[use]
    new_track = np.concatenate([[True], np.diff(track) != 0])
    mmsi, line = tracks["mmsi"][track], tracks["line"][track]
    # A track that was not chosen breaks the line in two: the next chosen one begins a new line.
    follows = np.concatenate([[False], (np.diff(mmsi) == 0) & (np.diff(line) == 0)])
    broken = new_track & follows
    at = np.flatnonzero(broken)
    for i in at.tolist():
        a, b = track[i - 1], track[i]
        between = (tracks["mmsi"] == tracks["mmsi"][a]) & (tracks["line"] == tracks["line"][a])
        between &= (tracks["start"] > tracks["start"][a]) & (tracks["start"] < tracks["start"][b])
        broken[i] = bool(between.any())
    begins = np.flatnonzero((new_track & ~follows) | broken)
    samples, lines = [], []
    for number, (a, b) in enumerate(zip(begins.tolist(), [*begins[1:].tolist(), len(use)], strict=True)):
        part = resample_track(reports[use[a:b]], rules, new_track[a:b])
        samples.append(part)
        lines.append(np.full(len(part), number, np.int64))
    return np.concatenate(samples), np.concatenate(lines)


def load_samples(
    paths: str | Path | Iterable[str | Path],
    region: Region,
    track_rules: TrackRules | None = None,
    rules: DetectionRules | None = None,
    archive_format: str | None = None,
    phase_s: float = 0.0,
    all_tracks: bool = False,
    columns: Mapping[str, str] | None = None,
    most: int = MOST_SAMPLES,
    seed: int = 0,
    temp: Path | None = None,
) -> TrainingSamples:
    """Samples of the chosen tracks (docs/method.md#tracks), or of all, of an archive or of a folder of samples.

    Args:
        most: of more samples a subset is taken in which each vessel has the same share, by ``seed``.
        temp: folder of temporary files, about 20 bytes a report and 80 a sample; that of the system when None.

    Raises ``InputError`` when none is left.
    """
    names = [str(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    if files := sample_files(names):
        if phase_s:
            raise InputError(f"{names[0]}: samples have one grid; give tracks, or --phases 1")
        found = _of_table(files, region, "all" if all_tracks else "chosen", most, seed)
        if not len(found.samples):
            raise InputError(f"no sample to learn from inside {region.name} in {', '.join(names)}")
        return found
    with temporary_folder(temp) as folder:
        archive = deal(names, region, folder / "reports", archive_format, columns)
        if not archive.counts.accepted:
            raise nothing_read(names, archive.counts, archive_format)
        return next(samples_of_dealt(archive, region, folder, track_rules, rules, (all_tracks,), phase_s, most, seed))


@contextmanager
def temporary_folder(where: Path | None) -> Iterator[Path]:
    """A new folder in ``where`` (None: where the system has its temporary files) that goes at the end.

    Raises ``InputError`` where it cannot be made.
    """
    try:
        if where is not None:
            where.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".multitaskais-", dir=where)
    except OSError as e:
        raise InputError(f"{where}: cannot be written ({e.strerror}); give another --temp") from None
    with folder as name:
        yield Path(name)


def samples_of_dealt(
    archive: Dealt,
    region: Region,
    folder: Path,
    track_rules: TrackRules | None = None,
    rules: DetectionRules | None = None,
    all_tracks: Sequence[bool] = (False,),
    phase_s: float = 0.0,
    most: int = MOST_SAMPLES,
    seed: int = 0,
    purpose: str = "learn from",
) -> Iterator[TrainingSamples]:
    """``samples_of`` of an archive on disk, for each of ``all_tracks`` one, and of more than ``most`` a fair subset.

    The same to the last bit as of all reports in memory. ``folder`` takes temporary files. Raises ``InputError`` when none is left.
    """
    track_rules, rules = track_rules or TrackRules(), rules or DetectionRules()
    files = [LineFile(folder / f"samples{k}", SAMPLE_DTYPE) for k in range(len(all_tracks))]
    by_choice: Counter[str] = Counter()
    days: list[set[float]] = [set() for _ in files]
    for reports in archive.whole_vessels():
        found = tracks_of(reports, region, track_rules)
        by_choice.update(found.by_choice())
        for file, every, seen in zip(files, all_tracks, days, strict=True):
            samples, line = found.samples(rules, phase_s, every)
            if len(samples):
                first = np.flatnonzero(np.concatenate([[True], np.diff(line) != 0]))
                file.add(samples["mmsi"][first], np.diff(np.append(first, len(samples))), samples)
                seen.update(np.unique(np.floor(samples["t"] / DAY_S)).tolist())
    tracks = {c.text: by_choice[c.text] for c in Selection}
    for file, seen in zip(files, days, strict=True):
        file.finish()
        if not len(file):
            left_out = ", ".join(f"{name} {n}" for name, n in tracks.items() if n) or "no track at all"
            raise InputError(
                f"no track to {purpose} inside {region.name}: {archive.counts.received} rows, {archive.inside} reports in the box, {left_out}"
            )
        keep = fair_lines(file.mmsi, file.size, most, seed)
        whole = None if keep.all() else Extent(len(seen), len(np.unique(file.mmsi)), int(file.size.sum()))
        kept = file.some(keep)
        file.close()
        file.path.unlink()
        yield TrainingSamples(*kept, tracks, archive.counts, whole)


# ---------------------------------------------------------------- samples that stand in tables


def sample_files(paths: Iterable[str]) -> list[str]:
    """The files of samples (``tracks_builder/samples.py``) among the archives of ``paths``; empty where the first is none.

    Raises ``InputError`` where a path matches nothing.
    """
    files = list_files(paths).paths
    if not files or not is_parquet(files[0]):
        return []
    return files if is_samples(pq.read_schema(files[0]).names) else []


def _of_table(files: list[str], region: Region, chosen: str, most: int, seed: int) -> TrainingSamples:
    """Two passes: the lines there are, then the samples of those that are kept."""
    mine = [f for f in files if f"set={chosen}" in Path(f).parts]
    keys, days, n_all = [], set(), 0
    for samples, line in _inside(mine, region, ["mmsi", "t", "lat", "lon"]):
        n_all += len(samples)
        days.update(np.unique(np.floor(samples["t"] / DAY_S)).tolist())
        pairs, size = np.unique(_line_keys(samples["mmsi"], line), return_counts=True)
        keys.append(np.stack([pairs, size]))
    if not n_all:
        return TrainingSamples(np.zeros(0, SAMPLE_DTYPE), np.zeros(0, np.int64), {}, Counts())
    together = np.concatenate(keys, axis=1)
    key, of = np.unique(together[0], return_inverse=True)
    size = np.bincount(of, weights=together[1]).astype(np.int64)
    wanted = key[fair_lines(key >> LINE_BITS, size, most, seed)]
    parts, part_keys = [], []
    for samples, line in _inside(mine, region, None):
        own = _line_keys(samples["mmsi"], line)
        keep = np.isin(own, wanted)
        parts.append(samples[keep])
        part_keys.append(own[keep])
    samples, own = np.concatenate(parts), np.concatenate(part_keys)
    order = np.lexsort((samples["n"], own))
    samples, own = samples[order], own[order]
    # A line that left the box, or of which only the end is there, begins again.
    fresh = np.concatenate([[True], (np.diff(own) != 0) | (np.diff(samples["n"]) != 1)])
    first = np.flatnonzero(fresh)
    number = np.cumsum(fresh) - 1
    samples["n"] -= samples["n"][first][number]
    extent = Extent(len(days), len(np.unique(key >> LINE_BITS)), n_all)
    counts = Counts(n_all, n_all)
    return TrainingSamples(samples, number, {}, counts, None if len(wanted) == len(key) else extent)


LINE_BITS = 32


def _line_keys(mmsi: NDArray[np.int64], line: NDArray[np.integer]) -> NDArray[np.int64]:
    return mmsi << LINE_BITS | line.astype(np.int64)


def _inside(
    files: Iterable[str], region: Region, columns: list[str] | None
) -> Iterator[tuple[Samples, NDArray[np.int32]]]:
    """Samples inside the region's box and their lines, a batch at a time; only some columns where they are named."""
    names = SAMPLES_ARROW.names if columns is None else [*columns, "line"]
    for file in files:
        with pq.ParquetFile(file) as f:
            for batch in f.iter_batches(columns=names):
                samples, line = samples_of_table(batch)
                lat, lon = samples["lat"], samples["lon"]
                inside = (lat >= region.lat_min) & (lat < region.lat_max)
                inside &= (lon >= region.lon_min) & (lon < region.lon_max)
                yield samples[inside], line[inside]

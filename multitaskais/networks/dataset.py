"""Tracks as the VRNN's training sees them: bins, batches that depend on (seed, step) alone, and the mean four-hot."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..tracks.line_file import LineFile
from .weights import Sizes

Bins = NDArray[np.int16]  # (T, 4) of lat, lon, sog, cog; -1 where missing
BINS_DTYPE = np.dtype([("bins", "i2", (4,))])  # of a track on disk
MIN_STEPS = 2  # a track of one sample has nothing to predict


@dataclass(frozen=True, slots=True)
class Dataset:
    """Training and validation tracks, of different vessels.

    A track is a sequence of bins arrays: the same track on 10-minute grids of different phase, of which each batch
    draws one. One phase is enough; more make better use of few tracks.
    """

    train: Sequence[Sequence[Bins]]
    validation: Sequence[Sequence[Bins]]

    @classmethod
    def of(cls, train: Sequence[Sequence[Bins]], validation: Sequence[Sequence[Bins]]) -> Dataset:
        """Keep tracks of at least ``MIN_STEPS`` samples. Raises ``InputError`` when none is left on either side."""

        def usable(tracks: Sequence[Sequence[Bins]]) -> tuple[tuple[Bins, ...], ...]:
            phases = (tuple(b.astype(np.int16) for b in t if len(b) >= MIN_STEPS) for t in tracks)
            return tuple(t for t in phases if t)

        return cls(usable(train), usable(validation)).checked()

    def checked(self) -> Dataset:
        """Itself. Raises ``InputError`` when no track is left on a side."""
        for name, tracks in (("training", self.train), ("validation", self.validation)):
            if not len(tracks):
                raise InputError(f"no track is left for {name}: give more vessels, or longer tracks inside the region")
        return self

    def digest(self) -> str:
        """Of all bins, in order: a training is resumed on the same data or not at all."""
        h = hashlib.sha256()
        for tracks in (self.train, self.validation):
            for track in tracks:
                for bins in track:
                    h.update(repr(bins.shape).encode() + np.ascontiguousarray(bins, "<i2").tobytes())
        return h.hexdigest()

    def mean_four_hot(self, sizes: Sizes) -> NDArray[np.float64]:
        """(D,) over the samples of the training tracks."""
        counts = np.zeros(sizes.dim)
        total = 0
        for track in self.train:
            for bins in track:
                index = bins + sizes.offsets
                counts += np.bincount(index[bins >= 0], minlength=sizes.dim)
                total += len(bins)
        return counts / total


class StoredTracks(Sequence[tuple[Bins, ...]]):
    """Tracks on disk, of which one at a time is read.

    Args:
        file: of each track ``phases`` lines of ``BINS_DTYPE``, one after the other; empty where the track is not on that grid.
        wanted: (m,) numbers of the tracks that are meant, of those with a grid of at least ``MIN_STEPS`` samples.
    """

    def __init__(self, file: LineFile, phases: int, wanted: NDArray[np.integer]) -> None:
        self._file, self._phases = file, phases
        usable: NDArray[np.bool_] = np.maximum.reduce(file.size.reshape(-1, phases), axis=1) >= MIN_STEPS
        self._wanted = np.asarray(wanted)[usable[wanted]]

    def __len__(self) -> int:
        return len(self._wanted)

    @overload
    def __getitem__(self, i: int) -> tuple[Bins, ...]: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[tuple[Bins, ...]]: ...
    def __getitem__(self, i: int | slice) -> tuple[Bins, ...] | Sequence[tuple[Bins, ...]]:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        first = int(self._wanted[i]) * self._phases
        lines = range(first, first + self._phases)
        return tuple(self._file.read(k)["bins"] for k in lines if self._file.size[k] >= MIN_STEPS)


class Batch(NamedTuple):
    bins: NDArray[np.int32]  # (T, B, 4), -1 where missing and past the end
    lengths: NDArray[np.int32]  # (B,), 0 for a row that only fills the shape


def longest(tracks: Sequence[Sequence[Bins]], max_steps: int) -> int:
    return min(max_steps, max(len(b) for t in tracks for b in t))


def training_batch(tracks: Sequence[Sequence[Bins]], batch: int, t_max: int, seed: int, step: int) -> Batch:
    """The batch of one step: tracks in an order shuffled again each epoch, a random phase, a random window of a long one."""
    rng = np.random.default_rng([seed, 1, step])
    chosen: list[Bins] = []
    for i in range(step * batch, (step + 1) * batch):
        epoch, position = divmod(i, len(tracks))
        if not chosen or position == 0:
            order = _order(seed, epoch, len(tracks))
        track = tracks[order[position]]
        bins = track[int(rng.integers(len(track)))]
        start = int(rng.integers(max(1, len(bins) - t_max + 1)))
        chosen.append(bins[start : start + t_max])
    return _padded(chosen, batch, t_max)


@functools.lru_cache(maxsize=1)
def _order(seed: int, epoch: int, tracks: int) -> NDArray[np.int64]:
    """Of the tracks in an epoch."""
    return np.random.default_rng([seed, 0, epoch]).permutation(tracks)


def validation_batches(tracks: Sequence[Sequence[Bins]], batch: int, t_max: int) -> list[Batch]:
    """All tracks, first phase, first window; the last batch is filled with empty rows."""
    firsts = [t[0][:t_max] for t in tracks]
    return [_padded(firsts[i : i + batch], batch, t_max) for i in range(0, len(firsts), batch)]


def _padded(tracks: Sequence[Bins], batch: int, t_max: int) -> Batch:
    bins = np.full((t_max, batch, 4), -1, np.int32)
    lengths = np.zeros(batch, np.int32)
    for i, b in enumerate(tracks):
        bins[: len(b), i] = b
        lengths[i] = len(b)
    return Batch(bins, lengths)

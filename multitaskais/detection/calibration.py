"""What score is normal here: a detector's scores, cell by cell, turned into z (docs/method.md#calibration, #departures-from-the-prototype and #one-panel).

Each cell has a mean and a standard deviation, pulled towards those of the larger cell around it (0.1 -> 0.3 -> 1 degree ->
region) with the weight of ``SHRINK`` samples; so an empty cell has its surroundings' figures and none is without. Vessel
classes with enough data have their own figures, pulled towards the common ones of the same cell. For the a-contrario rule each
cell has one number more, the score above which a step counts as low: the quantile of a Gaussian KDE (Scott's bandwidth).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from ..errors import ConfigError
from ..types import Samples
from .grid import LEVELS, CellGrid, distinct_vessels
from .ship_classes import CLASSES, vessel_class

SHRINK = 30.0  # samples that the larger cell counts for; flat between 10 and 100 on development vessels
# of the region's standard deviation: a cell where all samples are equal makes nothing infinitely strange
SD_FLOOR = 0.05
Z_LIMIT = 6.0  # one sample may not decide a window of twelve alone; with 4 the strangest windows all reach it and tie
CLASS_MIN_VESSELS = 20  # a class with fewer vessels has no figures of its own
KDE_MAX_VALUES = 2000  # of one cell; more move its quantile by less than 1 % of a bandwidth


@dataclass(frozen=True)
class Calibration:
    """Of one detector.

    Attributes:
        mean, sd: (n_classes + 1, n_cells); row 0 is common, row c + 1 is class ``CLASSES[c]`` (equal to row 0 where it has too few data).
        low: (n_cells,) a score above it is low (of the low quantile of log-likelihoods), NaN where no cell around has two
            values; None for a detector without the a-contrario rule.
        limit: z stay within +-limit: ``Z_LIMIT`` in cells, inf where the whole region is one cell.
        vessels: (n_cells,) number of different vessels that were seen around (1 degree), for "little known".
        covered: (n_cells * parts ** 2,) of ``grid.divided(parts)``, False where no normal is known (``detection.received``,
            ``Traits.needs_coverage``); None in models made before this was kept: everywhere is judged.
        parts: cells of ``covered`` on a side of each cell; 1 in models made before there were such.
    """

    grid: CellGrid
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    low: NDArray[np.float64] | None
    vessels: NDArray[np.int32]
    limit: float = Z_LIMIT
    covered: NDArray[np.bool_] | None = None
    parts: int = 1

    def covered_in(self, parts: int) -> NDArray[np.bool_]:
        """(n_cells * parts ** 2,) ``covered`` in parts of which ``self.parts`` is a divisor; everywhere where it is not known."""
        if self.covered is None:
            return np.ones(self.grid.n_cells * parts**2, bool)
        shape = self.covered.reshape(self.grid.n_lat * self.parts, self.grid.n_lon * self.parts)
        times = parts // self.parts
        return shape.repeat(times, axis=0).repeat(times, axis=1).ravel()

    def z(self, score: NDArray[np.float64], cell: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n,) scores in cells (>= 0) and class rows -> z; NaN stays NaN."""
        return np.clip((score - self.mean[row, cell]) / self.sd[row, cell], -self.limit, self.limit)

    def score_of_region(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """The score behind z, where the whole region is one cell (``Traits.calibration`` is ``global``)."""
        score: NDArray[np.float64] = z * self.sd[0, 0] + self.mean[0, 0]
        return score

    def save(self, file: Path) -> None:
        """Write the ``.npz`` that ``load`` reads."""
        low = np.zeros(0) if self.low is None else self.low
        g = self.grid
        np.savez_compressed(
            file,
            grid=np.array([g.lat_min, g.lon_min, g.cell_deg, g.n_lat, g.n_lon]),
            mean=self.mean.astype(np.float32),
            sd=self.sd.astype(np.float32),
            low=low,
            vessels=self.vessels,
            limit=np.array(self.limit),
            covered=np.zeros(0, np.uint8) if self.covered is None else np.packbits(self.covered),
            parts=np.array(self.parts),
        )

    @classmethod
    def load(cls, file: Path) -> Calibration:
        """Read what ``save`` wrote. Raises what NumPy does on a damaged file; ``model.folder`` words it."""
        with np.load(file, allow_pickle=False) as f:
            lat_min, lon_min, cell_deg, n_lat, n_lon = f["grid"].tolist()
            parts = int(f["parts"]) if "parts" in f else 1
            return cls(
                CellGrid(lat_min, lon_min, cell_deg, int(n_lat), int(n_lon)),
                f["mean"].astype(np.float64),
                f["sd"].astype(np.float64),
                f["low"] if len(f["low"]) else None,
                f["vessels"],
                float(f["limit"]),
                np.unpackbits(f["covered"], count=int(n_lat) * int(n_lon) * parts**2).astype(bool)
                if "covered" in f and len(f["covered"])
                else None,
                parts,
            )


def fit(
    score: NDArray[np.float64],
    samples: Samples,
    grid: CellGrid,
    *,
    cell_calibrated: bool = True,
    low_quantile: float | None = None,
) -> tuple[Calibration, NDArray[np.float64]]:
    """Learn one detector's calibration.

    Args:
        score: (m,) of samples of vessels that the detector has not seen; NaN where it abstained.
        samples: (m,) of ``SAMPLE_DTYPE``.
        cell_calibrated: False makes the whole region one cell (scores in units that mean the same everywhere).
        low_quantile: of the log-likelihood (the negative score); None without the a-contrario rule.

    Returns:
        The calibration, and (m,) z of the same samples with each vessel's own data left out of its cells.
    """
    cell = grid.index(samples["lat"], samples["lon"])
    use = np.isfinite(score) & (cell >= 0)
    if use.sum() < 2:
        raise ConfigError(
            f"calibration has {int(use.sum())} scores: give it tracks of more vessels inside the region's box"
        )
    x, c, vessel = score[use], cell[use], samples["mmsi"][use]
    cls = vessel_class(samples["ship_type"][use])
    levels = tuple(zip(LEVELS, grid.groups, strict=True))[::-1] if cell_calibrated else ()

    floor = max(SD_FLOOR * float(x.std()), 1e-9)
    base = (float(x.mean()), max(float(x.std()), floor))
    mean = np.full(grid.n_cells, base[0])
    sd = np.full(grid.n_cells, base[1])
    own = _OwnSums(x, vessel)
    own_mean, own_sd = own.left_out(
        np.zeros(len(x), np.int64), 1, np.full(len(x), base[0]), np.full(len(x), base[1]), 1e-9
    )
    for _, group in levels:
        n, s, s2 = _sums(group[c], x, int(group.max()) + 1)
        own_mean, own_sd = own.left_out(group[c], len(n), own_mean, own_sd, SHRINK)
        mean, sd = _pull(n[group], s[group], s2[group], mean, sd, SHRINK)

    means, sds = [mean], [sd]
    out_mean, out_sd = own_mean.copy(), own_sd.copy()
    for k in range(len(CLASSES)):
        mine = cls == k
        if cell_calibrated and len(np.unique(vessel[mine])) >= CLASS_MIN_VESSELS:
            n, s, s2 = _sums(c[mine], x[mine], grid.n_cells)
            m, v = _pull(n, s, s2, mean, sd, SHRINK)
            out_mean[mine], out_sd[mine] = _OwnSums(x[mine], vessel[mine]).left_out(
                c[mine], grid.n_cells, own_mean[mine], own_sd[mine], SHRINK
            )
        else:
            m, v = mean, sd
        means.append(m)
        sds.append(v)

    limit = Z_LIMIT if cell_calibrated else np.inf
    z = np.full(len(score), np.nan)
    z[use] = np.clip((x - out_mean) / np.maximum(out_sd, floor), -limit, limit)
    low = None if low_quantile is None else _low_scores(x, c, grid, low_quantile)
    around = distinct_vessels(grid, len(LEVELS) - 1, c, vessel)
    calibration = Calibration(grid, np.stack(means), np.maximum(np.stack(sds), floor), low, around, limit)
    return calibration, z


def _sums(
    key: NDArray[np.int64], x: NDArray[np.float64], n_keys: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    s: NDArray[Any] = np.bincount(key, x, n_keys)  # with weights they are float64, which numpy's types do not tell
    s2: NDArray[Any] = np.bincount(key, x * x, n_keys)
    return np.bincount(key, minlength=n_keys).astype(np.float64), s, s2


def _pull(
    n: Any, s: Any, s2: Any, mean: Any, sd: Any, weight: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and sd of n values (sum s, sum of squares s2) together with ``weight`` values of the larger cell's mean and sd."""
    m = (s + weight * mean) / (n + weight)
    variance = (s2 + weight * (sd**2 + mean**2)) / (n + weight) - m**2
    return m, np.sqrt(np.maximum(variance, 1e-12))


class _OwnSums:
    """Cells' figures as each vessel finds them when its own samples are left out."""

    def __init__(self, x: NDArray[np.float64], vessel: NDArray[np.int64]) -> None:
        self.x = x
        self.vessel = np.unique(vessel, return_inverse=True)[1]
        self.n_vessels = int(self.vessel.max(initial=-1)) + 1

    def left_out(
        self, key: NDArray[np.int64], n_keys: int, mean: NDArray[np.float64], sd: NDArray[np.float64], weight: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        pair = np.unique(key * self.n_vessels + self.vessel, return_inverse=True)[1]
        all_, own = _sums(key, self.x, n_keys), _sums(pair, self.x, int(pair.max(initial=-1)) + 1)
        n, s, s2 = (a[key] - o[pair] for a, o in zip(all_, own, strict=True))
        return _pull(np.maximum(n, 0), s, np.maximum(s2, 0), mean, sd, weight)


def _low_scores(
    x: NDArray[np.float64], cell: NDArray[np.int64], grid: CellGrid, quantile: float
) -> NDArray[np.float64]:
    """(n_cells,) score at the KDE's quantile of each cell, of the larger one where a cell has fewer than two values."""
    low = np.full(grid.n_cells, kde_quantile(-x, quantile))
    for group in grid.groups[::-1]:
        order = np.argsort(group[cell], kind="stable")
        keys, starts = np.unique(group[cell][order], return_index=True)
        value = np.full(int(group.max()) + 1, np.nan)
        for key, values in zip(keys, np.split(x[order], starts[1:]), strict=True):
            value[key] = kde_quantile(-values, quantile)
        low = np.where(np.isnan(value[group]), low, value[group])
    return -low


def kde_quantile(values: NDArray[np.float64], quantile: float) -> float:
    """The quantile of ``scipy.stats.gaussian_kde(values)`` (Scott's bandwidth); NaN for fewer than two different values.

    The KDE's cdf is monotone, so a step is below the quantile exactly when its cdf is below it (docs/method.md#calibration).
    """
    n = len(values)
    if n > KDE_MAX_VALUES:  # evenly over the ordered values: the same shape
        values = np.sort(values)[np.linspace(0, n - 1, KDE_MAX_VALUES).round().astype(int)]
    if n < 2 or not (sd := float(np.std(values, ddof=1))) > 0:
        return float("nan")
    width = sd * n**-0.2

    def excess(q: float) -> float:
        return float(ndtr((q - values) / width).mean()) - quantile

    reach = 10 * width
    return float(brentq(excess, values.min() - reach, values.max() + reach, xtol=1e-12 * max(1.0, abs(sd))))
